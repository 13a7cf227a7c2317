"""The examples of docs/fit.md run, and a quick closing of the gap finds what was hidden."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from openopu import plants

ROOT = Path(__file__).parents[2]


def test_the_example_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/fit.md").read_text(), flags=re.S)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(block, "docs/fit.md", "exec"), names)
    # A full well of the default camera fills 99 % of 4,095 steps.
    assert names["found"].transfer.gain.value == pytest.approx(0.99 * 4095 / 10_700, rel=0.05)
    assert plants.load("plant.toml").camera.read_noise_e == pytest.approx(2.9, rel=0.1)
    assert capsys.readouterr().out


def test_a_hidden_plant_is_found(tmp_path: Path) -> None:
    command = [sys.executable, "tools/closing_the_gap.py", "--quick", "--plants", "1", "--seeds", "0"]
    subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, check=True, capture_output=True, text=True)
    (plant,) = json.loads((tmp_path / "summary.json").read_text())["plants"]
    for name, off in (("camera gain", 0.1), ("read noise", 0.1), ("settle time", 0.05), ("laser noise", 0.1)):
        found = plant["parameters"][name]
        assert found["fitted"] == pytest.approx(found["true"], rel=off), name
    assert plant["gap"]["correlation"] > 0.99
