"""Parallel converters as streams, against models of the parts that check the order of data and clock edges."""

import gc
import random

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from openopu_rtl.event_counter import EventCounter
from openopu_rtl.parallel_adc import ParallelAdc, words
from openopu_rtl.parallel_dac import DAC_HZ_MAX, ParallelDac, codes

BITS = 14
MIDDLE = 1 << (BITS - 1)


class Ad9767:
    """The part at half clocks: input latches at rising WRT, DAC latches at rising CLK, in dual or interleaved mode.

    Nothing moves but at the borders of half clocks, so data that did not move with a rising WRT were there for half a
    clock before it and stay for half a clock: more than tS and tH. A rising CLK hands on what the input latch held.
    """

    def __init__(self, interleaved=False):
        self.interleaved = interleaved
        self.before, self.data = {}, None
        self.latch, self.out = [MIDDLE, MIDDLE], [MIDDLE, MIDDLE]
        self.divider = 0
        self.outputs = []

    def half(self, data, pins):
        """One half clock: ``data`` of both ports and the pins' levels."""
        rising = {n: level and not self.before.get(n, 1) for n, level in pins.items()}
        written = []
        if self.interleaved:
            if pins["clk2"]:
                self.divider = 0
            elif rising["clk1"]:
                self.divider ^= 1
                if self.divider:
                    self.out = list(self.latch)
                    self.outputs.append(tuple(self.out))
            if rising["wrt1"]:
                written = [(0 if pins["wrt2"] else 1, data[0])]
                assert pins["wrt2"] == self.before["wrt2"], "IQSEL moves with IQWRT"
        else:
            for channel in (0, 1):
                if rising[f"clk{channel + 1}"]:
                    self.out[channel] = self.latch[channel]
            if rising["clk1"]:
                self.outputs.append(tuple(self.out))
            written = [(c, data[c]) for c in (0, 1) if rising[f"wrt{c + 1}"]]
        for channel, code in written:
            assert data == self.data, "data moved with WRT"
            self.latch[channel] = code
        self.before, self.data = dict(pins), data


def run(dut, testbenches, background, sync_hz, other, other_hz):
    top = Module()
    top.submodules.dut = dut
    top.domains += ClockDomain(other)
    simulator = Simulator(top)
    simulator.add_clock(1 / sync_hz, domain="sync")
    simulator.add_clock(1 / other_hz, domain=other, phase=0.3 / other_hz)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for testbench in background:
        simulator.add_testbench(testbench, background=True)
    simulator.run()


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("interleaved", [False, True])
def test_dac_plays_every_sample_in_order(rng, lanes, interleaved):
    sync_hz = rng.uniform(30e6, 150e6)
    rate = min(125e6, 0.9 * lanes * sync_hz * (2 if interleaved else 1))
    dac_hz = rng.uniform(0.2, 1.0) * rate
    twos_complement = rng.random() < 0.5
    print(f"sync {sync_hz:.3g} Hz, dac {dac_hz:.3g} Hz")
    dut = ParallelDac(
        lanes=lanes, interleaved=interleaved, depth=8, twos_complement=twos_complement, clock_hz=int(dac_hz)
    )
    samples = np.array([[rng.randrange(1 << BITS) for _ in "ab"] for _ in range(400)])
    part = Ad9767(interleaved)
    ended = []

    async def source(ctx):
        ctx.set(dut.enable, 1)
        await ctx.tick().repeat(20)
        for start in range(0, len(samples), lanes):
            for lane in range(lanes):
                ctx.set(dut.i.payload[lane].a, int(samples[start + lane, 0]))
                ctx.set(dut.i.payload[lane].b, int(samples[start + lane, 1]))
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        before = ctx.get(dut.underruns)
        assert before == 0, "the source keeps up, and nothing counts before the first sample"
        await ctx.tick("dac").repeat(2 * (dut.depth + 2) * lanes + 40)
        await ctx.tick().repeat(6)
        ended.append(ctx.get(dut.underruns))

    async def pins(ctx):
        names = ("wrt1", "wrt2", "clk1", "clk2")
        ports = [dut.port1, dut.port2, *(getattr(dut, n) for n in names)]
        async for _, _, *values in ctx.tick("dac").sample(*ports):
            data, levels = tuple(values[:2]), dict(zip(names, values[2:], strict=True))
            for half in (0, 1):
                part.half(data, {n: level >> half & 1 for n, level in levels.items()})

    run(dut, [source], [pins], sync_hz, "dac", dac_hz)
    want = [tuple(map(int, w)) for w in codes(samples, BITS, twos_complement)]
    seen = part.outputs
    start = seen.index(want[0])
    assert set(seen[:start]) <= {(MIDDLE, MIDDLE)}
    assert seen[start : start + len(want)] == want
    assert set(seen[start + len(want) :]) == {want[-1]}, "the last sample is held"
    assert ended[0] > 0, "what came too late is counted"


