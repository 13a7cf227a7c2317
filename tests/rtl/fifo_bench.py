"""Bytes both ways between the streams of a FIFO's port and a model of its chip."""


def transfer(simulate, dut, chip, send, clocks, rng=None):
    """What came out of ``dut`` while ``send`` went in; with ``rng`` both sides pause."""
    received, count = bytearray(), len(chip.give)

    async def give(ctx):
        for byte in send:
            if rng and rng.random() < 0.2:
                await ctx.tick().repeat(rng.randrange(1, 20))
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
        while len(chip.got) < len(send):
            await ctx.tick()

    async def take(ctx):
        while len(received) < count:
            ctx.set(dut.o.ready, rng is None or rng.random() < 0.6)
            _, _, valid, ready, byte = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload)
            if valid and ready:
                received.append(byte)
        ctx.set(dut.o.ready, 0)
        await ctx.tick().repeat(40)
        assert not ctx.get(dut.busy) or len(chip.got) < len(send)

    simulate(dut, give, take, background=(chip.run,), clocks=clocks, limit=400_000)
    return bytes(received)
