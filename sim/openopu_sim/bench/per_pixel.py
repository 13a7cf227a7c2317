"""A bench as one would first write it: cocotb's clocks and main program, each pixel by Python.

Only for the measurement of speed: what the bench's models and own main program gain. A cocotb test
module; settings as in :mod:`server`, the work is that of :class:`endpoints.Replay`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import cocotb
import cocotb.simtime
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, Timer

from .canned import Canned
from .endpoints import Replay
from .server import announce
from .settings import SETTINGS_VARIABLE, BenchSettings

POLL_NS = 20_000

# Pins are read and driven at falling edges: what is seen there is what the next rising edge takes.


async def watch_panel(dut: Any, levels: bytearray) -> None:
    while True:
        await FallingEdge(dut.slm_clk)
        if int(dut.slm_de.value):
            levels.append(int(dut.slm_level.value))


async def play_camera(dut: Any, settings: BenchSettings) -> None:
    frame = Canned(settings).frame.tolist()

    async def clocks(count: int) -> None:
        for _ in range(count):
            await FallingEdge(dut.cam_clk)

    while True:
        await FallingEdge(dut.cam_trigger)
        await clocks(settings.camera_delay_clocks)
        dut.cam_fval.value = 1
        await clocks(settings.camera_frame_gap_clocks)
        for line in frame:
            dut.cam_lval.value = 1
            for pixel in line:
                dut.cam_pixel.value = pixel
                await FallingEdge(dut.cam_clk)
            dut.cam_lval.value = 0
            await clocks(settings.camera_line_gap_clocks)
        dut.cam_fval.value = 0


async def send_bytes(dut: Any, data: bytes) -> None:
    await FallingEdge(dut.clk)
    for byte in data:
        dut.bypass_rx_payload.value = byte
        dut.bypass_rx_valid.value = 1
        while not int(dut.bypass_rx_ready.value):
            await FallingEdge(dut.clk)
        await FallingEdge(dut.clk)
    dut.bypass_rx_valid.value = 0


async def receive_bytes(dut: Any, replay: Replay) -> None:
    while True:
        if not int(dut.bypass_tx_valid.value):
            await RisingEdge(dut.bypass_tx_valid)
        await FallingEdge(dut.clk)
        if int(dut.bypass_tx_valid.value):
            replay.send(bytes([int(dut.bypass_tx_payload.value)]))


@cocotb.test()
async def drive(dut: Any) -> None:
    settings = BenchSettings.loads(os.environ[SETTINGS_VARIABLE])
    for name in ("bypass_rx_valid", "bypass_rx_payload", "cam_fval", "cam_lval", "cam_pixel"):
        getattr(dut, name).value = 0
    halves = settings.half_periods_ps
    for clock, half in ((dut.clk, "clk_half"), (dut.slm_clk, "slm_half"), (dut.cam_clk, "cam_half")):
        Clock(clock, 2 * halves[half], unit="ps").start()
    await ClockCycles(dut.clk, 40)
    cocotb.start_soon(watch_panel(dut, bytearray()))
    cocotb.start_soon(play_camera(dut, settings))
    replay = Replay(Path(settings.replay))
    started, begin = time.perf_counter(), cocotb.simtime.get_sim_time("ps")
    cocotb.start_soon(receive_bytes(dut, replay))
    while replay.poll(0):
        if data := replay.take(True, 1 << 20):
            await send_bytes(dut, data)
        else:
            await Timer(POLL_NS, unit="ns")
    cycles = (cocotb.simtime.get_sim_time("ps") - begin) / (2 * halves["clk_half"])
    announce(event="replayed", cycles=cycles, wall_s=time.perf_counter() - started, answers=replay.answers.hex())
