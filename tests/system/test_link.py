"""Links of the RTL bench: their laws, and the rates that the budget promises."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import openopu
import pytest
import serial
from openopu import budget
from openopu.url import DeviceUrl
from openopu_rtl import top
from openopu_rtl.protocol import Link, Packet, PacketType, Program, Shot
from openopu_rtl.protocol.ft245 import FT232H
from openopu_rtl.protocol.packets import READ_PAYLOAD
from openopu_sim.bench.process import Simulation, SimulatorDied
from openopu_sim.device import settings_of

GEOMETRY = "n=64&m=64"


def test_a_fifo_that_is_too_quick_breaks_the_chips_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(DeviceUrl.parse(f"rtl:icarus?{GEOMETRY}&link=ft245"))
    monkeypatch.setattr(top, "FT232H", dataclasses.replace(FT232H, read_pulse_ns=1, read_data_ns=1))
    netlist = tmp_path / "quick.v"
    netlist.write_text(top.simulation_verilog(settings.geometry))
    with Simulation(settings, netlist) as simulation:
        with serial.Serial(simulation.port, 12_000_000, timeout=60) as port:
            port.write(Packet(PacketType.READ, 1, READ_PAYLOAD.pack(0, 1)).encode())
            with contextlib.suppress(serial.SerialException):
                assert not port.read_until(b"\0")
        with pytest.raises(SimulatorDied, match="law of the FIFO's bus was broken"):
            simulation.wait_for("never", 60)


@pytest.mark.parametrize("link", [Link.UART, Link.FT245])
def test_the_budget_is_what_the_counters_say(link: Link) -> None:
    """Projections that wait for the link, by the device's own timestamps of their frames, within 5 %.

    UART: for results. FT245: for patterns, 64 planes each.
    """
    program = Program((Shot(plane=0, settle_cycles=0, exposure_cycles=100),), planes=2 if link == Link.UART else 64)
    with openopu.open(f"rtl:verilator?{GEOMETRY}&link={link.key}") as opu:
        opu.configure(program, bits=16, shift=0)
        record = opu.project_raw(np.random.default_rng(1).integers(0, 2, (60, program.planes, 64)))
        counters = opu.counters()
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
        # From packet to packet, as within one the store may hold several projections.
        first, last = (int(record.head["timestamp"][row]) for row in (11, 51))
        measured = opu.identity.clock_hz * 40 / (last - first & 0xFFFFFFFF)
    assert found.rate == pytest.approx(measured, rel=0.05)
    assert found.bottleneck == "link"
