"""The tools say in one line what is wrong with their arguments."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICK = ["features", "--quick", "--data", "digits", "--cases", "PRNU 1 %"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["features", "--data", "digits", "--device", "foo"], "'foo': this is no device URL"),
        ([*QUICK, "--device", "twin:?n=16&m=16"], "exceed the device's 16 modes. Take "),
        (["features", "--data", "/nope"], "no folder is called '/nope'; take digits"),
        (["features", "--features", "0"], "--features: 0 is out of range: take at least 1"),
        (["features", "--seeds", "0"], "--seeds: 0 is out of range"),
        (["features", "--seeds", "a"], "--seeds: 'a' is no whole number"),
        (["features", "--cases", "nobody"], "there is no case 'nobody'; take of: mathematics alone"),
        ([*QUICK, "--plot", "table.png"], "name it in --cases, too"),
        (["features", "--plot", "table.xyz"], ".png or .svg, not 'table.xyz'"),
        (["schemes", "--seeds", "0", "--train", "digits"], "--seeds: 0 is out of range"),
        (["schemes", "--quick", "--train", "digits"], "not allowed with argument --quick"),
        (["accuracy", "--seeds", "0"], "--seeds: 0 is out of range"),
        (["accuracy", "--epochs", "0"], "--epochs: 0 is out of range"),
        (["media", "--seed", "-1"], f"--seed: -1 is out of range: take 0 to {2**64 - 1}"),
        (["monitor", "--seeds", "0"], "--seeds: 0 is out of range"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(words, message, tmp_path, monkeypatch, capsys):
    tool, *rest = words
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.setattr(sys, "argv", [f"tools/{tool}.py", *rest, "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "tools" / f"{tool}.py"), run_name="__main__")
    # A text is printed by the interpreter, with status 1.
    last = end.value.code if isinstance(end.value.code, str) else capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"{tool}.py: error: ")
    assert message in last
    assert "\n" not in last
