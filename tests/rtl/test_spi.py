"""DAC and ADC drivers against models of the parts, written from their data sheets, that check timing."""

import gc
import random
from dataclasses import dataclass, field

import pytest
from openopu_rtl.spi import Max11125, Mcp3201, Mcp4921
from openopu_rtl.spi.max11125 import MAX11125_SELECTIONS, max11125_select, max11125_value
from openopu_rtl.spi.mcp3201 import MCP3201_CLOCKS, mcp3201_value
from openopu_rtl.spi.mcp4921 import mcp4921_clocks_per_sck_min, mcp4921_pins, mcp4921_word

CLOCKS_HZ = [12_000_000, 25_000_000, 48_000_000, 100_000_000, 200_000_000]


@dataclass
class Edges:
    """When the pins of a part changed, in nanoseconds."""

    clock_hz: int
    now_ns: float = 0.0
    last: dict[str, int] = field(default_factory=dict)
    at_ns: dict[tuple[str, int], float] = field(default_factory=dict)

    def step(self, **pins):
        """One clock; returns the edges in it, {pin: new level}."""
        self.now_ns += 1e9 / self.clock_hz
        edges = {n: v for n, v in pins.items() if n in self.last and self.last[n] != v}
        self.last = pins
        return edges

    def note(self, edges):
        for name, level in edges.items():
            self.at_ns[name, level] = self.now_ns

    def since(self, name, level, at_least_ns):
        """The pin went to ``level`` at least so long ago, or never."""
        elapsed = self.now_ns - self.at_ns.get((name, level), -1e9)
        assert elapsed >= at_least_ns - 1e-6, f"{name} -> {level} only {elapsed:.1f} ns ago, not {at_least_ns}"


class DacPart:
    """MCP4921 with /LDAC low (DS21897A, DS22248): holds ``code`` after the rising /CS of a word of 16 clocks."""

    def __init__(self, clock_hz):
        self.edges = Edges(clock_hz)
        self.bits = []
        self.code = None  # unknown until it is written
        self.words = 0

    def step(self, cs_n, sck, sdi):
        e = self.edges
        edges = e.step(cs_n=cs_n, sck=sck, sdi=sdi)
        if "sck" in edges and not cs_n and not edges["sck"]:
            e.since("sck", 1, 15)  # tHI
        if edges.get("sck") == 1:
            assert not cs_n, "clocked while not selected"
            e.since("sck", 0, 15)  # tLO
            e.since("sck", 1, 1e9 / 20e6)  # fCLK
            e.since("sdi", 0, 15)  # tSU
            e.since("sdi", 1, 15)
            self.bits.append(sdi)
        if "sdi" in edges and not cs_n:
            e.since("sck", 1, 10)  # tHD
        if edges.get("cs_n") == 0:
            assert not sck, "mode 0 begins with the clock low"
            e.since("cs_n", 1, 15)  # tCSH
            e.since("sck", 0, 40)  # tIDLE
            self.bits = []
        if edges.get("cs_n") == 1:
            e.since("sck", 1, 15)  # tCHS
            assert len(self.bits) == 16, "the part ignores other words"
            word = int("".join(map(str, self.bits)), 2)
            assert word >> 15 == 0, "the part ignores words with bit 15 set"
            assert word >> 12 & 1 == 1, "the part's output is shut down"
            assert word >> 13 & 1 == 1, "the part's gain is 2"
            assert word >> 14 & 1 == 0, "the part's reference is buffered"
            self.code = word & 0xFFF
            self.words += 1
        e.note(edges)


