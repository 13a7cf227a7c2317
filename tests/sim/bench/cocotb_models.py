"""What cocotb runs inside Icarus: each HDL model of the bench on its own, one function a model.

Not a test module of pytest: ``test_models.py`` starts it. Clocks have a period of 20 ns.
"""

from __future__ import annotations

import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly, RisingEdge, Timer

WIDTH, HEIGHT, H_FRONT, H_SYNC, H_BACK, V_FRONT, V_SYNC, V_BACK = 10, 6, 2, 3, 4, 1, 1, 2
LINE = WIDTH + H_FRONT + H_SYNC + H_BACK
LINE_LENGTH, LINE_COUNT, HSYNC_WIDTH, HSYNC_PLACE, VSYNC_WIDTH, VSYNC_PLACE, PIXEL_PLACE, CHANGED = range(8)
CAMERA_WIDTH, CAMERA_HEIGHT = 7, 5


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
    seen = cocotb.start_soon(receive(dut, 2))
    pixels = pixels_of(10)
    await expose(dut, pixels, 3, play_times=2, play_gap=200, dval_pauses=0, gap_jitter=0)
    assert await seen == [as_lines(pixels)] * 2


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


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def dac_takes_words_as_its_data_sheet_says(dut):
    dut.cs_n.value, dut.sck.value, dut.sdi.value = 1, 0, 0
    Clock(dut.clk, 20, unit="ns").start()
    await ClockCycles(dut.clk, 4)

    async def write(word: int, bits: int = 16, half: int = 2) -> int:
        dut.cs_n.value = 0
        for i in range(bits):
            dut.sdi.value = word >> (bits - 1 - i) & 1
            dut.sck.value = 0
            await ClockCycles(dut.clk, half)
            dut.sck.value = 1
            await ClockCycles(dut.clk, half)
        dut.sck.value = 0
        await ClockCycles(dut.clk, half)
        dut.cs_n.value = 1
        await ClockCycles(dut.clk, 3)
        return int(dut.code.value)

    assert int(dut.code.value) == 0
    assert await write(0x3ABC) == 0xABC
    assert await write(0x3123) == 0x123
    assert await write(0x3456, bits=15) == 0x123  # cut short: dropped
    assert await write(0xB456) == 0x123  # for a channel that this part does not have
    assert await write(0x3456 << 2, bits=18) == 0x456  # more clocks are ignored
    assert await write(0x2FFF) == 0  # shut down
    assert await write(0x3FFF) == 0xFFF
    assert int(dut.broken.value) == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def adc_answers_as_its_data_sheet_says(dut):
    dut.cs_n.value, dut.sck.value, dut.value.value = 1, 0, 0xA53
    Clock(dut.clk, 20, unit="ns").start()
    await ClockCycles(dut.clk, 40)

    async def convert(half: int, clocks: int = 14) -> list[int]:
        bits = []
        dut.cs_n.value = 0
        await ClockCycles(dut.clk, half)
        for i in range(clocks):
            dut.sck.value = 1
            await ClockCycles(dut.clk, half)
            bits.append(int(dut.dout.value))  # what the falling edge before put out
            dut.sck.value = 0
            await ClockCycles(dut.clk, half)
            if i == 5:
                dut.value.value = 0x0F0  # it is held
        bits.append(int(dut.dout.value))
        dut.cs_n.value = 1
        await ClockCycles(dut.clk, 40)
        return bits[2:]

    # 50 MHz: 16 clocks are 320 ns. The null bit comes after the second falling edge.
    bits = await convert(16)
    assert bits == [0] + [0xA53 >> (11 - i) & 1 for i in range(12)]
    assert int(dut.dout.value) == 1
    dut.value.value = 0x801
    bits = await convert(16, 25)
    assert bits[:13] == [0] + [0x801 >> (11 - i) & 1 for i in range(12)]
    assert bits[13:24] == [0x801 >> i & 1 for i in range(1, 12)]  # then the least significant bits first
    assert int(dut.broken.value) == 0
    await convert(10)
    assert int(dut.broken.value) == 1


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize((("divisor", "tx_divisor"), [(4, 4), (5, 5), (104, 104), (50, 51)]))
async def uart_carries_bytes(dut, divisor, tx_divisor):
    """Looped back to cocotbext-uart, an independent model of the other end."""
    from cocotbext.uart import UartSink, UartSource

    baud = 50_000_000 // tx_divisor
    dut.divisor.value = divisor
    dut.send_valid.value = 0
    Clock(dut.clk, 20, unit="ns").start()
    source, sink = UartSource(dut.line_in, baud=baud, bits=8), UartSink(dut.line_out, baud=baud, bits=8)
    data = bytes([0, 255, 0x55, 0xAA, 1, 128])
    got = bytearray()

    async def collect():
        while len(got) < len(data):
            await RisingEdge(dut.clk)
            await ReadOnly()
            if int(dut.receive_valid.value):
                got.append(int(dut.receive_data.value))

    collecting = cocotb.start_soon(collect())
    await ClockCycles(dut.clk, 20)
    await source.write(data)
    for byte in data:
        dut.send_data.value = byte
        dut.send_valid.value = 1
        while True:
            await ReadOnly()
            ready = int(dut.send_ready.value)
            await RisingEdge(dut.clk)
            if ready:
                break
    dut.send_valid.value = 0
    await collecting
    assert got == data
    while not int(dut.send_quiet.value):
        await RisingEdge(dut.clk)
    await ClockCycles(dut.clk, 2 * divisor)
    assert sink.read_nowait() == data


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def uart_at_a_wrong_rate_gives_garbage(dut):
    from cocotbext.uart import UartSource

    dut.divisor.value = 4
    dut.send_valid.value = 0
    Clock(dut.clk, 20, unit="ns").start()
    source = UartSource(dut.line_in, baud=50_000_000 // 12, bits=8)
    await ClockCycles(dut.clk, 20)
    got = bytearray()
    data = b"hello, world"
    await source.write(data)
    for _ in range(12 * 10 * 14):
        await RisingEdge(dut.clk)
        await ReadOnly()
        if int(dut.receive_valid.value):
            got.append(int(dut.receive_data.value))
    assert got
    assert bytes(got) != data


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def maxadc_answers_as_its_data_sheet_says(dut):
    dut.cs_n.value, dut.sck.value, dut.din.value = 1, 1, 0
    inputs = [0x100 * i + 0x21 for i in range(8)]

    def set_inputs() -> None:
        dut.values.value = sum(v << 12 * i for i, v in enumerate(inputs))

    set_inputs()
    Clock(dut.clk, 20, unit="ns").start()
    await ClockCycles(dut.clk, 10)

    async def exchange(word: int, half: int = 2, bits: int = 16) -> int:
        answer = 0
        dut.cs_n.value = 0
        await ClockCycles(dut.clk, half)
        for i in range(bits):
            dut.sck.value = 0
            dut.din.value = word >> (bits - 1 - i) & 1
            await ClockCycles(dut.clk, half)
            dut.sck.value = 1
            await ClockCycles(dut.clk, half)
            answer = answer << 1 | int(dut.dout.value)
        dut.cs_n.value = 1
        await ClockCycles(dut.clk, 4)
        return answer

    late = int(dut.LATE.value)
    await exchange(0x8404)
    assert int(dut.config_word.value) == 0x8404
    assert int(dut.dout.value) == 1  # high impedance
    # Channel 5 by its number, then channel 2 without: the answers come with the next word, or one later.
    answers = [await exchange(w) for w in (0x0A84, 0x0900, 0x0000, 0x0000, 0x0000)]
    assert answers[1 + late] == 0x5000 | inputs[5]
    assert answers[2 + late :] == [inputs[2] << 3] * (3 - late)
    # What counts is the input at the word's begin.
    inputs[2] = 0xFED
    set_inputs()
    await ClockCycles(dut.clk, 1)
    answers = [await exchange(0x0000) for _ in range(2)]
    assert answers[late] == 0xFED << 3
    # Reset.
    await exchange(0x0040)
    assert int(dut.config_word.value) == 0x8000
    answers = [await exchange(0x0000) for _ in range(2)]
    assert answers[late] == inputs[0] << 3
    assert int(dut.broken.value) == 0
    await exchange(0x0000, bits=15)
    assert int(dut.broken.value) == 1


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def maxadc_sees_a_clock_that_is_too_quick(dut):
    dut.cs_n.value, dut.sck.value, dut.din.value, dut.values.value = 1, 1, 0, 0
    Clock(dut.clk, 20, unit="ns").start()
    await ClockCycles(dut.clk, 10)
    dut.cs_n.value = 0
    await ClockCycles(dut.clk, 2)
    for level in (0, 1, 0):
        dut.sck.value = level
        await ClockCycles(dut.clk, 1)
    await ClockCycles(dut.clk, 2)
    assert int(dut.broken.value) == 1
