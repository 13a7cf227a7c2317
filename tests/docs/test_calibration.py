"""What the page on calibrations tells people to type works as it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from openopu.calibration.calibrate import GROUPS
from openopu.calibration.file import load

PAGE = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text()


def test_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    names: dict = {}
    exec(compile(block, "calibration.md", "exec"), names)
    assert names["correlation"] > 0.99
    assert abs(names["look"].correlation - 1) < 0.01


def test_commands_run(tmp_path):
    lines = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.S) for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        words = shlex.split(line)
        done = subprocess.run(
            [sys.executable, "-m", "openopu.cli", *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "bench.h5").read_bytes() == (tmp_path / "same.h5").read_bytes()
    assert sorted(load(tmp_path / "matrix.h5").groups) == [
        "alignment", "bad", "dark", "flat", "matrix", "monitor", "scale",
    ]  # fmt: skip


def test_every_group_is_explained_in_its_order():
    assert re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.M) == list(GROUPS)
