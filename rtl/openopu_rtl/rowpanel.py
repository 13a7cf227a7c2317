"""Driver of a row-addressed panel of mirrors."""

from __future__ import annotations

from amaranth import Module, ResetInserter
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import connect

from .panel import Driver
from .rowbuilder import RowBuilder
from .rowport import RowPort
from .shapes import ROW_BYTE


class RowBusDriver(Driver):
    """The loader sends its patterns itself; the port writes each one and holds the reset until granted."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.builder = builder = RowBuilder(self.geometry)
        port = RowPort(self.geometry)
        source, sink, flush_slm = self.add_crossing(m, ROW_BYTE, depth=32)
        m.submodules.port = ResetInserter({"slm": flush_slm})(port)
        m.submodules += [
            FFSynchronizer(self.grant, port.grant, o_domain="slm"),
            FFSynchronizer(port.latched, self.latched),
        ]
        connect(m, builder.o, source)
        connect(m, sink, port.i)
        self.connect_source(m, builder)
        self.connect_shots(m, builder)
        self.connect_pins(m, port)
        m.d.comb += [
            builder.await_latch.eq(self.await_latch),
            self.busy.eq(builder.busy),
            self.sending.eq(builder.busy),
            self.progress.eq(builder.o.valid & builder.o.ready),
        ]
        return m
