"""The measurements of docs/schemes.md, of one exposure: they run, and twin and theory agree."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_example_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/schemes.md").read_text(), flags=re.S)
    names: dict = {}
    exec(compile(block, "docs/schemes.md", "exec"), names)
    assert names["feedback"].shape == (10, 64)
    assert names["features"].shape == (5, 32)


def test_twin_and_theory_agree(tmp_path: Path) -> None:
    command = [sys.executable, "tools/schemes.py", "--quick", "--out", str(tmp_path), "--docs", str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    results = json.loads((tmp_path / "schemes.json").read_text())
    for name, (point,) in results["sweep"].items():
        # Few vectors, and 2 K / n = 3 % of the signal is the mean of a row, which theory leaves out.
        assert point["snr"] == pytest.approx(point["theory"], rel=0.1), name
        assert abs(point["slope"] - 1) < 0.005, name
        assert point["offset"] < 0.005, name
        assert f"| {name} | " in printed
    for point in results["shares"]:
        assert point["snr"] == pytest.approx(point["theory"], rel=0.1)
    for picture in ("snr.svg", "share.svg"):
        assert (tmp_path / picture).stat().st_size > 1000
