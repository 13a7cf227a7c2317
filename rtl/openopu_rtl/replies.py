"""Replies: packets that answer, without results, and the way onto the link of all packets."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .commands import REPLY
from .protocol.errors import Code
from .protocol.packets import ERROR_PAYLOAD, FRAME_REPLY_PAYLOAD
from .protocol.packets import PacketType as Type
from .shapes import LINK_BYTE


class ReplySender(wiring.Component):
    """Turns replies into packets; it reads registers for READ_REPLY, whenever the file is free, and for FRAME_REPLY
    where the frame stands.

    A reply with an address that cannot be read becomes an error before its first byte is sent.
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(REPLY)),
                "o": Out(stream.Signature(LINK_BYTE)),
                "address": Out(16),
                "r_stb": Out(1),
                "file_free": In(1),
                "r_data": In(32),
                "done": In(1),
                "code": In(8),
                "frame_exposure": In(32),
                "frame_offset": In(32),
                "refused": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        job = Signal(REPLY)
        first, count = job.detail[:16], job.detail[16:]
        done = Signal(16)
        tail, left = Signal(64), Signal(4)
        """Bytes still to send before the words, and their number."""
        word, byte = Signal(32), Signal(2)
        checking, last_word = Signal(), Signal()
        # A clock late: a word takes several.
        m.d.sync += last_word.eq(done + 1 == count)
        o = self.o
        m.d.comb += [self.address.eq(first + done), self.busy.eq(1)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.busy.eq(self.i.valid), self.i.ready.eq(1)]
                with m.If(self.i.valid):
                    m.d.sync += [job.eq(self.i.p), done.eq(0), checking.eq(1)]
                    m.next = "START"
                    with m.If(self.i.p.type == Type.READ_REPLY):
                        m.next = "READ"
            with m.State("READ"):
                with m.If(self.file_free):
                    m.d.comb += self.r_stb.eq(1)
                    m.next = "HAVE"
            with m.State("HAVE"), m.If(self.done):
                m.d.sync += [word.eq(self.r_data), byte.eq(0)]
                with m.If(checking):
                    m.d.sync += done.eq(done + 1)
                    m.next = "READ"
                    with m.If(self.code != Code.OK):
                        m.d.comb += self.refused.eq(1)
                        m.d.sync += [
                            job.type.eq(Type.ERROR),
                            job.code.eq(self.code),
                            job.detail.eq(self.address),
                        ]
                        m.next = "START"
                    with m.Elif(last_word):
                        m.d.sync += [done.eq(0), checking.eq(0)]
                        m.next = "START"
                with m.Else():
                    m.next = "WORD"
            with m.State("START"):
                m.d.comb += [o.valid.eq(1), o.p.data.eq(job.type)]
                m.d.sync += [tail.eq(Cat(job.code, job.detail)), left.eq(ERROR_PAYLOAD.size)]
                with m.If(job.type == Type.FRAME_REPLY):
                    m.d.sync += [
                        tail.eq(Cat(self.frame_exposure, self.frame_offset)),
                        left.eq(FRAME_REPLY_PAYLOAD.size),
                    ]
                with m.If(o.ready):
                    m.next = "SEQUENCE"
            with m.State("SEQUENCE"):
                m.d.comb += [o.valid.eq(1), o.p.data.eq(job.sequence), o.p.last.eq(job.type == Type.WRITE_REPLY)]
                with m.If(o.ready):
                    with m.Switch(job.type):
                        with m.Case(Type.READ_REPLY):
                            m.next = "READ"
                        with m.Case(Type.ERROR, Type.FRAME_REPLY):
                            m.next = "TAIL"
                        with m.Default():
                            m.next = "IDLE"
            with m.State("TAIL"):
                m.d.comb += [o.valid.eq(1), o.p.data.eq(tail[:8]), o.p.last.eq(left == 1)]
                with m.If(o.ready):
                    m.d.sync += [tail.eq(tail >> 8), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "IDLE"
            with m.State("WORD"):
                m.d.comb += [
                    o.valid.eq(1),
                    o.p.data.eq(word[:8]),
                    o.p.last.eq((byte == 3) & last_word),
                ]
                with m.If(o.ready):
                    m.d.sync += [word.eq(word >> 8), byte.eq(byte + 1)]
                    with m.If(byte == 3):
                        m.d.sync += done.eq(done + 1)
                        m.next = "READ"
                        with m.If(last_word):
                            m.next = "IDLE"
        return m


class PacketArbiter(wiring.Component):
    """Joins streams of packets; a packet, once begun, is sent whole. ``a`` goes first, then ``b``."""

    def __init__(self):
        super().__init__(
            {
                "a": In(stream.Signature(LINK_BYTE)),
                "b": In(stream.Signature(LINK_BYTE)),
                "c": In(stream.Signature(LINK_BYTE)),
                "o": Out(stream.Signature(LINK_BYTE)),
            }
        )

    def elaborate(self, platform):
        m = Module()

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.a.valid):
                    m.next = "A"
                with m.Elif(self.b.valid):
                    m.next = "B"
                with m.Elif(self.c.valid):
                    m.next = "C"
            for state, source in (("A", self.a), ("B", self.b), ("C", self.c)):
                with m.State(state):
                    m.d.comb += [
                        self.o.valid.eq(source.valid),
                        self.o.payload.eq(source.payload),
                        source.ready.eq(self.o.ready),
                    ]
                    with m.If(source.valid & source.ready & source.p.last):
                        m.next = "IDLE"
        return m
