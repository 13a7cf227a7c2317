"""Raw frame: some rows of the sensor, as they came, for one readout."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .protocol.geometry import Geometry


class RawFrame(wiring.Component):
    """Keeps rows ``first_row`` to ``first_row + raw_rows - 1`` of whatever frame came last, while ``enable``.

    ``pixel`` (at ``row``, ``column``; ``start`` with a frame's first) is stored 2 clocks later. Reading has
    one clock of latency, enabled by ``r_en``.
    """

    LATENCY = 2

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "enable": In(1),
                "first_row": In(range(geometry.camera_height + 1)),
                "pixel": In(geometry.pixel_bits),
                "valid": In(1),
                "start": In(1),
                "row": In(range(geometry.camera_height + 1)),
                "column": In(range(geometry.camera_width + 1)),
                "r_addr": In(range(max(2, geometry.raw_rows * geometry.camera_width))),
                "r_en": In(1),
                "r_data": Out(geometry.pixel_bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        m.submodules.pixels = pixels = memory.Memory(shape=g.pixel_bits, depth=g.raw_rows * g.camera_width, init=[])
        write, read = pixels.write_port(), pixels.read_port(domain="sync")
        end_row = Signal(range(g.camera_height + g.raw_rows + 1))
        pixel1, valid1, start1, wanted1 = Signal(g.pixel_bits), Signal(), Signal(), Signal()
        m.d.sync += [
            end_row.eq(self.first_row + g.raw_rows),
            pixel1.eq(self.pixel),
            valid1.eq(self.valid),
            start1.eq(self.start),
            wanted1.eq(
                self.enable & (self.row >= self.first_row) & (self.row < end_row) & (self.column < g.camera_width)
            ),
        ]
        after, at = Signal(range(g.raw_rows * g.camera_width + 1)), Signal.like(self.r_addr)
        m.d.comb += [
            at.eq(Mux(start1, 0, after)),
            write.en.eq(valid1 & wanted1),
            write.addr.eq(at),
            write.data.eq(pixel1),
            read.addr.eq(self.r_addr),
            read.en.eq(self.r_en),
            self.r_data.eq(read.data),
        ]
        with m.If(valid1):
            m.d.sync += after.eq(at + wanted1)
        return m
