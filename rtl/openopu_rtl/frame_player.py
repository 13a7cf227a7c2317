"""Frame player: pixels made elsewhere, as a sensor's pins would bring them."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .protocol.geometry import Geometry

_GAP_CLOCKS = 4
"""Between FVAL and the first line, between lines, and after the last one."""


class FramePlayer(wiring.Component):
    """Plays FVAL, LVAL and pixels. Domain: ``cam``.

    A line begins when all of it is there, as a sensor's lines have no gaps.

    Ports
    -----
    i : pixels of whole frames in raster order; ``level`` : how many wait.
    abort : end the frame, whole or not, and throw away pixels until it falls. empty : nothing is left of them.
    fval, lval, pixel : to the camera port.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(geometry.pixel_bits)),
                "level": In(range(2 * geometry.camera_width + 8)),
                "abort": In(1),
                "empty": Out(1),
                "fval": Out(1),
                "lval": Out(1),
                "pixel": Out(geometry.pixel_bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        column, line = Signal(range(g.camera_width)), Signal(range(g.camera_height + 1))
        gap = Signal(range(_GAP_CLOCKS))
        m.d.cam += [self.lval.eq(0), self.pixel.eq(self.i.payload)]

        with m.FSM(domain="cam") as fsm:
            m.d.comb += self.empty.eq(fsm.ongoing("IDLE") & ~self.i.valid & ~self.abort)
            with m.State("IDLE"):
                m.d.cam += [line.eq(0), gap.eq(0)]
                with m.If(self.abort):
                    m.next = "ABORT"
                with m.Elif(self.i.valid):
                    m.d.cam += self.fval.eq(1)
                    m.next = "GAP"
            with m.State("GAP"):
                with m.If(gap != _GAP_CLOCKS - 1):
                    m.d.cam += gap.eq(gap + 1)
                with m.Elif(line == g.camera_height):
                    m.d.cam += self.fval.eq(0)
                    m.next = "IDLE"
                with m.Elif(self.level >= g.camera_width):
                    m.d.cam += column.eq(0)
                    m.next = "LINE"
                with m.If(self.abort):
                    m.next = "ABORT"
            with m.State("LINE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.cam += [self.lval.eq(1), column.eq(column + 1)]
                with m.If(column == g.camera_width - 1):
                    m.d.cam += [line.eq(line + 1), gap.eq(0)]
                    m.next = "GAP"
                with m.If(self.abort):
                    m.next = "ABORT"
            with m.State("ABORT"):
                m.d.comb += self.i.ready.eq(1)
                m.d.cam += self.fval.eq(0)
                with m.If(~self.abort & ~self.i.valid):
                    m.next = "IDLE"
        return m
