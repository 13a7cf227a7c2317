"""An ADC driver's netlist before the Verilog model of its part; see test_adc_drivers.py."""

from __future__ import annotations

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

CONVERSION_CLOCKS_MAX = 700


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def driver_reads_its_part(dut):
    rng = random.Random(1)
    inputs = [0, 0]
    dut.rst.value, dut.start.value, dut.channel.value = 1, 0, 0

    def set_inputs() -> None:
        inputs[:] = [rng.randrange(4096), rng.randrange(4096)]
        dut.photodiode.value, dut.thermometer.value = inputs

    set_inputs()
    Clock(dut.clk, 1000 // 48, unit="ns").start()
    await ClockCycles(dut.clk, 5)
    dut.rst.value = 0
    for _ in range(12):
        for attempt in range(rng.choice((1, 1, 2))):
            if attempt:  # the one before is given up
                await ClockCycles(dut.clk, rng.randrange(1, 300))
            set_inputs()
            channel = rng.randrange(2)
            dut.start.value, dut.channel.value = 1, channel
            await ClockCycles(dut.clk, 1)
            dut.start.value = 0
        for _ in range(CONVERSION_CLOCKS_MAX):
            await RisingEdge(dut.clk)
            await ReadOnly()
            if int(dut.done.value):
                break
        assert int(dut.done.value)
        assert int(dut.value.value) == inputs[channel]
        await RisingEdge(dut.clk)
        assert int(dut.broken.value) == 0
