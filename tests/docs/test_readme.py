"""What the README tells people to type works as it stands there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [line for line in README.splitlines() if line.startswith(".venv/bin/openopu ")]
SERVES = "cosim"


def test_python_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert blocks
    for block in blocks:
        names: dict = {}
        exec(compile(block, "README.md", "exec"), names)
        assert names["feedback"].shape == (8, 768)
        assert names["frame"].shape == (72, 80)


@pytest.mark.parametrize("line", [c for c in COMMANDS if SERVES not in c])
def test_commands_run(line, tmp_path):
    words = shlex.split(line)[1:]
    done = subprocess.run(
        [sys.executable, "-m", "openopu.cli", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_has_help():
    assert any(SERVES in line for line in COMMANDS)
    for name in (
        "train",
        "compare",
        "doctor",
        "selftest",
        "calibrate",
        "characterise",
        "gap",
        "sensor",
        "budget",
        "cosim",
        "demo",
        "bitstream",
        "flash",
    ):
        done = subprocess.run(
            [sys.executable, "-m", "openopu.cli", name, "--help"],
            capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "100"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "--json" in done.stdout


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
