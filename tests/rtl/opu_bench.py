"""A small Opu in Amaranth's simulator: panel and camera models around it, and a host that speaks packets."""

from __future__ import annotations

import random
from collections import deque

import numpy as np
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from openopu_rtl import accumulator, binner, expander, results
from openopu_rtl.opu import Opu
from openopu_rtl.protocol import (
    PROTOCOL_HASH,
    ErrorReply,
    Format,
    Geometry,
    Packet,
    PacketType,
    PanelKind,
    Program,
    decode_records,
)
from openopu_rtl.protocol.packets import WRITE_WORDS_MAX, encode_project, split
from openopu_rtl.protocol.registers import REGISTERS, RESULT_BITS, WINDOWS

SMALL = Geometry(
    slm_width=16, slm_height=10, slm_h_front=1, slm_h_sync=2, slm_h_back=1, slm_v_front=1, slm_v_sync=1, slm_v_back=1,
    macropixel=2, modes_x=4, modes_y=4, signal_x=1, signal_y=1, anchor_x=10, anchor_y=1, anchor_width=4,
    anchor_height=8, camera_width=12, camera_height=10, crop_x=2, crop_y=1, crop_width=8, crop_height=8, bin=2,
    shot_depth=8, store_bytes=64, queue_depth=4, raw_rows=10,
)  # fmt: skip

CLOCK_HZ = 48_000_000
TIMING = {"frame_timeout_cycles": 1200, "camera_jitter_cycles": 100}
"""The camera model pauses at random before and between lines."""


def frame_of(geometry: Geometry, levels: np.ndarray, exposure: int) -> np.ndarray:
    """What the model camera sees: every pixel depends on the whole pattern and on the exposure's ID."""
    key = (int(levels.astype(np.int64).ravel() @ np.arange(1, levels.size + 1)), exposure)
    shape = (geometry.camera_height, geometry.camera_width)
    return np.random.default_rng(key).integers(0, 1 << geometry.pixel_bits, shape, dtype=np.uint16)


def expected(bench, program, planes, first, *, selection, bits, shift, banks, table=None):
    """Integers and saturations that the models give for one projection."""
    sums, _ = accumulator.model(program.shots, bench.integers(program, planes, first, table=table))
    return results.model(sums, selection=np.array(selection), banks=banks, shift=shift, bits=bits)


