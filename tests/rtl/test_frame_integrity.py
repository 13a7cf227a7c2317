"""Every frame is whole or flagged: random frames with random defects, through camera port to results.

The camera's pins are driven clock by clock; its clock is anything from a twentieth of the system's to faster than it.
A record that says OK must hold exactly the sums of the frames that belong to its exposures.
"""

from __future__ import annotations

import dataclasses
import os
import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openopu_rtl import accumulator, binner
from openopu_rtl.exposer import Exposer
from openopu_rtl.imaging import ImagingPath
from openopu_rtl.monitor import UNITY
from openopu_rtl.protocol import Code, Format, Geometry, Packet, PacketType, Shot, decode_records
from openopu_rtl.protocol.registers import REGISTERS
from openopu_rtl.registerfile import RegisterFile, identity_values

GEOMETRY = Geometry(
    slm_width=16, slm_height=10, macropixel=2, modes_x=4, modes_y=4, signal_x=1, signal_y=1, anchor_x=10, anchor_y=1,
    anchor_width=4, anchor_height=8, camera_width=6, camera_height=5, crop_x=1, crop_y=1, crop_width=4, crop_height=4,
    bin=2, shot_depth=8, store_bytes=64, queue_depth=4, raw_rows=5,
)  # fmt: skip
LONGER = dataclasses.replace(GEOMETRY, camera_width=20, camera_height=12, crop_x=14, crop_y=7, raw_rows=12)
"""A frame of it does not fit into the crossing's FIFO."""
CLOCK_HZ = 48e6
PROJECTIONS = 3
FORM = Format(GEOMETRY.outputs, 16)


@dataclass
class Case:
    """What the camera does. ``faults`` by exposure: a kind, and its arguments."""

    ratio: float
    shots: int
    exposure: int
    delay: int
    lead: int
    gap: int
    between: int
    """Camera clocks between two frames at least."""
    faults: dict[int, tuple] = field(default_factory=dict)
    seed: int = 0
    geometry: Geometry = GEOMETRY

    @property
    def timeout_cycles(self) -> int:
        """Longer than any whole readout."""
        return round((110 + self.geometry.camera_pixels) / self.ratio) + 200

    @property
    def exposures(self) -> int:
        return PROJECTIONS * self.shots

    def frame(self, exposure: int) -> np.ndarray:
        shape = (self.geometry.camera_height, self.geometry.camera_width)
        return np.random.default_rng((self.seed, exposure)).integers(0, 256, shape, dtype=np.uint16)

    def wave(self, exposure: int) -> list[tuple[int, int, int, int]]:
        """(FVAL, LVAL, DVAL, pixel) of each clock of a whole frame; pixels are random where none is valid."""
        noise = random.Random(self.seed * 1000 + exposure)
        out = [(1, 0, noise.getrandbits(1), noise.getrandbits(8)) for _ in range(self.lead)]
        for line in self.frame(exposure).tolist():
            out += [(1, 1, 1, pixel) for pixel in line]
            out += [(1, 0, noise.getrandbits(1), noise.getrandbits(8)) for _ in range(self.gap)]
        return out

    def plays(self, exposure: int) -> list[tuple[int, list]]:
        """(camera clocks to wait, wave) of what the camera sends after an exposure."""
        wave = self.wave(exposure)
        kind, *arguments = self.faults.get(exposure, ("none",))
        if kind == "drop":
            return []
        if kind == "repeat":
            return [(self.delay, wave), (arguments[0], list(wave))]
        if kind == "runs on":
            return [(self.delay, wave)] * arguments[0]
        if kind == "delay":
            return [(self.delay + arguments[0], wave)]
        if kind != "none":
            at = arguments[0] % len(wave)
            changed = mutated(wave, at, kind, *arguments[1:])
            return [(self.delay, changed)]
        return [(self.delay, wave)]


