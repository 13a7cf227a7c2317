"""The drift monitor over a whole run: an alarm at the threshold on a medium that turns, none on one that stays."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from openopu.calibration.monitor import STOP, WARN

ROOT = Path(__file__).parents[2]
PROJECTIONS, EVERY = 4000, 250


@pytest.fixture
def drift(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield importlib.import_module("drift")
    sys.modules.pop("drift", None)


def test_no_alarm_on_a_stable_medium(drift):
    run = drift.watched(0.0, PROJECTIONS, EVERY)
    assert (run["projections"], run["warned_at"], run["stopped_at"]) == (PROJECTIONS, None, None)
    assert run["lowest"] > 0.999


def test_an_alarm_at_the_threshold(drift):
    rate = drift.angle_at(STOP) / (0.6 * PROJECTIONS * drift.SHOTS)
    run = drift.watched(rate, PROJECTIONS, EVERY)
    interval = EVERY * drift.SHOTS
    for name, level in (("warned_at", WARN), ("stopped_at", STOP)):
        expected = drift.angle_at(level) / rate
        assert expected <= run[name] < expected + 1.5 * interval, name
    assert run["projections"] < PROJECTIONS
    assert run["rms_error"] < 0.005