class AdcPart:
    """MCP3201 (DS21290): samples from the first rising to the second falling clock, then shifts out; /CS ends it.

    ``dout`` is random wherever the data sheet does not promise a level.
    """

    def __init__(self, clock_hz, rng):
        self.edges = Edges(clock_hz)
        self.rng = rng
        self.input = 0
        self.falls = 0
        self.valid_ns = 0.0
        self.level = None
        self.dout_at_falls = []

    def step(self, cs_n, sck):
        e = self.edges
        edges = e.step(cs_n=cs_n, sck=sck)
        if edges.get("cs_n") == 0:
            e.since("cs_n", 1, 625)  # tCSH
            assert not sck
            self.falls, self.level, self.sampled = 0, None, None
        if "sck" in edges and not cs_n:
            if sck:
                e.since("cs_n", 0, 100)  # tSUCS
                e.since("sck", 0, 312)  # tLO
                e.since("sck", 1, 1e9 / 1.6e6)  # fCLK
            else:
                e.since("sck", 1, 312)  # tHI
                self.falls += 1
                if self.falls == 2:
                    self.sampled = self.input
                if self.falls >= 2:  # null bit, B11 .. B0, then B1, B2 ... of the repetition
                    word = f"0{self.sampled:012b}" + f"{self.sampled:012b}"[-2::-1]
                    self.level = int(word[self.falls - 2])
                    self.valid_ns = e.now_ns + 200  # tDO, tEN
        e.note(edges)
        if cs_n or self.level is None or e.now_ns < self.valid_ns:
            return self.rng.randrange(2)
        return self.level


@pytest.mark.parametrize("clock_hz", CLOCKS_HZ)
def test_dac_follows(simulate, rng, clock_hz):
    dut = Mcp4921(clock_hz, mcp4921_clocks_per_sck_min(clock_hz))
    part = DacPart(clock_hz)

    async def testbench(ctx):
        code = 0
        unchanged = 0
        for k in range(4000):
            if k > 20 and rng.random() < 0.006:
                code = rng.choice((0, 4095, rng.randrange(4096)))
                unchanged = 0
            ctx.set(dut.code, code)
            part.step(ctx.get(dut.cs_n), ctx.get(dut.sck), ctx.get(dut.sdi))
            if ctx.get(dut.settled):
                assert part.code == code
                assert ctx.get(dut.cs_n)
            assert ctx.get(dut.settled) or unchanged <= 2 * dut.word_clocks
            unchanged += 1
            await ctx.tick()

    simulate(dut, testbench)
    assert part.words > 5


def test_dac_pins_equal_model_and_rest(simulate):
    """One word after reset, one after a change, none without one."""
    dut = Mcp4921(48_000_000, clocks_per_sck=4)
    pins = []

    async def testbench(ctx):
        for k in range(400):
            ctx.set(dut.code, 0 if k < 150 else 0xA5C)
            pins.append((ctx.get(dut.cs_n), ctx.get(dut.sck), ctx.get(dut.sdi)))
            await ctx.tick()

    simulate(dut, testbench)
    selected = [p for p in pins if not p[0]]
    assert selected == [*mcp4921_pins(0, 2, 2), *mcp4921_pins(0xA5C, 2, 2)]
    assert not pins[1][0]  # it starts at once


def test_dac_finishes_a_word_before_the_next(simulate):
    """A code that changes and changes back under way is never called settled too early."""
    dut = Mcp4921(48_000_000, clocks_per_sck=4)
    part = DacPart(48_000_000)

    async def testbench(ctx):
        for k in range(500):
            code = 100 if 100 <= k < 130 else 0
            ctx.set(dut.code, code)
            part.step(ctx.get(dut.cs_n), ctx.get(dut.sck), ctx.get(dut.sdi))
            if k > 2 and ctx.get(dut.settled):
                assert (part.code, ctx.get(dut.cs_n)) == (code, 1)
            if k == 120:
                assert not ctx.get(dut.settled)
            await ctx.tick()

    simulate(dut, testbench)
    assert part.words == 3
    assert part.code == 0


@pytest.mark.parametrize(("clock_hz", "fewest"), [(40_000_000, 2), (48_000_000, 3), (120_000_000, 6)])
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_dac_refuses_a_quick_clock(clock_hz, fewest):
    Mcp4921(clock_hz, fewest)
    with pytest.raises(ValueError, match=f"take at least {fewest}"):
        Mcp4921(clock_hz, fewest - 1)
    gc.collect()  # the components were never elaborated: no warning of theirs in a later test


