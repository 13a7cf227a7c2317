"""Packed planes: sender, port, slots and packer, each alone and as one chain with a modelled panel."""

import dataclasses

import numpy as np
import pytest
from amaranth import ClockDomain, Module
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.sim import Simulator
from openopu_rtl import binarylevels, expander, planesender
from openopu_rtl.planeport import PlanePort
from openopu_rtl.planesender import PlaneSender
from openopu_rtl.protocol import Geometry, PanelKind
from openopu_rtl.protocol.codec import pack_planes
from openopu_rtl.shapes import PLANES, PLANES_WORD
from openopu_rtl.slots import MARGIN_CYCLES, SlotTracker

SMALL = Geometry(
    panel_kind=PanelKind.PACKED_PLANES,
    slm_width=22, slm_height=9, slm_h_front=2, slm_h_sync=3, slm_h_back=2, slm_v_front=1, slm_v_sync=1, slm_v_back=2,
    macropixel=2, modes_x=8, modes_y=3, signal_x=1, signal_y=2, anchor_x=18, anchor_y=1, anchor_width=3,
    anchor_height=7, camera_width=12, camera_height=10, crop_x=2, crop_y=1, crop_width=8, crop_height=8, bin=2,
    shot_depth=8, store_bytes=64, queue_depth=4, raw_rows=10,
)  # fmt: skip
GEOMETRIES = {
    "small": SMALL,
    "two groups a line": dataclasses.replace(SMALL, macropixel=1, modes_x=16),
    "no border": dataclasses.replace(
        SMALL, macropixel=1, slm_width=8, slm_height=3, signal_x=0, signal_y=0, anchor_x=0, anchor_y=0,
        anchor_width=0, anchor_height=0,
    ),
}  # fmt: skip
LEVELS = ("level_on", "level_off", "level_anchor", "level_border")


@pytest.fixture(params=GEOMETRIES)
def geometry(request):
    return GEOMETRIES[request.param]


def patterns_of(geometry, slots, planes):
    """What the expander's model makes of slots, binary."""
    table = np.arange(256)
    return np.array(
        [
            binarylevels.model(
                expander.model(
                    geometry, planes[s["plane"]] * (not s["blank"]), invert=s["invert"], table=table,
                    **{k: 255 * s[k] for k in LEVELS},
                )
            )
            for s in slots
        ]
    )  # fmt: skip


def random_slot(rng, planes):
    bits = {name: rng.getrandbits(1) for name in ("invert", "blank", *LEVELS)}
    return {"plane": rng.randrange(len(planes)), **bits, "blank": rng.random() < 0.1}


def test_a_frame_of_planes(geometry, rng):
    """Sender and port: every slot's pattern is on the pins. Where the panel's clock is too quick, the frame is dark
    from there on and not whole, and the next one is right again."""
    top = Module()
    top.submodules.sender = sender = PlaneSender(geometry)
    top.submodules.port = port = PlanePort(geometry)
    top.submodules.fifo = fifo = AsyncFIFOBuffered(width=PLANES_WORD.size, depth=16, w_domain="sync", r_domain="slm")
    top.d.comb += [
        fifo.w_data.eq(sender.o.payload),
        fifo.w_en.eq(sender.o.valid),
        sender.o.ready.eq(fifo.w_rdy),
        port.i.payload.eq(fifo.r_data),
        port.i.valid.eq(fifo.r_rdy),
        fifo.r_en.eq(port.i.ready),
    ]
    top.domains.slm = slm = ClockDomain()
    planes = np.array([[rng.getrandbits(1) for _ in range(geometry.modes)] for _ in range(2)])
    stored = pack_planes(planes)
    slots: list[dict] = []
    words: list[int] = []
    frames: list[tuple[int, int, list[int]]] = []
    half_period = 0.0

    async def slm_clock(ctx):
        while True:
            await ctx.delay(half_period)
            ctx.set(slm.clk, not ctx.get(slm.clk))

    async def memories(ctx):
        while True:
            _, _, slot, address, valid, ready, word = await ctx.tick().sample(
                sender.slot_addr, sender.r_addr, sender.o.valid, sender.o.ready, sender.o.p.planes
            )
            if valid and ready:
                words.append(word)
            ctx.set(sender.r_data, stored[address % len(stored)])
            entry = slots[slot] if slot < len(slots) else random_slot(rng, planes)
            ctx.set(sender.slot_data.plane_address, entry["plane"] * geometry.plane_bytes)
            for name in ("invert", "blank"):
                ctx.set(sender.slot_data[name], entry[name])
            for name in LEVELS:
                ctx.set(sender.slot_data.bits[name.removeprefix("level_")], entry[name])

    async def watch(ctx):
        pixels: list[int] = []
        before = 1
        while True:
            _, _, de, pixel, vsync, whole, tag = await ctx.tick("slm").sample(
                port.de, port.pixel, port.vsync, port.whole, port.tag
            )
            if de:
                pixels.append(pixel)
            if vsync and not before:
                frames.append((whole, tag, pixels))
                pixels = []
            before = vsync

    async def script(ctx):
        nonlocal half_period
        # 8 modes take some 27 clocks to read, and so many pixels are sent meanwhile.
        slow = 0.5e-6 * max(1.1, 40 / (8 * geometry.macropixel))
        for number in range(5):
            quick = number == 2
            slots[:] = [random_slot(rng, planes) for _ in range(rng.choice((1, 7, PLANES)))]
            await ctx.posedge(port.vsync)
            words.clear()
            ctx.set(sender.count, len(slots))
            ctx.set(sender.tag, number)
            ctx.set(sender.start, 1)
            await ctx.tick()
            ctx.set(sender.start, 0)
            await ctx.tick("slm").repeat(3)
            frames.clear()
            if quick:
                # Not before the frame has begun; it would be dark from the start.
                await ctx.posedge(port.de)
                half_period = slow / 40
            while not frames:
                await ctx.tick("slm")
            want = patterns_of(geometry, slots, planes)
            packed = np.tensordot(1 << np.arange(len(want)), want, axes=1).ravel().tolist()
            whole, tag, pixels = frames[0]
            assert whole == (not quick)
            assert len(pixels) == geometry.slm_width * geometry.slm_height
            if quick:
                begun = [a == b for a, b in zip(pixels, packed, strict=True)]
                dark = begun.index(False)
                assert not any(pixels[dark:])
            if not quick:
                assert (tag, pixels) == (number, packed)
                begin = 0 if geometry.anchor_pixels else 2
                assert words[begin:] == planesender.model(geometry, want)[begin:].tolist()
            half_period = slow
            await ctx.tick().until(~sender.busy)

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    half_period = 1e-6
    simulator.add_testbench(script)
    for testbench in (slm_clock, memories, watch):
        simulator.add_testbench(testbench, background=True)
    simulator.run()


