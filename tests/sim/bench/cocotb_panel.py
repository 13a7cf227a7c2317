"""What cocotb runs inside Icarus: the bench's panel of video. Started by ``test_models.py``.

Clocks have a period of 20 ns.
"""

from __future__ import annotations

import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

WIDTH, HEIGHT, H_FRONT, H_SYNC, H_BACK, V_FRONT, V_SYNC, V_BACK = 10, 6, 2, 3, 4, 1, 1, 2
LINE = WIDTH + H_FRONT + H_SYNC + H_BACK
LINE_LENGTH, LINE_COUNT, HSYNC_WIDTH, HSYNC_PLACE, VSYNC_WIDTH, VSYNC_PLACE, PIXEL_PLACE, CHANGED = range(8)


async def send_video(dut, levels, lines=HEIGHT, cut=0, hsync=H_SYNC, vsync=V_SYNC, pause=False, front=V_FRONT):
    """One frame; the arguments break one law each."""
    for y in range(lines + front + vsync + V_BACK):
        active = y < lines
        dut.vsync.value = int(lines + front <= y < lines + front + vsync)
        for x in range(LINE):
            if pause and active and x == 4:
                dut.de.value = 0
                await ClockCycles(dut.pixel_clk, 3)
            pixel = active and x < WIDTH - (cut if y == 2 else 0)
            dut.de.value = int(pixel)
            dut.level.value = levels[y * WIDTH + x] if pixel and y < HEIGHT else 0xEE
            dut.hsync.value = int(WIDTH + H_FRONT <= x < WIDTH + H_FRONT + hsync)
            await RisingEdge(dut.pixel_clk)
    dut.vsync.value = 0
    dut.hsync.value = 0
    await ClockCycles(dut.pixel_clk, 4)


async def shown(dut) -> bytes:
    dut.write_now.value = 1
    await ClockCycles(dut.pixel_clk, 2)
    dut.write_now.value = 0
    await ClockCycles(dut.pixel_clk, 2)
    return Path("levels.bin").read_bytes()[: WIDTH * HEIGHT]


async def start_panel(dut):
    for name in ("de", "hsync", "vsync", "level", "exposing", "write_now"):
        getattr(dut, name).value = 0
    Clock(dut.pixel_clk, 20, unit="ns").start()
    await ClockCycles(dut.pixel_clk, 10)


def frame(seed: int) -> list[int]:
    return list(random.Random(seed).randbytes(WIDTH * HEIGHT))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def panel_shows_whole_frames(dut):
    await start_panel(dut)
    first, second = frame(1), frame(2)
    await send_video(dut, first)
    assert await shown(dut) == bytes(first)
    await send_video(dut, second, pause=True)
    assert await shown(dut) == bytes(second)
    await ClockCycles(dut.pixel_clk, 777)  # blanking may be stretched
    await send_video(dut, first)
    assert await shown(dut) == bytes(first)
    assert int(dut.broken.value) == 0
    assert int(dut.latched.value) == 3


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def panel_shows_the_frame_before_while_the_next_is_sent(dut):
    await start_panel(dut)
    first, second = frame(1), frame(2)
    await send_video(dut, first)
    sending = cocotb.start_soon(send_video(dut, second))
    await ClockCycles(dut.pixel_clk, LINE * (HEIGHT - 1))
    assert await shown(dut) == bytes(first)
    await sending
    assert await shown(dut) == bytes(second)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(
    (
        ("fault", "law"),
        [
            ({"cut": 1}, LINE_LENGTH),
            ({"lines": HEIGHT - 1}, LINE_COUNT),
            ({"lines": HEIGHT + 1}, LINE_COUNT),
            ({"hsync": H_SYNC + 1}, HSYNC_WIDTH),
            ({"vsync": V_SYNC + 1}, VSYNC_WIDTH),
            ({"front": 0}, VSYNC_PLACE),
            ({"exposing": 1}, CHANGED),
        ],
    )
)
async def panel_sees_broken_laws(dut, fault, law):
    await start_panel(dut)
    await send_video(dut, frame(3))
    dut.panel.broken.value = 0  # what the test before left
    await ClockCycles(dut.pixel_clk, 2)
    dut.exposing.value = fault.pop("exposing", 0)
    await send_video(dut, frame(4), **fault)
    assert int(dut.broken.value) >> law & 1
    dut.panel.broken.value = 0
    dut.exposing.value = 0
    await send_video(dut, frame(4))
    await send_video(dut, frame(5))
    assert int(dut.broken.value) == 0  # and it recovers


async def send_raster(dut, levels, lines=HEIGHT + V_FRONT + V_SYNC + V_BACK, shift=0):
    """One frame of continuous video, from its vertical sync on; ``lines`` and ``shift`` (of DE) break a law each."""
    for clock in range(lines * LINE):
        y, x = clock // LINE - V_SYNC - V_BACK, clock % LINE - H_SYNC - H_BACK - shift
        active = 0 <= x < WIDTH and 0 <= y < HEIGHT
        dut.vsync.value = int(clock < V_SYNC * LINE)
        dut.hsync.value = int(clock % LINE < H_SYNC)
        dut.de.value = int(active)
        dut.level.value = levels[y * WIDTH + x] if active else 0xEE
        await RisingEdge(dut.pixel_clk)


async def start_continuous(dut):
    await start_panel(dut)
    dut.panel.locked.value = 0  # a test of its own
    dut.panel.pixels.value = 0
    dut.panel.lines.value = 0
    dut.panel.broken.value = 0
    await ClockCycles(dut.pixel_clk, 2)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def continuous_frames_are_shown_and_may_be_repeated_while_exposed(dut):
    await start_continuous(dut)
    first, second = frame(1), frame(2)
    for levels, exposing in ((first, 0), (first, 1), (second, 0), (second, 1)):
        dut.exposing.value = exposing
        await send_raster(dut, levels)
    assert int(dut.broken.value) == 0
    await send_raster(dut, second, lines=1)
    assert await shown(dut) == bytes(second)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(
    (
        ("fault", "law"),
        [
            ({"lines": HEIGHT + V_FRONT + V_SYNC + V_BACK + 1}, VSYNC_PLACE),
            ({"lines": HEIGHT + V_FRONT + V_SYNC + V_BACK - 1}, VSYNC_PLACE),
            ({"shift": 1}, PIXEL_PLACE),
            ({"levels": frame(4)}, CHANGED),
        ],
    )
)
async def continuous_sees_broken_laws(dut, fault, law):
    await start_continuous(dut)
    for _ in range(2):
        await send_raster(dut, frame(3))
    assert int(dut.broken.value) == 0
    dut.exposing.value = 1
    await send_raster(dut, **{"levels": frame(3), **fault})
    await send_raster(dut, frame(3))
    assert int(dut.broken.value) >> law & 1