def test_dac_word():
    assert mcp4921_word(0x123) == 0x3123
    with pytest.raises(ValueError, match="4095"):
        mcp4921_word(4096)


class MaxPart:
    """MAX11125 (data sheet MAX11120-MAX11128): words of 16 bits, SPI mode 3, in external clock mode.

    ``late``: the result of a word comes with the word after the next one, else with the next one. ``sampled`` with the
    falling /CS of the word before the one that brings it.
    """

    def __init__(self, clock_hz, rng, late):
        self.edges = Edges(clock_hz)
        self.rng, self.late = rng, late
        self.inputs = [0] * 16
        self.channel, self.identify = 0, 0  # after power up
        self.words = []
        self.results = [0, 0]
        self.answer, self.falls, self.din = 0, 0, 0
        self.valid_ns = 0.0

    def step(self, cs_n, sck, sdi):
        e = self.edges
        edges = e.step(cs_n=cs_n, sck=sck, sdi=sdi)
        if edges.get("cs_n") == 0:
            e.since("cs_n", 1, 50)
            assert sck, "mode 3: the clock idles high"
            self.falls = self.din = 0
            # What is sampled now goes with the channel that the word before has chosen.
            self.results.append(self.identify * self.channel << 12 | self.inputs[self.channel])
            self.answer = self.results[-2 if self.late else -1]
        if "sck" in edges and not cs_n:
            if sck:
                e.since("sck", 0, 31)
                e.since("sdi", 0, 4)
                e.since("sdi", 1, 4)
                self.din = self.din << 1 | sdi
            else:
                e.since("cs_n", 0, 4)
                if self.falls:
                    e.since("sck", 1, 31)
                self.falls += 1
                self.valid_ns = e.now_ns + 16.5
        if edges.get("cs_n") == 1:
            assert self.falls == 16, "a word cut short"
            assert sck
            e.since("sck", 1, 1)
            self.words.append(self.din)
            if self.din >> 11 == 1:
                self.channel, self.identify = self.din >> 7 & 15, self.din >> 2 & 1
        e.note(edges)
        if cs_n or not self.falls or e.now_ns < self.valid_ns:
            return self.rng.randrange(2)
        return self.answer >> (16 - self.falls) & 1


class McpParts:
    """Photodiode and thermometer behind one MCP3201 each, on common lines."""

    inputs_of = (0, 1)

    def __init__(self, clock_hz, rng):
        self.parts = [AdcPart(clock_hz, rng), AdcPart(clock_hz, rng)]

    def set(self, channel, value):
        self.parts[channel].input = value

    def step(self, cs_n, sck, sdi):
        assert cs_n, "both selected"
        levels = [p.step(cs_n >> i & 1, sck) for i, p in enumerate(self.parts)]
        return levels[1] if cs_n == 0b01 else levels[0]


class MaxParts:
    def __init__(self, clock_hz, rng, late):
        self.part = MaxPart(clock_hz, rng, late)

    def set(self, channel, value):
        self.part.inputs[(3, 5)[channel]] = value

    def step(self, cs_n, sck, sdi):
        assert cs_n & 2
        return self.part.step(cs_n & 1, sck, sdi)


ADCS = {
    "MCP3201": (Mcp3201, McpParts),
    "MAX11125": (lambda hz: Max11125(hz, inputs=(3, 5)), lambda hz, rng: MaxParts(hz, rng, False)),
    "MAX11125 late": (lambda hz: Max11125(hz, inputs=(3, 5)), lambda hz, rng: MaxParts(hz, rng, True)),
}