class Panel:
    """Trigger and vertical sync as a panel makes them, in cycles; ``edges`` may move or drop what is next."""

    def __init__(self, dut, period=96, on=72, delay=40, frame=None):
        self.dut, self.period, self.on, self.delay = dut, period, on, delay
        self.frame = frame or PLANES * period + 40

    async def show(self, ctx, *, lost=(), spurious=(), narrow=()):
        """One frame. Returns the slots that the tracker announced: (slot, clock, showing)."""
        levels = np.zeros(self.frame, dtype=int)
        for slot in range(PLANES):
            begin = self.delay + slot * self.period
            if slot not in lost:
                levels[begin : begin + (self.on // 2 if slot in narrow else self.on)] = 1
        for clock in spurious:
            levels[clock] ^= 1
        begins, cuts = [], 0
        for clock, level in enumerate(levels.tolist()):
            ctx.set(self.dut.vsync, clock < 20)
            ctx.set(self.dut.trigger, level)
            _, _, began, slot, cut = await ctx.tick().sample(self.dut.begins, self.dut.slot, self.dut.cut)
            cuts += cut
            if began:
                begins.append(slot)
                assert level
                assert clock == self.delay + slot * self.period
        self.cuts = cuts
        return begins


def test_slots_are_numbered_from_the_vertical_sync(rng, simulate):
    dut = SlotTracker()
    panel = Panel(dut)
    every = list(range(PLANES))

    async def script(ctx):
        assert await panel.show(ctx) == []  # nothing known yet
        assert await panel.show(ctx) == every
        length = panel.on - 1
        assert ctx.get(dut.length_cycles) in range(length - (length >> 6) - MARGIN_CYCLES - 2, length - MARGIN_CYCLES)
        for kind in ("lost", "spurious"):
            slot = rng.randrange(1, PLANES - 1)
            at = {"lost": (slot,), "spurious": (panel.delay + slot * panel.period - rng.randrange(15, 22),)}
            # Up to the wrong edge all is right, after it nothing is announced, also not in the next frame.
            got = await panel.show(ctx, **{kind: at[kind]})
            assert got == every[:slot]
            assert await panel.show(ctx) == []
            assert await panel.show(ctx) == every
        # The first trigger lost: the second must not be taken for it.
        assert await panel.show(ctx, lost=(0,)) == []
        assert await panel.show(ctx) == []
        assert await panel.show(ctx) == every
        assert panel.cuts == 0
        await panel.show(ctx, narrow=(5,))
        assert panel.cuts == 1
        # Two that are lost and found again in the same frame: as many edges, but uneven.
        assert await panel.show(ctx) == every
        got = await panel.show(ctx, lost=(7,), spurious=(panel.delay + 8 * panel.period - 2,))
        assert got == every[:7] or got == every[:8]
        # No trigger at all.
        assert await panel.show(ctx, lost=range(PLANES)) == []
        assert await panel.show(ctx) == []
        assert await panel.show(ctx) == every

    simulate(dut, script, limit=200_000)
