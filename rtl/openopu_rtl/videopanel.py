"""Drivers of panels that are sent levels as video."""

from __future__ import annotations

from amaranth import Module, ResetInserter, Signal
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import connect

from .continuous import ContinuousVideoPort
from .expander import Expander
from .panel import Driver
from .repeater import FrameRepeater
from .shapes import PANEL_PIXEL
from .video import VideoPort


class _VideoDriver(Driver):
    """What both have: expander, crossing, and a port with ``latched``."""

    def _join(self, m: Module, expander: Expander, port):
        source, sink, flush_slm = self.add_crossing(m, PANEL_PIXEL)
        connect(m, expander.o, source)
        connect(m, sink, port.i)
        self.connect_source(m, expander)
        self.connect_pins(m, port)
        m.submodules += FFSynchronizer(port.latched, self.latched)
        m.d.comb += [self.progress.eq(expander.o.valid & expander.o.ready), self.sending.eq(expander.busy)]
        return flush_slm


class VideoOnDemandDriver(_VideoDriver):
    """The loader sends its frames itself, and the port waits for them."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.expander = expander = Expander(self.geometry)
        video = VideoPort(self.geometry)
        flush_slm = self._join(m, expander, video)
        m.submodules.video = ResetInserter({"slm": flush_slm})(video)
        with m.If(flush_slm):
            m.d.slm += video.cut.eq(1)
        with m.Elif(video.vsync):
            m.d.slm += video.cut.eq(0)
        m.submodules += FFSynchronizer(self.grant, video.grant, o_domain="slm")
        self.connect_shots(m, expander)
        m.d.comb += [expander.await_latch.eq(self.await_latch), self.busy.eq(expander.busy)]
        return m


class ContinuousVideoDriver(_VideoDriver):
    """The port wants a frame at each vertical sync; the first of a new pattern follows the exposure before it."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.expander = expander = Expander(self.geometry)
        m.submodules.video = video = ContinuousVideoPort(self.geometry)
        m.submodules.repeater = repeater = FrameRepeater(self.geometry)
        flush_slm = self._join(m, expander, video)
        underrun, underrun_before = Signal(), Signal()
        m.submodules += [
            FFSynchronizer(video.frame_due, repeater.frame_due),
            FFSynchronizer(video.underrun, underrun),
        ]
        m.d.sync += underrun_before.eq(underrun)
        m.d.comb += [
            video.flush.eq(flush_slm),
            self.underrun.eq(underrun != underrun_before),
            repeater.offered.eq(self.offered),
            repeater.exposed.eq(self.exposed),
            repeater.freed.eq(self.freed),
            repeater.flush.eq(self.flush),
            repeater.i_start.eq(self.start),
            repeater.i_shot.eq(self.shot),
            repeater.i_blank.eq(self.blank),
            repeater.i_final.eq(self.final),
            repeater.i_plane_address.eq(self.plane_address),
            repeater.expander_busy.eq(expander.busy),
            self.busy.eq(repeater.i_busy),
            expander.start.eq(repeater.start),
            expander.shot.eq(repeater.shot),
            expander.blank.eq(repeater.blank),
            expander.border.eq(repeater.border),
            expander.final.eq(repeater.final),
            expander.plane_address.eq(repeater.plane_address),
            expander.table_we.eq(self.table_we),
            expander.table_addr.eq(self.table_addr),
            expander.table_data.eq(self.table_data),
        ]
        return m
