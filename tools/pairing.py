"""Pairing under faults: one frame in 1,000 is dropped, repeated, delayed or cut; is any row another's?

Each case is a run of projections through the RTL in Verilator, with optics in which no frame is like another. The
host recovers; its rows are compared with those of a run without faults, and so is every record that the device
called OK on the way, also where the host threw it away.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openopu.device import Device, Transport
from openopu.opu import Opu
from openopu.url import DeviceUrl
from openopu_rtl.protocol import Code, Format, Geometry, Packet, PacketType, codec, decode_records
from openopu_rtl.protocol.links import Link
from openopu_rtl.protocol.packets import split
from openopu_rtl.protocol.shots import complement
from openopu_sim.bench.keyed import KEYED
from openopu_sim.bench.process import Simulation
from openopu_sim.bench.settings import BenchSettings
from openopu_sim.device import RtlTransport

GEOMETRY = Geometry.fitting(
    16, 16, macropixel=1, bin=1, camera_width=6, camera_height=6, crop_x=1, crop_y=1, raw_rows=6,
    slm_h_front=1, slm_h_sync=1, slm_h_back=1, slm_v_front=1, slm_v_sync=1, slm_v_back=1,
)  # fmt: skip
"""Small, so that a shot takes a few hundred cycles."""
PROGRAM = complement(2, exposure_cycles=60, settle_cycles=4)
FRAMES = 1000
TIMEOUT_CYCLES = 20_000
PATIENCE_S = 120.0
"""Beyond what an answer takes by rights: the machine may have other work."""
KINDS = ("drop", "repeat", "delay", "cut")
COUNTERS = ("frames_missing", "frames_extra", "frames_early", "frames_late", "frames_malformed", "camera_overflows")


@dataclass(frozen=True)
class Case:
    number: int
    kind: str
    exposure: int
    """Of the whole run; the case's own exposures begin at ``number * frames``."""
    argument: int

    @property
    def fault(self) -> str:
        """As the bench takes it."""
        name = {"drop": "drop", "repeat": "extra", "delay": "late", "cut": "cut"}[self.kind]
        return f"{self.exposure}:{name}:{self.argument}"


@dataclass
class Outcome:
    case: Case
    statuses: dict[str, int] = field(default_factory=dict)
    """Failed records by the name of their status, all tries together."""
    counters: dict[str, int] = field(default_factory=dict)
    named: bool = False
    """The first failed record is that of the frame that was hit, or of the one that a frame too many came into."""
    wrong_rows: int = 0
    """Rows of the host's result that differ from the run without faults."""
    wrong_records: int = 0
    """Records that the device called OK and that differ."""


def cases(count: int, frames: int, seed: int, geometry: Geometry = GEOMETRY) -> list[Case]:
    """Random cases: each kind equally often, the frame and the argument anywhere."""
    rng = random.Random(seed)
    out = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        argument = {
            "drop": 0,
            "repeat": rng.choice((0, rng.randrange(1, 60), rng.randrange(60, 2000))),
            # Beyond the jitter that the matcher allows a readout, in camera clocks.
            "delay": rng.randrange(60, 4000),
            "cut": rng.randrange(geometry.camera_pixels),
        }[kind]
        out.append(Case(number, kind, number * frames + rng.randrange(frames), argument))
    rng.shuffle(out)
    return [Case(i, c.kind, i * frames + c.exposure % frames, c.argument) for i, c in enumerate(out)]


