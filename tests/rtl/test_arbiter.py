"""Packets of three sources on one stream: each whole, and each source's in their order."""

import pytest
from openopu_rtl.replies import PacketArbiter

PACKETS = 40
"""Of each source."""


@pytest.mark.parametrize("stalls", [False, True])
def test_packets_stay_whole(simulate, rng, stalls):
    dut = PacketArbiter()
    # A byte says whose it is and which packet's: two bits and six.
    sent = {name: [[k << 6 | p] * rng.randrange(1, 9) for p in range(PACKETS)] for k, name in enumerate("abc")}
    received = []

    def source(name):
        async def testbench(ctx):
            port = getattr(dut, name)
            for packet in sent[name]:
                # The first ones of all come together; later they come into each other's midst.
                if packet is not sent[name][0]:
                    await ctx.tick().repeat(rng.randrange(1, 30))
                for i, byte in enumerate(packet):
                    if stalls and i and rng.random() < 0.2:
                        await ctx.tick().repeat(rng.randrange(1, 6))
                    ctx.set(port.p, {"data": byte, "last": i == len(packet) - 1})
                    ctx.set(port.valid, 1)
                    await ctx.tick().until(port.ready)
                    ctx.set(port.valid, 0)

        return testbench

    async def sink(ctx):
        packet = []
        while len(received) < 3 * PACKETS:
            ctx.set(dut.o.ready, not stalls or rng.random() < 0.65)
            _, _, valid, ready, word = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload)
            if valid and ready:
                packet.append(word.data)
                if word.last:
                    received.append(packet)
                    packet = []

    simulate(dut, *(source(name) for name in sent), sink)
    for k, name in enumerate(sent):
        assert [packet for packet in received if packet[0] >> 6 == k] == sent[name]
    assert received[0] == sent["a"][0]  # of those that came together
