"""The ADC's schedule, the weight of a reading, and the frames weighted with it."""

import numpy as np
import pytest
from openopu_rtl import normaliser
from openopu_rtl.monitor import DIVIDER_CLOCKS, UNITY, WATCHES_PER_TEMPERATURE, WEIGHT_MAX, Divider, Monitor, weight
from openopu_rtl.normaliser import Normaliser

from .opu_bench import SMALL

EDGES = [0, 1, 2, 3, 2047, 2048, 2049, 4094, 4095]
CONVERSION = 40
"""Clocks of the model ADC."""


def test_divider(simulate, rng):
    dut = Divider()
    pairs = [(r, n) for r in EDGES for n in EDGES if n] + [
        (rng.randrange(4096), rng.randrange(1, 4096)) for _ in range(60)
    ]

    async def script(ctx):
        for reading, reference in pairs:
            ctx.set(dut.reading, reading)
            ctx.set(dut.reference, reference)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            waited = 1
            while not ctx.get(dut.done):
                await ctx.tick()
                waited += 1
            assert waited <= DIVIDER_CLOCKS
            want = min((reference << 14) // max(reading, 1), WEIGHT_MAX)
            assert ctx.get(dut.weight) == want == weight(np.array([reading]), reference)[0]
            if rng.random() < 0.5:
                await ctx.tick().repeat(3)
            assert ctx.get(dut.weight) == want

    simulate(dut, script)


def test_normaliser(simulate, rng):
    dut = Normaliser(SMALL)
    largest = (1 << len(dut.value)) - 1
    weights = [
        0,
        1,
        UNITY // 2,
        UNITY - 1,
        UNITY,
        UNITY + 1,
        WEIGHT_MAX,
        *[rng.randrange(WEIGHT_MAX + 1) for _ in range(4)],
    ]
    frames = [[rng.choice((0, 1, largest, rng.randrange(largest + 1))) for _ in range(SMALL.outputs)] for _ in weights]
    out = []

    async def watch(ctx):
        async for _, _, valid, index, value in ctx.tick().sample(dut.o_valid, dut.o_index, dut.o_value):
            if valid:
                out.append((index, value))

    async def script(ctx):
        for w, frame in zip(weights, frames, strict=True):
            out.clear()
            ctx.set(dut.weight, w)
            for index, value in enumerate(frame):
                ctx.set(dut.valid, 1)
                ctx.set(dut.index, index)
                ctx.set(dut.value, value)
                await ctx.tick()
                ctx.set(dut.valid, 0)
                if rng.random() < 0.3:
                    await ctx.tick().repeat(2)
            await ctx.tick().repeat(dut.LATENCY + 1)
            want = normaliser.model(np.array(frame, dtype=np.int32), np.array(w))
            assert out == list(enumerate(want.tolist()))
            exact = [(v * w + (1 << 13)) >> 14 for v in frame]  # Python's integers have no width
            assert want.tolist() == exact
            if w == UNITY:
                assert want.tolist() == frame

    simulate(dut, script, background=(watch,))


@pytest.mark.parametrize("largest", [1 << 10, 1 << 18])
def test_normaliser_model_keeps_every_bit(rng, largest):
    binned = np.array([[rng.randrange(largest) for _ in range(50)] for _ in range(6)], dtype=np.int32)
    weights = np.array([[rng.randrange(WEIGHT_MAX + 1) for _ in range(6)]])
    got = normaliser.model(binned[None], weights)
    for i in range(6):
        assert got[0, i].tolist() == [(int(v) * int(weights[0, i]) + (1 << 13)) >> 14 for v in binned[i]]


class Adc:
    """Model of an ADC driver: the value counts conversions; a new start gives the one under way up."""

    def __init__(self):
        self.left = self.count = 0
        self.started = []
        self.ended = []

    def clock(self, start, channel):
        """One clock: (done, value) of the next one."""
        if start:
            self.left, self.channel = CONVERSION, channel
            self.started.append(channel)
            return 0
        if self.left:
            self.left -= 1
            if not self.left:
                self.count += 1
                self.ended.append((self.channel, self.count))
                return 1
        return 0


def run_monitor(simulate, rng, clocks, *, begin, laser_on, watch_cycles=300):
    """Monitor with a model ADC. Returns the ADC, exposures and their readings, and when light was read."""
    dut = Monitor(1_000_000, watch_cycles)
    adc = Adc()
    readings, begun, lights = [], [], []

    async def script(ctx):
        ctx.set(dut.reference, 2048)
        for k in range(clocks):
            ctx.set(dut.laser_on, laser_on(k))
            starts = begin(k) and not ctx.get(dut.pending)
            ctx.set(dut.begin, starts)
            if starts:
                begun.append((k, adc.count))
            if ctx.get(dut.reading_stb):
                readings.append((k, ctx.get(dut.reading)))
            if ctx.get(dut.light_stb):
                lights.append(k)
            done = adc.clock(ctx.get(dut.start), ctx.get(dut.channel))
            await ctx.tick()
            ctx.set(dut.done, done)
            ctx.set(dut.value, adc.count)
        assert ctx.get(dut.temperature) == max((v for c, v in adc.ended if c == 1), default=0)
        assert ctx.get(dut.live) == max((v for c, v in adc.ended if c == 0), default=0)
        assert ctx.get(dut.reading) == (readings[-1][1] if readings else 0)

    simulate(dut, script, limit=clocks + 10)
    return adc, begun, readings, lights


def test_every_exposure_gets_its_own_reading(simulate, rng):
    """Exposures at any time, also while another conversion runs: the reading is the next conversion, at once."""
    adc, begun, readings, _ = run_monitor(
        simulate, rng, 12_000, begin=lambda k: rng.random() < 0.01, laser_on=lambda k: k // 900 % 2, watch_cycles=90
    )
    assert len(readings) > 50
    photodiode = {value for channel, value in adc.ended if channel == 0}
    for (k, before), (at, value) in zip(begun, readings, strict=False):
        assert value == before + 1  # no other conversion ended in between
        assert value in photodiode
        assert at - k <= CONVERSION + 3
    assert len(begun) - len(readings) <= 1
    assert len(adc.ended) < len(adc.started), "conversions were given up"


def test_the_laser_is_watched_while_it_is_on(simulate, rng):
    def on(k):
        return 1000 <= k < 5000

    _, _, readings, lights = run_monitor(simulate, rng, 6000, begin=lambda k: False, laser_on=on)
    assert not readings
    # One conversion of each kind may be under way.
    assert 1000 < lights[0] <= 1000 + 2 * CONVERSION + 5
    gaps = np.diff(lights)
    assert len(gaps) >= 10
    assert max(gaps) <= 300 + 2 * CONVERSION + 5
    assert lights[-1] < 5000 + CONVERSION + 5


def test_exposures_in_between_do_not_stop_the_watch(simulate, rng):
    """With exposures that give conversions up all the time, light and temperature are still read."""
    clocks = 300 * (WATCHES_PER_TEMPERATURE + 8)
    adc, _, _, lights = run_monitor(simulate, rng, clocks, begin=lambda k: k % 97 == 0, laser_on=lambda k: True)
    assert max(np.diff(lights)) <= 97 + CONVERSION + 5
    assert [c for c, _ in adc.ended].count(1) >= 2