def mutated(wave: list, at: int, kind: str, length: int, level: int) -> list:
    """A wave with one defect that begins at clock ``at``."""
    f, lval, d, pixel = wave[at]
    there = range(at, min(at + length, len(wave)))
    match kind:
        case "fval" | "lval" | "dval":
            index = ("fval", "lval", "dval").index(kind)
            out = list(wave)
            for k in there:
                levels = list(wave[k])
                # Where DVAL is low there is no pixel.
                levels[3] ^= 0x55 if kind == "dval" and not level else 0
                levels[index] = level
                out[k] = tuple(levels)
            return out
        case "lost":
            return wave[:at] + wave[at + length :]
        case "doubled":
            return wave[:at] + [(f, lval, d, pixel)] * length + wave[at:]
        case "cut":
            return wave[:at]
        case "noise":
            return [(0, 1, 1, 99)] * length + [(0, 0, 0, 0)] * 3 + wave
        case "pulse":
            return [(1, 0, 0, 0)] * length + [(0, 0, 0, 0)] * (1 + at) + wave
        case "stop":
            return [*wave[:at], ("stop", 40 * length), *wave[at:]]
    raise AssertionError(kind)


class Rig:
    """Exposer and imaging path with a panel that shows at once; one simulator for every case."""

    def __init__(self, g: Geometry = GEOMETRY) -> None:
        identity = identity_values(
            g, magic=0, protocol_hash=0, build=0, board=0, link=0, clock_hz=0, monitor_cycles=0, features=0
        )
        self.regs, self.exposer = RegisterFile(g, identity), Exposer()
        self.imaging = ImagingPath(g, self.regs)
        m = Module()
        m.submodules.regs, m.submodules.exposer, m.submodules.imaging = self.regs, self.exposer, self.imaging
        e, i = self.exposer, self.imaging
        connect(m, e.o, i.exposed)
        m.d.sync += [e.latched.eq(e.grant)]
        m.d.comb += [
            e.panel_timeout.eq(1000), e.panel_progress.eq(1), e.analog_ready.eq(1), e.raw.eq(0),
            e.showing_cycles.eq((1 << 32) - 1), e.weight.eq(UNITY), i.reading_stb.eq(e.ended),
            e.readout_cycles.eq(i.readout_cycles), e.none_due.eq(i.none_due), e.resync.eq(i.resync),
            e.hopeless.eq(i.hopeless), e.release.eq(i.release), e.release_set.eq(i.release_set),
            i.claim.eq(e.claim), i.claim_set.eq(e.set), i.claim_id.eq(e.claim_id), i.exposure_ended.eq(e.ended),
            i.trigger.eq(e.trigger), i.laser_on.eq(1),
        ]  # fmt: skip
        m.domains.cam = self.cam = ClockDomain(reset_less=True)
        self.simulator = Simulator(m)
        self.simulator.add_clock(1 / CLOCK_HZ)
        for testbench in (self._cam_clock, self._camera, self._trigger, self._collect):
            self.simulator.add_testbench(testbench, background=True)
        self.simulator.add_testbench(self._script)
        self._ran = False

    def run(self, case: Case):
        """Records of all projections (or None if they did not come in time), and the counters of events."""
        self.case, self.records, self.events = case, None, {}
        self.queue: list[tuple[int, list]] = []
        self.stopped = 0
        self.bytes = bytearray()
        self.packet = None
        if self._ran:
            self.simulator.reset()
        self._ran = True
        self.simulator.run()
        return self.records

    async def _cam_clock(self, ctx):
        level = 0
        half = 0.5 / (CLOCK_HZ * self.case.ratio)
        while True:
            await ctx.delay(half)
            if self.stopped:
                await ctx.delay(self.stopped / CLOCK_HZ)
                self.stopped = 0
            level ^= 1
            ctx.set(self.cam.clk, level)

    async def _camera(self, ctx):
        i = self.imaging
        while True:
            await ctx.tick("cam")
            if not self.queue:
                continue
            wait, wave = self.queue.pop(0)
            for _ in range(wait):
                await ctx.tick("cam")
            for sample in wave:
                if sample[0] == "stop":
                    self.stopped = sample[1]
                    continue
                for pin, value in zip((i.fval, i.lval, i.dval, i.pixel), sample, strict=True):
                    ctx.set(pin, value)
                await ctx.tick("cam")
            ctx.set(i.fval, 0)
            ctx.set(i.lval, 0)
            for _ in range(self.case.between):
                await ctx.tick("cam")

    async def _trigger(self, ctx):
        e = self.exposer
        async for _, _, ended, exposure in ctx.tick().sample(e.ended, e.exposure_id):
            if ended:
                self.queue.extend(self.case.plays(exposure))

    async def _collect(self, ctx):
        o = self.imaging.o
        ctx.set(o.ready, 1)
        async for _, _, valid, payload in ctx.tick().sample(o.valid, o.payload):
            if valid:
                self.bytes.append(payload.data)
                if payload.last:
                    self.packet = bytes(self.bytes)

    async def _write(self, ctx, **values):
        for name, value in values.items():
            ctx.set(self.regs.address, REGISTERS[name].address)
            ctx.set(self.regs.w_data, value)
            ctx.set(self.regs.w_stb, 1)
            await ctx.tick()
            ctx.set(self.regs.w_stb, 0)
            assert ctx.get(self.regs.code) == Code.OK, name
            await ctx.tick()

    async def _script(self, ctx):
        case, i = self.case, self.imaging
        await self._write(
            ctx, frame_timeout_cycles=case.timeout_cycles, camera_jitter_cycles=round(2 / case.ratio),
            selection_length=GEOMETRY.outputs, result_format=2,
        )  # fmt: skip
        # Taken when its last result has been sent.
        ctx.set(i.batch.p, {"sequence": 1, "count": PROJECTIONS, "first_exposure": 0})
        ctx.set(i.batch.valid, 1)
        stream = self.exposer.i
        for k in range(case.exposures):
            shot = k % case.shots
            ctx.set(stream.p, {
                "shot": {"exposure_cycles": case.exposure, "settle_cycles": 1, "negative": shot % 2, "frames": 1},
                "first": shot == 0, "last": shot == case.shots - 1, "fresh": shot == 0,
            })  # fmt: skip
            ctx.set(stream.valid, 1)
            for _ in range(20 * case.timeout_cycles + 1000 * case.shots):
                *_, ready = await ctx.tick().sample(stream.ready)
                if ready:
                    break
            else:
                return
            ctx.set(stream.valid, 0)
        for _ in range(20 * case.timeout_cycles + 1000 * case.shots):
            if self.packet is not None:
                break
            await ctx.tick()
        else:
            return
        content = self.packet
        packet = Packet(PacketType.RESULT, content[1], content[2:])
        first, self.records = decode_records(packet.payload, FORM)
        assert (first, len(self.records.head)) == (0, PROJECTIONS)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig()


