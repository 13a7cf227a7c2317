"""The measurement of a step's cost."""

from __future__ import annotations

from openopu.train.measure import step_vs_backprop
from openopu.train.trainer import PARTS


def test_step_vs_backprop_measures_both() -> None:
    result = step_vs_backprop(hidden=(32, 32), batch=16, steps=3, rounds=3)
    assert len(result["feedback_ms"]) == len(result["backprop_ms"]) == 3
    assert 0.1 < result["step_vs_backprop"] < 10
    for name in ("feedback", "backprop"):
        assert result["parts_ms"][name].keys() == set(PARTS)
        assert result["parts_ms"][name]["forward"] > 0
    assert result["parts_ms"]["backprop"]["wait"] == 0
