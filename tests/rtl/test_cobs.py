"""COBS in gateware against the protocol's codec: every group length, throughput, damaged packets."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openopu_rtl.cobs import GROUP_BYTES_MAX, CobsDecoder, CobsEncoder
from openopu_rtl.protocol import codec


def encode(simulate, packets, *, send_stall=lambda: 0, take_stall=lambda: 0):
    """Link bytes of ``packets``, and the clock in which each left."""
    dut = CobsEncoder()
    expected = sum(len(codec.cobs_encode(p)) + 1 for p in packets)
    out, clock = [], []

    async def send(ctx):
        for packet in packets:
            for k, byte in enumerate(packet):
                if stall := send_stall():
                    ctx.set(dut.i.valid, 0)
                    await ctx.tick().repeat(stall)
                ctx.set(dut.i.payload, {"data": byte, "last": k == len(packet) - 1})
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def take(ctx):
        now = 0
        while len(out) < expected:
            stall = take_stall()
            ctx.set(dut.o.ready, not stall)
            _, _, valid, payload, busy = await ctx.tick().sample(dut.o.valid, dut.o.payload, dut.busy)
            if valid:
                assert busy
            if valid and not stall:
                out.append(payload)
                clock.append(now)
            now += 1
        ctx.set(dut.o.ready, 1)
        await ctx.tick()
        for _ in range(5):  # nothing follows, and it says so
            assert not ctx.get(dut.o.valid)
            assert not ctx.get(dut.busy)
            await ctx.tick()

    simulate(dut, send, take)
    return bytes(out), clock


def link_bytes(packets):
    return b"".join(codec.cobs_encode(p) + codec.DELIMITER for p in packets)


def decode(simulate, link, stall=lambda: 0):
    """(decoded bytes, error) of every packet that ended."""
    dut = CobsDecoder()
    packets, content = [], bytearray()

    async def testbench(ctx):
        def look():
            if ctx.get(dut.valid):
                assert not ctx.get(dut.end)
                content.append(ctx.get(dut.data))
            if ctx.get(dut.end):
                packets.append((bytes(content), bool(ctx.get(dut.error))))
                content.clear()

        for byte in link:
            for _ in range(stall()):
                ctx.set(dut.i.valid, 0)
                await ctx.tick()
                look()
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
            look()

    simulate(dut, testbench)
    return packets


def edge_packets():
    """Lengths around whole groups, with and without a zero at either end."""
    ones = b"\x01"
    edges = [b"\0", b"\0\0", ones, ones + b"\0", b"\0" + ones]
    for n in (GROUP_BYTES_MAX - 1, GROUP_BYTES_MAX, GROUP_BYTES_MAX + 1, 2 * GROUP_BYTES_MAX):
        body = bytes(k % 255 + 1 for k in range(n))
        edges += [body, body + b"\0", b"\0" + body, body + b"\0" + ones]
    return edges


def test_encoder_edges(simulate):
    packets = edge_packets()
    out, _ = encode(simulate, packets)
    assert out == link_bytes(packets)


@pytest.mark.parametrize("zeros", [0.0, 0.02, 0.5])
def test_encoder_with_stalls(simulate, rng, zeros):
    packets = [
        bytes(0 if rng.random() < zeros else rng.randrange(1, 256) for _ in range(rng.choice((1, 3, 40, 300, 700))))
        for _ in range(8)
    ]
    phases = {"send": 0.1, "take": 0.1}

    def stall(side):
        if rng.random() < 0.01:  # either side may be the slow one for a while
            phases[side] = rng.choice((0.0, 0.1, 0.8))
        return int(rng.random() < phases[side])

    out, _ = encode(simulate, packets, send_stall=lambda: stall("send"), take_stall=lambda: stall("take"))
    assert out == link_bytes(packets)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0, 0, 1, 255]) | st.integers(0, 255), min_size=1, max_size=20), min_size=1))
def test_encoder_any_short_packets(simulate, lists):
    packets = [bytes(values) for values in lists]
    out, _ = encode(simulate, packets)
    assert out == link_bytes(packets)


@pytest.mark.parametrize("kind", ["random", "zeros", "no zeros", "mixed groups"])
def test_encoder_runs_at_a_byte_a_clock(simulate, rng, kind):
    packet = {
        "random": bytes(rng.randrange(256) for _ in range(3000)),
        "zeros": bytes(3000),
        "no zeros": bytes(rng.randrange(1, 256) for _ in range(3000)),
        "mixed groups": (bytes(2) + bytes([7]) * 253) * 12,
    }[kind]
    out, clock = encode(simulate, [packet])
    assert out == link_bytes([packet])
    assert clock[-1] <= len(out) * 1.005 + GROUP_BYTES_MAX + 6


def test_encoder_never_starves_a_uart(simulate, rng):
    """At 40 clocks a byte there is always a byte waiting once the first has come."""
    packets = [bytes(rng.randrange(1 if rng.random() < 0.9 else 0, 256) for _ in range(n)) for n in (600, 30, 300)]
    slot = 40
    tick = iter(range(10**9))
    out, clock = encode(simulate, packets, take_stall=lambda: next(tick) % slot != slot - 1)
    assert out == link_bytes(packets)
    assert [b - a for a, b in itertools.pairwise(clock)] == [slot] * (len(out) - 1)


def test_decoder_edges(simulate):
    packets = edge_packets()
    assert decode(simulate, link_bytes(packets)) == [(p, False) for p in packets]


def test_decoder_on_damaged_packets(simulate, rng):
    link = bytearray()
    for _ in range(60):
        packet = bytearray(codec.cobs_encode(bytes(rng.randrange(4) for _ in range(rng.randrange(1, 40)))))
        if rng.random() < 0.5:
            packet[rng.randrange(len(packet))] = rng.randrange(256)
        link += packet + codec.DELIMITER * rng.choice((1, 1, 2))
    expected = []
    for encoded in bytes(link).split(codec.DELIMITER)[:-1]:
        if encoded:
            try:
                expected.append((codec.cobs_decode(encoded), False))
            except codec.CodecError:
                expected.append((None, True))
    found = decode(simulate, link, stall=lambda: rng.randrange(3))
    assert [(None if error else content, error) for content, error in found] == expected
    assert any(error for _, error in found)
    assert not all(error for _, error in found)
