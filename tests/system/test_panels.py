"""Panels of mirrors in the bench: packed planes and row bus give the twin's integers, whatever the timing."""

from __future__ import annotations

import numpy as np
import openopu
import pytest
import serial
from openopu.errors import UsageError
from openopu.url import DeviceUrl
from openopu_rtl.protocol import Code, Program, Shot
from openopu_rtl.protocol.registers import REGISTERS, Kind
from openopu_rtl.protocol.shots import complement
from openopu_sim.bench.process import Simulation
from openopu_sim.device import settings_of

from .test_rtl import Client

SMALL = "n=64&m=64&link=bytes"
TWIN_SMALL = "n=64&m=64"
PACKED = "&slm_clock_hz=3000000"
"""Slots of 1,466 cycles, some 1,340 of them surely shown."""
EVENTS = [r.name for r in REGISTERS.values() if r.kind is Kind.EVENT]


def programs(rng: np.random.Generator, shots: int) -> Program:
    """A program of random shots, all levels included; short enough for a slot."""
    levels = ("level_on", "level_off", "level_anchor", "level_border")
    return Program(
        tuple(
            Shot(
                plane=int(rng.integers(3)),
                invert=bool(rng.integers(2)),
                negative=bool(rng.integers(2)),
                shift=int(rng.integers(3)),
                settle_cycles=int(rng.integers(1, 300)),
                exposure_cycles=int(rng.integers(200, 700)),
                **{name: int(rng.integers(256)) for name in levels},
            )
            for _ in range(shots)
        ),
        planes=3,
    )


def run(url: str, program: Program, rows: int, seed: int):
    """Heads and values of ``rows`` projections in two batches, events, and timing counters."""
    rng = np.random.default_rng(seed)
    with openopu.open(url) as opu:
        opu.configure(program, bits=16)
        records = [opu.project_raw(rng.integers(0, 2, (n, program.planes, opu.geometry.modes))) for n in (1, rows - 1)]
        counters = opu.counters()
    heads = np.concatenate([r.head for r in records])
    values = np.concatenate([r.values for r in records])
    return heads, values, {name: counters[name] for name in EVENTS if name in counters}, counters


def assert_same(url: str, options: str, simulator: str, program: Program, rows: int, seed: int):
    """Twin and RTL agree in all but timing. Returns the RTL's counters."""
    twin = run(f"twin:?{TWIN_SMALL}{url}", program, rows, seed)
    rtl = run(f"rtl:{simulator}?{SMALL}{url}{options}", program, rows, seed)
    for name in ("exposure", "saturated", "monitor", "status", "flags"):
        assert np.array_equal(twin[0][name], rtl[0][name]), name
    assert (rtl[0]["status"] == Code.OK).all()
    assert np.array_equal(twin[1], rtl[1])
    assert twin[2] == rtl[2]
    assert np.ptp(rtl[1]) > 10
    return rtl[3]


@pytest.mark.parametrize("camera_clock_hz", [44_100_000, 10_000_000])
def test_packed_planes(camera_clock_hz: int) -> None:
    """Several projections share a frame, and one is spread over two. A slow camera misses slots."""
    program = programs(np.random.default_rng(1), 5)
    options = f"{PACKED}&camera_clock_hz={camera_clock_hz}"
    counters = assert_same("&panel_kind=2", options, "verilator", program, 11, 2)
    if camera_clock_hz == 10_000_000:
        assert counters["slots_missed"] > 0
    else:
        assert counters["slots_missed"] == 0
        # 55 shots take three frames once the first is on show, which the host's two batches make four.
        frame = 48 / 3 * 2200
        assert counters["cycles_busy"] < 8 * frame


def test_a_shot_that_no_slot_can_hold() -> None:
    """Refused when it is configured; a host that does not look gets failed projections with that name, and no hang."""
    fits, long = complement(2, settle_cycles=100, exposure_cycles=400), complement(2, exposure_cycles=1500)
    url = f"rtl:verilator?{SMALL}&panel_kind=2{PACKED}"
    planes = np.random.default_rng(3).integers(0, 2, (3, 2, 64))
    with openopu.open(url) as opu:
        opu.configure(fits, bits=16)
        assert (opu.project_raw(planes).head["status"] == Code.OK).all()
        with pytest.raises(UsageError, match="shot 0 takes 1564 cycles"):
            opu.configure(long, bits=16)
        assert (opu.project_raw(planes).head["status"] == Code.OK).all()
    with Simulation(settings_of(DeviceUrl.parse(url))) as simulation:
        client = Client(serial.Serial(simulation.port, 12_000_000, timeout=60))
        first = 0
        for program, status in ((fits, Code.OK), (long, Code.SLOT_TOO_SHORT), (fits, Code.OK)):
            client.load(program)
            record = client.project(first, planes)
            assert set(record.head["status"].tolist()) == {status}
            first += len(program) * len(planes)
        assert client.read("exposures") == 2 * len(fits) * len(planes)
        client.port.close()


def test_row_bus() -> None:
    program = programs(np.random.default_rng(4), 5)
    counters = assert_same("&panel_kind=3", "", "verilator", program, 11, 5)
    assert counters["cycles_slm_slot"] == counters["slots_missed"] == 0


@pytest.mark.parametrize("kind", [2, 3])
def test_in_icarus_too(kind: int) -> None:
    program = complement(1, settle_cycles=20, exposure_cycles=60)
    clock = "&slm_clock_hz=20000000" if kind == 2 else ""
    assert_same(f"&panel_kind={kind}", clock, "icarus", program, 2, 6)
