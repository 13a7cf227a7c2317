"""Continuous video: the port's fixed timing, and the whole gateware behind it."""

from __future__ import annotations

import dataclasses
import itertools
import random

import numpy as np
from amaranth.sim import Simulator
from openopu_rtl import expander
from openopu_rtl.continuous import ContinuousVideoPort
from openopu_rtl.protocol import Code, Format, Geometry, PanelKind, Program, Shot
from openopu_rtl.protocol.shots import complement

from .opu_bench import SMALL, Bench, expected

CONTINUOUS = dataclasses.replace(SMALL, panel_kind=PanelKind.VIDEO_CONTINUOUS)
TINY = dataclasses.replace(SMALL, slm_v_front=2, slm_v_sync=2, slm_v_back=1)
SIZE = TINY.slm_width * TINY.slm_height


def raster(g: Geometry, clocks: int) -> np.ndarray:
    """(clocks, 3) de, hsync and vsync from a vertical sync's leading edge on, written down from the mode's numbers."""
    line = g.slm_width + g.slm_h_front + g.slm_h_sync + g.slm_h_back
    at = np.arange(clocks) % g.slm_frame_clocks
    # A line counted from its horizontal sync on, as the standards draw it.
    row, column = at // line, at % line - g.slm_h_sync - g.slm_h_back
    first = g.slm_v_sync + g.slm_v_back
    de = (row >= first) & (row < first + g.slm_height) & (column >= 0) & (column < g.slm_width)
    return np.stack([de, at % line < g.slm_h_sync, row < g.slm_v_sync], axis=1)


def run_port(frames: int, feed) -> tuple[np.ndarray, list[int], list[int]]:
    """Signals (clocks, 6: de, hsync, vsync, level, latched, underrun), and clocks at which frames were due."""
    dut = ContinuousVideoPort(TINY)
    rows: list[list[int]] = []
    due: list[int] = []

    async def watch(ctx):
        before = 0
        for clock in range(frames * TINY.slm_frame_clocks):
            await ctx.tick("slm")
            names = ("de", "hsync", "vsync", "level", "latched", "underrun")
            rows.append([ctx.get(getattr(dut, n)) for n in names])
            if ctx.get(dut.frame_due) != before:
                before ^= 1
                due.append(clock)

    async def feeder(ctx):
        await feed(ctx, dut)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8, domain="slm")
    simulator.add_testbench(watch)
    simulator.add_testbench(feeder, background=True)
    simulator.run()
    return np.array(rows), due


async def send(ctx, dut, frame: list[int], final: bool, stall=lambda i: 0) -> None:
    for i, level in enumerate(frame):
        if wait := stall(i):
            await ctx.tick("slm").repeat(wait)
        ctx.set(dut.i.payload, {"level": level, "final": final, "await_latch": 0})
        ctx.set(dut.i.valid, 1)
        await ctx.tick("slm").until(dut.i.ready)
        ctx.set(dut.i.valid, 0)


def pictures(rows: np.ndarray) -> list[list[int]]:
    """Levels under DE between vertical syncs."""
    starts = np.flatnonzero(np.diff(rows[:, 2], prepend=0) == 1)
    return [rows[a:b, 3][rows[a:b, 0] == 1].tolist() for a, b in itertools.pairwise(starts)]


def test_port_keeps_its_timing_and_sends_what_it_gets(rng: random.Random) -> None:
    frames = [[rng.getrandbits(8) for _ in range(SIZE)] for _ in range(4)]

    async def feed(ctx, dut):
        before = 0
        for i, frame in enumerate(frames):
            await ctx.tick("slm").until(dut.frame_due != before)
            before ^= 1
            await send(ctx, dut, frame, final=i == 2)

    rows, due = run_port(5, feed)
    assert np.array_equal(rows[:, :3], raster(TINY, len(rows)))
    assert pictures(rows) == frames
    assert all(rows[clock, 2] for clock in due)
    assert not rows[: 4 * TINY.slm_frame_clocks, 5].any()
    (latch,) = np.flatnonzero(np.diff(rows[:, 4], prepend=0))
    assert latch == 3 * TINY.slm_frame_clocks