@pytest.mark.parametrize("clock_hz", [1_000_000, *CLOCKS_HZ])
@pytest.mark.parametrize("adc", ADCS)
def test_adc_reads(simulate, rng, adc, clock_hz):
    """Both channels, in any order, conversions given up at any time: the last one started ends, in time."""
    make, parts_of = ADCS[adc]
    dut = make(clock_hz)
    parts = parts_of(clock_hz, random.Random(rng.random()))

    async def clock(ctx, start=None):
        ctx.set(dut.start, start is not None)
        ctx.set(dut.channel, start or 0)
        ctx.set(dut.dout, parts.step(ctx.get(dut.cs_n), ctx.get(dut.sck), ctx.get(dut.sdi)))
        await ctx.tick()

    async def testbench(ctx):
        for value in (0, 4095, 0xAAA, 0x555, *[rng.randrange(4096) for _ in range(2)]):
            for _ in range(rng.choice((0, 0, 1, 2))):  # given up
                parts.set(0, rng.randrange(4096))
                await clock(ctx, rng.randrange(2))
                for _ in range(rng.randrange(dut.conversion_clocks)):
                    if ctx.get(dut.done):
                        break
                    await clock(ctx)
            channel = rng.randrange(2)
            parts.set(channel, value)
            parts.set(1 - channel, value ^ 4095)
            await clock(ctx, channel)
            waited = 1
            while not ctx.get(dut.done):
                assert ctx.get(dut.busy)
                await clock(ctx)
                waited += 1
            assert waited <= dut.conversion_clocks
            assert ctx.get(dut.value) == value
            for _ in range(rng.choice((0, 0, 5, 100))):
                await clock(ctx)
                assert not ctx.get(dut.busy)
                assert not ctx.get(dut.done)
                assert ctx.get(dut.cs_n) == 3
                assert ctx.get(dut.value) == value

    simulate(dut, testbench)


def test_adc_samples_at_once(simulate, rng):
    """The input counts when the conversion starts, not when it is read out."""
    dut = Mcp3201(48_000_000)
    parts = McpParts(48_000_000, random.Random(1))

    async def testbench(ctx):
        parts.set(0, 1234)
        sampled = None
        for k in range(1000):
            ctx.set(dut.start, k == 60)
            ctx.set(dut.dout, parts.step(ctx.get(dut.cs_n), ctx.get(dut.sck), ctx.get(dut.sdi)))
            if sampled is None and parts.parts[0].falls == MCP3201_CLOCKS - 13:
                sampled = k
                parts.set(0, 4321 % 4096)
            await ctx.tick()
        assert ctx.get(dut.value) == 1234
        assert sampled - 60 <= 48 * 2, "2 us"

    simulate(dut, testbench)


def test_a_missing_part_reads_full_scale(simulate):
    dut = Max11125(48_000_000)

    async def testbench(ctx):
        ctx.set(dut.dout, 1)  # pulled up
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        await ctx.tick().until(dut.done)
        assert ctx.get(dut.value) == 4095

    simulate(dut, testbench)


def test_max11125_is_configured_once(simulate, rng):
    dut = Max11125(25_000_000, inputs=(3, 5))
    parts = MaxParts(25_000_000, random.Random(1), False)

    async def testbench(ctx):
        for channel in (0, 1):
            ctx.set(dut.channel, channel)
            ctx.set(dut.start, 1)
            while not ctx.get(dut.done):
                ctx.set(dut.dout, parts.step(ctx.get(dut.cs_n), ctx.get(dut.sck), ctx.get(dut.sdi)))
                await ctx.tick()
                ctx.set(dut.start, 0)
            await ctx.tick()

    simulate(dut, testbench)
    selections = [[max11125_select(i)] * MAX11125_SELECTIONS for i in (3, 5)]
    assert parts.part.words == [0x0040, 0x8000, *selections[0], *selections[1]]


def test_max11125_words():
    assert max11125_select(5) == 0b0_0001_0101_00_00_1_0_0
    assert max11125_value(0x5123, 5) == 0x123
    assert max11125_value(0x4123, 5) == 0xFFF
    with pytest.raises(ValueError, match="no channel 16"):
        max11125_select(16)


def test_adc_value_model():
    assert mcp3201_value([1, 1, 0, *(int(b) for b in f"{0x9A3:012b}")]) == 0x9A3
