"""Expander: from a bit plane to the panel's pixels."""

from __future__ import annotations

import numpy as np
from amaranth import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .protocol.geometry import Geometry
from .shapes import PANEL_PIXEL, SHOT


def model(
    geometry: Geometry,
    plane: np.ndarray,
    *,
    invert: bool,
    level_on: int,
    level_off: int,
    level_anchor: int,
    level_border: int,
    table: np.ndarray,
) -> np.ndarray:
    """Levels on the panel, (slm_height, slm_width) uint8, for a plane of (modes,) bits.

    ``table`` is the (256,) level table.
    """
    g, k = geometry, geometry.macropixel
    index = np.full((g.slm_height, g.slm_width), level_border, dtype=np.uint8)
    index[g.anchor_y : g.anchor_y + g.anchor_height, g.anchor_x : g.anchor_x + g.anchor_width] = level_anchor
    bits = np.asarray(plane, dtype=bool).reshape(g.modes_y, g.modes_x) ^ bool(invert)
    signal = np.where(bits, level_on, level_off).astype(np.uint8)
    index[g.signal_y : g.signal_y + g.signal_height, g.signal_x : g.signal_x + g.signal_width] = np.kron(
        signal, np.ones((k, k), dtype=np.uint8)
    )
    return np.asarray(table, dtype=np.uint8)[index]


class Expander(wiring.Component):
    """Streams one video frame of a shot, a pixel a clock, in raster order.

    ``start`` (while ``busy`` is low) begins a frame of the plane at byte ``plane_address`` of the
    pattern store; ``shot``, ``blank`` (all modes 0, for invalid shots), ``await_latch`` and ``final``
    must hold until ``busy`` falls. ``border``: all that follows has the border's level. The store is
    read through ``r_addr`` and ``r_data`` (one clock of latency, enabled by ``r_en``); addresses wrap
    at its end.

    Latency from ``start`` to the first pixel: 3 clocks.
    """

    LATENCY = 3

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        address = ceil_log2(geometry.store_bytes)
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "shot": In(SHOT),
                "blank": In(1),
                "border": In(1),
                "await_latch": In(1),
                "final": In(1),
                "plane_address": In(address),
                "r_addr": Out(address),
                "r_en": Out(1),
                "r_data": In(8),
                "table_we": In(1),
                "table_addr": In(8),
                "table_data": In(8),
                "o": Out(stream.Signature(PANEL_PIXEL)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry

        m.submodules.table = table = memory.Memory(shape=8, depth=256, init=range(256))
        write, read = table.write_port(), table.read_port(domain="sync")
        m.d.comb += [write.en.eq(self.table_we), write.addr.eq(self.table_addr), write.data.eq(self.table_data)]

        # Stage 0 walks the raster: (x, y), and within the signal region the mode and the position in it.
        x, y = Signal(range(g.slm_width)), Signal(range(g.slm_height))
        step_x, step_y = Signal(range(g.macropixel)), Signal(range(g.macropixel))
        mode, row_mode = Signal(range(g.modes + g.modes_x + 1)), Signal(range(g.modes + g.modes_x + 1))
        walking = Signal()
        move = Signal()
        m.d.comb += move.eq(~self.o.valid | self.o.ready)

        in_row = Signal()
        in_signal, in_anchor = Signal(), Signal()
        m.d.comb += [
            in_row.eq((y >= g.signal_y) & (y < g.signal_y + g.signal_height)),
            in_signal.eq(in_row & (x >= g.signal_x) & (x < g.signal_x + g.signal_width)),
            in_anchor.eq(
                (x >= g.anchor_x)
                & (x < g.anchor_x + g.anchor_width)
                & (y >= g.anchor_y)
                & (y < g.anchor_y + g.anchor_height)
            ),
            self.r_addr.eq(self.plane_address + (mode >> 3)),
            self.r_en.eq(move),
        ]
        last = Signal()
        m.d.comb += last.eq((x == g.slm_width - 1) & (y == g.slm_height - 1))
        with m.If(self.start & ~self.busy):
            m.d.sync += [x.eq(0), y.eq(0), step_x.eq(0), step_y.eq(0), mode.eq(0), row_mode.eq(0), walking.eq(1)]
        with m.Elif(walking & move):
            with m.If(in_signal):
                m.d.sync += step_x.eq(step_x + 1)
                with m.If(step_x == g.macropixel - 1):
                    m.d.sync += [step_x.eq(0), mode.eq(mode + 1)]
            m.d.sync += x.eq(x + 1)
            with m.If(x == g.slm_width - 1):
                m.d.sync += [x.eq(0), y.eq(y + 1), step_x.eq(0), mode.eq(row_mode)]
                with m.If(in_row):
                    m.d.sync += step_y.eq(step_y + 1)
                    with m.If(step_y == g.macropixel - 1):
                        m.d.sync += [step_y.eq(0), row_mode.eq(row_mode + g.modes_x), mode.eq(row_mode + g.modes_x)]
            with m.If(last):
                m.d.sync += walking.eq(0)

        # Stage 1 has the store's byte; it picks the level's index and looks it up.
        valid1, signal1, anchor1 = Signal(), Signal(), Signal()
        bit1 = Signal(3)
        with m.If(move):
            m.d.sync += [
                valid1.eq(walking),
                signal1.eq(in_signal & ~self.border),
                anchor1.eq(in_anchor & ~self.border),
                bit1.eq(mode[:3]),
            ]
        lit = Signal()
        m.d.comb += lit.eq((self.r_data.bit_select(bit1, 1) & ~self.blank) ^ self.shot.invert)
        m.d.comb += [
            read.en.eq(move),
            read.addr.eq(
                Mux(
                    signal1,
                    Mux(lit, self.shot.level_on, self.shot.level_off),
                    Mux(anchor1, self.shot.level_anchor, self.shot.level_border),
                )
            ),
        ]

        # Stage 2 has the level.
        with m.If(move):
            m.d.sync += self.o.valid.eq(valid1)
        m.d.comb += [
            self.o.p.level.eq(read.data),
            self.o.p.await_latch.eq(self.await_latch),
            self.o.p.final.eq(self.final),
            self.busy.eq(walking | valid1 | self.o.valid),
        ]
        return m
