"""Row builder: from a bit plane to the rows of modes that a row-addressed panel of mirrors is sent."""

from __future__ import annotations

import numpy as np
from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .binarylevels import BinaryLevels
from .protocol.geometry import Geometry
from .shapes import ROW_BYTE
from .source import shot_ports, store_ports


def model(plane: np.ndarray, *, invert: bool, on: bool, off: bool) -> np.ndarray:
    """Mirrors of the modes, (modes,) bool, for a plane of (modes,) bits."""
    return np.where(np.asarray(plane, dtype=bool) ^ bool(invert), bool(on), bool(off))


class RowBuilder(wiring.Component):
    """Streams one pattern: the mirrors of each mode once, eight a clock; :class:`rowport.RowPort` repeats them.

    Handshake and store as :class:`expander.Expander`'s. Latency from ``start`` to the first byte:
    8 clocks.
    """

    LATENCY = 8

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                **shot_ports(geometry),
                **store_ports(geometry),
                "await_latch": In(1),
                "o": Out(stream.Signature(ROW_BYTE)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.levels = levels = BinaryLevels()
        levels.connect_source(m, self)
        index = Signal(range(self.geometry.plane_bytes + 1))
        looking_up = Signal()
        walking = Signal()
        move = Signal()
        lit = Signal(8)
        bits = levels.bits
        m.d.comb += [
            move.eq(~self.o.valid | self.o.ready),
            self.r_addr.eq(self.plane_address + index),
            self.r_en.eq(move),
            lit.eq((self.r_data & ~self.blank.replicate(8)) ^ self.shot.invert.replicate(8)),
            self.o.p.bits.eq(Mux(bits.on, lit, 0) | Mux(bits.off, ~lit, 0)),
            self.o.p.anchor.eq(bits.anchor),
            self.o.p.border.eq(bits.border),
            self.o.p.await_latch.eq(self.await_latch),
            self.o.p.final.eq(self.final),
            self.busy.eq(looking_up | walking | self.o.valid),
        ]
        with m.If(levels.start):
            m.d.sync += looking_up.eq(1)
        with m.Elif(looking_up & ~levels.busy):
            m.d.sync += [looking_up.eq(0), walking.eq(1), index.eq(0)]
        with m.If(walking & move):
            m.d.sync += index.eq(index + 1)
            with m.If(index == self.geometry.plane_bytes - 1):
                m.d.sync += walking.eq(0)
        with m.If(move):
            m.d.sync += self.o.valid.eq(walking)
        return m