class Recorder(Transport):
    """Passes bytes on and keeps the device's packets."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._stream = bytearray()
        self.packets: list[Packet] = []

    def write(self, data: bytes) -> None:
        self._inner.write(data)

    def read(self, timeout_s: float) -> bytes:
        data = self._inner.read(timeout_s)
        self._stream += data
        for encoded in split(self._stream):
            try:
                self.packets.append(Packet.decode(encoded))
            except codec.CodecError:
                raise AssertionError("the simulation's link damages nothing") from None
        return data

    def close(self) -> None:
        self._inner.close()

    def take_records(self, form: Format) -> list[tuple[int, int, NDArray[np.int32]]]:
        """(exposure, status, values) of every record since the last call."""
        out = []
        for packet in self.packets:
            if packet.type == PacketType.RESULT:
                _, record = decode_records(packet.payload, form)
                heads = zip(record.head["exposure"].tolist(), record.head["status"].tolist(), strict=True)
                out += [(e, s, v) for (e, s), v in zip(heads, record.values, strict=True)]
        self.packets.clear()
        return out


def bench(faults: str, optics: str = KEYED, geometry: Geometry = GEOMETRY) -> tuple[Opu, Recorder]:
    """The RTL in Verilator, with these faults."""
    settings = BenchSettings(geometry=geometry, link=Link.BYTES, faults=faults, optics=optics)
    recorder = Recorder(RtlTransport(Simulation(settings), "rtl bench", settings.reset_baud))
    device = Device(
        DeviceUrl("rtl", "verilator", {}),
        "rtl:verilator",
        recorder,
        arms_itself=True,
        realtime=False,
        time_factor=500.0,
    )
    opu = Opu(device)
    opu.on_link(lambda session: setattr(session, "margin_s", PATIENCE_S))
    opu.configure(PROGRAM, frame_timeout_cycles=TIMEOUT_CYCLES)
    return opu, recorder


def planes_of(case: int, rows: int, seed: int, modes: int) -> NDArray[np.uint8]:
    shape = (rows, PROGRAM.planes, modes)
    return np.random.default_rng((seed, case)).integers(0, 2, shape, dtype=np.uint8)


def measure(
    count: int,
    frames: int = FRAMES,
    seed: int = 1,
    jobs: int = 1,
    show: bool = False,
    geometry: Geometry = GEOMETRY,
) -> list[Outcome]:
    """Run ``count`` cases of ``frames`` frames each, shared out to so many ``jobs`` at a time."""
    chosen = cases(count, frames, seed, geometry)
    shares = [share for k in range(jobs) if (share := chosen[k::jobs])]
    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(lambda share: _measure(share, frames, seed, show, geometry), shares))
    return sorted((o for outcomes in found for o in outcomes), key=lambda o: o.case.number)


def _measure(chosen: list[Case], frames: int, seed: int, show: bool, geometry: Geometry) -> list[Outcome]:
    rows = frames // len(PROGRAM)
    whole, _ = bench("", geometry=geometry)
    hit, recorder = bench(",".join(c.fault for c in chosen), geometry=geometry)
    outcomes = []
    with whole, hit, ThreadPoolExecutor(2) as both:
        form = hit.settings.format(geometry)
        recorder.take_records(form)
        for case in chosen:
            start = time.perf_counter()
            planes = planes_of(case.number, rows, seed, geometry.modes)
            base = case.number * frames
            for opu in (whole, hit):
                opu.exposure_next = base
            hit.clear_counters()
            # Both at once: they are two processes.
            wanted, got = both.map(lambda opu, bits: opu.project_raw(bits).values, (whole, hit), (planes, planes))
            outcome = judge(case, base, wanted, got, recorder.take_records(form))
            counted = hit.registers(list(COUNTERS))
            outcome.counters = {n: v for n, v in counted.items() if v}
            outcome.named = outcome.named or (case.kind == "repeat" and "frames_extra" in outcome.counters)
            outcomes.append(outcome)
            if show:
                found = ", ".join(f"{n} x {c}" for c, n in outcome.statuses.items()) or str(outcome.counters)
                print(f"{case.number:4} {case.fault:24} {found:44} {time.perf_counter() - start:5.1f} s", flush=True)
    return outcomes


def judge(
    case: Case,
    base: int,
    wanted: NDArray[np.int32],
    got: NDArray[np.int32],
    records: Sequence[tuple[int, int, NDArray[np.int32]]],
) -> Outcome:
    outcome = Outcome(case, wrong_rows=int((got != wanted).any(axis=1).sum()))
    hit = (case.exposure - base) // len(PROGRAM)
    failed = Counter()
    first = None
    for exposure, status, values in records:
        row = (exposure - base) // len(PROGRAM)
        if status == Code.OK:
            outcome.wrong_records += int((values != wanted[row]).any())
        else:
            failed[Code(status).name] += 1
            first = row if first is None else first
    outcome.statuses = dict(failed)
    # A frame too many, or one that is late, may also hit the next projection; an earlier one never.
    outcome.named = first is not None and hit <= first <= hit + 1
    return outcome


def summary(outcomes: Sequence[Outcome], frames: int, seed: int) -> dict[str, Any]:
    by_kind = {
        kind: {
            "cases": len(mine),
            "named": sum(o.named for o in mine),
            "statuses": dict(sum((Counter(list(o.statuses)) for o in mine), Counter())),
            "wrong_rows": sum(o.wrong_rows for o in mine),
            "wrong_records": sum(o.wrong_records for o in mine),
        }
        for kind in KINDS
        if (mine := [o for o in outcomes if o.case.kind == kind])
    }
    return {
        "cases": len(outcomes),
        "frames": frames,
        "seed": seed,
        "named": sum(o.named for o in outcomes),
        "misattributed_rows": sum(o.wrong_rows + o.wrong_records for o in outcomes),
        "by_kind": by_kind,
    }


def table(result: dict[str, Any]) -> str:
    lines = [f"{'kind':8} {'cases':>5} {'named':>5} {'wrong rows':>10} {'wrong records':>13}  cases by status"]
    for kind, k in result["by_kind"].items():
        statuses = ", ".join(f"{n} {c}" for n, c in sorted(k["statuses"].items()))
        lines.append(f"{kind:8} {k['cases']:5} {k['named']:5} {k['wrong_rows']:10} {k['wrong_records']:13}  {statuses}")
    lines.append(
        f"{'all':8} {result['cases']:5} {result['named']:5}   misattributed rows: {result['misattributed_rows']} "
        f"({result['frames']} frames a case, seed {result['seed']})"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--frames", type=int, default=FRAMES, help="of a case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="pairs of simulators at a time")
    parser.add_argument("--out", type=Path, help="write what was measured to this JSON file")
    args = parser.parse_args()
    outcomes = measure(args.cases, args.frames, args.seed, args.jobs, show=True)
    result = summary(outcomes, args.frames, args.seed)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({**result, "outcomes": [asdict(o) for o in outcomes]}, indent=1) + "\n")
    print(table(result))
    unnamed = [o.case.fault for o in outcomes if not o.named]
    if result["misattributed_rows"] or unnamed:
        sys.exit(f"not as it must be; without a named error: {unnamed}")


if __name__ == "__main__":
    main()
