"""What cocotb runs inside Icarus: the bench's two panels of mirrors. Started by ``test_models.py``."""

from __future__ import annotations

import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

WIDTH, HEIGHT, WORD, CYCLE = 10, 5, 4, 3
ROW_PAUSED, MODE_CHANGED, ROW_ADDRESS, WRITTEN_UNSETTLED, RESET_ACTIVE, BLOCK_MODE, ROWS_MISSING, CHANGED = range(8)
PLANES = 24
LINES, H_FRONT, H_SYNC, H_BACK, V_FRONT, V_SYNC, V_BACK = 6, 2, 3, 4, 1, 1, 2
LINE = WIDTH + H_FRONT + H_SYNC + H_BACK
FRAME = LINE * (LINES + V_FRONT + V_SYNC + V_BACK)
PERIOD = FRAME // PLANES
LINE_LENGTH, LINE_COUNT, HSYNC_WIDTH, HSYNC_PERIOD, VSYNC_WIDTH, VSYNC_PERIOD = range(6)


async def levels(dut, rows: int) -> list[list[int]]:
    dut.write_now.value = 1
    await ClockCycles(dut.clk, 1)
    dut.write_now.value = 0
    await ClockCycles(dut.clk, 1)
    data = Path("levels.bin").read_bytes()
    return [list(data[y * WIDTH : (y + 1) * WIDTH]) for y in range(rows)]


async def start(dut, *names: str) -> None:
    for name in (*names, "exposing", "write_now"):
        getattr(dut, name).value = 0
    Clock(dut.clk, 20, unit="ns").start()
    await ClockCycles(dut.clk, 60)
    dut.panel.broken.value = 0  # what the test before left
    await ClockCycles(dut.clk, 2)


# Row bus


async def start_dmd(dut):
    await start(dut, "dvalid", "data", "row_mode", "row_address", "block_mode", "block_address")
    await cycles(dut, 20)  # a reset that the test before began ends
    await reset(dut)  # and rows that it wrote count no more
    await cycles(dut, 20)
    dut.panel.broken.value = 0
    await ClockCycles(dut.clk, 2)


async def row_cycle(dut, row=(0,) * WIDTH, *, pause=False, change=False, clocks=CYCLE, **modes):
    bits = [*row, 0, 0]
    for name in ("row_mode", "row_address", "block_mode", "block_address"):
        getattr(dut, name).value = modes.get(name, 0)
    for i in range(clocks):
        dut.dvalid.value = 1
        dut.data.value = sum(bit << j for j, bit in enumerate(bits[WORD * i : WORD * (i + 1)]))
        if change and i == 1:
            dut.row_address.value = modes.get("row_address", 0) ^ 1
        await RisingEdge(dut.clk)
        if pause and i == 0:
            dut.dvalid.value = 0
            await RisingEdge(dut.clk)
    dut.dvalid.value = 0


async def cycles(dut, number):
    for _ in range(number):
        await row_cycle(dut)


def pattern(seed):
    generator = random.Random(seed)
    return [[generator.getrandbits(1) for _ in range(WIDTH)] for _ in range(HEIGHT)]


def as_levels(rows):
    return [[255 * bit for bit in row] for row in rows]


async def write_rows(dut, rows):
    for y, row in enumerate(rows):
        await row_cycle(dut, row, row_mode=2, row_address=y)


