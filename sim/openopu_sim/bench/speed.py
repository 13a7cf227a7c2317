"""How fast the bench is: against a bare C++ harness, and against a bench that drives each pixel from Python.

All three run the same netlist, the same clocks, the same options of Verilator and compiler, and the same work:
projections over the byte link, with one canned frame for every exposure.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from openopu_rtl.protocol import (
    PROTOCOL_HASH,
    REGISTERS,
    WINDOWS,
    Format,
    Geometry,
    Link,
    Packet,
    PacketType,
    decode_records,
    encode_project,
)
from openopu_rtl.protocol.packets import WRITE_HEADER
from openopu_rtl.protocol.shots import complement

from . import build
from .canned import CANNED
from .endpoints import Replay
from .process import Simulation, cocotb_environment
from .settings import SETTINGS_VARIABLE, BenchSettings

EXPOSURE_CYCLES = 1000
PROJECTIONS_A_PACKET = 4
PACKETS = 16
PACKETS_PER_PIXEL = 1
"""The slow bench does less work; its speed does not depend on the amount."""
ROUNDS = 3
RUN_SECONDS_MAX = 120.0


def workload(geometry: Geometry, packets: int) -> bytes:
    """Packets that set the device up and make ``packets`` times some projections of a ternary vector."""

    def write(name: str, *words: int) -> bytes:
        address = (REGISTERS[name] if name in REGISTERS else WINDOWS[name]).address
        payload = WRITE_HEADER.pack(address) + np.array(words, "<u4").tobytes()
        return Packet(PacketType.WRITE, 0, payload).encode()

    program = complement(2, exposure_cycles=EXPOSURE_CYCLES)
    data = write("shot_table", *map(int, program.words()))
    for name, value in {
        "program_length": len(program),
        "planes": program.planes,
        "selection_length": geometry.outputs,
        "laser_power": 1000,
        "laser_unlock": PROTOCOL_HASH,
        "laser_arm": PROTOCOL_HASH,
    }.items():
        data += write(name, value)
    rng = np.random.default_rng(1)
    for i in range(packets):
        planes = rng.integers(0, 2, (PROJECTIONS_A_PACKET, program.planes, geometry.modes))
        data += encode_project(0, i * PROJECTIONS_A_PACKET * len(program), planes)
    return data


def results_of(answers: bytes, geometry: Geometry) -> np.ndarray:
    """(projections, outputs) integers among all that a device answered. ValueError if one failed."""
    packets = [Packet.decode(p) for p in answers.split(b"\0") if p]
    records = [
        decode_records(p.payload, Format(geometry.outputs, 8))[1] for p in packets if p.type == PacketType.RESULT
    ]
    if not records or not all(r.ok.all() for r in records):
        raise ValueError("a projection failed while the speed was measured")
    return np.concatenate([r.values for r in records])


def raw_program(settings: BenchSettings) -> Path:
    """The bare C++ harness."""
    raw = build.HERE / "hdl" / "raw" / "raw.v"
    sources = [build.HERE / "netlist.vlt", raw, build.netlist(settings.geometry)]
    parameters = {"PIXEL_BITS": settings.geometry.pixel_bits}
    return build.verilate("openopu_raw", sources, build.HERE / "cpp" / "raw.cpp", (), parameters)


def per_pixel_program(settings: BenchSettings) -> Path:
    """The netlist under cocotb's own main program."""
    import cocotb_tools.config

    folder = build.HERE / "hdl" / "raw"
    sources = [build.HERE / "netlist.vlt", folder / "raw.vlt", folder / "raw.v", build.netlist(settings.geometry)]
    main = Path(cocotb_tools.config.share_dir) / "lib" / "verilator" / "verilator.cpp"
    parameters = {"PIXEL_BITS": settings.geometry.pixel_bits}
    return build.verilate("openopu_raw", sources, main, ["--vpi"], parameters, cocotb_link=True, prefix="Vtop")


def run_raw(settings: BenchSettings) -> dict[str, Any]:
    g = settings.geometry
    arguments = {
        **settings.half_periods_ps,
        "window": Replay.WINDOW,
        "width": g.camera_width,
        "height": g.camera_height,
        "bits": g.pixel_bits,
        "delay": settings.camera_delay_clocks,
        "lead": settings.camera_frame_gap_clocks,
        "gap": settings.camera_line_gap_clocks,
    }
    command = [str(raw_program(settings)), settings.replay, *[f"+{k}={v}" for k, v in arguments.items()]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=True)
    run: dict[str, Any] = json.loads(done.stdout)
    return run


def run_bench(settings: BenchSettings) -> dict[str, Any]:
    with Simulation(settings) as simulation:
        return simulation.wait_for("replayed", RUN_SECONDS_MAX)


def run_per_pixel(settings: BenchSettings) -> dict[str, Any]:
    environment = cocotb_environment(f"{__package__}.per_pixel", "openopu_raw")
    environment[SETTINGS_VARIABLE] = settings.dumps()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(per_pixel_program(settings))],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS_MAX,
            check=True,
        )
    said = [line for line in done.stdout.splitlines() if line.startswith('{"event"')]
    if not said:
        raise RuntimeError(f"the bench that drives each pixel failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    run: dict[str, Any] = json.loads(said[-1])
    return run


def simulation_speed(geometry: Geometry | None = None, packets: int = PACKETS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure, in turns, and check that all give the same integers.

    Returns ``sim_vs_raw`` and ``sim_vs_per_pixel`` (medians over the rounds of the ratio of cycles per second within a
    round), and the runs behind them; ``with_plant`` is the bench with the optical model in place of the canned frame.
    """
    geometry = geometry or Geometry()
    rates: dict[str, list[float]] = {"raw": [], "bench": [], "per_pixel": [], "with_plant": []}
    with tempfile.TemporaryDirectory() as folder:
        work, less = Path(folder) / "packets", Path(folder) / "fewer"
        work.write_bytes(workload(geometry, packets))
        less.write_bytes(workload(geometry, PACKETS_PER_PIXEL))
        settings = BenchSettings(geometry=geometry, link=Link.BYTES, replay=str(work), optics=CANNED)
        slow = dataclasses.replace(settings, replay=str(less))
        real = dataclasses.replace(settings, optics="")
        for _ in range(rounds):
            runs = {
                "raw": run_raw(settings),
                "bench": run_bench(settings),
                "per_pixel": run_per_pixel(slow),
                "with_plant": run_bench(real),
            }
            for name, run in runs.items():
                rates[name].append(run["cycles"] / run["wall_s"])
            expected = results_of(bytes.fromhex(runs["raw"]["answers"]), geometry)
            for name in ("bench", "per_pixel"):
                got = results_of(bytes.fromhex(runs[name]["answers"]), geometry)
                if not np.array_equal(got, expected[: len(got)]):
                    raise RuntimeError(f"the bare harness and the bench `{name}` disagree: the speeds mean nothing")

    def ratio(other: str) -> float:
        return statistics.median(a / b for a, b in zip(rates["bench"], rates[other], strict=True))

    return {
        "sim_vs_raw": ratio("raw"),
        "sim_vs_per_pixel": ratio("per_pixel"),
        "cycles_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "cycles_per_second_runs": rates,
        "projections": packets * PROJECTIONS_A_PACKET,
        "options": ["verilator " + build.VERILATOR_OPTIMISATION, "compiler " + build.COMPILER_OPTIMISATION],
    }
