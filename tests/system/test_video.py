"""Continuous video in the bench, whose panel checks every signal of the raster: twin and RTL give the same integers."""

from __future__ import annotations

import json

import numpy as np
import openopu
import pytest
from openopu import cli
from openopu.errors import UsageError
from openopu.modulators import continuous_shot_s, lcos
from openopu_rtl.protocol import PanelKind
from openopu_rtl.protocol.shots import complement
from openopu_sim.bench.settings import SLM_CLOCK_HZ

GEOMETRY = f"n=64&m=64&panel_kind={PanelKind.VIDEO_CONTINUOUS}"


@pytest.mark.parametrize(("simulator", "projections"), [("verilator", 16), ("icarus", 2)])
def test_identity(simulator: str, projections: int, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "--json", "--projections", str(projections), "--device-a", f"twin:?{GEOMETRY}&noise=on"]
    words += ["--device-b", f"rtl:{simulator}?{GEOMETRY}&noise=on&link=bytes"]
    code = cli.main(words)
    report = json.loads(capsys.readouterr().out)
    assert code == 0, report
    assert report["projections"] == projections
    assert report["mismatches"] == 0


def test_level_table_and_profile_reach_the_panel() -> None:
    """Grey levels through a gamma table, with the frames and the settle time of a display."""
    slm = lcos("vga", latency_s=50e-6, settle_s=150e-6, trigger_output="none")
    table = np.arange(256)[::-1]
    planes = np.random.default_rng(2).integers(0, 2, (2, 2, 64))
    values = []
    for url in (f"twin:?{GEOMETRY}", f"rtl:verilator?{GEOMETRY}&link=bytes"):
        with openopu.open(url) as opu:
            program = complement(2, **slm.shot_fields(opu.identity.clock_hz), exposure_cycles=1500, level_on=100)
            opu.set_level_table(table)
            values.append(opu.project_raw(planes, program).values)
            values.append(opu.counters(timing=False))
            cycles = opu.counters()
            clock_hz, frame_s = opu.identity.clock_hz, opu.geometry.slm_frame_clocks / SLM_CLOCK_HZ
    assert np.array_equal(values[0], values[2])
    assert np.ptp(values[0]) > 10
    assert values[1] == values[3]
    shots = len(planes) * len(program)
    assert cycles["cycles_settle"] >= shots * program.shots[0].settle_cycles
    # As long as the profile says; the first shot waits for a vertical sync, and the last one for no other.
    expected_s = shots * continuous_shot_s(slm, 1500 / clock_hz, frame_s)
    assert cycles["cycles_busy"] / clock_hz == pytest.approx(expected_s, abs=1.5 * frame_s)


def test_a_pixel_clock_that_is_too_fast_is_refused() -> None:
    with pytest.raises(UsageError, match="outruns the system clock"):
        openopu.open(f"rtl:verilator?{GEOMETRY}&slm_clock_hz=50000000")
