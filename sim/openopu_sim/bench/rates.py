"""Patterns a second that fast panels of mirrors reach, by the gateware's own counters."""

from __future__ import annotations

from typing import Any

import numpy as np
import openopu
from openopu_rtl.protocol.shots import complement

from .settings import CLOCK_HZ, MIRROR_SETTLE_S

CAMERA = "camera_width=32&camera_height=24&crop_x=8&crop_y=4&crop_width=16&crop_height=16&bin=2&raw_rows=24"
"""A sensor region that is read out within the shortest pattern, so that the panel is what is measured."""
PANELS: dict[str, tuple[str, dict[str, int], int, int]] = {
    # name: (keys of the URL, times of a shot, projections before, and while it is measured: whole video frames)
    "packed_patterns_per_s": (
        "geometry=dlp4500&slm_clock_hz=67600000",
        {"settle_cycles": round(13e-6 * CLOCK_HZ), "exposure_cycles": round(500e-6 * CLOCK_HZ)},
        18,
        24,
    ),
    "row_bus_patterns_per_s": (
        "geometry=dlp7000&slm_clock_hz=100000000",
        {"settle_cycles": round(MIRROR_SETTLE_S * CLOCK_HZ), "exposure_cycles": round(20e-6 * CLOCK_HZ)},
        12,
        48,
    ),
}
"""Settling of the DLP4500 is that of an XGA DMD (13 us, TI E2E 462931); its own was not found."""


def pattern_rates(only: str | None = None) -> dict[str, Any]:
    """Shots a second in steady state, RTL in Verilator, with each panel's true geometry and clock; and the runs.

    Between the device's time stamps of two projections.
    """
    rates: dict[str, Any] = {}
    runs = {}
    rng = np.random.default_rng(1)
    for name, (keys, times, before, measured) in PANELS.items():
        if only not in (None, name):
            continue
        program = complement(2, **times)
        with openopu.open(f"rtl:verilator?{keys}&{CAMERA}&link=bytes") as opu:
            opu.configure(program, outputs=16)
            opu.clear_counters()
            rows = before + measured
            record = opu.project_raw(rng.integers(0, 2, (rows, program.planes, opu.geometry.modes)))
            counters = opu.counters()
        if not record.ok.all():
            raise RuntimeError(f"a projection failed while {name} was measured")
        ended = record.head["timestamp"]
        cycles = int(ended[-1] - ended[before - 1])
        shots = measured * len(program)
        rates[name] = shots * CLOCK_HZ / cycles
        runs[name] = {"shots": shots, "cycles": cycles, "url": keys, **times, "counters": counters}
    return {**rates, "patterns": runs}
