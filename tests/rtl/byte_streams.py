"""Both ends of a link's streams of bytes, with stalls where there is a generator."""

from __future__ import annotations

import random
from collections.abc import Iterable


async def give(ctx, stream, data: Iterable[int], rng: random.Random | None = None, pauses: float = 0.2) -> None:
    """Send ``data``; ``pauses`` is the share of bytes that wait."""
    for byte in data:
        if rng and rng.random() < pauses:
            await ctx.tick().repeat(rng.randrange(1, 20))
        ctx.set(stream.payload, byte)
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)


async def take(ctx, stream, count: int, received: list[int], rng: random.Random | None = None) -> None:
    """Append ``count`` bytes to ``received``; with ``rng`` a third of the clocks is not ready."""
    while len(received) < count:
        ctx.set(stream.ready, rng is None or rng.random() < 0.65)
        _, _, valid, ready, byte = await ctx.tick().sample(stream.valid, stream.ready, stream.payload)
        if valid and ready:
            received.append(byte)
    ctx.set(stream.ready, 0)
