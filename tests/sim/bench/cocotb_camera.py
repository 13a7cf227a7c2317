"""What cocotb runs inside Icarus: the bench's camera. Started by ``test_models.py``.

Clocks have a period of 20 ns.
"""

from __future__ import annotations

import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly, RisingEdge, Timer

CAMERA_WIDTH, CAMERA_HEIGHT = 7, 5


async def start_camera(dut):
    for name, value in {
        "trigger": 0, "play_times": 1, "play_delay": 5, "play_lines": CAMERA_HEIGHT, "odd_line": 0xFFFF,
        "odd_line_pixels": 0, "stop_after": 0, "stop_cycles": 0, "fval_lead": 3, "line_gap": 2, "play_gap": 0,
        "cut_line": 0xFFFF, "cut_pixels": 0, "glitch_line": 0xFFFF, "noise_clocks": 0, "dval_pauses": 0,
        "gap_jitter": 0,
    }.items():  # fmt: skip
        getattr(dut, name).value = value
    Clock(dut.clk, 20, unit="ns").start()
    cocotb.start_soon(camera_clock(dut))
    if not dut.load.value.is_resolvable:
        dut.load.value = 0
    await ClockCycles(dut.clk, 10)
    while not int(dut.quiet.value):  # what the test before left
        await RisingEdge(dut.clk)
    dut.overrun.value = 0
    await ClockCycles(dut.clk, 10)


async def camera_clock(dut):
    """The camera's clock, which stands still while the model says so."""
    dut.pixel_clk.value = 0
    while True:
        await Timer(11500, unit="ps")
        if not int(dut.stopped.value):
            dut.pixel_clk.value = 1 - int(dut.pixel_clk.value)


async def expose(dut, pixels, cycles=9, **play):
    """Expose, then hand a frame over, as the server does."""
    dut.trigger.value = 1
    await ClockCycles(dut.clk, cycles)
    dut.trigger.value = 0
    await RisingEdge(dut.ended)
    await ReadOnly()
    width = int(dut.exposed_cycles.value)
    await FallingEdge(dut.clk)
    Path("frame.bin").write_bytes(b"".join(p.to_bytes(2, "big") for p in pixels))
    for name, value in play.items():
        getattr(dut, name).value = value
    dut.load.value = 1 - int(dut.load.value)
    return width


async def receive(dut, frames, timeout=4000, noise=0):
    """Frames as lists of lines, seen at rising edges. LVAL must be high outside of frames for ``noise`` clocks."""
    got, lines, line, inside, outside = [], [], [], False, 0
    for _ in range(timeout):
        await RisingEdge(dut.pixel_clk)
        await ReadOnly()
        if int(dut.lval.value):
            if not int(dut.fval.value):
                outside += 1
            elif int(dut.dval.value):
                line.append(int(dut.pixel.value))
        if line and not (int(dut.lval.value) and int(dut.fval.value)):
            lines.append(line)
            line = []
        if inside and not int(dut.fval.value):
            got.append(lines)
            lines = []
            if len(got) == frames:
                break
        inside = bool(int(dut.fval.value))
    assert outside == noise, "pixels outside a frame"
    return got


async def pause(dut) -> int:
    """Clocks between two frames."""
    await FallingEdge(dut.fval)
    clocks = 0
    while True:
        await RisingEdge(dut.pixel_clk)
        await ReadOnly()
        if int(dut.fval.value):
            return clocks
        clocks += 1


def pixels_of(seed: int) -> list[int]:
    return [random.Random(seed + i).randrange(256) for i in range(CAMERA_WIDTH * CAMERA_HEIGHT)]


def as_lines(pixels: list[int]) -> list[list[int]]:
    return [pixels[i : i + CAMERA_WIDTH] for i in range(0, len(pixels), CAMERA_WIDTH)]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def camera_plays_what_it_was_given(dut):
    await start_camera(dut)
    seen = cocotb.start_soon(receive(dut, 3))
    frames = [pixels_of(seed) for seed in (1, 2, 3)]
    for pixels, cycles in zip(frames, (1, 9, 33), strict=True):
        assert await expose(dut, pixels, cycles) == cycles
        await ClockCycles(dut.clk, 90)
    assert await seen == [as_lines(p) for p in frames]
    await ClockCycles(dut.clk, 20)
    assert int(dut.quiet.value) == 1
    assert int(dut.overrun.value) == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def camera_buffers_a_frame_while_one_is_read_out(dut):
    await start_camera(dut)
    seen = cocotb.start_soon(receive(dut, 2))
    frames = [pixels_of(seed) for seed in (4, 5)]
    for pixels in frames:
        await expose(dut, pixels, 2)
        await ClockCycles(dut.clk, 20)
    assert await seen == [as_lines(p) for p in frames]
    assert int(dut.overrun.value) == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def camera_says_when_a_third_frame_comes(dut):
    await start_camera(dut)
    for seed in (4, 5, 6):
        await expose(dut, pixels_of(seed), 2)
    await ClockCycles(dut.clk, 4)
    assert int(dut.overrun.value) == 1


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(
    (
        ("play", "lines"),
        [
            ({"play_times": 0}, []),
            ({"play_times": 2}, [[CAMERA_WIDTH] * CAMERA_HEIGHT] * 2),
            ({"odd_line": 2, "odd_line_pixels": 6}, [[7, 7, 6, 7, 7]]),
            ({"odd_line": 0, "odd_line_pixels": 8}, [[8, 7, 7, 7, 7]]),
            ({"play_lines": 4}, [[7] * 4]),
            ({"play_lines": 6}, [[7] * 6]),
            ({"cut_line": 2, "cut_pixels": 3}, [[7, 7, 3]]),
            ({"cut_line": 0, "cut_pixels": 0}, [[]]),
            ({"glitch_line": 2}, [[7, 7], [7, 7, 7]]),
            ({"noise_clocks": 3}, [[7] * 5]),
        ],
    )
)
async def camera_faults(dut, play, lines):
    await start_camera(dut)
    seen = cocotb.start_soon(receive(dut, max(1, len(lines)), 800, play.get("noise_clocks", 0)))
    await expose(dut, pixels_of(7), 3, **play)
    assert [[len(line) for line in f] for f in await seen] == lines


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def camera_pauses_and_gaps_lose_nothing(dut):
    await start_camera(dut)
    seen = cocotb.start_soon(receive(dut, 2))
    pixels = pixels_of(9)
    await expose(dut, pixels, 3, dval_pauses=100, gap_jitter=16)
    await ClockCycles(dut.clk, 400)
    await expose(dut, pixels, 3, dval_pauses=0, play_times=1)
    assert await seen == [as_lines(pixels)] * 2


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def camera_sends_again_after_a_while(dut):
    await start_camera(dut)
    seen, between = cocotb.start_soon(receive(dut, 2)), cocotb.start_soon(pause(dut))
    pixels = pixels_of(10)
    await expose(dut, pixels, 3, play_times=2, play_gap=200, dval_pauses=0, gap_jitter=0)
    assert await seen == [as_lines(pixels)] * 2
    assert 200 <= await between <= 210


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def camera_clock_stops_and_goes_on(dut):
    await start_camera(dut)
    seen = cocotb.start_soon(receive(dut, 1))
    pixels = pixels_of(8)
    await expose(dut, pixels, 3, stop_after=30, stop_cycles=500)
    await ClockCycles(dut.clk, 60)
    assert int(dut.stopped.value) == 1
    assert int(dut.fval.value) == 1
    await ClockCycles(dut.clk, 400)
    assert int(dut.stopped.value) == 1
    assert await seen == [as_lines(pixels)]
