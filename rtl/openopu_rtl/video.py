"""Panel port: video timing in the panel's pixel clock."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .protocol.geometry import Geometry
from .shapes import PANEL_PIXEL


class VideoPort(wiring.Component):
    """Sends frames on demand: active lines, front porch, vertical sync, back porch. Domain: ``slm``.

    A panel with global reset shows a frame at the rising edge of ``vsync``. So a frame marked
    ``await_latch`` is held in its front porch until ``grant`` toggles, while the pattern before it is
    still exposed; ``latched`` toggles at the vertical sync of a frame marked ``final``.
    After a frame that was ``cut`` short comes a vertical sync, with which the panel begins afresh.
    If the pixel stream runs dry in a line, ``de`` pauses: no pixel is ever invented.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(PANEL_PIXEL)),
                "grant": In(1),
                "cut": In(1),
                "latched": Out(1),
                "de": Out(1),
                "hsync": Out(1),
                "vsync": Out(1),
                "level": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        line_clocks = g.slm_width + g.slm_h_front + g.slm_h_sync + g.slm_h_back
        x = Signal(range(line_clocks))
        y = Signal(range(max(g.slm_height, g.slm_v_front, g.slm_v_sync, g.slm_v_back)))
        granted = Signal()
        await_latch, final = Signal(), Signal()
        line_end = Signal()
        blank_sync = Signal()
        m.d.comb += [
            line_end.eq(x == line_clocks - 1),
            blank_sync.eq((x >= g.slm_width + g.slm_h_front) & (x < g.slm_width + g.slm_h_front + g.slm_h_sync)),
        ]
        # Outputs are registers, so that pins change at clock edges only.
        m.d.slm += [self.de.eq(0), self.hsync.eq(blank_sync)]

        def count_lines(lines: int, following: str):
            m.d.slm += x.eq(x + 1)
            with m.If(line_end):
                m.d.slm += [x.eq(0), y.eq(y + 1)]
                with m.If(y == lines - 1):
                    m.d.slm += y.eq(0)
                    m.next = following

        with m.FSM(domain="slm"):
            with m.State("WAIT"):
                with m.If(self.cut & ~self.vsync):
                    m.d.slm += self.vsync.eq(1)
                    m.next = "SYNC"
                with m.Elif(self.i.valid):
                    m.next = "ACTIVE"
            with m.State("ACTIVE"):
                with m.If(x < g.slm_width):
                    m.d.comb += self.i.ready.eq(1)
                    with m.If(self.i.valid):
                        m.d.slm += [
                            self.de.eq(1),
                            self.level.eq(self.i.p.level),
                            await_latch.eq(self.i.p.await_latch),
                            final.eq(self.i.p.final),
                            x.eq(x + 1),
                        ]
                with m.Else():
                    count_lines(g.slm_height, "FRONT")
            with m.State("FRONT"):
                count_lines(g.slm_v_front, "HOLD")
            with m.State("HOLD"):
                with m.If(~await_latch | (granted != self.grant)):
                    m.d.slm += self.vsync.eq(1)
                    with m.If(await_latch):
                        m.d.slm += granted.eq(self.grant)
                    with m.If(final):
                        m.d.slm += self.latched.eq(~self.latched)
                    m.next = "SYNC"
            with m.State("SYNC"):
                count_lines(g.slm_v_sync, "BACK")
                with m.If(line_end & (y == g.slm_v_sync - 1)):
                    m.d.slm += self.vsync.eq(0)
            with m.State("BACK"):
                count_lines(g.slm_v_back, "WAIT")
        return m
