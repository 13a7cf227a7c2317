"""DAC and ADC drivers against models of the parts, written from their data sheets, that check timing."""

import gc
import random
from dataclasses import dataclass, field

import pytest
from openopu_rtl import spi
from openopu_rtl.spi import Mcp3201, Mcp4921, mcp3201_value, mcp4921_pins, mcp4921_word

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
    """MCP4921 with /LDAC low (DS22248): holds ``code`` after the rising /CS of a word of 16 clocks."""

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
    """MCP3201 (DS21290): samples from the first rising to the second falling clock, then shifts out.

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
    dut = Mcp4921(clock_hz, spi.mcp4921_clocks_per_sck_min(clock_hz))
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


@pytest.mark.parametrize("clock_hz", [1_000_000, *CLOCKS_HZ])
def test_adc_reads(simulate, rng, clock_hz):
    dut = Mcp3201(clock_hz)
    part = AdcPart(clock_hz, random.Random(rng.random()))
    values = [0, 4095, 0xAAA, 0x555, *[rng.randrange(4096) for _ in range(4)]]
    read = []

    async def clock(ctx):
        ctx.set(dut.dout, part.step(ctx.get(dut.cs_n), ctx.get(dut.sck)))
        await ctx.tick()

    async def testbench(ctx):
        for value in values:
            part.input = value
            ctx.set(dut.start, 1)
            await clock(ctx)
            ctx.set(dut.start, 0)
            waited = 0
            while not ctx.get(dut.done):
                assert ctx.get(dut.busy)
                if part.falls >= 2:
                    part.input = rng.randrange(4096)  # the sample has been taken
                    ctx.set(dut.start, rng.random() < 0.1)  # ignored while busy
                await clock(ctx)
                waited += 1
            ctx.set(dut.start, 0)
            assert waited <= dut.conversion_clocks
            assert part.falls == spi.MCP3201_CLOCKS
            read.append(ctx.get(dut.value))
            part.falls = 0
            for _ in range(rng.choice((0, 0, 5, 100))):
                await clock(ctx)
                assert not ctx.get(dut.busy)
                assert ctx.get(dut.cs_n)
                assert ctx.get(dut.value) == value

    simulate(dut, testbench)
    assert read == values


def test_adc_value_model():
    assert mcp3201_value([1, 1, 0, *(int(b) for b in f"{0x9A3:012b}")]) == 0x9A3
