"""Packet framing in gateware against its model and the public referees `cobs` and `fastcrc`."""

import fastcrc
import pytest
from cobs import cobs as cobs_referee
from openopu_rtl.framing import (
    GAP_CYCLES_MIN,
    PACKET_BYTES_MIN,
    PacketReceiver,
    PacketTransmitter,
    received_packets,
    transmitted_packets,
)
from openopu_rtl.protocol import codec
from openopu_rtl.protocol.errors import Code

LONG_GAP = 1000


def receive(simulate, feed, gap_cycles=LONG_GAP):
    """(code, content, clock) of each packet that ended; ``feed`` yields a link byte or None for every clock.

    What the receiver promises in every clock is checked on the way.
    """
    dut = PacketReceiver()
    packets, content = [], bytearray()

    async def testbench(ctx):
        ctx.set(dut.gap_cycles, gap_cycles)
        begun = False  # a byte of a packet came that has not ended
        for clock, byte in enumerate([*feed, *[None] * 4]):
            ctx.set(dut.i.valid, byte is not None)
            ctx.set(dut.i.payload, 0xA5 if byte is None else byte)
            begun |= bool(byte)
            if ctx.get(dut.valid):
                content.append(ctx.get(dut.data))
                assert not ctx.get(dut.end)
            ended = ctx.get(dut.end)
            assert ctx.get(dut.partial) >= (begun or ended)
            if ended:
                code = Code(ctx.get(dut.error))
                assert ctx.get(dut.ok) == (code == Code.OK)
                packets.append((code, bytes(content), clock))
                content.clear()
                begun = bool(byte)
            await ctx.tick()
        assert ctx.get(dut.partial) == begun

    simulate(dut, testbench)
    return packets


def stalled(link, rng, chance):
    for byte in link:
        while rng.random() < chance:
            yield None
        yield byte


def comparable(packets):
    """Content that was handed out before a group turned out to be cut short is not defined."""
    return [(code, content if code != Code.FRAMING else b"") for code, content, *_ in packets]


def random_bytes(rng, length):
    return bytes(rng.randrange(256) if rng.random() < 0.7 else 0 for _ in range(length))


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_receiver_equals_model(simulate, rng, stall):
    link = bytearray()
    for _ in range(50):
        packet = bytearray(codec.frame(random_bytes(rng, rng.choice((2, 3, 7, 20, 260)))))
        match rng.randrange(6):
            case 0:  # one bit wrong, perhaps in a code or the delimiter
                packet[rng.randrange(len(packet))] ^= 1 << rng.randrange(8)
            case 1:  # a byte lost
                del packet[rng.randrange(len(packet))]
            case 2:  # cut short
                packet = packet[: rng.randrange(len(packet))] + b"\0"
            case 3:  # empty packets before it
                packet = bytearray(rng.randrange(1, 4)) + packet
        link += packet
    link += codec.frame(b"last")
    expected = received_packets(bytes(link))
    found = receive(simulate, stalled(link, rng, stall))
    assert comparable(found) == comparable(expected)
    assert {code for code, *_ in expected} == {Code.OK, Code.CRC, Code.FRAMING}


def test_receiver_takes_packets_of_any_length(simulate, rng):
    contents = [random_bytes(rng, n) for n in (2, 253, 254, 255, 1500)]
    found = receive(simulate, transmitted_packets(contents))
    assert [(code, content) for code, content, _ in found] == [(Code.OK, c) for c in contents]


@pytest.mark.parametrize("length", range(PACKET_BYTES_MIN + 1))
def test_receiver_refuses_short_packets(simulate, length):
    """Content of less than two bytes is no packet, whatever its checksum."""
    decoded = codec.cobs_decode(codec.frame(bytes(max(length - 4, 0)))[:-1])[:length]
    link = codec.cobs_encode(decoded) + codec.DELIMITER
    (packet,) = receive(simulate, link)
    assert packet[0] == (Code.OK if length == PACKET_BYTES_MIN else Code.FRAMING)


@pytest.mark.parametrize("gap", [GAP_CYCLES_MIN, 50])
@pytest.mark.parametrize("cut", [1, 6, 9])
def test_receiver_gap(simulate, gap, cut):
    """A gap of that many clocks ends a packet, one clock less does not; the next packet is whole."""
    packet = codec.frame(b"\x01\x02content")
    late = [*packet[:cut], *[None] * (gap - 1), *packet[cut:]]
    cut_off = [*packet[:cut], *[None] * gap]
    found = receive(simulate, [*late, *cut_off, *packet], gap)
    assert [code for code, *_ in found] == [Code.OK, Code.FRAMING, Code.OK]
    assert found[0][1] == found[2][1] == b"\x01\x02content"
    assert found[1][2] == len(late) + len(cut_off)  # it is told at once


def test_receiver_waits_between_packets(simulate):
    """Silence between packets is no gap."""
    packet = codec.frame(b"ab")
    found = receive(simulate, [*packet, *[None] * 200, *packet, 0, *[None] * 200], 20)
    assert [code for code, *_ in found] == [Code.OK, Code.OK]


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_transmitter_equals_model(simulate, rng, stall):
    contents = [random_bytes(rng, rng.choice((1, 2, 5, 30, 249, 250, 251, 500))) for _ in range(12)]
    expected = transmitted_packets(contents)
    dut = PacketTransmitter()
    out = bytearray()

    async def send(ctx):
        for content in contents:
            for k, byte in enumerate(content):
                while rng.random() < stall:
                    ctx.set(dut.i.valid, 0)
                    await ctx.tick()
                ctx.set(dut.i.payload, {"data": byte, "last": k == len(content) - 1})
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
                assert ctx.get(dut.busy)
        ctx.set(dut.i.valid, 0)

    async def take(ctx):
        while len(out) < len(expected):
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            _, _, valid, payload, busy = await ctx.tick().sample(dut.o.valid, dut.o.payload, dut.busy)
            assert busy or not valid
            if valid and ready:
                out.append(payload)
        assert not ctx.get(dut.busy)

    simulate(dut, send, take)
    assert out == expected
    # The referees take the packets apart without any code of ours.
    for packet, content in zip(bytes(out).split(b"\0")[:-1], contents, strict=True):
        decoded = cobs_referee.decode(packet)
        assert decoded[:-4] == content
        assert int.from_bytes(decoded[-4:], "little") == fastcrc.crc32.iso_hdlc(content)
