"""Panel port of a display: video that never pauses."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .protocol.geometry import Geometry
from .shapes import PANEL_PIXEL


class ContinuousVideoPort(wiring.Component):
    """Fixed timing for ever; each vertical sync begins with the leading edge of a horizontal one. Domain: ``slm``.

    ``frame_due`` toggles while ``vsync`` is up: the pixels of one frame must follow, the first of them
    before the back porch has ended. ``latched`` toggles at the vertical sync that ends a frame marked
    ``final``.

    A stream that runs dry in a line never moves the picture: the last level is repeated for the pixels
    that are not there, ``underrun`` toggles once for such a frame, and what comes late is thrown away
    before another frame is asked for. While ``flush`` is high nothing is asked for or taken.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(PANEL_PIXEL)),
                "flush": In(1),
                "frame_due": Out(1),
                "latched": Out(1),
                "underrun": Out(1),
                "de": Out(1),
                "hsync": Out(1),
                "vsync": Out(1),
                "level": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        sync_x, sync_y = g.slm_width + g.slm_h_front, g.slm_height + g.slm_v_front - 1
        clocks = sync_x + g.slm_h_sync + g.slm_h_back
        lines = g.slm_height + g.slm_v_front + g.slm_v_sync + g.slm_v_back
        pixels = g.slm_width * g.slm_height
        # It begins where a frame is asked for.
        x, y = Signal(range(clocks), init=sync_x), Signal(range(lines), init=sync_y)
        m.d.slm += x.eq(x + 1)
        with m.If(x == clocks - 1):
            m.d.slm += [x.eq(0), y.eq(y + 1)]
            with m.If(y == lines - 1):
                m.d.slm += y.eq(0)

        owed = Signal(range(pixels + 1))
        """Pixels asked for that have not come yet."""
        current, dry, final = Signal(), Signal(), Signal()
        """The pixels owed are those of the frame being sent; it ran dry; it is its pattern's last."""
        active = Signal()
        m.d.comb += [
            active.eq((x < g.slm_width) & (y < g.slm_height)),
            self.i.ready.eq((active | ~current) & (owed != 0)),
        ]
        # Outputs are registers, so that pins change at clock edges only.
        m.d.slm += [self.de.eq(active), self.hsync.eq((x >= sync_x) & (x < sync_x + g.slm_h_sync))]
        with m.If(self.i.valid & self.i.ready):
            m.d.slm += owed.eq(owed - 1)
            with m.If(current):
                m.d.slm += [self.level.eq(self.i.p.level), final.eq(self.i.p.final)]
        with m.If(active & current & ~self.i.valid & ~dry):
            m.d.slm += [dry.eq(1), self.underrun.eq(~self.underrun)]

        with m.If(self.vsync & ~current & (owed == 0)):
            m.d.slm += [self.frame_due.eq(~self.frame_due), owed.eq(pixels), current.eq(1)]
        with m.If(x == sync_x):
            with m.If(y == sync_y):
                m.d.slm += [self.vsync.eq(1), current.eq(0), dry.eq(0), final.eq(0)]
                with m.If(final):
                    m.d.slm += self.latched.eq(~self.latched)
            with m.If(y == sync_y + g.slm_v_sync):
                m.d.slm += self.vsync.eq(0)
        with m.If(self.flush):
            m.d.slm += [owed.eq(0), current.eq(0), dry.eq(0), final.eq(0), self.latched.eq(0)]
        return m
