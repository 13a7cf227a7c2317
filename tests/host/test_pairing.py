"""The 0-0-1-1 test on the twin: what shifts frames against patterns is caught, and named."""

from __future__ import annotations

import numpy as np
import openopu
import pytest
from openopu.selftest.pairing import ROUNDS, SEQUENCE, check_pairing, judge
from openopu_sim.plant import Plant

URL = "twin:?n=64&m=64"
SHOWN = np.array(SEQUENCE * ROUNDS)


@pytest.fixture
def opu():
    with openopu.open(URL) as opened:
        opened.expose_to(0.12)
        yield opened


def shift(monkeypatch, exposures: int) -> None:
    """Optics double: frames come that many exposures later (positive), those at the end first."""
    expose = Plant.expose_batch

    def shifted(self, planes, illuminations, firsts, *rest):
        assert len(illuminations) == 1
        binned, monitors = expose(self, planes, illuminations, firsts, *rest)
        return np.roll(binned, exposures, axis=0), monitors

    monkeypatch.setattr(Plant, "expose_batch", shifted)


def test_frames_that_belong_to_their_patterns(opu):
    before, exposure = opu.settings, opu.exposure_cycles
    report = check_pairing(opu)
    assert report.ok, report
    assert (report.seen, report.frames_behind) == ("0011" * ROUNDS, 0)
    assert report.bright > 2 * report.dark
    assert (opu.settings, opu.exposure_cycles) == (before, exposure)


@pytest.mark.parametrize(("exposures", "where"), [(1, "behind"), (-1, "ahead of"), (2, "behind")])
def test_frames_of_other_exposures_are_caught(opu, monkeypatch, exposures, where):
    shift(monkeypatch, exposures)
    report = check_pairing(opu)
    assert not report.ok
    assert report.frames_behind == exposures
    assert f"{abs(exposures)} exposure(s) {where}" in report.found
    assert "trigger" in report.next_step


def test_no_light_is_no_answer(opu):
    opu.configure(laser_power=0)
    report = check_pairing(opu)
    assert not report.ok
    assert "the same frames" in report.found
    assert "expose_to" in report.next_step


@pytest.mark.parametrize("seed", range(20))
def test_every_other_order_is_refused(seed):
    """Random orders, noise within a fifth of the contrast: right only where it is 0-0-1-1 all over."""
    rng = np.random.default_rng(seed)
    print("seed", seed)
    order = SHOWN.copy()
    flips = rng.choice(len(order) - 4, rng.integers(0, 3), replace=False) + 2
    order[flips] ^= 1
    report = judge(SHOWN, 20 + 100 * order + rng.normal(0, 5, len(order)))
    assert report.ok == (len(flips) == 0)
    if len(flips):
        assert report.frames_behind is None
        assert report.next_step
