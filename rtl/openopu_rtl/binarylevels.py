"""Binary levels: what a panel of mirrors, on or off, makes of a shot's levels."""

from __future__ import annotations

import numpy as np
from amaranth import Cat, Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .shapes import SHOT

THRESHOLD = 128
"""A mirror is on where the level table gives so much or more."""

SHOT_BITS = data.StructLayout({"on": 1, "off": 1, "anchor": 1, "border": 1})
"""A shot's four levels as bits."""


def model(levels: np.ndarray) -> np.ndarray:
    """Mirrors, bool, for levels of any shape, as :func:`openopu_rtl.expander.model` gives them."""
    return np.asarray(levels) >= THRESHOLD


class BinaryLevels(wiring.Component):
    """Looks a shot's levels up in the level table. ``start`` begins, ``bits`` are right when ``busy`` has fallen.

    Latency: 6 clocks from ``start`` to ``bits``.
    """

    LATENCY = 6

    def __init__(self):
        super().__init__(
            {
                "table_we": In(1),
                "table_addr": In(8),
                "table_data": In(8),
                "start": In(1),
                "shot": In(SHOT),
                "busy": Out(1),
                "bits": Out(SHOT_BITS),
            }
        )

    def connect_source(self, m: Module, source: wiring.Component) -> None:
        """Look up the levels of ``source``'s shots, from its level table (:func:`source.shot_ports`)."""
        m.d.comb += [
            self.table_we.eq(source.table_we),
            self.table_addr.eq(source.table_addr),
            self.table_data.eq(source.table_data),
            self.shot.eq(source.shot),
            self.start.eq(source.start & ~source.busy),
        ]

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = memory.Memory(shape=1, depth=256, init=[i >= THRESHOLD for i in range(256)])
        write, read = table.write_port(), table.read_port(domain="sync")
        levels = (self.shot.level_on, self.shot.level_off, self.shot.level_anchor, self.shot.level_border)
        step = Signal(range(len(levels) + 2))
        m.d.comb += [
            write.en.eq(self.table_we),
            write.addr.eq(self.table_addr),
            write.data.eq(self.table_data >= THRESHOLD),
            read.en.eq(1),
            self.busy.eq(step != 0),
        ]
        with m.Switch(step):
            for i, level in enumerate(levels):
                with m.Case(i + 1):
                    m.d.comb += read.addr.eq(level)
        with m.If(self.start):
            m.d.sync += step.eq(1)
        with m.Elif(step == len(levels) + 1):
            m.d.sync += step.eq(0)
        with m.Elif(step != 0):
            m.d.sync += step.eq(step + 1)
        with m.If(step > 1):
            m.d.sync += self.bits.eq(Cat(self.bits.as_value()[1:], read.data))
        return m
