"""Plane packer: batches of up to 24 shots for packed video frames, sent until each shot has been exposed."""

from __future__ import annotations

from amaranth import Array, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .binarylevels import BinaryLevels
from .planesender import slot_layout
from .protocol.geometry import Geometry
from .shapes import BATCH_TAG_BITS, PLANES
from .source import shot_ports

BATCHES = 4
"""One is shown, one is being sent, one is ready at the next frame, and one has shots still to be exposed."""
NUMBER_BITS = 8
"""Of a shot's running number: more than live at a time, twice."""
SHOTS_AHEAD = BATCHES * PLANES
"""Shots that are packed, at most, but not exposed yet."""


class PlanePacker(wiring.Component):
    """To the loader it stands for the expander: a shot is taken at once, into the next slot of the open batch
    (``frames`` slots, so that a slow camera can be given more of them).

    The panel shows a frame while the next one is sent, slot by slot. At each vertical sync (``frame``, then
    ``whole`` and ``tag`` of the frame that just ended) the next one is chosen: the oldest batch that has
    shots to expose; but if that one is on show from now on, the one after it. A shot whose slot passed before
    it could be exposed waits for that slot again, and its batch is sent again.

    Slots are matched with the exposer by the running numbers of shots, which both count. ``grant`` toggles
    when the exposer wants its shot shown, ``latched`` when that shot's slot begins; ``mine`` is high while
    the slot is that shot's. ``exposed`` pulses for each shot exposed or skipped.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                **shot_ports(geometry),
                # Exposer.
                "grant": In(1),
                "latched": Out(1),
                "mine": Out(1),
                "exposed": In(1),
                "progress": Out(1),
                # Panel.
                "frame": In(1),
                "whole": In(1),
                "tag": In(BATCH_TAG_BITS),
                "begins": In(1),
                "slot": In(range(PLANES)),
                # Sender.
                "send": Out(1),
                "send_count": Out(range(PLANES + 1)),
                "send_tag": Out(BATCH_TAG_BITS),
                "sender_busy": In(1),
                "slot_addr": In(range(PLANES)),
                "slot_data": Out(slot_layout(geometry)),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bank_bits, slot_bits = ceil_log2(BATCHES), ceil_log2(PLANES)
        count = Array(Signal(range(PLANES + 1), name=f"count{i}") for i in range(BATCHES))
        end = Array(Signal(NUMBER_BITS, name=f"end{i}") for i in range(BATCHES))
        """Number of the first shot after the batch."""
        closed = Array(Signal(name=f"closed{i}") for i in range(BATCHES))
        oldest, filling = Signal(BATCH_TAG_BITS), Signal(BATCH_TAG_BITS)
        live = Signal(BATCH_TAG_BITS)
        number, current = Signal(NUMBER_BITS), Signal(NUMBER_BITS)
        """Of the shot being taken; of the one that the exposer exposes next."""

        def bank(tag):
            return tag[:bank_bits]

        def is_live(tag):
            return (tag - oldest)[:BATCH_TAG_BITS] <= live

        m.d.comb += live.eq(filling - oldest)
        m.d.sync += current.eq(current + self.exposed)

        # Take shots.
        m.submodules.levels = levels = BinaryLevels()
        levels.connect_source(m, self)
        slots = memory.Memory(shape=slot_layout(self.geometry), depth=BATCHES << slot_bits, init=[])
        numbers = memory.Memory(shape=NUMBER_BITS, depth=BATCHES << slot_bits, init=[])
        m.submodules.slots, m.submodules.numbers = slots, numbers
        write, read = slots.write_port(), slots.read_port(domain="sync")
        number_write, number_read = numbers.write_port(), numbers.read_port(domain="sync")
        taking, room, taken = Signal(), Signal(), Signal()
        fill = bank(filling)
        m.d.comb += [
            room.eq((count[fill] != PLANES) & ~closed[fill]),
            taken.eq(taking & ~levels.busy & room & ~self.frame),
            self.busy.eq(taking),
            write.en.eq(taken),
            write.addr.eq((fill << slot_bits) | count[fill]),
            write.data.plane_address.eq(self.plane_address),
            write.data.invert.eq(self.shot.invert),
            write.data.blank.eq(self.blank),
            write.data.bits.eq(levels.bits),
            number_write.en.eq(taken),
            number_write.addr.eq(write.addr),
            number_write.data.eq(number),
        ]
        with m.If(levels.start):
            m.d.sync += taking.eq(1)
        with m.Elif(taken):
            m.d.sync += [
                taking.eq(0),
                count[fill].eq(count[fill] + 1),
                end[fill].eq(number + 1),
                number.eq(number + self.final),
            ]
        # The next batch opens when this one is full or has been sent once, and another bank is free.
        with m.If(~room & (live != BATCHES - 1)):
            m.d.sync += filling.eq(filling + 1)

        # Choose a frame. Slots taken later must not count as sent.
        done, done_soon = Signal(), Signal()
        ahead = Signal(NUMBER_BITS)
        granted = Signal()
        shown, shown_tag, sending_tag = Signal(), Signal(BATCH_TAG_BITS), Signal(BATCH_TAG_BITS)
        needed, after, chosen = Signal(BATCH_TAG_BITS), Signal(BATCH_TAG_BITS), Signal(BATCH_TAG_BITS)

        def sendable(tag):
            return is_live(tag) & (count[bank(tag)] != 0)

        m.d.comb += [
            ahead.eq(current - end[bank(oldest)]),
            done.eq(~ahead[-1] & (count[bank(oldest)] != 0)),
            # Or its last shot's slot has begun, and was not missed so far.
            done_soon.eq(done | ((ahead == (1 << NUMBER_BITS) - 1) & (self.grant == granted))),
            needed.eq(Mux(done_soon, oldest + 1, oldest)),
            after.eq(needed + 1),
            chosen.eq(Mux(self.whole & (self.tag == needed) & sendable(after), after, needed)),
            self.send.eq(self.frame & ~self.sender_busy & sendable(chosen)),
            self.send_count.eq(count[bank(chosen)]),
            self.send_tag.eq(chosen),
            self.empty.eq((live == 0) & (count[fill] == 0) & ~taking),
            read.en.eq(1),
            read.addr.eq((bank(sending_tag) << slot_bits) | self.slot_addr),
            self.slot_data.eq(read.data),
        ]
        with m.If(self.frame):
            m.d.sync += [shown.eq(self.whole), shown_tag.eq(self.tag)]
        with m.If(self.send):
            m.d.sync += [sending_tag.eq(chosen), closed[bank(chosen)].eq(1)]

        # Give the oldest batch's bank back. A frame of it that is still on its way has a tag that lives no more.
        with m.If(done & (live != 0)):
            m.d.sync += [oldest.eq(oldest + 1), count[bank(oldest)].eq(0), closed[bank(oldest)].eq(0)]

        # Match slots with shots.
        ours, match = Signal(), Signal()
        m.d.sync += ours.eq(self.begins & shown & is_live(shown_tag) & (self.slot < count[bank(shown_tag)]))
        m.d.comb += [
            number_read.en.eq(1),
            number_read.addr.eq((bank(shown_tag) << slot_bits) | self.slot),
            match.eq(ours & (number_read.data == current)),
            self.progress.eq(ours),
        ]
        with m.If(self.begins | self.exposed):
            m.d.sync += self.mine.eq(0)
        with m.Elif(match & (self.grant != granted)):
            m.d.sync += [self.mine.eq(1), granted.eq(self.grant), self.latched.eq(~self.latched)]
        return m
