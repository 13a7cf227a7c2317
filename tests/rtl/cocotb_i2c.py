"""What cocotb runs inside Icarus: our I2C master with cocotbext-i2c's memory and device on its wires.

Not a test module of pytest: ``test_i2c_referee.py`` starts it. The clock is 8 MHz.
"""

from __future__ import annotations

import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.i2c import I2cDevice, I2cMemory
from openopu_rtl.protocol.registers import I2C_STATES

NAMES = {value: name for name, value in I2C_STATES.items()}
MEMORY, DEVICE = 0x50, 0x21


class Words(I2cDevice):
    """A sensor as a driver sees it: 16-bit registers of 16-bit words, and it stretches the clock."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.addr = DEVICE
        self.words: dict[int, int] = {}
        self.received: list[int] = []
        self.sent = 0

    def handle_start(self):
        self.sent = 0

    def handle_stop(self):
        self.received = []

    async def handle_write(self, data):
        if len(self.received) == 4:
            self.received = []
        self.received.append(data)
        await ClockCycles(self.clk, random.randrange(1, 50))
        if len(self.received) == 4:
            self.words[int.from_bytes(bytes(self.received[:2]), "big")] = int.from_bytes(self.received[2:], "big")

    async def handle_read(self):
        # Before later bytes the model would pull SCL low while it is high, which no slave may do.
        if not self.sent:
            await ClockCycles(self.clk, random.randrange(1, 50))
        word = self.words.get(int.from_bytes(bytes(self.received[:2]), "big"), 0)
        self.sent += 1
        return word >> 8 if self.sent == 1 else word & 0xFF


async def transfer(dut, **settings):
    for name, value in settings.items():
        getattr(dut, name).value = value
    dut.start.value = 1
    await RisingEdge(dut.clk)
    dut.start.value = 0
    await RisingEdge(dut.clk)
    for _ in range(20_000):
        await RisingEdge(dut.clk)
        if not int(dut.busy.value):
            return NAMES[int(dut.state.value)], int(dut.result.value)
    raise AssertionError("the master hangs")


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def registers_of_both(dut):
    seed = int(os.environ.get("OPENOPU_TEST_SEED", "11"))
    random.seed(seed)
    dut._log.warning("seed %d: repeat with OPENOPU_TEST_SEED=%d", seed, seed)
    dut.start.value = 0
    dut.rst.value = 1
    Clock(dut.clk, 125, unit="ns").start()
    memory = I2cMemory(sda=dut.sda, sda_o=dut.memory_sda, scl=dut.scl, scl_o=dut.memory_scl, addr=MEMORY, size=256)
    device = Words(sda=dut.sda, sda_o=dut.device_sda, scl=dut.scl, scl_o=dut.device_scl)
    device.clk = dut.clk
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 4)
    bytes_, words = {}, {}
    for _ in range(24):
        of_memory = random.random() < 0.5
        known = bytes_ if of_memory else words
        bits = 8 if of_memory else 16
        width = {"target": MEMORY, "wide_register": 0, "wide_value": 0}
        if not of_memory:
            width = {"target": DEVICE, "wide_register": 1, "wide_value": 1}
        if known and random.random() < 0.5:
            register = random.choice(list(known))
            assert await transfer(dut, read=1, register=register, value=0, **width) == ("ok", known[register])
        else:
            register, value = random.getrandbits(bits), random.getrandbits(bits)
            assert await transfer(dut, read=0, register=register, value=value, **width) == ("ok", 0)
            known[register] = value
    assert {k: memory.read_mem(k, 1)[0] for k in bytes_} == bytes_
    assert device.words == words
    assert bytes_
    assert words
    nobody = {"target": 0x33, "wide_register": 0, "wide_value": 0}
    assert (await transfer(dut, read=1, register=1, value=0, **nobody))[0] == "nack_address"
