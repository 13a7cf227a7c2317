"""TMDS and DVI: against the models, a decoder and an encoder written from the standard, and clocks of any skew."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from openopu_rtl import dvi, tmds
from openopu_rtl.dvi import CLOCK_LANE, CLOCK_WORD, LANES, DviOutput, DviSerialiser
from openopu_rtl.protocol import Geometry, GeometryError
from openopu_rtl.protocol.geometry import PRESETS
from openopu_rtl.protocol.video import VIDEO_MODES
from openopu_rtl.tmds import TmdsEncoder

CONTROL = {0b0010101011: (0, 1), 0b1101010100: (0, 0), 0b0101010100: (1, 0), 0b1010101011: (1, 1)}
"""(C1, C0) by word."""


def decoded(word: int) -> int:
    """The pixel of a word by the decoder of DVI 1.0, figure 3-6 (there bit by bit)."""
    bits = [word >> i & 1 for i in range(10)]
    if bits[9]:
        bits[:8] = [1 - b for b in bits[:8]]
    out = [bits[0]]
    for i in range(1, 8):
        out.append(bits[i] ^ bits[i - 1] if bits[8] else 1 - (bits[i] ^ bits[i - 1]))
    return sum(b << i for i, b in enumerate(out))


def encoded(level: int, cnt: int) -> tuple[int, int]:
    """Word and disparity count by the flow chart of DVI 1.0, figure 3-5, step by step."""
    d = [level >> i & 1 for i in range(8)]
    q_m = [d[0]]
    if sum(d) > 4 or (sum(d) == 4 and d[0] == 0):
        for i in range(1, 8):
            q_m.append(1 - (q_m[i - 1] ^ d[i]))
        q_m.append(0)
    else:
        for i in range(1, 8):
            q_m.append(q_m[i - 1] ^ d[i])
        q_m.append(1)
    n1, n0 = q_m[:8].count(1), q_m[:8].count(0)
    inverted = [1 - b for b in q_m[:8]]
    if cnt == 0 or n1 == n0:
        out = [*(q_m[:8] if q_m[8] else inverted), q_m[8], 1 - q_m[8]]
        cnt += n1 - n0 if q_m[8] else n0 - n1
    elif (cnt > 0 and n1 > n0) or (cnt < 0 and n0 > n1):
        out = [*inverted, q_m[8], 1]
        cnt += 2 * q_m[8] + n0 - n1
    else:
        out = [*q_m[:8], q_m[8], 0]
        cnt += -2 * (1 - q_m[8]) + n1 - n0
    return sum(b << i for i, b in enumerate(out)), cnt


def ways_to_every_disparity() -> dict[int, list[int]]:
    """By disparity count, shortest runs of pixels that lead to it from a blanking period."""
    ways: dict[int, list[int]] = {0: []}
    todo = [0]
    while todo:
        cnt = todo.pop(0)
        for level in range(256):
            after = encoded(level, cnt)[1]
            if after not in ways:
                ways[after] = [*ways[cnt], level]
                todo.append(after)
    return ways


def every_pixel_at_every_disparity() -> tuple[list[int], list[int], list[int]]:
    """Stimulus (de, control, level) for a TMDS channel."""
    runs = [[*way, level] for way in ways_to_every_disparity().values() for level in range(256)]
    stimulus = [
        (0, i % 4, 0) if not k else (1, 3, run[k - 1]) for i, run in enumerate(runs) for k in range(len(run) + 1)
    ]
    de, control, level = zip(*stimulus, strict=True)
    return list(de), list(control), list(level)


def test_model_is_the_standards_code_at_every_disparity() -> None:
    de, control, level = every_pixel_at_every_disparity()
    words = tmds.model(de, control, level).tolist()
    assert sorted(ways_to_every_disparity()) == list(range(-8, 9, 2))
    cnt = 0
    for active, c, value, word in zip(de, control, level, words, strict=True):
        if active:
            want, cnt = encoded(value, cnt)
            assert word == want
            assert word not in CONTROL
            assert decoded(word) == value
        else:
            assert CONTROL[word] == (c >> 1, c & 1)
            cnt = 0


def test_code_has_few_transitions_and_no_direct_current(rng: random.Random) -> None:
    level = [rng.getrandbits(8) for _ in range(20_000)]
    words = tmds.model([1] * len(level), [0] * len(level), level)
    bits = (words[:, None] >> np.arange(10)) & 1
    assert np.abs(np.diff(bits, axis=1)).sum(axis=1).max() <= 5
    balance = np.cumsum(2 * bits.sum(axis=1) - 10)
    assert np.abs(balance).max() <= 8
    assert abs(balance.mean()) < 0.5


def run_clocked(dut, script) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-8, domain="slm")
    simulator.add_testbench(script)
    simulator.run()


def test_encoder_equals_model() -> None:
    de, control, level = every_pixel_at_every_disparity()
    dut = TmdsEncoder()
    words = []

    async def script(ctx):
        for i in range(len(de) + dut.LATENCY):
            if i < len(de):
                ctx.set(dut.de, de[i])
                ctx.set(dut.control, control[i])
                ctx.set(dut.level, level[i])
            if i >= dut.LATENCY:
                words.append(ctx.get(dut.word))
            await ctx.tick("slm")

    run_clocked(dut, script)
    assert words == tmds.model(de, control, level).tolist()


def video(rng: random.Random, clocks: int) -> dict[str, list[int]]:
    """Random runs of pixels and of syncs."""
    out: dict[str, list[int]] = {name: [] for name in ("de", "hsync", "vsync", "pixel")}
    while len(out["de"]) < clocks:
        de, hsync, vsync = rng.choice([(1, 0, 0), (0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)])
        for _ in range(rng.randint(1, 12)):
            for name, value in (("de", de), ("hsync", hsync), ("vsync", vsync), ("pixel", rng.getrandbits(24))):
                out[name].append(value)
    return {name: values[:clocks] for name, values in out.items()}


@pytest.mark.parametrize(
    ("channels", "positive", "bits"),
    [((0, 1, 2), (True, True), 8), ((1,), (False, True), 8), ((0, 1, 2), (True, False), 24)],
)
def test_output_equals_model(channels, positive, bits, rng: random.Random) -> None:
    stimulus = video(rng, 400)
    dut = DviOutput(hsync_positive=positive[0], vsync_positive=positive[1], channels=channels, pixel_bits=bits)
    words = []

    async def script(ctx):
        for i in range(400 + dut.LATENCY):
            if i < 400:
                for name, values in stimulus.items():
                    ctx.set(getattr(dut, name), values[i] & ((1 << bits) - 1 if name == "pixel" else 1))
            if i >= dut.LATENCY:
                words.append([ctx.get(dut.words[lane]) for lane in range(LANES)])
            await ctx.tick("slm")

    run_clocked(dut, script)
    got = np.array(words)
    signals = [stimulus[name] for name in ("de", "hsync", "vsync")]
    polarity = {"hsync_positive": positive[0], "vsync_positive": positive[1]}
    for channel in range(3):
        level = [p >> (8 * channel if bits == 24 else 0) & 0xFF for p in stimulus["pixel"]]
        want = dvi.model(*signals, level, channels=channels, **polarity)
        assert np.array_equal(got[:, [channel, CLOCK_LANE]], want[:, [channel, CLOCK_LANE]])
    # And as a receiver reads it.
    for i in range(400):
        if stimulus["de"][i]:
            for channel in range(3):
                level = stimulus["pixel"][i] >> (8 * channel if bits == 24 else 0) & 0xFF
                assert decoded(got[i, channel]) == (level if channel in channels else 0)
        else:
            h, v = stimulus["hsync"][i] == positive[0], stimulus["vsync"][i] == positive[1]
            assert [CONTROL[w] for w in got[i, :3]] == [(v, h), (0, 0), (0, 0)]


@pytest.mark.filterwarnings("ignore:.*created but never used")
def test_output_refuses_what_it_cannot_do() -> None:
    for arguments, message in (
        ({"pixel_bits": 12}, r"8 bits .* or 24"),
        ({"channels": ()}, "channels must be some of"),
        ({"channels": (3,)}, "channels must be some of"),
    ):
        with pytest.raises(ValueError, match=message):
            DviOutput(**arguments)
    gc.collect()  # what was refused complains that it was never used


def serialised(words: list[list[int]], skew: float, slip: int | None = None) -> np.ndarray:
    """Bits (lanes, bits) that the serialiser sends for ``words``, one row a pixel clock.

    The words are there from 1.4 fast clocks after a pixel clock's edge until 1.4 before the next, else anything is.
    ``skew``: of the pixel clock's edge, in fast clocks. ``slip``: the pixel clock after which the next
    one comes two fast clocks late.
    """
    top, dut = Module(), DviSerialiser()
    top.submodules.dut = dut
    top.domains.slm = slm = ClockDomain(reset_less=True)
    simulator = Simulator(top)
    fast = 1e-9
    simulator.add_clock(fast, domain="slm_x5", phase=fast)
    sent: list[int] = []

    async def pixel_clock(ctx):
        await ctx.delay(fast * (1 + skew))
        for i, row in enumerate(words):
            ctx.set(slm.clk, 1)
            await ctx.delay(1.4 * fast)
            for lane, word in enumerate(row):
                ctx.set(dut.words[lane], word)
            await ctx.delay(1.1 * fast)
            ctx.set(slm.clk, 0)
            await ctx.delay(1.1 * fast)
            for lane, word in enumerate(row):
                ctx.set(dut.words[lane], ~word & 0x3FF)
            await ctx.delay(1.4 * fast + (2 * fast if i == slip else 0))

    async def receive(ctx):
        while True:
            await ctx.tick("slm_x5")
            sent.append([ctx.get(dut.o[lane]) for lane in range(LANES)])

    simulator.add_testbench(receive, background=True)
    simulator.add_testbench(pixel_clock)
    simulator.run()
    pairs = np.array(sent)
    return np.stack([pairs & 1, pairs >> 1], axis=-1).transpose(1, 0, 2).reshape(LANES, -1)


def found(bits: np.ndarray, words: list[list[int]], first: int, last: int) -> bool:
    """Whether words ``first`` to ``last`` lie in the bits, one after the other in every lane alike."""
    want = (np.array(words[first:last])[:, :, None] >> np.arange(10) & 1).transpose(1, 0, 2).reshape(LANES, -1)
    places = range(0, bits.shape[1] - want.shape[1] + 1, 2)
    return any(np.array_equal(bits[:, k : k + want.shape[1]], want) for k in places)


def random_words(rng: random.Random, count: int) -> list[list[int]]:
    return [[*(rng.getrandbits(10) for _ in range(3)), CLOCK_WORD] for _ in range(count)]


@pytest.mark.parametrize("skew", [-0.45, -0.1, 0.0, 0.1, 0.45])
def test_serialiser_at_any_skew(skew: float, rng: random.Random) -> None:
    words = random_words(rng, 60)
    assert found(serialised(words, skew), words, 4, 58)


def test_serialiser_finds_its_place_again(rng: random.Random) -> None:
    words = random_words(rng, 60)
    bits = serialised(words, 0.1, slip=30)
    assert found(bits, words, 4, 29)
    assert found(bits, words, 34, 58)


def test_modes_are_those_of_the_standards() -> None:
    for name, frame_hz, totals in (
        ("vga", 59.94, (800, 525)),
        ("svga", 60.317, (1056, 628)),
        ("hd720", 60.0, (1650, 750)),
    ):
        mode = VIDEO_MODES[name]
        assert (mode.line_clocks, mode.frame_lines) == totals
        assert mode.frame_hz == pytest.approx(frame_hz, abs=0.01)
        assert PRESETS[name].video_mode is mode
    with pytest.raises(GeometryError, match="state pixel clock"):
        _ = Geometry().video_mode
