"""``make bench``: the measurements of docs/results.md, as a table and in ``OUT/summary.json``.

All figures are ratios of two things measured in one run of one process, in turns, or counts of clock
cycles, which do not depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openopu
from openopu.train.measure import step_vs_backprop
from openopu_rtl.protocol import Program
from openopu_rtl.protocol.shots import complement
from openopu_sim.bench.link_rates import link_rates
from openopu_sim.bench.rates import pattern_rates
from openopu_sim.bench.settings import CAMERA_CLOCK_HZ, CLOCK_HZ, SLM_CLOCK_HZ
from openopu_sim.bench.speed import simulation_speed
from openopu_sim.bench_twin import twin_vs_gemm

TARGETS = {
    "sim_vs_raw": (">=", 0.6),
    "sim_vs_per_pixel": (">=", 20.0),
    "shot_overhead": ("<=", 1.05),
    "link_utilisation": (">=", 0.9),
    "link_payload": (">=", 0.95),
    "packed_patterns_per_s": (">=", 1_440.0),
    "row_bus_patterns_per_s": (">=", 22_700.0),
    "twin_vs_gemm": (">=", 0.5),
    "step_vs_backprop": ("<=", 1.0),
}


def _steady_cycles(opu: openopu.Opu, program: Program, few: int = 24, many: int = 72) -> tuple[float, dict[str, int]]:
    """Busy cycles of one more projection in steady state, and the cycle counters of the longer run."""
    rng = np.random.default_rng(1)
    busy, counters = [], {}
    # The first projection is slower: the device has not timed the camera's readout yet.
    for rows in (1, few, many):
        opu.clear_counters()
        opu.project_raw(rng.integers(0, 2, (rows, program.planes, opu.geometry.modes)))
        counters = opu.counters()
        busy.append(counters["cycles_busy"])
    return (busy[2] - busy[1]) / (many - few), counters


def shot_overhead() -> dict[str, Any]:
    """Cycles of a shot in steady state over the longest of what it has to wait for, in four regimes.

    Panel, exposure and camera are made the longest in turn; last the link, with all outputs at 16 bits.
    """
    regimes: dict[str, tuple[str, dict[str, int], dict[str, Any]]] = {
        "panel": ("?slm_clock_hz=20000000", {"exposure_cycles": 500}, {"outputs": 16}),
        "exposure": ("", {"exposure_cycles": 20_000}, {"outputs": 16}),
        "camera": ("?camera_clock_hz=24000000", {"exposure_cycles": 500}, {"outputs": 16}),
        "link": ("", {"exposure_cycles": 500}, {"bits": 16}),
    }
    runs = {}
    for name, (keys, shot, result) in regimes.items():
        program = complement(2, settle_cycles=100, **shot)
        with openopu.open(f"rtl:verilator{keys}") as opu:
            opu.configure(program, **result)
            cycles, counters = _steady_cycles(opu, program)
            slm_hz = 20_000_000 if name == "panel" else SLM_CLOCK_HZ
            settings = opu.settings
            bits = settings.format(opu.geometry).record_bytes * 8
            bounds = {
                "panel": opu.geometry.slm_frame_clocks * CLOCK_HZ / slm_hz,
                "exposure": 100 + shot["exposure_cycles"],
                "camera": counters["cycles_readout"],
                # A byte of the record is ten bits on the line.
                "link": bits / 8 * 10 * opu.registers(["uart_divisor"])["uart_divisor"] / len(program),
            }
            payload = len(settings.selection) * settings.bits / 8
        per_shot = cycles / len(program)
        line_bytes = cycles / (10 * 4)
        runs[name] = {
            "cycles_per_shot": per_shot,
            "bounds": bounds,
            "ratio": per_shot / max(bounds.values()),
            "payload_share": payload / line_bytes,
        }
    return {
        "shot_overhead": max(run["ratio"] for run in runs.values()),
        "link_utilisation": runs["link"]["payload_share"],
        "regimes": runs,
        "clocks_hz": {"system": CLOCK_HZ, "panel": SLM_CLOCK_HZ, "camera": CAMERA_CLOCK_HZ},
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "gateware": shot_overhead,
    "link": link_rates,
    "panels": pattern_rates,
    "training": step_vs_backprop,
    "twin": twin_vs_gemm,
    "simulation": simulation_speed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of the summary")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only this part (may be repeated)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    runs: dict[str, Any] = {}
    for name, measure in PARTS.items():
        if args.only is None or name in args.only:
            print(f"measuring: {name}", flush=True)
            runs[name] = measure()
    figures = {key: value for run in runs.values() for key, value in run.items() if key in TARGETS}
    summary = {
        **figures,
        "runs": runs,
        "machine": {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()},
    }
    (args.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\n{'figure':20} {'measured':>10}   target")
    for key, (sign, target) in TARGETS.items():
        if key in figures:
            value = figures[key]
            met = value >= target if sign == ">=" else value <= target
            print(f"{key:20} {value:10.3f}   {sign} {target}{'' if met else '   NOT MET'}")
    print(f"\nThe runs behind them: {args.out / 'summary.json'}")


if __name__ == "__main__":
    main()