class Bench:
    """Runs ``script(host)``, an async function, against a small Opu.

    ``faults`` maps an exposure's ID to what the camera does: a list of frames to play (each a list of
    lines of pixels), so that anything from no frame to two can be played.
    """

    def __init__(
        self,
        geometry=SMALL,
        *,
        seed=0,
        clocks=(48e6, 40e6, 37e6),
        faults=None,
        stall=0.0,
        readings=None,
        plants=(),
        background=(),
    ):
        self.geometry = geometry
        self.opu = Opu(geometry, clock_hz=CLOCK_HZ, plants=plants)
        self.random = random.Random(seed)
        self.clocks = clocks
        self.faults = faults or {}
        self.stall = float(stall)
        self.readings = readings
        """What the photodiode reads in an exposure, by its ID; None: nothing is there (reads 0)."""
        self.background = background
        self.panel_runs = True
        """False: the panel's pixel clock stands still."""
        self.stalled = False
        self.torn = False
        """True: frames may lack pixels, so that what is shown changes with every frame."""
        self.patterns: dict[int, np.ndarray] = {}
        self.widths: dict[int, int] = {}
        self.shown: np.ndarray | None = None
        self.sent: list[list[int]] = []
        """Pixels of each video frame."""
        self._play: deque = deque()

    def run(self, script) -> None:
        top = Module()
        top.submodules.opu = self.opu
        top.domains.slm = slm = ClockDomain()
        sim = Simulator(top)
        sim.add_clock(1 / self.clocks[0], domain="sync")
        sim.add_clock(1 / self.clocks[2], domain="cam")

        async def slm_clock(ctx):
            while True:
                await ctx.delay(0.5 / self.clocks[1])
                ctx.set(slm.clk, self.panel_runs and not ctx.get(slm.clk))

        sim.add_testbench(slm_clock, background=True)
        sim.add_testbench(self._panel, background=True)
        sim.add_testbench(self._trigger, background=True)
        sim.add_testbench(self._camera, background=True)
        for testbench in self.background:
            sim.add_testbench(testbench, background=True)
        if self.readings:
            sim.add_testbench(self._photodiode, background=True)
        received = bytearray()

        async def receive(ctx):
            while True:
                ctx.set(self.opu.link_o.ready, self.random.random() >= self.stall)
                _, _, valid, data, ready = await ctx.tick().sample(
                    self.opu.link_o.valid, self.opu.link_o.payload, self.opu.link_o.ready
                )
                if valid and ready:
                    received.append(data)

        sim.add_testbench(receive, background=True)

        async def host(ctx):
            ctx.set(self.opu.interlock_closed, 1)
            await ctx.tick().repeat(4)
            await script(Host(self, ctx, received))

        sim.add_testbench(host)
        sim.run()

    async def _panel(self, ctx):
        g, o = self.geometry, self.opu
        continuous = g.panel_kind == PanelKind.VIDEO_CONTINUOUS
        pixels, before, size, clocks = [], 0, g.slm_width * g.slm_height, None
        while True:
            _, _, de, vsync, level = await ctx.tick("slm").sample(o.slm_de, o.slm_vsync, o.slm_level)
            if de:
                pixels.append(level)
            if vsync and not before:
                if continuous:
                    assert clocks in (None, g.slm_frame_clocks), f"a frame of {clocks} clocks"
                # A stall cuts one frame short; a panel does not show that. Nor is there one before the first vsync.
                cut = self.stalled or (continuous and clocks is None)
                assert len(pixels) == size or cut, f"{len(pixels)} pixels"
                self.sent.append(pixels)
                shown = np.array(pixels, dtype=np.uint8)
                # A frame that repeats the pattern leaves it as it is.
                if len(pixels) == size and (self.shown is None or not np.array_equal(shown, self.shown.ravel())):
                    self.shown = shown.reshape(g.slm_height, g.slm_width)
                pixels, clocks = [], 0
                self.stalled = False
            before = vsync
            clocks = None if clocks is None else clocks + 1

    async def _trigger(self, ctx):
        o = self.opu
        before, width = 0, 0
        while True:
            _, _, trigger, exposure = await ctx.tick().sample(o.cam_trigger, o.exposure_id)
            if trigger:
                width += 1
                same = width == 1 or self.patterns[exposure] is self.shown
                assert same or self.torn, "the pattern changed while exposed"
                self.patterns[exposure] = self.shown
            elif before:
                self.widths[exposure] = width
                width = 0
                frames = self.faults.get(exposure)
                if frames is None:
                    frames = [frame_of(self.geometry, self.patterns[exposure], exposure).tolist()]
                self._play.extend(frames)
            before = trigger

    async def _photodiode(self, ctx):
        """MCP3201: sampled until the second falling clock; a null bit, then twelve bits."""
        o = self.opu
        before, falls, value = 0, 0, 0
        async for _, _, cs_n, sck, exposure in ctx.tick().sample(o.adc_cs_n[0], o.adc_sck, o.exposure_id):
            if cs_n:
                falls = 0
            elif before and not sck:
                falls += 1
                if falls == 2:
                    value = self.readings(exposure)
                ctx.set(o.adc_dout, value >> (14 - falls) & 1 if 3 <= falls <= 14 else 0)
            before = sck and not cs_n

    async def _camera(self, ctx):
        o = self.opu
        while True:
            await ctx.tick("cam")
            if not self._play:
                continue
            frame = self._play.popleft()
            await ctx.tick("cam").repeat(self.random.randint(1, 6))
            ctx.set(o.cam_fval, 1)
            for line in frame:
                await ctx.tick("cam").repeat(self.random.randint(1, 3))
                ctx.set(o.cam_lval, 1)
                for pixel in line:
                    ctx.set(o.cam_pixel, pixel)
                    await ctx.tick("cam")
                ctx.set(o.cam_lval, 0)
                ctx.set(o.cam_pixel, self.random.getrandbits(8))
            await ctx.tick("cam").repeat(2)
            ctx.set(o.cam_fval, 0)
            await ctx.tick("cam")

    def integers(self, program: Program, planes, first: int, *, table=None) -> np.ndarray:
        """Binned frames (1, shots, outputs) that the camera model shows for one projection."""
        table = np.arange(256, dtype=np.uint8) if table is None else table
        out = []
        for i, s in enumerate(program):
            levels = expander.model(
                self.geometry, planes[s.plane], invert=s.invert, level_on=s.level_on, level_off=s.level_off,
                level_anchor=s.level_anchor, level_border=s.level_border, table=table,
            )  # fmt: skip
            out.append(binner.model(self.geometry, frame_of(self.geometry, levels, first + i)))
        return np.array(out)[None]


