"""Our SPI drivers against cocotbext-qspi, whose single-lane transfers are SPI mode 0; see test_spi_drivers.py."""

from __future__ import annotations

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from cocotbext.qspi import QspiBus, QspiMaster


def peer(dut):
    """The other end of the bus: it sends and receives in step with our clock."""
    dut.io_out.value, dut.io_oe.value = 0, 0
    return QspiMaster(QspiBus(dut.sck, dut.cs_n, dut.io, dut.io_out, dut.io_oe))


async def reset(dut):
    dut.rst.value = 1
    Clock(dut.clk, 20, unit="ns").start()
    await ClockCycles(dut.clk, 5)
    dut.rst.value = 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def dac_sends_words(dut):
    receiver = peer(dut)
    dut.code.value = 0
    await reset(dut)
    for code in (0, 0xFFF, 0xA5C, 0x123, *random.Random(1).sample(range(0x200, 0x900), 4)):
        dut.code.value = code
        await FallingEdge(dut.cs_n)
        word = int.from_bytes(await receiver.recv_bytes(2), "big")
        assert word == 0x3000 | code
        await RisingEdge(dut.cs_n)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def adc_receives_words(dut):
    sender = peer(dut)
    dut.start.value = 0
    await reset(dut)

    async def send(word: int) -> None:
        for byte in word.to_bytes(2, "big"):
            await sender.send_byte(byte)

    for value in (0, 0xFFF, 0x801, 0x7FE, *random.Random(2).sample(range(4096), 4)):
        dut.start.value = 1
        await ClockCycles(dut.clk, 1)
        dut.start.value = 0
        await FallingEdge(dut.cs_n)
        # Two bits that mean nothing, the null bit, twelve of value; the sixteenth is never asked for.
        sending = cocotb.start_soon(send(value << 1))
        await RisingEdge(dut.done)
        await ClockCycles(dut.clk, 1)
        assert int(dut.value.value) == value
        sending.cancel()
