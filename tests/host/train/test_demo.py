"""The demonstration, its comparison of integers, and its pictures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_double import DoubleOpu
from openopu.train import demo, pictures
from openopu.train.data import DataError
from openopu.train.demo import Tape
from openopu_rtl.protocol import Geometry, Record, Shot
from openopu_rtl.protocol.packets import RECORD_DTYPE

pytest.importorskip("matplotlib")


def run(tmp_path: Path, *words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    options = ["--data", "digits", "--epochs", "2", "--train-images", "256", "--replay-steps", "3"]
    args = parser.parse_args([*options, "--out", str(tmp_path / "demo"), *words])
    args.json = True
    return demo.run(args)


def test_equal_devices_are_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openopu.open", lambda url: DoubleOpu())
    summary = run(tmp_path)
    assert summary["identical"]
    assert summary["comparison"]["projections"] == 3 * 64
    assert summary["comparison"]["integers"] == 3 * 64 * 768
    for path in summary["pictures"]:
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    names = {Path(p).name for p in summary["pictures"]}
    assert names == {"curves.png", "alignment.png", "panel.png", "speckle.png", "cycles.png"}
    assert json.loads((tmp_path / "demo" / demo.RESULT_FILE).read_text()) == json.loads(json.dumps(summary))
    assert Path(summary["record"]).exists()
    assert Path(summary["checkpoint"]).exists()
    # A second demonstration leaves the first one alone.
    assert Path(run(tmp_path)["record"]).parent.name == "demo-2"


def test_a_difference_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openopu.open", lambda url: DoubleOpu(noise_seed=3 if url.startswith("rtl") else 2))
    summary = run(tmp_path)
    assert not summary["ok"]
    assert summary["comparison"]["mismatches"] > 0
    first = summary["comparison"]["first_difference"]
    assert first["projection"] == 0
    assert first["integers"][0] != first["integers"][1]


def record(value: int, **fields: int) -> Record:
    head = np.zeros(1, RECORD_DTYPE)
    for name, number in fields.items():
        head[name] = number
    return Record(head, np.array([[1, value, 3]], np.int32))


def test_tape_leaves_timing_out_and_nothing_else() -> None:
    def tape(*records: Record) -> Tape:
        made = Tape()
        for r in records:
            made(r)
        return made

    assert tape(record(2, timestamp=5)).compare(tape(record(2, timestamp=9)))["mismatches"] == 0
    for name in ("exposure", "saturated", "monitor", "status", "flags"):
        assert tape(record(2)).compare(tape(record(2, **{name: 1})))["mismatches"] == 1, name
    found = tape(record(2), record(2)).compare(tape(record(2), record(4)))["first_difference"]
    assert (found["projection"], found["output"], found["integers"]) == (1, 1, [2, 4])


def test_without_fashion_mnist_the_digits_are_taken_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        if name == "fashion-mnist":
            raise DataError("Fashion-MNIST is not on this machine")
        return original(name)

    original = demo.load
    monkeypatch.setattr(demo, "load", load)
    said: list[str] = []
    assert demo.choose_data("auto", said.append).name == "digits"
    assert said == ["Fashion-MNIST is not on this machine", "Taking the embedded digits instead"]
    with pytest.raises(DataError):
        demo.choose_data("fashion-mnist", said.append)


def test_panel_picture_shows_what_the_gateware_shows() -> None:
    expander = pytest.importorskip("openopu_rtl.expander")
    rng = np.random.default_rng(4)
    for geometry in (Geometry(), Geometry.fitting(128, 64)):
        plane = rng.random(geometry.modes) < 0.5
        for invert in (False, True):
            shot = Shot(invert=invert, level_on=9, level_off=8, level_anchor=7, level_border=6)
            expected = expander.model(
                geometry, plane, invert=invert, level_on=9, level_off=8, level_anchor=7, level_border=6,
                table=np.arange(256),
            )  # fmt: skip
            assert np.array_equal(pictures.panel_levels(geometry, plane, shot), expected)


def test_budget_shares_add_up() -> None:
    shares = pictures.budget_shares({"cycles_busy": 200, "cycles_expose": 100, "cycles_settle": 50})
    assert shares["cycles_expose"] == 0.5
    assert shares["other"] == 0.25
    assert sum(shares.values()) == 1
    assert pictures.budget_shares({"cycles_busy": 0, "cycles_expose": 0}) == {}
    with pytest.raises(ValueError, match="no cycles"):
        pictures.cycle_budget({}, Path("none.png"))
