"""Panel port for packed video: 24 binary patterns in every frame, in the panel's clock."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .protocol.geometry import Geometry
from .shapes import BATCH_TAG_BITS, PLANES, PLANES_WORD


class PlanePort(wiring.Component):
    """Video that never stops: active lines, front porch, vertical sync, back porch. Domain: ``slm``.

    A frame is sent whole if its border and anchor came before its first pixel and each mode in time, else it
    is dark, or dark from there on. At the rising edge of ``vsync`` it is known which: ``whole``, and whose it
    is, ``tag``; both hold until the next one. Words of a frame that was not whole are thrown away.

    Bit p of ``pixel`` is plane p. Which of a panel's colour bits shows first is for the board to wire; see
    the panel's timing profile.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(PLANES_WORD)),
                "whole": Out(1),
                "tag": Out(BATCH_TAG_BITS),
                "de": Out(1),
                "hsync": Out(1),
                "vsync": Out(1),
                "pixel": Out(PLANES),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        clocks = g.slm_width + g.slm_h_front + g.slm_h_sync + g.slm_h_back
        sync_line = g.slm_height + g.slm_v_front
        lines = sync_line + g.slm_v_sync + g.slm_v_back
        # It begins with the vertical sync of a dark frame.
        x, y = Signal(range(clocks)), Signal(range(lines), init=sync_line)
        m.d.slm += x.eq(x + 1)
        with m.If(x == clocks - 1):
            m.d.slm += [x.eq(0), y.eq(Mux(y == lines - 1, 0, y + 1))]

        active, in_signal, in_anchor = Signal(), Signal(), Signal()
        m.d.comb += [
            active.eq((x < g.slm_width) & (y < g.slm_height)),
            in_signal.eq(
                (x >= g.signal_x)
                & (x < g.signal_x + g.signal_width)
                & (y >= g.signal_y)
                & (y < g.signal_y + g.signal_height)
            ),
            in_anchor.eq(
                (x >= g.anchor_x)
                & (x < g.anchor_x + g.anchor_width)
                & (y >= g.anchor_y)
                & (y < g.anchor_y + g.anchor_height)
            ),
        ]
        # Border and anchor come before the frame.
        border, anchor, mode = Signal(PLANES), Signal(PLANES), Signal(PLANES)
        step = Signal(range(g.macropixel))
        begun, ready, sending, tag = Signal(), Signal(), Signal(), Signal(BATCH_TAG_BITS)
        """The border has come; the anchor too; the frame is being sent, whole so far; whose it is."""
        wanted, pixel = Signal(), Signal(PLANES)
        m.d.comb += [
            wanted.eq(sending & in_signal & (step == 0)),
            self.i.ready.eq(Mux(sending, wanted, ~ready)),
            pixel.eq(Mux(in_signal, Mux(step == 0, self.i.p.planes, mode), Mux(in_anchor, anchor, border))),
        ]
        with m.If(~sending & ~ready & self.i.valid):
            with m.If(self.i.p.first):
                m.d.slm += [begun.eq(1), border.eq(self.i.p.planes), tag.eq(self.i.p.tag)]
            with m.Elif(begun):
                m.d.slm += [begun.eq(0), ready.eq(1), anchor.eq(self.i.p.planes)]
        with m.If(sending & in_signal):
            m.d.slm += step.eq(Mux(step == g.macropixel - 1, 0, step + 1))
        with m.If(wanted):
            m.d.slm += mode.eq(self.i.p.planes)
            with m.If(~self.i.valid):
                m.d.slm += sending.eq(0)

        # Outputs are registers, so that pins change at clock edges only.
        m.d.slm += [
            self.de.eq(active),
            self.pixel.eq(Mux(active & sending & (~wanted | self.i.valid), pixel, 0)),
            self.hsync.eq((x >= g.slm_width + g.slm_h_front) & (x < g.slm_width + g.slm_h_front + g.slm_h_sync)),
            self.vsync.eq((y >= sync_line) & (y < sync_line + g.slm_v_sync)),
        ]
        with m.If((x == 0) & (y == sync_line)):
            m.d.slm += [self.whole.eq(sending), self.tag.eq(tag), sending.eq(0)]
        with m.If((x == clocks - 1) & (y == lines - 1) & ready):
            m.d.slm += [sending.eq(1), ready.eq(0), step.eq(0)]
        return m
