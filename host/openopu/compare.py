"""Run the same random projections on two devices and compare every integer.

Programs, patterns, encodings, output selections, number formats, raw readouts and noise are drawn from the seed.
Equal means: payload integers, status, flags, exposure IDs, photodiode readings, and event counters. Fields that the
declaration calls timing are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from openopu_rtl.protocol import Geometry, Program, Record, Shot
from openopu_rtl.protocol.packets import RECORD_DTYPE, RECORD_FLAGS, RECORD_TIMING_FIELDS
from openopu_rtl.protocol.registers import RESULT_BITS
from openopu_rtl.protocol.shots import complement, intensity
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .encoding import KINDS, ROUNDINGS, Encoding, generator
from .errors import UsageError
from .opu import Opu
from .opu import open as open_opu
from .schemes import Complement
from .settings import Settings, lossless
from .url import DeviceUrl

SIMULATED = ("twin", "rtl")
"""Schemes whose noise the URL switches."""
KINDS_OF_TRIAL = {"random": 0.35, "complement": 0.2, "intensity": 0.1, "encoded": 0.2, "raw": 0.05, "saturated": 0.1}
"""Kinds of trial, and how often they are drawn: a raw frame takes the line as long as dozens of projections."""
EXPOSURE_CYCLES = (20, 4000)
"""Shortest and longest exposure, equally likely on a logarithmic scale: dark to clipped in the default plant."""
CLIPPING_CYCLES = 60_000
"""Exposure at which nearly every pixel clips in the default plant."""
FEW_SHOTS = 6
HEAD_FIELDS = [n for n in RECORD_DTYPE.names or () if n not in RECORD_TIMING_FIELDS]
ROWS = (1, 12)
"""Projections of one trial, fewest and most."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device-a", metavar="URL", default="twin:", help="first device (default: %(default)s)")
    parser.add_argument(
        "--device-b", metavar="URL", default="rtl:verilator", help="second device (default: %(default)s)"
    )
    parser.add_argument("--projections", metavar="N", type=int, default=100, help="how many (default: %(default)s)")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of all random choices (default: %(default)s)")
    parser.add_argument("--arm", action="store_true", help="arm the lasers of real devices")


@dataclass(frozen=True)
class Trial:
    """One configuration and its projections, the same for both devices."""

    kind: str
    settings: Settings
    planes: np.ndarray
    """(rows, planes, modes) bool; empty where ``errors`` are projected."""
    errors: np.ndarray | None = None
    scheme: Complement | None = None
    key: tuple[int, ...] = ()


@dataclass
class Tally:
    """What was compared so far."""

    projections: int = 0
    mismatches: int = 0
    first_difference: dict[str, Any] | None = None
    trials: dict[str, int] = field(default_factory=dict)
    results_saturated: int = 0
    accumulators_saturated: int = 0
    dark: int = 0
    """Projections whose integers were all zero on both devices: they prove little."""

    def differ(self, **what: Any) -> None:
        self.mismatches += 1
        if self.first_difference is None:
            self.first_difference = what


