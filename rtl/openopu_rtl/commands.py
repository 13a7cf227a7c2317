"""Command processor: takes packets, writes registers, queues projections, and orders replies."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .protocol.errors import Code
from .protocol.geometry import Geometry
from .protocol.packets import (
    COMMAND_BYTES,
    FRAME_HEADER,
    HEADER,
    PROJECT_HEADER,
    READ_PAYLOAD,
    READ_WORDS_MAX,
    WRITE_HEADER,
    pixel_bytes,
)
from .protocol.packets import PacketType as Type

REPLY = data.StructLayout({"type": 8, "sequence": 8, "code": 8, "detail": 32})
"""A reply to send. READ_REPLY: ``detail`` is the address and, from bit 16, the count."""

BATCH = data.StructLayout({"sequence": 8, "count": 16, "first_exposure": 32})
"""A queued packet of projections."""


class CommandProcessor(wiring.Component):
    """One packet at a time: ``accept`` is low while a command is executed, so that the link waits.

    A PROJECT packet's planes go to the store as they arrive, and are kept only when the whole packet
    is right.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                # From the packet receiver.
                "data": In(8),
                "valid": In(1),
                "end": In(1),
                "ok": In(1),
                "error": In(8),
                "accept": Out(1),
                # A command has the register file; not while its reply waits for room, or a queue full of replies
                # behind one that has yet to read the file could never drain.
                "executing": Out(1),
                # Register file, write side.
                "address": Out(16),
                "w_data": Out(32),
                "w_stb": Out(1),
                "done": In(1),
                "code": In(8),
                # Pattern store.
                "push": Out(1),
                "push_data": Out(8),
                "commit": Out(1),
                "rollback": Out(1),
                "store_full": In(1),
                # Settings.
                "program_length": In(range(geometry.shot_depth + 1)),
                "selection_length": In(range(geometry.outputs + 1)),
                "result_raw": In(1),
                "planes": In(9),
                "exposure_base": In(32),
                "exposure_base_stb": In(1),
                "exposure_next": Out(32),
                "o_batch": Out(stream.Signature(BATCH)),
                "o_reply": Out(stream.Signature(REPLY)),
                # Frames from the host; pixels of one that is not wanted are not offered.
                "one_projection": In(1),
                "frame_wanted": In(1),
                "frame_exposure": In(32),
                "frame_offset": In(range(geometry.camera_pixels + 1)),
                "frame_monitor": Out(12),
                "o_pixel": Out(stream.Signature(geometry.pixel_bits)),
                # Events, one clock each.
                "accepted": Out(1),
                "counted": Out(1),
                "damaged": Out(1),
                "refused": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.buffer = buffer = memory.Memory(shape=8, depth=COMMAND_BYTES, init=[])
        write, read = buffer.write_port(), buffer.read_port(domain="sync")

        # Reception: the first bytes are looked at as they come; a command's content is buffered.
        index = Signal(range(COMMAND_BYTES + 2))
        kind, sequence = Signal(8), Signal(8)
        head = Signal(8 * PROJECT_HEADER.size)
        plane_byte = Signal(range(self.geometry.plane_bytes + 1))
        plane, last_plane = Signal(9), Signal(9)
        complete, expected = Signal(16), Signal(32)
        at_plane = Signal()
        offset = Signal(32)
        frame_body = HEADER.size + FRAME_HEADER.size
        m.d.comb += [
            write.en.eq(self.valid & (index < COMMAND_BYTES)),
            write.addr.eq(index),
            write.data.eq(self.data),
            self.push.eq(self.valid & at_plane),
            self.push_data.eq(self.data),
        ]
        m.d.sync += last_plane.eq(self.planes - 1)
        with m.If(self.valid):
            with m.If(index == HEADER.size + PROJECT_HEADER.size - 1):
                m.d.sync += at_plane.eq(kind == Type.PROJECT)
            with m.If(index != COMMAND_BYTES + 1):
                m.d.sync += index.eq(index + 1)
            with m.If(index == 0):
                m.d.sync += [
                    kind.eq(self.data),
                    plane_byte.eq(0),
                    plane.eq(0),
                    complete.eq(0),
                    expected.eq(self.exposure_next),
                ]
            with m.Elif(index == 1):
                m.d.sync += sequence.eq(self.data)
            with m.Elif(index < HEADER.size + PROJECT_HEADER.size):
                m.d.sync += head.eq(Cat(head[8:], self.data))
            with m.Elif(index < frame_body):
                m.d.sync += offset.eq(Cat(offset[8:], self.data))
            with m.If(at_plane):
                m.d.sync += plane_byte.eq(plane_byte + 1)
                with m.If(plane_byte == self.geometry.plane_bytes - 1):
                    m.d.sync += [plane_byte.eq(0), plane.eq(plane + 1)]
                    with m.If(plane == last_plane):
                        m.d.sync += [
                            plane.eq(0),
                            complete.eq(complete + 1),
                            expected.eq(expected + self.program_length),
                        ]
        with m.If(self.end):
            m.d.sync += at_plane.eq(0)
        first_exposure, count = head[:32], head[32:]

        reply = self.o_reply.p
        with m.If(self.exposure_base_stb):
            m.d.sync += self.exposure_next.eq(self.exposure_base)

        def answer(kind, code=Code.OK, detail=0, sequence=sequence):
            m.d.sync += [reply.type.eq(kind), reply.sequence.eq(sequence), reply.code.eq(code), reply.detail.eq(detail)]
            m.next = "REPLY"

        def refuse(code, detail=0):
            m.d.comb += self.refused.eq(1)
            answer(Type.ERROR, code, detail)

        # Wide comparisons, clocks ahead: nothing in them changes between a packet's last byte and its dispatch.
        unprogrammed, short, mismatch, incomplete, crowded, acceptable, unwanted = (Signal() for _ in range(7))
        m.d.sync += [
            unprogrammed.eq((self.program_length == 0) | ((self.selection_length == 0) & ~self.result_raw)),
            short.eq(index < HEADER.size + PROJECT_HEADER.size),
            mismatch.eq(first_exposure != self.exposure_next),
            incomplete.eq((count == 0) | (complete != count) | (plane_byte != 0) | (plane != 0)),
            crowded.eq(self.one_projection & (count != 1)),
            # May change in that clock; what then comes for a frame given up is taken and thrown away.
            unwanted.eq(~self.frame_wanted | (first_exposure != self.frame_exposure) | (offset != self.frame_offset)),
            acceptable.eq(
                (kind == Type.PROJECT)
                & ~(unprogrammed | short | mismatch | incomplete | crowded | self.store_full)
                & self.o_batch.ready
            ),
        ]

        position = Signal(range(COMMAND_BYTES + 1))
        byte, word, target = Signal(2), Signal(32), Signal(16)
        m.d.comb += [
            read.addr.eq(position),
            read.en.eq(1),
            self.address.eq(target),
            self.w_data.eq(word),
            self.o_batch.p.sequence.eq(sequence),
            self.o_batch.p.count.eq(count),
            self.o_batch.p.first_exposure.eq(first_exposure),
        ]
        body = HEADER.size + WRITE_HEADER.size
        wide = pixel_bytes(self.geometry) == 2
        low = Signal(8)
        m.d.comb += self.frame_monitor.eq(count)

        with m.FSM() as fsm:
            m.d.comb += self.executing.eq(~fsm.ongoing("RECEIVE") & ~fsm.ongoing("REPLY"))
            with m.State("RECEIVE"):
                m.d.comb += self.accept.eq(~self.end)
                with m.If(self.end):
                    with m.If(self.ok):
                        m.d.comb += [self.accepted.eq(1), self.counted.eq(kind != Type.FRAME)]
                        m.next = "CHECK"
                    with m.Else():
                        m.d.comb += [self.damaged.eq(1), self.rollback.eq(1)]
                        answer(Type.ERROR, self.error, sequence=0)
            with m.State("CHECK"):
                m.next = "DISPATCH"
            with m.State("DISPATCH"):
                with m.If(acceptable):
                    m.d.comb += [self.commit.eq(1), self.o_batch.valid.eq(1)]
                    m.d.sync += [self.exposure_next.eq(expected), index.eq(0)]
                    m.next = "RECEIVE"
                with m.Else(), m.Switch(kind):
                    with m.Case(Type.READ):
                        with m.If(
                            (index != HEADER.size + READ_PAYLOAD.size) | (head[32:] == 0) | (head[32:] > READ_WORDS_MAX)
                        ):
                            refuse(Code.LENGTH, kind)
                        with m.Else():
                            answer(Type.READ_REPLY, detail=head[16:])
                    with m.Case(Type.WRITE):
                        with m.If((index < body + 4) | (index > COMMAND_BYTES) | (index[:2] != body % 4)):
                            refuse(Code.LENGTH, kind)
                        with m.Else():
                            m.d.sync += [position.eq(HEADER.size), byte.eq(0)]
                            m.next = "ADDRESS"
                    with m.Case(Type.PROJECT):
                        m.next = "REPLY"
                        m.d.comb += self.rollback.eq(1)
                        with m.If(unprogrammed):
                            refuse(Code.NO_PROGRAM)
                        with m.Elif(short):
                            refuse(Code.LENGTH, kind)
                        with m.Elif(mismatch):
                            refuse(Code.EXPOSURE_MISMATCH, self.exposure_next)
                        with m.Elif(incomplete):
                            refuse(Code.LENGTH, kind)
                        with m.Elif(crowded):
                            refuse(Code.ONE_PROJECTION)
                        with m.Else():
                            refuse(Code.NO_SPACE)
                    with m.Case(Type.FRAME):
                        odd = (index[0] != frame_body % 2) if wide else 0
                        with m.If((index <= frame_body) | (index > COMMAND_BYTES) | odd):
                            refuse(Code.LENGTH, kind)
                        with m.Elif(unwanted):
                            answer(Type.FRAME_REPLY)
                        with m.Else():
                            m.d.sync += position.eq(frame_body)
                            m.next = "FETCH"
                    with m.Default():
                        refuse(Code.UNKNOWN_TYPE, kind)

            # A WRITE: two bytes of address, then words. The buffer answers a clock after `position`.
            with m.State("ADDRESS"):
                m.d.sync += position.eq(position + 1)
                m.next = "ADDRESS_LOW"
            with m.State("ADDRESS_LOW"):
                m.d.sync += [target[:8].eq(read.data), position.eq(position + 1)]
                m.next = "ADDRESS_HIGH"
            with m.State("ADDRESS_HIGH"):
                m.d.sync += [target[8:].eq(read.data), position.eq(position + 1)]
                m.next = "WORD"
            with m.State("WORD"):
                m.d.sync += [word.eq(Cat(word[8:], read.data)), byte.eq(byte + 1)]
                with m.If(byte == 3):
                    m.next = "STORE"
                with m.Else():
                    m.d.sync += position.eq(position + 1)
            with m.State("STORE"):
                m.d.comb += self.w_stb.eq(1)
                m.next = "STORED"
            with m.State("STORED"), m.If(self.done):
                with m.If(self.code != Code.OK):
                    refuse(self.code, target)
                with m.Elif(position == index):
                    answer(Type.WRITE_REPLY)
                with m.Else():
                    m.d.sync += [target.eq(target + 1), position.eq(position + 1)]
                    m.next = "WORD"

            # A FRAME: its pixels, one by one, as soon as each is taken.
            with m.State("FETCH"):
                m.d.sync += position.eq(position + 1)
                m.next = "LOW" if wide else "HIGH"
            if wide:
                with m.State("LOW"):
                    m.d.sync += [low.eq(read.data), position.eq(position + 1)]
                    m.next = "HIGH"
            with m.State("HIGH"):
                m.d.sync += self.o_pixel.payload.eq(Cat(low, read.data) if wide else read.data)
                m.next = "PIXEL"
            with m.State("PIXEL"):
                m.d.comb += self.o_pixel.valid.eq(1)
                with m.If(self.o_pixel.ready):
                    m.next = "FETCH"
                    with m.If(position == index):
                        answer(Type.FRAME_REPLY)

            with m.State("REPLY"):
                m.d.comb += self.o_reply.valid.eq(1)
                with m.If(self.o_reply.ready):
                    m.d.sync += index.eq(0)
                    m.next = "RECEIVE"
        return m
