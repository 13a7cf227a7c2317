"""Control path: packets from the link become register accesses and queued projections; replies go back."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from .commands import BATCH, CommandProcessor
from .framing import PacketReceiver, PacketTransmitter
from .protocol.geometry import Geometry
from .protocol.registers import PLANT_SOURCES
from .queues import add_queue
from .registerfile import RegisterFile
from .replies import PacketArbiter, ReplySender
from .shapes import LINK_BYTE
from .skid import Skid

RECEIVE_FIFO_BYTES = 256
"""Holds what a UART brings while the longest command is executed: about 3,000 clocks at 40 a byte."""

_PACKET_GUARD_CLOCKS = 8
"""After a delimiter the receiver is fed no more until its verdict is out, however quick the link."""


class ControlPath(wiring.Component):
    """Everything between the link's bytes and the rest.

    Parameters
    ----------
    regs : the register file, a sibling; every path reads its settings there and drives its status and counters.

    Ports
    -----
    link_i, link_o : bytes of the link.
    push, push_data, commit, rollback, store_full : to the pattern store.
    commit_count : projections that ``commit`` keeps. batch : a queued packet of projections, for its results.
    results, patterns : packets of results and of patterns, to be sent.
    frame_* , pixels : frames from the host, see the plant path.
    busy : projections are queued or under way. accepted : strobe: a packet with a right checksum came.
    uart_divisor : setting for a UART behind the link.
    idle : nothing received in part, to do, or to send.
    """

    def __init__(self, geometry: Geometry, regs: RegisterFile):
        self.geometry = geometry
        self.regs = regs
        super().__init__(
            {
                "link_i": In(stream.Signature(8)),
                "link_o": Out(stream.Signature(8)),
                "push": Out(1),
                "push_data": Out(8),
                "commit": Out(1),
                "commit_count": Out(16),
                "rollback": Out(1),
                "store_full": In(1),
                "batch": Out(stream.Signature(BATCH)),
                "results": In(stream.Signature(LINK_BYTE)),
                "patterns": In(stream.Signature(LINK_BYTE)),
                "frame_wanted": In(1),
                "frame_exposure": In(32),
                "frame_offset": In(range(geometry.camera_pixels + 1)),
                "frame_monitor": Out(12),
                "pixels": Out(stream.Signature(geometry.pixel_bits)),
                "busy": In(1),
                "accepted": Out(1),
                "uart_divisor": Out(16),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g, regs = self.geometry, self.regs
        m.submodules.commands = commands = CommandProcessor(g)
        m.submodules.replies = replies = ReplySender()

        # Inwards. The receiver cannot wait, so bytes wait before it.
        m.submodules.receive_fifo = fifo = SyncFIFOBuffered(width=8, depth=RECEIVE_FIFO_BYTES)
        m.submodules.received = received = Skid(8)
        m.submodules.receiver = receiver = PacketReceiver()
        guard = Signal(range(_PACKET_GUARD_CLOCKS + 1))
        feed = Signal()
        m.d.comb += [
            fifo.w_data.eq(self.link_i.payload),
            fifo.w_en.eq(self.link_i.valid),
            self.link_i.ready.eq(fifo.w_rdy),
            received.i.payload.eq(fifo.r_data),
            received.i.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(received.i.ready),
            feed.eq(received.o.valid & commands.accept & (guard == 0)),
            received.o.ready.eq(feed),
            receiver.gap_cycles.eq(regs.link_gap_cycles),
            commands.data.eq(receiver.data),
            commands.valid.eq(receiver.valid),
            commands.end.eq(receiver.end),
            commands.ok.eq(receiver.ok),
            commands.error.eq(receiver.error),
        ]
        m.d.sync += [receiver.i.valid.eq(feed), receiver.i.payload.eq(received.o.payload)]
        with m.If(feed & (received.o.payload == 0)):
            m.d.sync += guard.eq(_PACKET_GUARD_CLOCKS)
        with m.Elif(guard != 0):
            m.d.sync += guard.eq(guard - 1)

        # Registers: writes go first, replies read when there is none.
        m.d.comb += [
            regs.address.eq(Mux(commands.executing, commands.address, replies.address)),
            regs.w_stb.eq(commands.w_stb),
            regs.w_data.eq(commands.w_data),
            regs.r_stb.eq(replies.r_stb),
            regs.busy.eq(self.busy),
            commands.done.eq(regs.done),
            commands.code.eq(regs.code),
            replies.r_data.eq(regs.r_data),
            replies.done.eq(regs.done),
            replies.code.eq(regs.code),
            replies.file_free.eq(~commands.executing & ~receiver.end),
            commands.program_length.eq(regs.program_length),
            commands.selection_length.eq(regs.selection_length),
            commands.result_raw.eq(regs.result_raw),
            commands.planes.eq(regs.planes),
            commands.exposure_base.eq(regs.exposure_base),
            commands.exposure_base_stb.eq(regs.exposure_base_stb),
            regs.exposure_next.eq(commands.exposure_next),
            regs.packets_accepted_inc.eq(commands.counted),
            regs.packets_damaged_inc.eq(commands.damaged),
            regs.packets_refused_inc.eq(commands.refused | replies.refused),
        ]

        # Frames from the host.
        m.d.comb += [
            commands.one_projection.eq(regs.plant_source == PLANT_SOURCES["host"]),
            commands.frame_wanted.eq(self.frame_wanted),
            commands.frame_exposure.eq(self.frame_exposure),
            commands.frame_offset.eq(self.frame_offset),
            self.frame_monitor.eq(commands.frame_monitor),
            replies.frame_exposure.eq(self.frame_exposure),
            replies.frame_offset.eq(self.frame_offset),
        ]
        connect(m, commands.o_pixel, flipped(self.pixels))

        # Projections.
        m.d.comb += [
            self.push.eq(commands.push),
            self.push_data.eq(commands.push_data),
            self.commit.eq(commands.commit),
            self.commit_count.eq(commands.o_batch.p.count),
            self.rollback.eq(commands.rollback),
            commands.store_full.eq(self.store_full),
            self.accepted.eq(commands.accepted),
        ]
        reply_queue = add_queue(m, "reply_queue", commands.o_reply, replies.i, 16)
        add_queue(m, "batch_queue", commands.o_batch, self.batch, g.queue_depth)

        # Outwards.
        m.submodules.arbiter = arbiter = PacketArbiter()
        m.submodules.transmitter = transmitter = PacketTransmitter()
        connect(m, replies.o, arbiter.a)
        m.submodules.results_skid = results_skid = Skid(LINK_BYTE)
        m.submodules.patterns_skid = patterns_skid = Skid(LINK_BYTE)
        connect(m, flipped(self.patterns), patterns_skid.i)
        connect(m, patterns_skid.o, arbiter.b)
        connect(m, flipped(self.results), results_skid.i)
        connect(m, results_skid.o, arbiter.c)
        m.submodules.content_skid = content_skid = Skid(LINK_BYTE)
        m.submodules.link_skid = link_skid = Skid(8)
        connect(m, arbiter.o, content_skid.i)
        connect(m, content_skid.o, transmitter.i)
        connect(m, transmitter.o, link_skid.i)
        connect(m, link_skid.o, flipped(self.link_o))
        quiet = Signal()
        m.d.comb += [
            quiet.eq(
                ~replies.busy
                & ~reply_queue.r_rdy
                & ~patterns_skid.busy
                & ~results_skid.busy
                & ~content_skid.busy
                & ~transmitter.busy
                & ~link_skid.busy
            ),
            self.idle.eq(
                quiet
                & ~self.busy
                & ~fifo.r_rdy
                & (fifo.level == 0)
                & ~received.busy
                & ~receiver.partial
                & (guard == 0)
                & commands.accept
            ),
        ]
        # The reply to a new divisor still goes out at the old one.
        rests = Signal()
        m.d.sync += rests.eq(quiet & commands.accept)
        with m.If(rests):
            m.d.sync += self.uart_divisor.eq(regs.uart_divisor)
        return m
