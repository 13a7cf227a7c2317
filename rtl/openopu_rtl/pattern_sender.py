"""Pattern sender: what the panel shows, to the host."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .protocol.geometry import Geometry
from .protocol.packets import HEADER, PATTERN_HEADER
from .protocol.packets import PacketType as Type
from .shapes import LINK_BYTE

PATTERN_FIELDS = data.StructLayout(
    {"exposure": 32, "exposure_cycles": 32, "laser_power": 16, "anchor": 8, "border": 8, "crc": 32, "offset": 32}
)
"""What stands before the levels in a PATTERN packet."""


class PatternSender(wiring.Component):
    """Sends a PATTERN packet for each ``start``; once begun, whole. Fields are taken at ``start``, levels are read
    while it is ``busy``: ``r_data`` follows ``r_addr`` by one clock."""

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "start": In(1),
                "fields": In(PATTERN_FIELDS),
                "busy": Out(1),
                "r_addr": Out(ceil_log2(geometry.modes)),
                "r_en": Out(1),
                "r_data": In(8),
                "o": Out(stream.Signature(LINK_BYTE)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        o = self.o
        head_bytes = HEADER.size + PATTERN_HEADER.size
        head = Signal(8 * head_bytes)
        left = Signal(range(head_bytes + 1))
        mode = Signal(range(self.geometry.modes))
        last = Signal()
        taken = Signal()
        m.d.comb += [
            last.eq(mode == self.geometry.modes - 1),
            taken.eq(o.valid & o.ready),
            # The level after the one that is taken in this clock.
            self.r_addr.eq(Mux(taken & (left == 0), mode + 1, mode)),
            self.r_en.eq(1),
        ]
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.sync += [
                    head.eq(Cat(Const(Type.PATTERN, 8), Const(0, 8), self.fields)),
                    left.eq(head_bytes),
                    mode.eq(0),
                ]
                with m.If(self.start):
                    m.next = "HEAD"
            with m.State("HEAD"):
                m.d.comb += [o.valid.eq(1), o.p.data.eq(head[:8])]
                with m.If(o.ready):
                    m.d.sync += [head.eq(head >> 8), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "LEVELS"
            with m.State("LEVELS"):
                m.d.comb += [o.valid.eq(1), o.p.data.eq(self.r_data), o.p.last.eq(last)]
                with m.If(o.ready):
                    m.d.sync += mode.eq(mode + 1)
                    with m.If(last):
                        m.next = "IDLE"
        return m
