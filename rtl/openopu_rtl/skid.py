"""Register in a stream, so that neither its data nor its stalls reach through in one clock."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Skid(wiring.Component):
    """Every output is a register or one gate behind one; a payload a clock, two inside at most.

    Latency: 1 clock. ``busy``: something is inside.
    """

    LATENCY = 1

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "busy": Out(1)})

    def elaborate(self, platform):
        m = Module()
        payload = self.o.payload
        spare, spare_full = Signal.like(payload), Signal()
        """Holds what came in the clock in which ``o`` stalled."""
        m.d.comb += [self.i.ready.eq(~spare_full), self.busy.eq(self.o.valid | spare_full)]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(spare_full | self.i.valid), spare_full.eq(0)]
            with m.If(spare_full):
                m.d.sync += payload.eq(spare)
            with m.Else():
                m.d.sync += payload.eq(self.i.payload)
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [spare.eq(self.i.payload), spare_full.eq(1)]
        return m