async def reset(dut, settle=True):
    await row_cycle(dut, block_mode=3, block_address=8)
    if settle:
        await cycles(dut, 10)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def dmd_shows_rows_at_a_reset(dut):
    await start_dmd(dut)
    first, second = pattern(1), pattern(2)
    order = random.Random(3).sample(range(HEIGHT), HEIGHT)
    for y in order:
        await row_cycle(dut, first[y], row_mode=2, row_address=y)
    assert await levels(dut, HEIGHT) != as_levels(first)
    await reset(dut)
    assert await levels(dut, HEIGHT) == as_levels(first)
    # The pointer counts on from row 0; pauses between cycles are allowed.
    for y, row in enumerate(second):
        await row_cycle(dut, row, row_mode=1 if y else 3)
        await ClockCycles(dut.clk, y)
    assert await levels(dut, HEIGHT) == as_levels(first)
    await reset(dut)
    assert await levels(dut, HEIGHT) == as_levels(second)
    assert int(dut.broken.value) == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def dmd_needs_row_cycles_to_end_a_reset(dut):
    await start_dmd(dut)
    await write_rows(dut, pattern(4))
    await reset(dut, settle=False)
    await ClockCycles(dut.clk, 100)
    assert int(dut.rst_active.value) == 1
    await cycles(dut, 3)
    assert int(dut.rst_active.value) == 0
    assert int(dut.broken.value) == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(
    ("law", [ROW_PAUSED, MODE_CHANGED, ROW_ADDRESS, WRITTEN_UNSETTLED, RESET_ACTIVE, BLOCK_MODE, ROWS_MISSING, CHANGED])
)
async def dmd_sees_broken_laws(dut, law):
    await start_dmd(dut)
    rows = pattern(5)
    await write_rows(dut, rows[: HEIGHT - (law == ROWS_MISSING)])
    assert int(dut.broken.value) == 0
    if law == ROW_PAUSED:
        await row_cycle(dut, pause=True)
    elif law == MODE_CHANGED:
        await row_cycle(dut, change=True)
    elif law == ROW_ADDRESS:
        await row_cycle(dut, row_mode=2, row_address=HEIGHT)
    elif law == BLOCK_MODE:
        await row_cycle(dut, block_mode=2)
    elif law == CHANGED:
        dut.exposing.value = 1
        await reset(dut)
        dut.exposing.value = 0
    elif law == ROWS_MISSING:
        await reset(dut)
    else:
        await reset(dut, settle=False)
        await cycles(dut, 4)
        if law == WRITTEN_UNSETTLED:
            await row_cycle(dut, rows[0], row_mode=2)
        else:
            await reset(dut)
    await ClockCycles(dut.clk, 2)
    broken = int(dut.broken.value)
    # So soon after a reset there are no new rows either.
    assert broken == 1 << law | (law == RESET_ACTIVE) << ROWS_MISSING


# Packed planes


async def send_video(dut, pixels, *, cut=0, lines=LINES, hsync=H_SYNC, vsync=V_SYNC, longer=0):
    """One frame from its first line; the arguments break one law each."""
    for y in range(lines + V_FRONT + V_SYNC + V_BACK):
        active = y < lines
        dut.vsync.value = int(lines + V_FRONT <= y < lines + V_FRONT + vsync)
        for x in range(LINE + (longer if y == lines + 1 else 0)):
            dut.de.value = int(active and x < WIDTH - (cut if y == 2 else 0))
            dut.pixel.value = pixels[y * WIDTH + x] if active and x < WIDTH and y < LINES else 0
            dut.hsync.value = int(WIDTH + H_FRONT <= x < WIDTH + H_FRONT + hsync)
            await RisingEdge(dut.clk)


def video(seed):
    generator = random.Random(seed)
    return [generator.getrandbits(PLANES) for _ in range(WIDTH * LINES)]


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def planes_are_shown_in_turn_a_frame_later(dut):
    await start(dut, "de", "hsync", "vsync", "pixel")
    frames = [video(seed) for seed in range(3)]
    shown = []

    async def look():
        while True:
            await RisingEdge(dut.trigger)
            await ClockCycles(dut.clk, 2)
            shown.append(await levels(dut, LINES))

    await send_video(dut, video(9))
    await send_video(dut, video(9))
    dut.panel.broken.value = 0
    looking = cocotb.start_soon(look())
    for pixels in frames:
        await send_video(dut, pixels)
    looking.cancel()
    # What is on show when looking begins is under way; then come whole frames.
    begin = next(i for i in range(PLANES + 1) if shown[i] == plane(frames[0], 0))
    for k in range(2 * PLANES - 1):
        if begin + k < len(shown):
            assert shown[begin + k] == plane(frames[k // PLANES], k % PLANES), k
    assert len(shown) >= begin + PLANES
    assert int(dut.broken.value) == 0


def plane(pixels, bit):
    return [[255 * (pixels[y * WIDTH + x] >> bit & 1) for x in range(WIDTH)] for y in range(LINES)]


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(
    (
        ("fault", "law"),
        [
            ({"cut": 1}, LINE_LENGTH),
            ({"lines": LINES - 1}, LINE_COUNT),
            ({"hsync": H_SYNC + 1}, HSYNC_WIDTH),
            ({"longer": 1}, HSYNC_PERIOD),
            ({"vsync": V_SYNC + 1}, VSYNC_WIDTH),
            ({"longer": 1}, VSYNC_PERIOD),
            ({"exposing": 1}, CHANGED),
        ],
    )
)
async def planes_sees_broken_laws(dut, fault, law):
    await start(dut, "de", "hsync", "vsync", "pixel")
    for _ in range(2):
        await send_video(dut, video(1))
    dut.panel.broken.value = 0
    await send_video(dut, video(2))
    assert int(dut.broken.value) == 0
    dut.exposing.value = fault.pop("exposing", 0)  # into dark time
    await send_video(dut, video(3), **fault)
    dut.exposing.value = 0
    await send_video(dut, video(4))
    assert int(dut.broken.value) >> law & 1
