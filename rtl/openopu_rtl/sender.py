"""Result sender: one packet for each packet of projections, a record for each projection."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .commands import BATCH
from .protocol.geometry import Geometry
from .protocol.packets import RECORD_DTYPE, RECORD_FLAGS, RECORD_HEAD_BYTES
from .protocol.packets import PacketType as Type
from .protocol.registers import RESULT_BITS
from .shapes import ENDED, LINK_BYTE
from .spi.common import ADC_BITS

_FIELDS = data.StructLayout({name: RECORD_DTYPE[name].itemsize * 8 for name in RECORD_DTYPE.names})
_TAIL_BYTES = RECORD_DTYPE.itemsize - RECORD_HEAD_BYTES


BUBBLE_CLOCKS = 1
"""Clocks of a record in which the sender offers nothing, where the projection has already ended."""


class ResultSender(wiring.Component):
    """Takes queued packets (``batch``) and ended projections (``ended``), both in order.

    The integers are read once, a byte a clock: how many are saturated follows them. A record costs ``BUBBLE_CLOCKS``
    in which no byte leaves, which the encoder behind hides from any link slower than the system clock.
    With ``monitors`` a projection's photodiode readings follow, which came by ``monitor_we``.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "batch": In(stream.Signature(BATCH)),
                "ended": In(stream.Signature(ENDED)),
                "release": Out(1),
                "release_set": Out(1),
                "busy": Out(1),
                "raw": In(1),
                "format": In(2),
                "monitors": In(1),
                "program_length": In(range(geometry.shot_depth + 1)),
                "monitor_we": In(1),
                "monitor_set": In(1),
                "monitor_number": In(range(geometry.shot_depth)),
                "monitor": In(ADC_BITS),
                # Result reader and packer.
                "read_start": Out(1),
                "read_saturations": In(16),
                "packed_format": Out(2),
                "packed": In(stream.Signature(8)),
                "packed_last": In(1),
                "o": Out(stream.Signature(LINK_BYTE)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        o = self.o
        batch, ended = self.batch.p, self.ended.p
        shift = Signal(8 * RECORD_HEAD_BYTES)
        left = Signal(range(max(8, RECORD_HEAD_BYTES) + 1))
        remaining = Signal(16)
        final = Signal()
        """This is the packet's last record."""
        number = Signal(range(self.geometry.shot_depth))
        depth = 2 << len(number)
        m.submodules.readings = readings = memory.Memory(shape=ADC_BITS, depth=depth, init=[])
        write, reading = readings.write_port(), readings.read_port(domain="sync")
        sample = Signal(ADC_BITS)
        record = Signal(_FIELDS)
        m.d.comb += [
            self.busy.eq(1),
            final.eq(remaining == 1),
            write.en.eq(self.monitor_we),
            write.addr.eq(Cat(self.monitor_number, self.monitor_set)),
            write.data.eq(self.monitor),
            reading.addr.eq(Cat(number, ended.set)),
            self.release_set.eq(ended.set),
            self.packed_format.eq(Mux(self.raw, RESULT_BITS.index(16), self.format)),
            record.exposure.eq(ended.exposure),
            record.timestamp.eq(ended.timestamp),
            record.saturated.eq(Mux(self.raw, 0, self.read_saturations)),
            record.monitor.eq(ended.monitor),
            record.status.eq(ended.status),
            record.flags.eq(
                ended.laser_on << RECORD_FLAGS["laser_on"]
                | ended.accumulator_saturated << RECORD_FLAGS["accumulator_saturated"]
            ),
        ]

        def send_shift(following):
            m.d.comb += [o.valid.eq(1), o.p.data.eq(shift[:8])]
            with m.If(o.ready):
                m.d.sync += [shift.eq(shift >> 8), left.eq(left - 1)]
                with m.If(left == 1):
                    m.next = following

        # `shift` is loaded all along where a state only waits: its enable is then a short path.
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.batch.valid)
                m.d.sync += [
                    shift.eq(Cat(Const(Type.RESULT, 8), batch.sequence, batch.first_exposure, batch.count)),
                    left.eq(8),
                    remaining.eq(batch.count),
                ]
                # The packet begins with its first result, so that other replies may pass until then.
                with m.If(self.batch.valid & self.ended.valid):
                    m.next = "HEADER"
            with m.State("HEADER"):
                send_shift("NEXT")
            with m.State("NEXT"):
                m.d.sync += [shift.eq(record), left.eq(RECORD_HEAD_BYTES)]
                with m.If(self.ended.valid):
                    m.next = "RECORD"
            with m.State("RECORD"):
                # The first values come down the reader's pipeline behind the head.
                m.d.comb += self.read_start.eq(left == RECORD_HEAD_BYTES)
                send_shift("VALUES")
            with m.State("VALUES"):
                m.d.comb += [
                    o.valid.eq(self.packed.valid),
                    o.p.data.eq(self.packed.payload),
                    self.packed.ready.eq(o.ready),
                ]
                m.d.sync += [number.eq(0), shift.eq(record.saturated), left.eq(_TAIL_BYTES)]
                with m.If(o.valid & o.ready & self.packed_last):
                    m.next = "TAIL"
            with m.State("TAIL"):
                m.d.comb += [o.valid.eq(1), o.p.data.eq(shift[:8]), o.p.last.eq((left == 1) & final & ~self.monitors)]
                with m.If(o.ready):
                    m.d.sync += [shift.eq(shift >> 8), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "END"
                        with m.If(self.monitors):
                            m.next = "READING"
            with m.State("READING"):
                m.d.comb += reading.en.eq(1)
                m.next = "READING_DATA"
            with m.State("READING_DATA"):
                m.d.sync += sample.eq(reading.data)
                m.next = "READING_LOW"
            with m.State("READING_LOW"):
                m.d.comb += [o.valid.eq(1), o.p.data.eq(sample[:8])]
                with m.If(o.ready):
                    m.next = "READING_HIGH"
            with m.State("READING_HIGH"):
                m.d.comb += [o.valid.eq(1), o.p.data.eq(sample[8:])]
                with m.If(number + 1 == self.program_length):
                    m.d.comb += o.p.last.eq(final)
                with m.If(o.ready):
                    m.d.sync += number.eq(number + 1)
                    m.next = "READING"
                    with m.If(number + 1 == self.program_length):
                        m.next = "END"
            with m.State("END"):
                # A clock of its own, to keep the queues off the link's path.
                m.d.comb += [self.release.eq(1), self.ended.ready.eq(1)]
                m.d.sync += remaining.eq(remaining - 1)
                m.next = "NEXT"
                with m.If(final):
                    m.d.comb += self.batch.ready.eq(1)
                    m.next = "IDLE"
        return m
