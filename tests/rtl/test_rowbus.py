"""The row bus: builder and port against their models, and against the expander's."""

import dataclasses

import numpy as np
import pytest
from amaranth import DomainRenamer, Module, Signal
from openopu_rtl import binarylevels, expander, rowbuilder, rowport
from openopu_rtl.protocol import Geometry, GeometryError, PanelKind
from openopu_rtl.protocol.codec import pack_planes
from openopu_rtl.rowbuilder import RowBuilder
from openopu_rtl.rowport import ALL_BLOCKS, BlockMode, RowMode, RowPort

SMALL = Geometry(
    panel_kind=PanelKind.ROW_BUS, row_word_bits=8,
    slm_width=27, slm_height=13, slm_v_back=9,
    macropixel=2, modes_x=8, modes_y=4, signal_x=1, signal_y=2, anchor_x=18, anchor_y=1, anchor_width=7,
    anchor_height=9, camera_width=12, camera_height=10, crop_x=2, crop_y=1, crop_width=8, crop_height=8, bin=2,
    shot_depth=8, store_bytes=64, queue_depth=4, raw_rows=10,
)  # fmt: skip
GEOMETRIES = {
    "small": SMALL,
    "two bytes a row, anchor above": dataclasses.replace(
        SMALL, modes_x=16, modes_y=2, macropixel=1, anchor_x=3, anchor_y=0, anchor_height=2, row_word_bits=32
    ),
    "all signal": dataclasses.replace(
        SMALL,
        slm_width=16,
        slm_height=8,
        signal_x=0,
        signal_y=0,
        anchor_x=0,
        anchor_y=0,
        anchor_width=0,
        anchor_height=0,
        row_word_bits=4,
    ),
}


@pytest.fixture(params=GEOMETRIES)
def geometry(request):
    return GEOMETRIES[request.param]


class Controller:
    """What a controller takes from the bus: memory by rows, and mirrors that follow it at a reset. Checks laws."""

    def __init__(self, geometry, port, rng):
        self.geometry, self.port, self.rng = geometry, port, rng
        self.memory = np.zeros((geometry.slm_height, geometry.slm_width), dtype=bool)
        self.shown = None
        self.resets = 0
        self.writes_allowed = True

    async def run(self, ctx):
        g, p = self.geometry, self.port
        column, row, active, settle, first = 0, [], 0, 0, None
        while True:
            _, _, dvalid, data, mode, address, block, block_address = await ctx.tick().sample(
                p.dvalid, p.data, p.row_mode, p.row_address, p.block_mode, p.block_address
            )
            if active:
                active -= 1
                ctx.set(p.rst_active, 0 < active < 20)
                settle = g.slm_v_back * g.row_cycle_clocks
            elif settle and dvalid:
                settle -= 1
            if not dvalid:
                assert column == 0, "a pause within a row cycle"
                continue
            kind = (mode, address, block, block_address)
            first = kind if column == 0 else first
            assert kind == first
            row += [data >> i & 1 for i in range(g.row_word_bits)]
            column += 1
            if column < g.row_cycle_clocks:
                continue
            if mode == RowMode.ADDRESS:
                assert active + settle == 0, "written while the mirrors settle"
                self.memory[address] = row[: g.slm_width]
            if block == BlockMode.GROUP:
                assert (block_address, mode, active) == (ALL_BLOCKS, RowMode.NONE, 0)
                self.shown = self.memory.copy()
                self.resets += 1
                active = 20 + self.rng.randrange(5)
            column, row = 0, []


def test_patterns_reach_the_mirrors(geometry, rng, simulate):
    top = Module()
    top.submodules.builder = builder = RowBuilder(geometry)
    top.submodules.port = port = RowPort(geometry)
    # One clock for both; the stream between them stalls at random.
    open_ = Signal()
    top.d.comb += [
        port.i.payload.eq(builder.o.payload),
        port.i.valid.eq(builder.o.valid & open_),
        builder.o.ready.eq(port.i.ready & open_),
    ]
    top = DomainRenamer({"slm": "sync"})(top)
    planes = np.array([[rng.getrandbits(1) for _ in range(geometry.modes)] for _ in range(3)])
    stored = pack_planes(planes)
    table = [rng.getrandbits(8) for _ in range(256)]
    controller = Controller(geometry, port, rng)
    stall = 0.0

    async def memory(ctx):
        while True:
            _, _, address, enable = await ctx.tick().sample(builder.r_addr, builder.r_en)
            if enable:
                ctx.set(builder.r_data, stored[address % len(stored)])

    async def stalls(ctx):
        while True:
            await ctx.tick()
            ctx.set(open_, rng.random() >= stall)

    async def script(ctx):
        nonlocal stall
        for i, level in enumerate(table):
            ctx.set(builder.table_we, 1)
            ctx.set(builder.table_addr, i)
            ctx.set(builder.table_data, level)
            await ctx.tick()
        ctx.set(builder.table_we, 0)
        grant, latched = 0, 0
        for number in range(8):
            stall = rng.choice((0.0, 0.5, 0.9))
            levels = {k: rng.getrandbits(8) for k in ("level_on", "level_off", "level_anchor", "level_border")}
            invert, blank, plane = rng.getrandbits(1), number == 3, number % 3
            final, wait = number != 5, number != 6
            for name, level in levels.items():
                ctx.set(builder.shot[name], level)
            ctx.set(builder.shot.invert, invert)
            for name, value in {"blank": blank, "plane_address": plane * geometry.plane_bytes}.items():
                ctx.set(getattr(builder, name), value)
            ctx.set(builder.await_latch, wait)
            ctx.set(builder.final, final)
            resets = controller.resets
            ctx.set(builder.start, 1)
            await ctx.tick()
            ctx.set(builder.start, 0)
            clocks = 1
            while not ctx.get(builder.o.valid):
                await ctx.tick()
                clocks += 1
            assert clocks == builder.LATENCY
            await ctx.tick().until(~builder.busy)
            if wait:
                await ctx.tick().repeat(400)
                assert controller.resets == resets, "shown without a grant"
                grant ^= 1
                ctx.set(port.grant, grant)
            for _ in range(4000):
                await ctx.tick()
                if controller.resets > resets and (ctx.get(port.latched) != latched or not final):
                    break
            else:
                raise AssertionError(f"pattern {number} never shown")
            assert controller.resets == resets + 1
            assert not ctx.get(port.rst_active) or not final
            latched ^= final
            shown = planes[plane] * (not blank)
            want = expander.model(geometry, shown, invert=bool(invert), table=np.array(table), **levels)
            assert np.array_equal(controller.shown, binarylevels.model(want))
            bits = {k.removeprefix("level_"): bool(table[v] >= 128) for k, v in levels.items()}
            modes = rowbuilder.model(shown, invert=bool(invert), on=bits["on"], off=bits["off"])
            rows = rowport.model(geometry, modes, anchor=bits["anchor"], border=bits["border"])
            assert np.array_equal(rows, binarylevels.model(want))
            if not final:
                await ctx.tick().repeat(60)
                assert ctx.get(port.latched) == latched

    simulate(top, script, background=(memory, stalls, controller.run), limit=80_000)


def test_geometries_that_the_bus_cannot_serve():
    with pytest.raises(GeometryError, match="modes_x = 4 must be a multiple of 8"):
        dataclasses.replace(SMALL, modes_x=4, modes_y=4)
