"""Photodiode readings and what they do, on the twin and through the RTL: the same integers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import openopu
import pytest
from openopu import Opu
from openopu_rtl.protocol import Program, Record, Shot
from openopu_rtl.protocol.packets import RECORD_TIMING_FIELDS

KEYS = "n=64&m=64&noise_seed=5"
LONG, SHORT = 1500, 30
"""Exposures longer and shorter than a reading takes."""


@pytest.fixture(scope="module")
def devices() -> Iterator[list[Opu]]:
    with (
        openopu.open(f"twin:?{KEYS}", allow_dark=True) as twin,
        openopu.open(f"rtl:verilator?{KEYS}", allow_dark=True) as rtl,
    ):
        yield [twin, rtl]


def same(a: Record, b: Record) -> None:
    for name in a.head.dtype.names or ():
        if name not in RECORD_TIMING_FIELDS:
            assert (a.head[name] == b.head[name]).all(), name
    assert (a.values == b.values).all()
    assert (a.monitors is None) == (b.monitors is None)
    assert a.monitors is None or (a.monitors == b.monitors).all()


def program(*cycles: int) -> Program:
    return Program(tuple(Shot(exposure_cycles=c, negative=bool(i % 2), shift=i % 3) for i, c in enumerate(cycles)))


@pytest.mark.parametrize(("normalise", "monitors"), list(itertools.product((False, True), repeat=2)))
def test_normalised_or_not_with_readings_or_without(devices: list[Opu], normalise: bool, monitors: bool) -> None:
    planes = np.random.default_rng(1).integers(0, 2, (6, 1, 64))
    shots = program(LONG, 700, LONG) if normalise else program(SHORT, LONG, 1)
    records = []
    for opu in devices:
        opu.configure(shots, bits=16, normalise=normalise, monitors=monitors, monitor_reference=1600, laser_bias=77)
        opu.exposure_next = 2**32 - 7
        records.append(opu.project_raw(planes))
    same(*records)
    assert records[0].values.any()
    if monitors:
        assert len(np.unique(records[0].monitors)) > 1, "every exposure has noise of its own"


@pytest.mark.parametrize("cycles", [LONG, SHORT])
def test_too_much_light_in_an_exposure(devices: list[Opu], cycles: int) -> None:
    """The exposure whose reading trips the laser, and those after it, are dark or lit on both alike."""
    planes = np.random.default_rng(2).integers(0, 2, (8, 1, 64))
    records, states = [], []
    for opu in devices:
        opu.arm()
        opu.clear_counters()
        opu.configure(program(cycles, cycles, cycles), bits=16, normalise=False, monitors=True, monitor_limit=4095)
        opu.exposure_next = 500
        free = opu.project_raw(planes[:1])
        assert free.monitors is not None
        limit = int(free.monitors.max())  # noise will soon exceed it
        opu.configure(program(cycles, cycles, cycles), bits=16, monitor_limit=limit)
        records.append(opu.project_raw(planes))
        status = opu.status()
        states.append((status["trip_over_power"], status["laser_on"], opu.counters(timing=False)["laser_trips"]))
        opu.configure(monitor_limit=4095, monitors=False)
        opu.arm()
    assert states == [(True, False, 1)] * 2
    same(*records)
    assert records[0].monitors is not None
    assert records[0].monitors[-1, -1] < 20, "the last ones are dark"
    assert records[0].monitors[0, 0] > 20, "the first one is not"


def test_the_laser_is_watched_between_exposures(devices: list[Opu]) -> None:
    """Where nothing is exposed, too much light still trips it; the photodiode follows the laser's power."""
    rtl = devices[1]
    rtl.configure(laser_power=3000, monitor_limit=4095)
    rtl.arm()
    for _ in range(2000):  # each read takes simulated time
        if rtl.registers(["monitor_live"])["monitor_live"] > 2000:
            break
    nominal = rtl.registers(["monitor_live", "monitor"])
    assert nominal["monitor_live"] > 2000
    exposures = rtl.counters(timing=False)["exposures"]
    rtl.configure(laser_power=3000, monitor_limit=1500)
    for _ in range(2000):
        if rtl.status()["trip_over_power"]:
            break
    assert rtl.status()["trip_over_power"]
    assert not rtl.status()["laser_on"]
    assert rtl.counters(timing=False)["exposures"] == exposures
    assert rtl.registers(["monitor"])["monitor"] == nominal["monitor"]
    rtl.configure(monitor_limit=4095, laser_power=2048)
    rtl.arm()
