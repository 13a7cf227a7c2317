"""Packets from and to link bytes: COBS and CRC-32 as :mod:`.protocol.codec` declares them."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from .cobs import CobsDecoder, CobsEncoder
from .protocol import codec
from .protocol.errors import Code
from .protocol.packets import HEADER
from .shapes import LINK_BYTE

CRC_BYTES = 4
PACKET_BYTES_MIN = HEADER.size + CRC_BYTES
"""Bytes of the shortest packet, decoded: header and checksum."""
GAP_CYCLES_MIN = 4
"""Shortest ``gap_cycles``: what is inside the receiver must have left it before a packet ends."""


class PacketReceiver(wiring.Component):
    """Content of packets from link bytes, and for each packet whether it arrived whole.

    Content leaves as it comes, before its checksum is known: the consumer keeps it, and uses it or
    drops it at ``end``. Packets may be of any length and follow each other without a gap.

    Ports
    -----
    i : link bytes; there is no back-pressure.
    gap_cycles : a packet in which no byte arrives for so many clocks ends with ``Code.FRAMING``, and the
        next byte begins a packet. At least ``GAP_CYCLES_MIN``.
    data, valid : one byte of content (without the checksum) and its strobe.
    end : strobe, at least one clock after the last ``valid``: the packet is over. Empty ones give none.
    ok : with ``end``: the packet arrived whole.
    error : with ``end``: ``Code.OK``, ``Code.CRC`` or ``Code.FRAMING`` (cut short, or too short).
    partial : a packet has been received in part; up to and including the clock of ``end``.
    """

    i: In(stream.Signature(8, always_ready=True))
    gap_cycles: In(32)
    data: Out(8)
    valid: Out(1)
    end: Out(1)
    ok: Out(1)
    error: Out(8)
    partial: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = CobsDecoder()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=8).create()
        wiring.connect(m, wiring.flipped(self.i), decoder.i)

        quiet = Signal(32)  # clocks since the last byte, plus one
        gap = Signal()
        expired = Signal()  # it is quiet for so long: compared a clock ahead
        m.d.sync += expired.eq(quiet >= self.gap_cycles)
        m.d.comb += [gap.eq(decoder.active & ~self.i.valid & expired), decoder.clear.eq(gap)]
        with m.If(self.i.valid | ~decoder.active):
            m.d.sync += [quiet.eq(2), expired.eq(0)]
        with m.Else():
            m.d.sync += quiet.eq(quiet + 1)

        # The last four bytes are the checksum: content is what four more bytes have followed.
        delay = Signal(8 * CRC_BYTES)
        count = Signal(range(PACKET_BYTES_MIN + 1))  # decoded bytes, held at the least that a packet has
        m.d.comb += [crc.data.eq(decoder.data), crc.valid.eq(decoder.valid), crc.start.eq(decoder.end | gap)]
        m.d.sync += [self.valid.eq(0), self.end.eq(0), self.ok.eq(0), self.error.eq(Code.OK)]
        with m.If(decoder.valid):
            m.d.sync += [
                delay.eq(delay << 8 | decoder.data),
                self.data.eq(delay[-8:]),
                self.valid.eq(count >= CRC_BYTES),
            ]
            with m.If(count != PACKET_BYTES_MIN):
                m.d.sync += count.eq(count + 1)
        with m.If(decoder.end | gap):
            m.d.sync += [self.end.eq(1), count.eq(0)]
            with m.If(gap | decoder.error | (count != PACKET_BYTES_MIN)):
                m.d.sync += self.error.eq(Code.FRAMING)
            with m.Elif(~crc.match_detected):
                m.d.sync += self.error.eq(Code.CRC)
            with m.Else():
                m.d.sync += self.ok.eq(1)
        begins = self.i.valid & (self.i.payload != codec.DELIMITER[0])
        m.d.comb += self.partial.eq(begins | decoder.active | decoder.end | self.end)
        return m


class PacketTransmitter(wiring.Component):
    """Link bytes of the packets whose content comes in: checksum, COBS, delimiter.

    Ports
    -----
    i : content of packets, at least one byte each, ending with its ``last`` byte.
    o : link bytes.
    busy : anything is inside, or a packet has begun and its last byte has not come.
    """

    i: In(stream.Signature(LINK_BYTE))
    o: Out(stream.Signature(8))
    busy: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder = encoder = CobsEncoder()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=8).create()
        wiring.connect(m, encoder.o, wiring.flipped(self.o))
        m.d.comb += [self.busy.eq(encoder.busy), crc.data.eq(self.i.payload.data)]

        index = Signal(range(CRC_BYTES))
        with m.FSM():
            with m.State("CONTENT"):
                m.d.comb += [
                    encoder.i.payload.data.eq(self.i.payload.data),
                    encoder.i.valid.eq(self.i.valid),
                    self.i.ready.eq(encoder.i.ready),
                    crc.valid.eq(self.i.valid & self.i.ready),
                ]
                with m.If(self.i.valid & self.i.ready & self.i.payload.last):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [
                    encoder.i.payload.data.eq(crc.crc.word_select(index, 8)),
                    encoder.i.payload.last.eq(index == CRC_BYTES - 1),
                    encoder.i.valid.eq(1),
                ]
                with m.If(encoder.i.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(encoder.i.payload.last):
                        m.d.comb += crc.start.eq(1)
                        m.next = "CONTENT"
        return m


def received_packets(link: bytes) -> list[tuple[Code, bytes]]:
    """Model of :class:`PacketReceiver` without gaps: (code, content) of every packet that has ended.

    ``content`` is what the receiver hands out before ``end``, for damaged packets too; it is empty
    where :func:`codec.cobs_decode` refuses the packet (the receiver may have handed out a part).
    """
    packets = []
    for encoded in link.split(codec.DELIMITER)[:-1]:
        if not encoded:
            continue
        try:
            decoded = codec.cobs_decode(encoded)
        except codec.CodecError:
            packets.append((Code.FRAMING, b""))
            continue
        try:
            codec.unframe(encoded)
            code = Code.OK
        except codec.CodecError:
            code = Code.CRC if len(decoded) >= PACKET_BYTES_MIN else Code.FRAMING
        packets.append((code, decoded[:-CRC_BYTES]))
    return packets


def transmitted_packets(contents: list[bytes]) -> bytes:
    """Model of :class:`PacketTransmitter`."""
    return b"".join(codec.frame(content) for content in contents)