def draw(
    rng: np.random.Generator, base: Settings, geometry: Geometry, monitor_cycles: int, rows: int, number: int
) -> Trial:
    """The next random trial; ``number`` counts them, and the first ones are one of each kind."""
    kinds = list(KINDS_OF_TRIAL)
    kind = kinds[number] if number < len(kinds) else str(rng.choice(kinds, p=list(KINDS_OF_TRIAL.values())))
    rows = 1 if kind == "raw" else rows
    timing = {"exposure_cycles": _exposure(rng), "settle_cycles": int(rng.integers(0, 200))}
    errors = scheme = None
    if kind == "complement":
        program = complement(int(rng.integers(1, 5)), **timing)
    elif kind in ("intensity", "raw"):
        program = intensity(**timing)
    elif kind == "encoded":
        scheme = Complement(Encoding(KINDS[int(rng.integers(2))], ROUNDINGS[int(rng.integers(2))]))
        program = scheme.program(None, **timing)
        components = int(rng.integers(1, min(geometry.modes, 64) + 1))
        errors = rng.normal(size=(rows, components)) * (rng.random((rows, 1)) < 0.9)
    elif kind == "saturated":
        # As much of one sign as the shot table and the accumulator's 32 bits allow.
        pixel = ((1 << geometry.pixel_bits) - 1) * geometry.bin**2
        needed = 2 + (1 << 31) // (pixel << 15)
        reachable = needed <= geometry.shot_depth
        shots = needed if reachable else FEW_SHOTS
        cycles = CLIPPING_CYCLES if reachable else EXPOSURE_CYCLES[1]
        negative = bool(rng.integers(2))
        program = Program((Shot(shift=15, negative=negative, exposure_cycles=cycles, settle_cycles=0),) * shots)
        rows = min(rows, max(1, 4 * FEW_SHOTS // shots))
    else:
        planes_used = int(rng.integers(1, 4))
        program = Program(tuple(_shot(rng, planes_used) for _ in range(int(rng.integers(1, 9)))), planes_used)
    planes = rng.random((rows, program.planes, geometry.modes)) < rng.uniform(0.1, 0.9)
    banks = int(rng.integers(1, 3))
    count = int(np.exp(rng.uniform(0, np.log(geometry.outputs + 1))))
    selection = rng.permutation(geometry.outputs)[:count]
    if rng.random() < 0.2:
        selection = rng.integers(0, geometry.outputs, size=count)  # with repetitions
    if kind == "encoded":
        banks = 1
    bits = int(rng.choice(RESULT_BITS))
    # Half of the time so that results saturate now and then, half of the time never.
    normalise, monitors = rng.random() < 0.3, rng.random() < 0.3
    if normalise:
        shortest = monitor_cycles + 1
        longer = (s if s.exposure_cycles >= shortest else _lengthened(s, shortest) for s in program)
        program = Program(tuple(longer), program.planes)
    _, shift = lossless(program, geometry, bits, banks, normalise)
    shift = int(rng.integers(0, shift + 1)) if rng.random() < 0.5 else shift
    if kind == "saturated":
        bits, shift = 8, int(rng.integers(0, 20))
    settings = dataclasses.replace(
        base,
        program=program,
        selection=selection,
        bits=bits,
        shift=shift,
        banks=banks,
        raw=kind == "raw",
        raw_first_row=int(rng.integers(0, geometry.last_raw_first_row + 1)),
        normalise=normalise,
        monitors=monitors,
        registers=base.registers
        | {
            "laser_power": int(rng.integers(500, 4096)),
            "laser_bias": int(rng.integers(0, 4096)),
            "monitor_reference": int(rng.integers(1, 4096)),
            "slm_preload": int(rng.integers(0, 2)),
            "camera_readout_cycles": int(rng.choice([0, 0, 0, 5000])),
        },
    )
    key = (int(rng.integers(1 << 30)),)
    return Trial(kind, settings, planes, errors, scheme, key)


def _shot(rng: np.random.Generator, planes: int) -> Shot:
    levels = rng.integers(0, 256, size=4) if rng.random() < 0.5 else np.array([255, 0, 0, 0])
    return Shot(
        plane=int(rng.integers(planes)),
        invert=bool(rng.integers(2)),
        negative=bool(rng.integers(2)),
        bank=int(rng.integers(2)),
        shift=int(rng.integers(16)),
        frames=1 + int(rng.random() < 0.2),
        level_on=int(levels[0]),
        level_off=int(levels[1]),
        level_anchor=int(levels[2]),
        level_border=int(levels[3]),
        settle_cycles=int(rng.integers(0, 300)),
        exposure_cycles=_exposure(rng),
    )


def _lengthened(shot: Shot, cycles: int) -> Shot:
    return dataclasses.replace(shot, exposure_cycles=shot.exposure_cycles + cycles)


def _exposure(rng: np.random.Generator) -> int:
    return int(np.exp(rng.uniform(*np.log(EXPOSURE_CYCLES))))


def perform(opu: Opu, trial: Trial) -> Record:
    """Run a trial on one device."""
    if trial.errors is None or trial.scheme is None:
        opu.apply(trial.settings.replace(registers={**trial.settings.registers, **opu.device.registers}))
        return opu.project_raw(trial.planes)
    s = trial.settings
    opu.configure(
        s.program,
        components=trial.errors.shape[1],
        outputs=s.selection,
        bits=s.bits,
        shift=s.shift,
        scheme=trial.scheme,
        encoding=None,
        layout_seed=trial.key[0],
        normalise=s.normalise,
        monitors=s.monitors,
        **{**s.registers, **opu.device.registers},
    )
    return opu.submit(trial.errors, trial.key).record()


def check(tally: Tally, trial: Trial, a: Record, b: Record, where: dict[str, Any]) -> None:
    """Compare the records of one trial."""
    tally.trials[trial.kind] = tally.trials.get(trial.kind, 0) + 1
    tally.projections += len(a.head)
    tally.results_saturated += int(a.head["saturated"].astype(np.int64).sum())
    tally.accumulators_saturated += int((a.head["flags"] >> RECORD_FLAGS["accumulator_saturated"] & 1).sum())
    tally.dark += int((~a.values.any(axis=1)).sum())
    if len(a.head) != len(b.head):
        tally.differ(**where, field="rows", a=len(a.head), b=len(b.head))
        return
    for row in range(len(a.head)):
        place = {**where, "row": row, "exposure": int(a.head["exposure"][row])}
        fields = [n for n in HEAD_FIELDS if a.head[n][row] != b.head[n][row]]
        unequal = np.flatnonzero(a.values[row] != b.values[row])
        read = [None if r.monitors is None else r.monitors[row].tolist() for r in (a, b)]
        if read[0] != read[1]:
            tally.differ(**place, field="monitors", a=read[0], b=read[1])
        elif fields:
            n = fields[0]
            tally.differ(**place, field=n, a=int(a.head[n][row]), b=int(b.head[n][row]))
        elif len(unequal):
            k = int(unequal[0])
            values = {"a": int(a.values[row, k]), "b": int(b.values[row, k])}
            tally.differ(**place, field="values", index=k, unequal=len(unequal), **values)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Compare two devices; ``ok`` is True if nothing differs."""
    if args.projections < 1:
        raise UsageError(f"{args.projections} is out of range", "--projections", "Take at least 1")
    if args.seed < 0:
        raise UsageError(f"{args.seed} is out of range", "--seed", "Take 0 or more")
    urls = [DeviceUrl.parse(args.device_a), DeviceUrl.parse(args.device_b)]
    started = time.monotonic()
    tally = Tally()
    names: list[str] = []
    gateware: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Noise is a property of the plant: each half reopens both devices.
    halves = [("on", (args.projections + 1) // 2), ("off", args.projections // 2)]
    if any("noise" in u.parameters for u in urls):
        halves = [("", args.projections)]
    with Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("comparing", total=args.projections)
        for index, (noise, count) in enumerate(halves):
            if not count:
                continue
            a_url, b_url = (u.with_parameters(noise=noise) if noise and u.scheme in SIMULATED else u for u in urls)
            with (
                open_opu(a_url, arm=args.arm, allow_dark=True) as a,
                open_opu(b_url, arm=args.arm, allow_dark=True) as b,
            ):
                names, gateware = [a.device.name, b.device.name], [a.gateware, b.gateware]
                if a.geometry != b.geometry:
                    raise UsageError(
                        f"the devices differ in geometry: n = {a.geometry.modes} and {b.geometry.modes}, "
                        f"m = {a.geometry.outputs} and {b.geometry.outputs}",
                        "compare",
                        "Give both URLs the same n and m",
                    )
                # The same packets to both, so that their counters agree; not those that opening took.
                limits = [o.device.rows_per_packet for o in (a, b) if o.device.rows_per_packet]
                for opu in (a, b):
                    opu.device.rows_per_packet = min(limits, default=None)
                    opu.clear_counters()
                base = Settings.default(a.geometry)
                rng = generator((args.seed, index))
                end, number = tally.projections + count, 0
                while tally.projections < end:
                    rows = min(int(rng.integers(ROWS[0], ROWS[1] + 1)), end - tally.projections)
                    trial = draw(rng, base, a.geometry, a.identity.monitor_cycles, rows, number)
                    number += 1
                    exposure = int(rng.integers(1 << 32)) if rng.random() < 0.2 else a.exposure_next
                    a.exposure_next = b.exposure_next = exposure
                    where = {"noise": noise, "trial": sum(tally.trials.values()), "kind": trial.kind}
                    check(tally, trial, perform(a, trial), perform(b, trial), where)
                    _check_counters(tally, a, b, where)
                    progress.update(task, completed=tally.projections)
    return {
        "ok": tally.mismatches == 0,
        "device_a": str(urls[0]),
        "device_b": str(urls[1]),
        "names": names,
        "gateware": gateware,
        "seed": args.seed,
        **dataclasses.asdict(tally),
        "seconds": time.monotonic() - started,
    }


def _check_counters(tally: Tally, a: Opu, b: Opu, where: dict[str, Any]) -> None:
    """Compare event counters, and where both devices stand."""
    states = [opu.counters(timing=False) | opu.registers(["exposure_next", "monitor", "temperature"]) for opu in (a, b)]
    for name, value in states[0].items():
        if states[1][name] != value:
            tally.differ(**where, field=name, a=value, b=states[1][name])
            # So that one slip is not counted again in every later trial.
            a.clear_counters()
            b.clear_counters()
            return
