"""Row port: the direct bus of a row-addressed controller with global reset, in the bus's clock."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .protocol.geometry import Geometry
from .shapes import ROW_BYTE


class RowMode(enum.Enum, shape=2):
    """What a row cycle does with its data. DLPC910 data sheet, table 7-1 (the DLPC410 has the same)."""

    NONE = 0
    NEXT = 1
    ADDRESS = 2
    FIRST = 3


class BlockMode(enum.Enum, shape=2):
    """What a row cycle asks of the blocks of mirrors.

    Codes of the DLPC410 from memory, unconfirmed: GROUP with block address 8 resets all blocks.
    """

    NONE = 0
    CLEAR = 1
    RESET_ONE = 2
    GROUP = 3


ALL_BLOCKS = 8
"""Block address that, with :attr:`BlockMode.GROUP`, resets every block at once (unconfirmed, see there)."""


def model(geometry: Geometry, modes: np.ndarray, *, anchor: bool, border: bool) -> np.ndarray:
    """Mirrors (slm_height, slm_width) bool for those of the modes, (modes,)."""
    g, k = geometry, geometry.macropixel
    panel = np.full((g.slm_height, g.slm_width), bool(border))
    panel[g.anchor_y : g.anchor_y + g.anchor_height, g.anchor_x : g.anchor_x + g.anchor_width] = anchor
    signal = np.kron(np.asarray(modes, dtype=bool).reshape(g.modes_y, g.modes_x), np.ones((k, k), dtype=bool))
    panel[g.signal_y : g.signal_y + g.signal_height, g.signal_x : g.signal_x + g.signal_width] = signal
    return panel


class RowPort(wiring.Component):
    """Writes the rows of a pattern, then resets all mirrors at once. Domain: ``slm``.

    A row cycle is ``row_cycle_clocks`` clocks with ``dvalid`` high, ``row_word_bits`` mirrors a clock, mirror 0
    in bit 0 of the first word; ``row_mode``, ``row_address`` and the block's signals hold for the cycle. A
    board serialises each word for the controller's pins (four words of 256 bits at 100 MHz are the
    32 lines of a DLPC410 at 400 MHz, both edges).

    Rows of one macropixel are sent ``macropixel`` times. Where the stream runs dry, the bus pauses between
    two row cycles. A pattern marked ``await_latch`` waits, written but not shown, until ``grant`` toggles.
    The reset is one cycle; cycles without data follow until ``rst_active`` has risen and fallen, as the controller
    demands, and ``slm_v_back`` more in which the mirrors settle and no row may be written. ``latched`` toggles
    when ``rst_active`` falls, for patterns marked ``final``.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(ROW_BYTE)),
                "grant": In(1),
                "latched": Out(1),
                "dvalid": Out(1),
                "data": Out(geometry.row_word_bits),
                "row_mode": Out(RowMode),
                "row_address": Out(11),
                "block_mode": Out(BlockMode),
                "block_address": Out(4),
                "rst_active": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        row_bytes = g.modes_x // 8
        rst_active, rst_before = Signal(), Signal()
        m.submodules += FFSynchronizer(self.rst_active, rst_active, o_domain="slm")
        m.d.slm += rst_before.eq(rst_active)

        # The next row of modes gathers while this one is sent.
        gathered, count, full = Signal(g.modes_x), Signal(range(row_bytes)), Signal()
        word = Signal(ROW_BYTE)
        taken = Signal()
        m.d.comb += self.i.ready.eq(~full)
        with m.If(self.i.valid & self.i.ready):
            m.d.slm += [gathered.eq(Cat(gathered[8:], self.i.p.bits)), count.eq(count + 1), word.eq(self.i.p)]
            with m.If(count == row_bytes - 1):
                m.d.slm += [count.eq(0), full.eq(1)]
        with m.If(taken):
            m.d.slm += full.eq(0)

        # The row under way. Regions stand still, so each mirror is one of three signals.
        modes, pattern = Signal(g.modes_x), Signal(ROW_BYTE)
        y, column = Signal(range(g.slm_height)), Signal(range(g.row_cycle_clocks))
        step = Signal(range(g.macropixel))
        in_signal, in_anchor = Signal(), Signal()
        m.d.comb += [
            in_signal.eq((y >= g.signal_y) & (y < g.signal_y + g.signal_height)),
            in_anchor.eq((y >= g.anchor_y) & (y < g.anchor_y + g.anchor_height)),
        ]
        expanded = Cat(modes[x // g.macropixel] for x in range(g.signal_width))
        edges = sorted(
            {0, g.signal_x, g.signal_x + g.signal_width, g.anchor_x, g.anchor_x + g.anchor_width, g.slm_width}
        )
        parts = []
        for left, right in pairwise(edges):
            part = pattern.border.replicate(right - left)
            if g.anchor_x <= left < g.anchor_x + g.anchor_width:
                part = Mux(in_anchor, pattern.anchor.replicate(right - left), part)
            if g.signal_x <= left < g.signal_x + g.signal_width:
                part = Mux(in_signal, expanded[left - g.signal_x : right - g.signal_x], part)
            parts.append(part)
        row = Signal(g.row_cycle_clocks * g.row_word_bits)
        m.d.comb += row.eq(Cat(*parts))

        # Outputs are registers, so that pins change at clock edges only.
        m.d.slm += [
            self.dvalid.eq(0),
            self.data.eq(0),
            self.row_mode.eq(RowMode.NONE),
            self.row_address.eq(0),
            self.block_mode.eq(BlockMode.NONE),
            self.block_address.eq(0),
        ]
        granted, row_ended, seen = Signal(), Signal(), Signal()
        settle = Signal(range(g.slm_v_back + 1))
        m.d.comb += row_ended.eq(column == g.row_cycle_clocks - 1)

        def row_cycle():
            m.d.slm += [self.dvalid.eq(1), column.eq(Mux(row_ended, 0, column + 1))]

        with m.FSM(domain="slm"):
            with m.State("WAIT"):
                with m.If(full):
                    m.d.comb += taken.eq(1)
                    m.d.slm += [modes.eq(gathered), pattern.eq(word), y.eq(0), step.eq(0), column.eq(0)]
                    m.next = "ROW"
            with m.State("ROW"):
                row_cycle()
                m.d.slm += [
                    self.data.eq(row.word_select(column, g.row_word_bits)),
                    self.row_mode.eq(RowMode.ADDRESS),
                    self.row_address.eq(y),
                ]
                with m.If(row_ended):
                    m.d.slm += y.eq(y + 1)
                    with m.If(in_signal):
                        m.d.slm += step.eq(step + 1)
                        with m.If(step == g.macropixel - 1):
                            m.d.slm += step.eq(0)
                            # After the last row of modes there is none to wait for.
                            with m.If(y != g.signal_y + g.signal_height - 1):
                                m.d.comb += taken.eq(full)
                                m.d.slm += modes.eq(gathered)
                                with m.If(~full):
                                    m.next = "PAUSE"
                    with m.If(y == g.slm_height - 1):
                        m.next = "HOLD"
            with m.State("PAUSE"):
                m.d.slm += modes.eq(gathered)
                with m.If(full):
                    m.d.comb += taken.eq(1)
                    m.next = "ROW"
            with m.State("HOLD"):
                with m.If(~pattern.await_latch | (granted != self.grant)):
                    with m.If(pattern.await_latch):
                        m.d.slm += granted.eq(self.grant)
                    m.d.slm += seen.eq(0)
                    m.next = "RESET"
            with m.State("RESET"):
                row_cycle()
                m.d.slm += [self.block_mode.eq(BlockMode.GROUP), self.block_address.eq(ALL_BLOCKS)]
                with m.If(row_ended):
                    m.next = "ACTIVE"
            with m.State("ACTIVE"):
                row_cycle()
                with m.If(seen & row_ended):
                    m.d.slm += settle.eq(g.slm_v_back)
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                row_cycle()
                with m.If(row_ended):
                    m.d.slm += settle.eq(settle - 1)
                    with m.If(settle <= 1):
                        m.next = "WAIT"
        # Shown as soon as the pulse has ended, which need not be at a cycle's end.
        with m.If(rst_before & ~rst_active & ~seen):
            m.d.slm += seen.eq(1)
            with m.If(pattern.final):
                m.d.slm += self.latched.eq(~self.latched)
        return m