def expected(case: Case) -> np.ndarray:
    shots = [Shot(negative=bool(k % 2)) for k in range(case.shots)]
    frames = np.array([[case.frame(p * case.shots + s) for s in range(case.shots)] for p in range(PROJECTIONS)])
    return accumulator.model(shots, binner.model(case.geometry, frames))[0][:, 0]


def check(rig: Rig, case: Case) -> list[str]:
    """Run a case; what is OK must be exact. Returns the statuses' names."""
    records = rig.run(case)
    assert records is not None, "the device hangs"
    wanted = expected(case)
    names = [Code(status).name for status in records.head["status"].tolist()]
    for i, name in enumerate(names):
        assert records.head["exposure"][i] == i * case.shots
        if name == "OK":
            assert records.values[i].tolist() == wanted[i].tolist(), f"projection {i} is wrong and says OK"
    return names


RATIOS = st.sampled_from([0.97, 0.31, 0.77, 0.97, 0.6, 0.05])
"""Of the camera's to the system clock: what is promised to work."""
WAVES = st.sampled_from(["fval", "lval", "dval", "lost", "doubled", "cut", "noise", "pulse", "stop"])


@st.composite
def cases(draw, faults: bool = True, ratios=RATIOS) -> Case:
    shots = draw(st.integers(1, 3))
    case = Case(
        ratio=draw(ratios), shots=shots, exposure=draw(st.sampled_from([1, 9, 40, 150, 700])),
        delay=draw(st.integers(0, 30)), lead=draw(st.sampled_from([0, 1, 12])), gap=draw(st.sampled_from([1, 2, 9])),
        between=draw(st.integers(1, 3)), seed=draw(st.integers(0, 999)),
    )  # fmt: skip
    if faults:
        exposure = draw(st.integers(0, case.exposures - 1))
        frame_level = draw(st.integers(0, 3)) == 0
        if frame_level:
            kind = draw(st.sampled_from(["drop", "repeat", "delay"]))
            case.faults[exposure] = (kind, draw(st.integers(0, 400)))
        else:
            case.faults[exposure] = (
                draw(WAVES),
                draw(st.integers(0, 200)),
                draw(st.integers(1, 8)),
                draw(st.integers(0, 1)),
            )
    return case


