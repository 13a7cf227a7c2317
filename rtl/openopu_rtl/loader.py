"""Loader: walks the program for each queued projection and sends its patterns to the panel."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .protocol.geometry import Geometry
from .protocol.shots import SHOT_FIELDS, SHOT_WORDS
from .shapes import LOADED, SHOT


class Loader(wiring.Component):
    """Hands each shot to the exposer (``o``), then streams its video frames through the expander.

    It runs ahead of the exposer by one shot, also from one projection to the next. A projection's
    planes are freed once its last frame has been read. Without ``preload`` a frame is not begun
    before the shots before it have been exposed (``exposing`` is low). With ``normalise`` a shot must be
    exposed for more than ``monitor_cycles``.
    """

    def __init__(self, geometry: Geometry, monitor_cycles: int):
        self.geometry = geometry
        self.monitor_cycles = monitor_cycles
        address = ceil_log2(geometry.store_bytes)
        super().__init__(
            {
                "table_we": In(1),
                "table_offset": In(range(geometry.shot_depth * SHOT_WORDS)),
                "table_data": In(32),
                "program_length": In(range(geometry.shot_depth + 1)),
                "planes": In(9),
                "preload": In(1),
                "normalise": In(1),
                "add": In(1),
                "add_count": In(16),
                "tail": In(address),
                "free": Out(1),
                "free_bytes": Out(address + 1),
                "busy": Out(1),
                "o": Out(stream.Signature(LOADED)),
                "exposing": In(1),
                # Expander.
                "start": Out(1),
                "expander_busy": In(1),
                "shot": Out(SHOT),
                "blank": Out(1),
                "await_latch": Out(1),
                "final": Out(1),
                "plane_address": Out(address),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        m.submodules.table = table = memory.Memory(shape=32 * SHOT_WORDS, depth=g.shot_depth, init=[])
        write, read = table.write_port(granularity=32), table.read_port(domain="sync")
        lane = ceil_log2(SHOT_WORDS)
        m.d.comb += [
            write.addr.eq(self.table_offset >> lane),
            write.data.eq(self.table_data.replicate(SHOT_WORDS)),
            write.en.eq(self.table_we << self.table_offset[:lane]),
        ]

        waiting = Signal(range(g.store_bytes // g.plane_bytes + 1))
        """Projections that wait, this one included."""
        number = Signal(range(g.shot_depth))
        seen = Signal(2)
        frame = Signal(8)
        entry = Signal(SHOT)
        wrong, late, last = Signal(), Signal(), Signal()
        added = Signal(16)
        m.d.comb += [
            self.busy.eq((waiting != 0) | (added != 0)),
            last.eq(number + 1 == self.program_length),
            read.addr.eq(number),
            read.en.eq(1),
            self.final.eq(frame + 1 >= self.shot.frames),
            self.await_latch.eq(frame == 0),
            self.o.p.shot.eq(self.shot),
            self.o.p.first.eq(number == 0),
            self.o.p.last.eq(last),
            self.o.p.fresh.eq(~seen.bit_select(self.shot.bank, 1)),
            self.o.p.invalid.eq(wrong | late),
            self.o.p.late.eq(late & ~wrong),
            self.blank.eq(wrong | late),
        ]
        for name, (word, low, width) in SHOT_FIELDS.items():
            m.d.comb += entry[name].eq(read.data[32 * word + low :][:width])
        done = Signal()
        m.d.sync += [
            added.eq(Mux(self.add, self.add_count, 0)),
            waiting.eq(waiting + added - done),
            self.free.eq(done),
            self.free_bytes.eq(self.planes * g.plane_bytes),
        ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [number.eq(0), seen.eq(0)]
                with m.If(waiting != 0):
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "DECODE"
            with m.State("DECODE"):
                m.d.sync += self.shot.eq(entry)
                m.next = "CHECK"
            with m.State("CHECK"):
                shot = self.shot
                m.d.sync += [
                    wrong.eq((shot.plane >= self.planes) | (shot.frames == 0) | (shot.exposure_cycles == 0)),
                    late.eq(self.normalise & (shot.exposure_cycles <= self.monitor_cycles)),
                    self.plane_address.eq(self.tail + shot.plane * g.plane_bytes),
                    frame.eq(0),
                ]
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += seen.eq(seen | (1 << self.shot.bank))
                    m.next = "FRAME"
            with m.State("FRAME"):
                with m.If(~self.expander_busy & (self.preload | ~self.exposing)):
                    m.d.comb += self.start.eq(1)
                    m.next = "SEND"
            with m.State("SEND"):
                with m.If(~self.expander_busy):
                    m.d.sync += frame.eq(frame + 1)
                    m.next = "FRAME"
                    with m.If(self.final):
                        m.d.sync += number.eq(number + 1)
                        m.next = "FETCH"
                        with m.If(last):
                            m.d.comb += done.eq(1)
                            m.next = "IDLE"
        return m
