"""Links of the RTL bench: their laws, and the rates that the budget promises."""

from __future__ import annotations

import dataclasses

import numpy as np
import openopu
import pytest
import serial
from openopu import budget
from openopu.url import DeviceUrl
from openopu_rtl.protocol import Link, Packet, PacketType, Program, Shot
from openopu_rtl.protocol.packets import READ_PAYLOAD
from openopu_sim.bench import build
from openopu_sim.bench.process import Simulation, SimulatorDied
from openopu_sim.device import settings_of

GEOMETRY = "n=64&m=64"


def test_a_fifo_that_is_too_quick_breaks_the_chips_laws() -> None:
    """Gateware for 48 MHz at 200 MHz: RD# and WR# last 10 ns where the data sheet wants 30."""
    settings = settings_of(DeviceUrl.parse(f"rtl:icarus?{GEOMETRY}&link=ft245"))
    netlist = build.netlist(settings.geometry, settings.clock_hz)
    with Simulation(dataclasses.replace(settings, clock_hz=200_000_000), netlist) as simulation:
        with serial.serial_for_url(simulation.url, timeout=30) as port:
            port.write(Packet(PacketType.READ, 1, READ_PAYLOAD.pack(0, 1)).encode())
            port.read_until(b"\0")
        with pytest.raises(SimulatorDied, match="law of the FIFO's bus was broken"):
            simulation.wait_for("never", 60)


@pytest.mark.parametrize("link", [Link.UART, Link.FT245])
def test_the_budget_is_what_the_counters_say(link: Link) -> None:
    """Projections that wait for the link: clocks of one more, from the device's own counter, within 5 %."""
    program = Program((Shot(plane=0, settle_cycles=0, exposure_cycles=100),), planes=2 if link == Link.UART else 64)
    busy = []
    with openopu.open(f"rtl:verilator?{GEOMETRY}&link={link.key}") as opu:
        opu.configure(program, bits=16, shift=0)
        for rows in (1, 10, 60):
            opu.clear_counters()
            opu.project_raw(np.random.default_rng(1).integers(0, 2, (rows, program.planes, 64)))
            counters = opu.counters()
            busy.append(counters["cycles_busy"])
        assert opu.repeated == 0
        assert opu.identity.link == link
        load = budget.traffic(64, program.planes, opu.settings.format(opu.geometry), opu.geometry.store_bytes)
        line = budget.line_of(link, opu.identity.clock_hz)
        found = budget.budget(
            line,
            load,
            len(program),
            modulator_s=counters["cycles_slm_frame"] / opu.identity.clock_hz,
            frame_s=counters["cycles_readout"] / opu.identity.clock_hz,
        )
        measured = opu.identity.clock_hz * 50 / (busy[2] - busy[1])
    assert found.rate == pytest.approx(measured, rel=0.05)
    assert found.bottleneck == ("link" if link == Link.UART else found.bottleneck)
