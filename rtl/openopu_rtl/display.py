"""Display path: stored planes become patterns on the panel."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .loader import Loader
from .panel import Driver, panel_pins
from .planepanel import PackedPlanesDriver
from .protocol.geometry import Geometry, PanelKind
from .queues import add_queue
from .registerfile import RegisterFile
from .rowpanel import RowBusDriver
from .shapes import LOADED
from .store import PatternStore
from .videopanel import ContinuousVideoDriver, VideoOnDemandDriver

DRIVERS: dict[int, type[Driver]] = {
    PanelKind.VIDEO_ON_DEMAND: VideoOnDemandDriver,
    PanelKind.VIDEO_CONTINUOUS: ContinuousVideoDriver,
    PanelKind.PACKED_PLANES: PackedPlanesDriver,
    PanelKind.ROW_BUS: RowBusDriver,
}


class DisplayPath(wiring.Component):
    """From the pattern store to the panel's pins.

    Parameters
    ----------
    regs : the register file, a sibling.

    Ports
    -----
    push, push_data, commit, commit_count, rollback, store_full : planes from the link.
    shot : shots whose patterns are on their way, for the exposer.
    grant, latched, progress, underrun, showing_cycles, flush, flushed, exposing, exposed, exposed_last : handshake
        with the exposer, see there; ``exposed`` pulses when a shot has been exposed or skipped,
        ``exposed_last`` tells whether it is its projection's last.
    loading : projections wait, or are being sent to the panel.
    slm_* : the panel's pins, see :func:`panel.panel_pins`.
    """

    def __init__(self, geometry: Geometry, regs: RegisterFile, monitor_cycles: int):
        self.monitor_cycles = monitor_cycles
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
                "showing_cycles": Out(32),
                "flush": In(1),
                "flushed": Out(1),
                "exposing": In(1),
                "exposed": In(1),
                "exposed_last": In(1),
                "underrun": Out(1),
                "loading": Out(1),
                **panel_pins(geometry),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g, regs = self.geometry, self.regs
        m.submodules.store = store = PatternStore(g)
        m.submodules.loader = loader = Loader(g, self.monitor_cycles)
        m.submodules.driver = driver = DRIVERS[g.panel_kind](g)
        # Shots whose patterns are being sent while those before them are exposed.
        shot_queue = add_queue(m, "shot_queue", loader.o, self.shot, driver.SHOTS_AHEAD)

        m.d.comb += [
            store.push.eq(self.push),
            store.data.eq(self.push_data),
            store.commit.eq(self.commit),
            store.rollback.eq(self.rollback),
            self.store_full.eq(store.full),
            store.free_bytes.eq(loader.free_bytes),
            store.r_addr.eq(driver.r_addr),
            store.r_en.eq(driver.r_en),
            driver.r_data.eq(store.r_data),
            loader.table_we.eq(regs.shot_table_we),
            loader.table_offset.eq(regs.w_offset),
            loader.table_data.eq(regs.w_value),
            loader.program_length.eq(regs.program_length),
            loader.planes.eq(regs.planes),
            loader.normalise.eq(regs.normalise),
            loader.add.eq(self.commit),
            loader.add_count.eq(self.commit_count),
            loader.exposing.eq(self.exposing | shot_queue.r_rdy),
            loader.expander_busy.eq(driver.busy),
            driver.offered.eq(loader.o.valid & loader.o.ready),
            driver.freed.eq(loader.free),
            driver.table_we.eq(regs.level_table_we),
            driver.table_addr.eq(regs.w_offset),
            driver.table_data.eq(regs.w_value),
            self.flushed.eq(driver.flushed & ~loader.busy & ~driver.busy & ~driver.sending & ~shot_queue.r_rdy),
            self.loading.eq(loader.busy),
            regs.panel_underruns_inc.eq(driver.underrun),
            regs.cycles_slm_slot.eq(driver.slot_cycles),
        ]
        for name in ("start", "shot", "blank", "await_latch", "final", "plane_address"):
            m.d.comb += getattr(driver, name).eq(getattr(loader, name))
        for name in ("grant", "flush", "exposed"):
            m.d.comb += getattr(driver, name).eq(getattr(self, name))
        for name in ("latched", "progress", "underrun", "showing_cycles"):
            m.d.comb += getattr(self, name).eq(getattr(driver, name))
        for name, member in panel_pins(g).items():
            inner, outer = getattr(driver, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        # Continuous video has no place for a second pattern.
        if g.panel_kind != PanelKind.VIDEO_CONTINUOUS:
            m.d.comb += loader.preload.eq(regs.slm_preload)
        if driver.KEEPS_PLANES:
            next_address = Signal(ceil_log2(g.store_bytes))
            with m.If(loader.free):
                m.d.sync += next_address.eq(next_address + loader.free_bytes)
            m.d.comb += [loader.tail.eq(next_address), store.free.eq(self.exposed & self.exposed_last)]
        else:
            m.d.comb += [loader.tail.eq(store.tail), store.free.eq(loader.free)]

        # The register keeps the last whole frame's length while the next one is being sent.
        slm_frame, length = Signal(32), Signal(32)
        with m.If(driver.sending):
            m.d.sync += [slm_frame.eq(slm_frame + 1), length.eq(slm_frame)]
        with m.Else():
            m.d.sync += [slm_frame.eq(0), regs.cycles_slm_frame.eq(length)]
        return m