def test_dac_underruns_are_counted_and_cleared(rng):
    dut = ParallelDac(clock_hz=50_000_000)
    outputs = []

    async def script(ctx):
        ctx.set(dut.enable, 1)
        await ctx.tick().repeat(8)
        for value in (100, 200):
            ctx.set(dut.i.payload[0].a, value)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            await ctx.tick().repeat(200)
        many = ctx.get(dut.underruns)
        assert 300 < many < 500
        ctx.set(dut.enable, 0)
        await ctx.tick().repeat(40)
        still = ctx.get(dut.underruns)
        await ctx.tick().repeat(40)
        assert ctx.get(dut.underruns) == still  # sticky, and none while disabled
        assert ctx.get(dut.port1) == MIDDLE
        ctx.set(dut.underruns_clear, 1)
        await ctx.tick()
        ctx.set(dut.underruns_clear, 0)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.underruns) == 0

    async def watch(ctx):
        async for _, _, code in ctx.tick("dac").sample(dut.port1):
            outputs.append(code)

    run(dut, [script], [watch], 50e6, "dac", 47e6)
    changes = [a for a, b in zip(outputs, [None, *outputs], strict=False) if a != b]
    assert changes == [MIDDLE, 100 ^ MIDDLE, 200 ^ MIDDLE, MIDDLE]


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_wrong_parameters_are_refused():
    with pytest.raises(ValueError, match="take at most 125000000"):
        ParallelDac(clock_hz=DAC_HZ_MAX + 1)
    with pytest.raises(ValueError, match="even"):
        ParallelAdc(13)
    gc.collect()  # they were never elaborated: no warning of theirs in a later test


