"""UART: both directions against their models, mismatched baud rates, glitches and breaks."""

import pytest
from openopu_rtl.opu import Opu
from openopu_rtl.protocol import REGISTERS
from openopu_rtl.uart import (
    BITS,
    BREAK_BITS,
    SYNCHRONISER_CLOCKS,
    UartReceiver,
    UartTransmitter,
    line_breaks,
    received_bytes,
    transmitted_line,
)

from .opu_bench import SMALL


def receive(simulate, line, divisor):
    """Bytes (None: framing error) with the clock of their strobe, and ``busy`` in every clock."""
    dut = UartReceiver()
    events, busy = [], []

    async def testbench(ctx):
        ctx.set(dut.divisor, divisor)
        for k in range(len(line) + SYNCHRONISER_CLOCKS + 2):
            ctx.set(dut.rx, line[k] if k < len(line) else 1)
            if ctx.get(dut.o.valid):
                events.append((k, ctx.get(dut.o.payload)))
            if ctx.get(dut.framing_error):
                events.append((k, None))
            busy.append(ctx.get(dut.busy))
            await ctx.tick()

    simulate(dut, testbench)
    return events, busy


def sampled(data, bit_clocks, phase, idle=5):
    """The line as a clock samples it whose bits last ``bit_clocks``, not a whole number."""
    levels = [level for byte in data for level in (0, *(byte >> k & 1 for k in range(8)), 1)]
    line = [1] * idle
    k = 0
    while (bit := int((k + phase) / bit_clocks)) < len(levels):
        line.append(levels[bit])
        k += 1
    return line + [1] * idle


@pytest.mark.parametrize("divisor", [4, 5, 13])
def test_transmitter_equals_model(simulate, rng, divisor):
    data = [rng.randrange(256) for _ in range(40)]
    dut = UartTransmitter()
    line, accepted, busy = [], [], []

    async def send(ctx):
        ctx.set(dut.divisor, divisor)
        for byte in data:
            if rng.random() < 0.5:
                await ctx.tick().repeat(rng.randrange(1, 15 * divisor))
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            accepted.append(len(line))
            ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat((BITS + 2) * divisor)

    async def watch(ctx):
        while True:
            _, _, tx, on = await ctx.tick().sample(dut.tx, dut.busy)
            line.append(tx)
            busy.append(on)

    simulate(dut, send, background=(watch,))
    # ``accepted`` may or may not count the clock of acceptance, as testbenches run in either order:
    # the line says which.
    first = line.index(0)
    expected, expected_busy = [1] * len(line), [0] * len(line)
    for byte, at in zip(data, accepted, strict=True):
        start = first + at - accepted[0]
        expected[start : start + BITS * divisor] = transmitted_line(bytes([byte]), divisor)
        expected_busy[start : start + BITS * divisor] = [1] * BITS * divisor
    assert 0 <= first - accepted[0] <= 1
    assert line == expected
    assert busy == expected_busy


def test_transmitter_leaves_no_gap(simulate, rng):
    data = bytes(rng.randrange(256) for _ in range(30))
    divisor = 4
    dut = UartTransmitter()
    line = []

    async def send(ctx):
        ctx.set(dut.divisor, divisor)
        ctx.set(dut.i.valid, 1)
        for byte in data:
            ctx.set(dut.i.payload, byte)
            await ctx.tick().until(dut.i.ready)
            # The bytes after this one must not feel a change of the divisor before they begin.
        ctx.set(dut.i.valid, 0)
        ctx.set(dut.divisor, 9)
        await ctx.tick().repeat(BITS * divisor)

    async def watch(ctx):
        while True:
            _, _, tx = await ctx.tick().sample(dut.tx)
            line.append(tx)

    simulate(dut, send, background=(watch,))
    first = line.index(0)
    assert line[first : first + len(data) * BITS * divisor] == transmitted_line(data, divisor)