EXAMPLES = int(os.environ.get("OPENOPU_EXAMPLES", "30"))
"""Of defects; some hundred take minutes."""
PROPERTY = settings(
    deadline=None, print_blob=True, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
"""Derandomised: the same cases in every run; a failure prints the case."""


@settings(PROPERTY, max_examples=EXAMPLES // 4)
@given(case=cases(faults=False))
def test_whole_frames_are_exact(rig, case):
    assert check(rig, case) == ["OK"] * PROJECTIONS


@settings(PROPERTY, max_examples=EXAMPLES)
@given(case=cases())
def test_a_defect_anywhere_is_flagged_or_harmless(rig, case):
    names = check(rig, case)
    ((kind, *_),) = case.faults.values()
    if kind == "drop":
        assert "FRAME_MISSING" in names


@pytest.mark.parametrize("ratio", [1.02, 2.0, 3.0])
def test_a_camera_that_is_faster_than_the_system_overflows_by_name(ratio):
    case = Case(ratio, shots=2, exposure=40, delay=3, lead=1, gap=2, between=2, geometry=LONGER)
    names = check(Rig(LONGER), case)
    assert set(names) <= {"OK", "CAMERA_OVERFLOW"}
    assert "CAMERA_OVERFLOW" in names or ratio < 2


@pytest.mark.parametrize(("shots", "ratio"), [(1, 0.97), (2, 0.31), (1, 0.05)])
def test_a_frame_repeated_when_the_next_is_due_is_noticed(rig, ratio, shots):
    # Exposures as quick as the readout: the camera stays one frame behind, and is never silent.
    taken = 0
    for after in range(0, 70, 6) if ratio > 0.1 else range(0, 20, 3):
        case = Case(ratio, shots, exposure=1, delay=6, lead=1, gap=1, between=2, faults={shots - 1: ("repeat", after)})
        names = check(rig, case)
        taken += names[0] == "OK" and names[1] != "OK"
    assert taken, "no repeated frame came when the next was due"


def test_a_camera_that_is_never_silent_is_given_up(rig):
    """It runs on by itself from one exposure on: what was exposed before is right, all the rest fails, none hangs."""
    case = Case(0.97, shots=3, exposure=40, delay=3, lead=1, gap=1, between=2, faults={3: ("runs on", 400)})
    names = check(rig, case)
    assert rig.queue, "the camera has come to rest"
    assert names[0] == "OK"
    assert "OK" not in names[1:]