def halves(sample):
    """Pins of a sample in the half of CLKOUT+ low (even bits) and high (odd bits)."""
    return [sum((sample >> 2 * k + odd & 1) << k for k in range(BITS // 2)) for odd in (0, 1)]


class Ltc2145:
    """The part: two bits a pin and clock. ``late``: the odd half of a sample comes before its even half at the capture
    cells, so that a rising and the falling edge before belong together."""

    def __init__(self, dut, samples, late):
        self.dut, self.samples, self.late = dut, samples, late

    def drive(self, ctx, n):
        now = self.samples[n % len(self.samples)]
        then = self.samples[(n + 1) % len(self.samples)] if self.late else now
        for name, channel in (("a", 0), ("b", 1)):
            ctx.set(getattr(self.dut, f"{name}_rise"), halves(now[channel])[1])
            ctx.set(getattr(self.dut, f"{name}_fall"), halves(then[channel])[0])
        ctx.set(self.dut.over_rise, now[2])
        ctx.set(self.dut.over_fall, then[3])


PATTERN = [(0, 0, 0, 0), (MIDDLE * 2 - 1, MIDDLE * 2 - 1, 0, 0)]


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("late", [False, True])
def test_adc_captures_every_sample(rng, lanes, late):
    adc_hz = rng.uniform(10e6, 125e6)
    sync_hz = adc_hz * rng.uniform(1.05, 3.0) / lanes
    part_twos, twos = rng.random() < 0.5, rng.random() < 0.5
    print(f"sync {sync_hz:.3g} Hz, adc {adc_hz:.3g} Hz")
    dut = ParallelAdc(lanes=lanes, part_twos_complement=part_twos, twos_complement=twos, depth=8)
    samples = [
        (rng.randrange(1 << BITS), rng.randrange(1 << BITS), int(rng.random() < 0.3), int(rng.random() < 0.3))
        for _ in range(301)
    ]
    part = Ltc2145(dut, PATTERN, late)
    got = []

    async def pins(ctx):
        n = 0
        while True:
            part.drive(ctx, n)
            n += 1
            await ctx.tick("adc")

    async def script(ctx):
        ctx.set(dut.align, 1)
        await ctx.tick()
        ctx.set(dut.align, 0)
        await ctx.tick().until(dut.aligned | dut.align_failed)
        assert ctx.get(dut.aligned)
        part.samples = samples
        await ctx.tick().repeat(10)
        ctx.set(dut.enable, 1)
        stall = random.Random(rng.random())
        while len(got) < 250:
            ready = stall.random() < 0.99  # the crossing makes up for short stalls
            ctx.set(dut.o.ready, ready)
            _, _, valid, *fields = await ctx.tick().sample(
                dut.o.valid, *(dut.o.payload[i][n] for i in range(lanes) for n in ("a", "b", "a_over", "b_over"))
            )
            if valid and ready:
                got.extend(tuple(fields[4 * i : 4 * i + 4]) for i in range(lanes))
        assert ctx.get(dut.overruns) == 0
        # Nobody reads: samples are dropped, and counted.
        ctx.set(dut.o.ready, 0)
        await ctx.tick().repeat(120)
        dropped = ctx.get(dut.overruns)
        assert dropped > 0
        ctx.set(dut.enable, 0)
        await ctx.tick().repeat(20)
        ctx.set(dut.overruns_clear, 1)
        await ctx.tick()
        ctx.set(dut.overruns_clear, 0)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.overruns) == 0

    run(dut, [script], [pins], sync_hz, "adc", adc_hz)
    flip = MIDDLE if part_twos != twos else 0
    want = [(a ^ flip, b ^ flip, over_a, over_b) for a, b, over_a, over_b in samples] * 2
    assert len(got) >= 250
    start = want.index(got[0])
    assert got == (want * 2)[start : start + len(got)]


def test_adc_without_a_pattern_is_not_aligned():
    dut = ParallelAdc()
    part = Ltc2145(dut, [(0, 0, 0, 0)], False)

    async def script(ctx):
        part.drive(ctx, 0)
        ctx.set(dut.align, 1)
        await ctx.tick()
        ctx.set(dut.align, 0)
        await ctx.tick().until(dut.aligned | dut.align_failed)
        assert ctx.get(dut.align_failed)
        assert not ctx.get(dut.aligned)

    run(dut, [script], [], 100e6, "adc", 90e6)


def test_words_model(rng):
    samples = np.array([rng.randrange(1 << BITS) for _ in range(20)])
    pins = np.array([[[h >> k & 1 for k in range(BITS // 2)] for h in halves(int(s))] for s in samples])
    assert (words(pins[:, 0], pins[:, 1]) == samples).all()


@pytest.mark.parametrize("ratio", [0.05, 0.7, 1.9, 20.0])
def test_event_counter(rng, ratio):
    dut = EventCounter("other", bits=8)
    sent = 0

    async def events(ctx):
        nonlocal sent
        for _ in range(1500):
            event = rng.random() < 0.25
            ctx.set(dut.event, event)
            sent += event
            await ctx.tick("other")
        ctx.set(dut.event, 0)

    async def look(ctx):
        await ctx.tick("other").repeat(1510)
        await ctx.tick().repeat(6)
        assert ctx.get(dut.count) == min(sent, 255)

    # 20 MHz at most, so that all fits into the time that is simulated.
    other = 20e6
    run(dut, [look], [events], other * ratio, "other", other)
