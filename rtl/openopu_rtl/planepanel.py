"""Driver of a panel that shows the bits of video pixels as binary patterns, one after the other."""

from __future__ import annotations

from amaranth import Module, Mux, ResetInserter, Signal
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import connect

from .panel import Driver
from .planepacker import SHOTS_AHEAD, PlanePacker
from .planeport import PlanePort
from .planesender import PlaneSender
from .shapes import PLANES_WORD
from .slots import SlotTracker


class PackedPlanesDriver(Driver):
    """Shots wait in batches for a video frame, then for their slot of the frame after it."""

    SHOTS_AHEAD = SHOTS_AHEAD
    KEEPS_PLANES = True

    def elaborate(self, platform):
        m = Module()
        packer, sender = PlanePacker(self.geometry), PlaneSender(self.geometry)
        m.submodules.tracker = tracker = SlotTracker()
        m.submodules.port = port = PlanePort(self.geometry)
        m.submodules.packer = ResetInserter(self.flush)(packer)
        m.submodules.sender = ResetInserter(self.flush)(sender)
        source, sink, _ = self.add_crossing(m, PLANES_WORD)
        trigger = Signal()
        m.submodules += [
            FFSynchronizer(port.vsync, tracker.vsync),
            FFSynchronizer(self.slm_trigger, trigger),
        ]
        connect(m, sender.o, source)
        connect(m, sink, port.i)
        self.connect_shots(m, packer)
        for name in ("slm_de", "slm_hsync", "slm_vsync", "slm_pixel"):
            m.d.comb += getattr(self, name).eq(getattr(port, name.removeprefix("slm_")))
        m.d.comb += [
            tracker.trigger.eq(trigger),
            self.busy.eq(packer.busy),
            self.sending.eq(sender.busy),
            self.r_addr.eq(sender.r_addr),
            self.r_en.eq(1),
            sender.r_data.eq(self.r_data),
            sender.start.eq(packer.send),
            sender.count.eq(packer.send_count),
            sender.tag.eq(packer.send_tag),
            packer.sender_busy.eq(sender.busy),
            packer.slot_addr.eq(sender.slot_addr),
            sender.slot_data.eq(packer.slot_data),
            # They hold from one vertical sync to the next, so they have been still when its edge is here.
            packer.frame.eq(tracker.frame),
            packer.whole.eq(port.whole),
            packer.tag.eq(port.tag),
            packer.begins.eq(tracker.begins),
            packer.slot.eq(tracker.slot),
            packer.grant.eq(self.grant),
            packer.exposed.eq(self.exposed),
            self.latched.eq(packer.latched),
            self.progress.eq(packer.progress),
            self.underrun.eq(tracker.cut & packer.mine),
            self.showing_cycles.eq(Mux(packer.mine, tracker.showing_cycles, 0)),
            self.slot_cycles.eq(tracker.length_cycles),
        ]
        return m
