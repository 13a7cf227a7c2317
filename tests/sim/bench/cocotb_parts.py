"""What cocotb runs inside Icarus: the bench's DAC, ADCs and serial line. Started by ``test_models.py``.

Clocks have a period of 20 ns.
"""

from __future__ import annotations

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge


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