class Host:
    """The other end of the link."""

    def __init__(self, bench, ctx, received):
        self.bench, self.ctx, self._received = bench, ctx, received
        self._sequence = 0

    async def send(self, data: bytes):
        link = self.bench.opu.link_i
        for byte in data:
            while self.bench.random.random() < self.bench.stall:
                await self.ctx.tick()
            self.ctx.set(link.payload, byte)
            self.ctx.set(link.valid, 1)
            await self.ctx.tick().until(link.ready)
            self.ctx.set(link.valid, 0)

    async def reply(self, clocks=200_000) -> Packet:
        for _ in range(clocks // 10):
            for encoded in split(self._received):
                return Packet.decode(encoded)
            await self.ctx.tick().repeat(10)
        raise AssertionError(f"no reply in {clocks} clocks")

    async def ask(self, kind, payload=b"") -> Packet:
        self._sequence = (self._sequence + 1) & 0xFF
        await self.send(Packet(kind, self._sequence, payload).encode())
        reply = await self.reply()
        assert reply.sequence == self._sequence
        return reply

    async def write(self, **values) -> None:
        for name, value in values.items():
            reply = await self.try_write(REGISTERS[name].address, [value])
            assert reply.type == PacketType.WRITE_REPLY, (name, reply)

    async def try_write(self, address, words) -> Packet:
        payload = address.to_bytes(2, "little") + np.array(words, dtype="<u4").tobytes()
        return await self.ask(PacketType.WRITE, payload)

    async def arm(self) -> ErrorReply | None:
        """Both steps; the error of the first, if there was one."""
        reply = await self.try_write(REGISTERS["laser_unlock"].address, [PROTOCOL_HASH])
        if reply.type == PacketType.ERROR:
            return ErrorReply.from_payload(reply.payload)
        await self.write(laser_arm=PROTOCOL_HASH)
        return None

    async def write_window(self, name, words) -> None:
        for start in range(0, len(words), WRITE_WORDS_MAX):
            reply = await self.try_write(WINDOWS[name].address + start, words[start : start + WRITE_WORDS_MAX])
            assert reply.type == PacketType.WRITE_REPLY, reply

    async def read(self, name) -> int:
        address = REGISTERS[name].address
        reply = await self.ask(PacketType.READ, address.to_bytes(2, "little") + (1).to_bytes(2, "little"))
        assert reply.type == PacketType.READ_REPLY, reply
        return int.from_bytes(reply.payload, "little")

    async def configure(self, program: Program, *, selection, bits=16, shift=0, banks=1, raw=False):
        await self.write_window("shot_table", program.words())
        if len(selection):
            await self.write_window("selection", selection)
        await self.write(
            program_length=len(program), planes=program.planes, selection_length=len(selection),
            result_format=RESULT_BITS.index(bits), result_shift=shift, result_banks=banks, result_raw=int(raw),
        )  # fmt: skip

    async def project(self, first: int, planes: np.ndarray, form: Format):
        """Records of one packet of (count, planes, modes) bits."""
        self._sequence = (self._sequence + 1) & 0xFF
        await self.send(encode_project(self._sequence, first, planes))
        return await self.results(first, form)

    async def results(self, first: int, form: Format):
        reply = await self.reply()
        assert reply.type == PacketType.RESULT, reply
        got, records = decode_records(reply.payload, form)
        assert got == first
        return records