def test_port_that_runs_dry_repeats_and_counts_and_comes_back(rng: random.Random) -> None:
    """The second frame's stream pauses for three pixels, the fourth's for longer than the frame."""
    frames = [[rng.getrandbits(8) for _ in range(SIZE)] for _ in range(6)]
    pause = {1: 3, 3: TINY.slm_frame_clocks}
    at = TINY.slm_width + 5  # in the second line, so that it can catch up by nothing

    async def feed(ctx, dut):
        before = 0
        for number, frame in enumerate(frames):
            await ctx.tick("slm").until(dut.frame_due != before)
            before ^= 1
            await send(ctx, dut, frame, number == 1, lambda i, n=number: pause.get(n, 0) if i == at else 0)

    rows, _ = run_port(8, feed)
    assert np.array_equal(rows[:, :3], raster(TINY, len(rows)))
    sent = pictures(rows)
    assert sent[0] == frames[0]
    held = frames[1][at - 1]
    assert sent[1] == frames[1][:at] + 3 * [held] + frames[1][at:-3]
    assert sent[2] == frames[2]
    # The fourth is not over in its own time: what came late is thrown away, and the next frame is asked for one later.
    assert sent[3] == frames[3][:at] + (SIZE - at) * [frames[3][at - 1]]
    assert len(set(sent[4])) == 1
    assert sent[5] == frames[4]
    assert sent[6] == frames[5]
    assert np.count_nonzero(np.diff(rows[: 7 * TINY.slm_frame_clocks, 5], prepend=0)) == 2
    # A pattern that was sent badly still latches, or its projection would wait for ever.
    assert np.flatnonzero(np.diff(rows[:, 4], prepend=0)) == 2 * TINY.slm_frame_clocks


def patterns(program: Program, planes: np.ndarray, table: np.ndarray) -> list[list[int]]:
    """Pixels of every pattern of one projection after the other."""
    levels = ("level_on", "level_off", "level_anchor", "level_border")
    return [
        expander.model(
            CONTINUOUS, row[s.plane], invert=s.invert, table=table, **{n: getattr(s, n) for n in levels}
        ).ravel().tolist()
        for row in planes
        for s in program
    ]  # fmt: skip


def test_gateware() -> None:
    """Results as on demand; each pattern is sent its `frames` times and until it is exposed, then comes the next.

    The pixel clock is as fast as the system clock, at which the stream must not run dry.
    """
    rng = np.random.default_rng(7)
    bench = Bench(CONTINUOUS, clocks=(48e6, 48e6, 37e6))
    table = rng.permutation(256)
    shots = [
        Shot(plane=0, frames=1, level_on=200, level_border=17, level_anchor=3, settle_cycles=20, exposure_cycles=400),
        Shot(plane=1, frames=3, level_on=200, level_border=17, invert=True, settle_cycles=0, exposure_cycles=600),
    ]
    program = Program(tuple(shots), 2)
    selection = np.arange(CONTINUOUS.outputs)

    async def script(host):
        await host.write(frame_timeout_cycles=1200)
        await host.write_window("level_table", table)
        await host.configure(program, selection=selection)
        planes = rng.integers(0, 2, (2, 2, CONTINUOUS.modes))
        records = await host.project(0, planes, Format(len(selection), 16))
        assert records.ok.all()
        for i, row in enumerate(planes):
            want, _ = expected(bench, program, row, 2 * i, selection=selection, bits=16, shift=0, banks=1, table=table)
            assert records.values[i].tolist() == want[0].tolist()
        assert await host.read("panel_underruns") == 0
        # The pixels of a frame but those that wait in the crossing, at a pixel a clock and with the lines' blanking.
        line = CONTINUOUS.slm_frame_clocks // (CONTINUOUS.slm_height + 3)
        assert line * (CONTINUOUS.slm_height - 2) < await host.read("cycles_slm_frame") < CONTINUOUS.slm_frame_clocks
        await host.ctx.tick().repeat(3 * CONTINUOUS.slm_frame_clocks)

        # Frames in order: those of the patterns, each at least as often as asked, and a border between projections.
        border = table[17]
        want = patterns(program, planes, table)
        runs: list[tuple[list[int], int]] = []
        for frame in bench.sent[1:]:
            if runs and runs[-1][0] == frame:
                runs[-1] = (frame, runs[-1][1] + 1)
            else:
                runs.append((frame, 1))
        plain = [(frame, count) for frame, count in runs if frame in want]
        assert [frame for frame, _ in plain] == want
        for (_, count), s in zip(plain, shots * 2, strict=True):
            assert count > s.frames, "a pattern was not repeated while exposed"
        assert set(runs[-1][0]) == {border}

    bench.run(script)


def test_a_pixel_clock_above_the_system_clock_fails_by_name() -> None:
    """Nothing is lost but the projections: they end with the code, and the counter counts."""
    bench = Bench(CONTINUOUS, clocks=(30e6, 60e6, 25e6))
    bench.torn = True
    program = complement(1, exposure_cycles=60, settle_cycles=5)

    async def script(host):
        await host.write(frame_timeout_cycles=1200)
        await host.configure(program, selection=[0])
        planes = np.random.default_rng(1).integers(0, 2, (2, 1, CONTINUOUS.modes))
        records = await host.project(0, planes, Format(1, 16))
        assert records.head["status"].tolist() == [Code.PANEL_UNDERRUN] * 2
        assert await host.read("panel_underruns") > 0
        assert await host.read("projections_failed") == 2

    bench.run(script)
