"""Expander: from a bit plane to the panel's pixels."""

from __future__ import annotations

import numpy as np
from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .protocol.geometry import Geometry
from .protocol.patterns import panel_frame
from .shapes import PANEL_PIXEL
from .source import shot_ports, store_ports


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
    bits = np.asarray(plane, dtype=bool) ^ bool(invert)
    index = panel_frame(geometry, np.where(bits, level_on, level_off), level_anchor, level_border)
    return np.asarray(table, dtype=np.uint8)[index]


class Expander(wiring.Component):
    """Streams one video frame of a shot, a pixel a clock, in raster order.

    ``start`` (while ``busy`` is low) begins a frame of the plane at byte ``plane_address`` of the
    pattern store; ``shot``, ``blank`` (all modes 0, for invalid shots), ``await_latch`` and ``final``
    must hold until ``busy`` falls. ``border``: all that follows has the border's level. The store is
    read through ``r_addr`` and ``r_data`` (one clock of latency, enabled by ``r_en``); addresses wrap
    at its end.

    Latency from ``start`` to the first pixel: ``LATENCY`` clocks.
    """

    LATENCY = 6

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                **shot_ports(geometry),
                **store_ports(geometry),
                "border": In(1),
                "await_latch": In(1),
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
        in_row, in_signal, in_anchor = Signal(), Signal(), Signal()
        begin, line_end = Signal(), Signal()
        m.d.comb += [
            move.eq(~self.o.valid | self.o.ready),
            begin.eq(self.start & ~self.busy),
            line_end.eq(x == g.slm_width - 1),
            self.r_addr.eq(self.plane_address + (mode >> 3)),
            self.r_en.eq(move),
        ]

        def within(position, step, restart, first, length):
            """Register: ``position`` is one of ``length`` from ``first`` on. Follows it by its steps."""
            inside = Signal()
            with m.If(restart):
                m.d.sync += inside.eq(first == 0 and length > 0)
            with m.Elif(step):
                with m.If(position == first + length - 1):
                    m.d.sync += inside.eq(0)
                if first and length:
                    with m.Elif(position == first - 1):
                        m.d.sync += inside.eq(1)
            return inside

        step, restart_x = walking & move, begin | (walking & move & line_end)
        m.d.comb += [
            in_row.eq(within(y, step & line_end, begin, g.signal_y, g.signal_height)),
            in_signal.eq(in_row & within(x, step, restart_x, g.signal_x, g.signal_width)),
            in_anchor.eq(
                within(y, step & line_end, begin, g.anchor_y, g.anchor_height)
                & within(x, step, restart_x, g.anchor_x, g.anchor_width)
            ),
        ]
        with m.If(begin):
            m.d.sync += [x.eq(0), y.eq(0), step_x.eq(0), step_y.eq(0), mode.eq(0), row_mode.eq(0), walking.eq(1)]
        with m.Elif(step):
            with m.If(in_signal):
                m.d.sync += step_x.eq(step_x + 1)
                with m.If(step_x == g.macropixel - 1):
                    m.d.sync += [step_x.eq(0), mode.eq(mode + 1)]
            m.d.sync += x.eq(x + 1)
            with m.If(line_end):
                m.d.sync += [x.eq(0), y.eq(y + 1), step_x.eq(0), mode.eq(row_mode)]
                with m.If(in_row):
                    m.d.sync += step_y.eq(step_y + 1)
                    with m.If(step_y == g.macropixel - 1):
                        m.d.sync += [step_y.eq(0), row_mode.eq(row_mode + g.modes_x), mode.eq(row_mode + g.modes_x)]
                with m.If(y == g.slm_height - 1):
                    m.d.sync += walking.eq(0)

        # A block RAM's output takes more than half a clock, so a register follows each.
        # Stages 1, 2: the store's byte; 3: the level's index; 4, 5: the level.
        names = ("valid", "signal", "anchor")
        valid, signal, anchor = ([Signal(name=f"{name}{i}") for i in range(6)] for name in names)
        m.d.comb += [
            valid[0].eq(walking),
            signal[0].eq(in_signal & ~self.border),
            anchor[0].eq(in_anchor & ~self.border),
        ]
        bit1, bit2 = Signal(3), Signal(3)
        byte2, index3, level5 = Signal(8), Signal(8), Signal(8)
        lit = (byte2.bit_select(bit2, 1) & ~self.blank) ^ self.shot.invert
        with m.If(move):
            for i in range(1, 6):
                m.d.sync += [valid[i].eq(valid[i - 1]), signal[i].eq(signal[i - 1]), anchor[i].eq(anchor[i - 1])]
            m.d.sync += [
                bit1.eq(mode[:3]),
                bit2.eq(bit1),
                byte2.eq(self.r_data),
                index3.eq(
                    Mux(
                        signal[2],
                        Mux(lit, self.shot.level_on, self.shot.level_off),
                        Mux(anchor[2], self.shot.level_anchor, self.shot.level_border),
                    )
                ),
                level5.eq(read.data),
            ]
        m.d.comb += [
            read.en.eq(move),
            read.addr.eq(index3),
            self.o.valid.eq(valid[5]),
            self.o.p.level.eq(level5),
            self.o.p.await_latch.eq(self.await_latch),
            self.o.p.final.eq(self.final),
            self.busy.eq(Cat(valid).any()),
        ]
        return m