@pytest.mark.parametrize("divisor", [4, 5, 8, 11])
def test_receiver_equals_model_on_noise(simulate, rng, divisor):
    line = [1, 1]
    for _ in range(60):
        if rng.random() < 0.4:
            line += transmitted_line(bytes([rng.randrange(256)]), divisor)
        else:
            line += [rng.randrange(2)] * rng.randrange(1, 3 * divisor)
    line += [1] * 12 * divisor
    events, _ = receive(simulate, line, divisor)
    expected = [(at + SYNCHRONISER_CLOCKS + 1, byte) for at, byte in received_bytes(line, divisor)]
    assert events == expected
    assert any(byte is not None for _, byte in events)
    assert any(byte is None for _, byte in events)


@pytest.mark.parametrize("mismatch", [-0.02, 0.0, 0.02])
@pytest.mark.parametrize("divisor", [4, 5, 7])
def test_receiver_stands_two_percent(simulate, rng, divisor, mismatch):
    data = bytes(rng.randrange(256) for _ in range(60)) + b"\x00\xff\x55\xaa"
    line = sampled(data, divisor * (1 + mismatch), rng.random())
    events, _ = receive(simulate, line, divisor)
    assert bytes(byte for _, byte in events if byte is not None) == data
    assert all(byte is not None for _, byte in events)


@pytest.mark.parametrize("divisor", [4, 5, 16])
def test_receiver_ignores_glitches(simulate, rng, divisor):
    """A glitch shorter than half a bit is no start bit, also just before one."""
    longest = (divisor + 1) // 2 - 1
    line, data = [1] * 4, []
    for _ in range(20):
        line += [0] * rng.randint(1, longest) + [1] * rng.randint(1, divisor)
        if rng.random() < 0.5:
            data.append(rng.randrange(256))
            line += transmitted_line(bytes(data[-1:]), divisor) + [1] * rng.randint(1, divisor)
    events, _ = receive(simulate, line + [1] * divisor, divisor)
    assert [byte for _, byte in events] == data


def test_receiver_breaks_and_recovers(simulate):
    """A line held low gives one framing error, and the byte after it is whole."""
    line = [1] * 4 + [0] * 200 + [1] * 6 + transmitted_line(b"\x5a", 4) + [1] * 4
    events, busy = receive(simulate, line, 4)
    assert [byte for _, byte in events] == [None, 0x5A]
    assert busy[100] == 0  # a broken line is no byte under way
    assert busy[4 + 200 + 6 + 20] == 1


@pytest.mark.parametrize("divisor", [4, 7])
def test_receiver_names_a_break_that_is_longer_than_two_characters(simulate, rng, divisor):
    line = [1] * 9
    for low in (9 * divisor, BREAK_BITS * divisor, BREAK_BITS * divisor + 1, 3 * BREAK_BITS * divisor):
        line += [0] * low + [1] * rng.randrange(1, 4) + transmitted_line(bytes([0, rng.randrange(256)]), divisor)
    dut = UartReceiver()
    found = []

    async def testbench(ctx):
        ctx.set(dut.divisor, divisor)
        for level in line + [1] * SYNCHRONISER_CLOCKS:
            ctx.set(dut.rx, level)
            found.append(ctx.get(dut.line_break))
            await ctx.tick()

    simulate(dut, testbench)
    assert found[SYNCHRONISER_CLOCKS:] == line_breaks(line, divisor)
    assert sum(found) == 1 + 2 * BREAK_BITS * divisor


def test_a_board_starts_at_the_rate_of_its_adapter(simulate):
    """Not at the clock over 4, which no adapter makes from 100 MHz."""
    opu = Opu(SMALL, clock_hz=100_000_000, baud=3_000_000)

    async def testbench(ctx):
        await ctx.tick().repeat(5)
        divisor = ctx.get(opu.uart_divisor)
        assert divisor == 33
        assert abs(100e6 / divisor / 3e6 - 1) < 0.02

    simulate(opu, testbench, clocks=dict.fromkeys(("sync", "slm", "cam"), 1e-8))
    assert REGISTERS["uart_divisor"].reset == 4
