"""The frame matcher on its own: pins, exposures and results driven clock by clock."""

from __future__ import annotations

import pytest
from openopu_rtl.frames import FrameMatcher
from openopu_rtl.protocol import Code, Geometry

GEOMETRY = Geometry.fitting(modes=64, outputs=64)


class Bench:
    """One projection of one shot after the other."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut
        self.set = 0

    async def project(self, delay, length):
        """Expose; the frame begins ``delay`` clocks after that and takes ``length``. Its status."""
        ctx, dut = self.ctx, self.dut
        ctx.set(dut.claim_set, self.set)
        ctx.set(dut.claim, 1)
        await ctx.tick()
        ctx.set(dut.claim, 0)
        ctx.set(dut.trigger, 1)
        await ctx.tick().repeat(5)
        ctx.set(dut.trigger, 0)
        ctx.set(dut.exposed.p, {"last": 1, "fresh": 1, "set": self.set})
        for port in (dut.exposure_ended, dut.exposed.valid, dut.reading_stb):
            ctx.set(port, 1)
        await ctx.tick()
        for port in (dut.exposure_ended, dut.exposed.valid, dut.reading_stb):
            ctx.set(port, 0)
        await ctx.tick().repeat(delay)
        ctx.set(dut.in_frame, 1)
        for k in range(length):
            ctx.set(dut.i.p, {"first": k == 0, "pixel": k & 0xFF})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
        ctx.set(dut.in_frame, 0)
        ctx.set(dut.i.p, {"end": 1})
        await ctx.tick()
        ctx.set(dut.i.valid, 0)
        self.set ^= 1
        ctx.set(dut.o.ready, 1)
        for _ in range(2 * (delay + length) + 4000):
            *_, valid, ended = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                ctx.set(dut.o.ready, 0)
                return Code(ended.status)
        raise AssertionError("no result")


@pytest.mark.parametrize("lengths", [(900, 300), (300, 900)])
def test_a_camera_is_not_measured_by_what_was_simulated_before(simulate, lengths):
    """The frames of a simulated plant take as long as they take, which says nothing about a camera's."""
    dut = FrameMatcher(GEOMETRY)
    simulated, real = lengths

    async def testbench(ctx):
        bench = Bench(ctx, dut)
        ctx.set(dut.timeout, 2000)
        ctx.set(dut.silence, 100)
        for timed, length in ((0, simulated), (1, real), (1, real)):
            ctx.set(dut.timed, timed)
            assert await bench.project(20, length) == Code.OK

    simulate(dut, testbench)
