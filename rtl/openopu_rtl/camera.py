"""Camera port: the sensor's pins, in the sensor's clock."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .protocol.geometry import Geometry
from .shapes import camera_word


class CameraPort(wiring.Component):
    """Turns FVAL, LVAL, DVAL and pixels into words (see :func:`shapes.camera_word`). Domain: ``cam``.

    A pixel is taken in every clock in which all three are high; parallel sensors have no DVAL, so it is high by
    default. Every frame ends with exactly one ``end`` word, also one without pixels. It is ``malformed`` if
    the frame had a line of another length than ``camera_width``, another number of lines than
    ``camera_height``, or LVAL outside FVAL; ``overflow`` if a word could not be handed on.
    ``in_frame`` is FVAL, a register.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "fval": In(1),
                "lval": In(1),
                "dval": In(1, init=1),
                "pixel": In(geometry.pixel_bits),
                "in_frame": Out(1),
                "o": Out(stream.Signature(camera_word(geometry))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        # One register at the pins; the second keeps the previous state for edges.
        fval, lval, dval, pixel = self.in_frame, Signal(), Signal(), Signal(g.pixel_bits)
        fval_before, lval_before = Signal(), Signal()
        m.d.cam += [
            fval.eq(self.fval),
            lval.eq(self.lval),
            dval.eq(self.dval),
            pixel.eq(self.pixel),
            fval_before.eq(fval),
            lval_before.eq(lval & fval),
        ]
        column, row = Signal(range(g.camera_width + 2)), Signal(range(g.camera_height + 2))
        first, malformed, overflow = Signal(init=1), Signal(), Signal()
        end = Signal()
        end_malformed, end_overflow = Signal(), Signal()
        taken, line_ends, line_bad = Signal(), Signal(), Signal()
        m.d.comb += [
            taken.eq(fval & lval & dval),
            line_ends.eq(lval_before & ~(lval & fval)),
            line_bad.eq(line_ends & (column != g.camera_width)),
        ]

        with m.If(line_ends):
            m.d.cam += column.eq(0)
            with m.If(column != g.camera_width):
                m.d.cam += malformed.eq(1)
            with m.If(row <= g.camera_height):
                m.d.cam += row.eq(row + 1)
        with m.If(taken):
            with m.If(column <= g.camera_width):
                m.d.cam += column.eq(column + 1)
        with m.If(lval & ~fval):
            m.d.cam += malformed.eq(1)

        # Hand on a pixel, or the end of the frame before; the end waits for room, pixels do not.
        with m.If(end):
            m.d.comb += [
                self.o.valid.eq(1),
                self.o.p.end.eq(1),
                self.o.p.malformed.eq(end_malformed),
                self.o.p.overflow.eq(end_overflow),
            ]
            with m.If(self.o.ready):
                m.d.cam += end.eq(0)
            with m.If(taken):
                m.d.cam += overflow.eq(1)
        with m.Elif(taken):
            m.d.comb += [self.o.valid.eq(1), self.o.p.pixel.eq(pixel), self.o.p.first.eq(first)]
            with m.If(self.o.ready):
                m.d.cam += first.eq(0)
            with m.Else():
                m.d.cam += overflow.eq(1)

        lines = Signal.like(row)
        m.d.comb += lines.eq(row + line_ends)
        with m.If(fval_before & ~fval):
            # A second end while one waits: both frames lost pixels, and one end tells of both.
            m.d.cam += [
                end.eq(1),
                end_malformed.eq(malformed | line_bad | (lines != g.camera_height)),
                end_overflow.eq(overflow | end),
                first.eq(1),
                malformed.eq(0),
                overflow.eq(0),
                row.eq(0),
            ]
        return m
