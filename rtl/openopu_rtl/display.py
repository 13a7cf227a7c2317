"""Display path: stored planes become patterns on the panel."""

from __future__ import annotations

from amaranth import Cat, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from .expander import Expander
from .loader import Loader
from .protocol.geometry import Geometry
from .queues import add_queue
from .registerfile import RegisterFile
from .shapes import LOADED, PANEL_PIXEL
from .store import PatternStore
from .video import VideoPort

_FLUSH_CLOCKS = 4
"""Panel clocks that a reset of the panel's side must last: more than a synchroniser has stages."""


class DisplayPath(wiring.Component):
    """From the pattern store to the panel's pins.

    Parameters
    ----------
    regs : the register file, a sibling.

    Ports
    -----
    push, push_data, commit, commit_count, rollback, store_full : planes from the link.
    shot : shots whose patterns are on their way, for the exposer.
    grant, latched, progress, flush, flushed, exposing : handshake with the exposer, see there.
    loading : projections wait, or are being sent to the panel.
    slm_* : the panel's pins, domain ``slm``.
    """

    def __init__(self, geometry: Geometry, regs: RegisterFile):
        self.geometry = geometry
        self.regs = regs
        super().__init__(
            {
                "push": In(1),
                "push_data": In(8),
                "commit": In(1),
                "commit_count": In(16),
                "rollback": In(1),
                "store_full": Out(1),
                "shot": Out(stream.Signature(LOADED)),
                "grant": In(1),
                "latched": Out(1),
                "progress": Out(1),
                "flush": In(1),
                "flushed": Out(1),
                "exposing": In(1),
                "loading": Out(1),
                "slm_de": Out(1),
                "slm_hsync": Out(1),
                "slm_vsync": Out(1),
                "slm_level": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g, regs = self.geometry, self.regs
        m.submodules.store = store = PatternStore(g)
        m.submodules.loader = loader = Loader(g)
        m.submodules.expander = expander = Expander(g)
        # The shot whose pattern is being sent while the one before it is exposed.
        shot_queue = add_queue(m, "shot_queue", loader.o, self.shot, 1)

        video = VideoPort(g)
        panel_fifo = AsyncFIFOBuffered(width=PANEL_PIXEL.size, depth=16, w_domain="sync", r_domain="slm")
        # After a stall both are emptied. Held until the panel's clock, which may have stopped, has seen it for some
        # edges, so that no old pointer is left in a synchroniser; and until no half pattern can follow.
        flush_slm, flushed_slm, emptied = Signal(), Signal(_FLUSH_CLOCKS), Signal()
        m.d.slm += flushed_slm.eq(Cat(flush_slm, flushed_slm[:-1]))
        m.submodules.video = ResetInserter({"slm": flush_slm})(video)
        m.submodules.panel_fifo = ResetInserter({"sync": self.flush, "slm": flush_slm})(panel_fifo)
        m.submodules += [
            FFSynchronizer(self.grant, video.grant, o_domain="slm"),
            FFSynchronizer(video.latched, self.latched),
            FFSynchronizer(self.flush, flush_slm, o_domain="slm"),
            FFSynchronizer(flushed_slm[-1], emptied),
        ]
        m.d.comb += [
            store.push.eq(self.push),
            store.data.eq(self.push_data),
            store.commit.eq(self.commit),
            store.rollback.eq(self.rollback),
            self.store_full.eq(store.full),
            store.free.eq(loader.free),
            store.free_bytes.eq(loader.free_bytes),
            store.r_addr.eq(expander.r_addr),
            store.r_en.eq(expander.r_en),
            expander.r_data.eq(store.r_data),
            loader.tail.eq(store.tail),
            loader.table_we.eq(regs.shot_table_we),
            loader.table_offset.eq(regs.w_offset),
            loader.table_data.eq(regs.w_value),
            loader.program_length.eq(regs.program_length),
            loader.planes.eq(regs.planes),
            loader.preload.eq(regs.slm_preload),
            loader.add.eq(self.commit),
            loader.add_count.eq(self.commit_count),
            loader.exposing.eq(self.exposing | shot_queue.r_rdy),
            loader.expander_busy.eq(expander.busy),
            expander.start.eq(loader.start),
            expander.shot.eq(loader.shot),
            expander.blank.eq(loader.blank),
            expander.await_latch.eq(loader.await_latch),
            expander.final.eq(loader.final),
            expander.plane_address.eq(loader.plane_address),
            expander.table_we.eq(regs.level_table_we),
            expander.table_addr.eq(regs.w_offset),
            expander.table_data.eq(regs.w_value),
            panel_fifo.w_data.eq(expander.o.payload),
            panel_fifo.w_en.eq(expander.o.valid & ~self.flush),
            expander.o.ready.eq(panel_fifo.w_rdy | self.flush),
            self.progress.eq(expander.o.valid & expander.o.ready),
            self.flushed.eq(emptied & ~loader.busy & ~expander.busy & ~shot_queue.r_rdy),
            self.loading.eq(loader.busy),
            video.i.payload.eq(panel_fifo.r_data),
            video.i.valid.eq(panel_fifo.r_rdy),
            panel_fifo.r_en.eq(video.i.ready),
            self.slm_de.eq(video.de),
            self.slm_hsync.eq(video.hsync),
            self.slm_vsync.eq(video.vsync),
            self.slm_level.eq(video.level),
        ]
        slm_frame = Signal(32)
        with m.If(expander.start & ~expander.busy):
            m.d.sync += slm_frame.eq(0)
        with m.Elif(expander.busy):
            m.d.sync += [slm_frame.eq(slm_frame + 1), regs.cycles_slm_frame.eq(slm_frame)]
        return m
