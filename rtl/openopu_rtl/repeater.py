"""Frame repeater: between loader and expander, where the panel wants a frame whether there is a new pattern or not."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .protocol.geometry import Geometry
from .shapes import SHOT


class FrameRepeater(wiring.Component):
    """For each frame that is due, starts the expander: with the loader's next frame if there is one,
    else with the pattern shown last, and once its planes have been freed with the border's level only.

    To the loader it stands for the expander (``i_*``). It stays busy after a pattern's last frame until
    that pattern's exposure has ended, so that its planes are kept so long.

    Ports
    -----
    frame_due : toggles for each frame that is due.
    offered, exposed : a shot was handed to the exposer; one was exposed, or skipped.
    freed : the planes of the pattern shown last are given back.
    flush : frames go nowhere: the loader's are started at once, and none is repeated.
    """

    def __init__(self, geometry: Geometry):
        address = ceil_log2(geometry.store_bytes)
        super().__init__(
            {
                "frame_due": In(1),
                "offered": In(1),
                "exposed": In(1),
                "freed": In(1),
                "flush": In(1),
                # Loader.
                "i_start": In(1),
                "i_busy": Out(1),
                "i_shot": In(SHOT),
                "i_blank": In(1),
                "i_final": In(1),
                "i_plane_address": In(address),
                # Expander.
                "start": Out(1),
                "expander_busy": In(1),
                "shot": Out(SHOT),
                "blank": Out(1),
                "border": Out(1, init=1),
                "final": Out(1),
                "plane_address": Out(address),
            }
        )

    def elaborate(self, platform):
        m = Module()
        due_before, due = Signal(), Signal()
        wanted, sending, hold = Signal(), Signal(), Signal()
        """The loader's frame: waits, is being sent, was its pattern's last one and that is not exposed yet."""
        exposures = Signal(2)
        """Shots handed to the exposer that have not been exposed."""
        m.d.comb += self.i_busy.eq(wanted | sending | hold)
        m.d.sync += [due_before.eq(self.frame_due), exposures.eq(exposures + self.offered - self.exposed)]

        with m.If(self.i_start):
            m.d.sync += wanted.eq(1)
        with m.If(sending & ~self.expander_busy):
            m.d.sync += sending.eq(0)
        with m.If(hold & ~sending & ((exposures == 0) | self.flush)):
            m.d.sync += hold.eq(0)

        m.d.comb += self.start.eq(~self.expander_busy & Mux(self.flush, wanted, due))
        with m.If(self.start):
            m.d.sync += [due.eq(0), self.final.eq(0)]
            with m.If(wanted):
                m.d.sync += [
                    wanted.eq(0),
                    sending.eq(1),
                    hold.eq(self.i_final),
                    self.shot.eq(self.i_shot),
                    self.blank.eq(self.i_blank),
                    self.border.eq(0),
                    self.final.eq(self.i_final),
                    self.plane_address.eq(self.i_plane_address),
                ]
        with m.If(self.freed):
            m.d.sync += self.border.eq(1)
        with m.If(self.frame_due != due_before):
            m.d.sync += due.eq(1)
        with m.If(self.flush):
            m.d.sync += due.eq(0)
        return m
