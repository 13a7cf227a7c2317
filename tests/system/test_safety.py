"""Laser safety from outside: what trips, what the host says of it, and that twin and RTL agree."""

from __future__ import annotations

import numpy as np
import openopu
import pytest
import serial
from openopu import LaserDark
from openopu.compare import HEAD_FIELDS
from openopu.device import Device
from openopu.opu import Opu
from openopu.url import DeviceUrl
from openopu_rtl.protocol import PROTOCOL_HASH, REGISTERS, Packet, PacketType
from openopu_rtl.protocol.packets import WRITE_HEADER
from openopu_rtl.protocol.shots import complement, intensity
from openopu_sim.bench.process import Simulation
from openopu_sim.device import settings_of
from openopu_sim.options import geometry_of, plant_of
from openopu_sim.twin import TwinTransport
from openopu_sim.twin_device import TwinDevice

from .processes import wait_until_still

GEOMETRY = "n=64&m=64"
MODES = 64
DEVICES = (f"twin:?{GEOMETRY}", f"rtl:verilator?{GEOMETRY}&link=bytes")
CONVERSION_CYCLES = 1000
"""More than a reading of the photodiode takes."""


@pytest.fixture(scope="module")
def readings() -> np.ndarray:
    """The photodiode at full light in the exposures from 0 on: its noise belongs to the exposure."""
    with openopu.open(DEVICES[0]) as opu:
        opu.configure(intensity())
        return opu.project_raw(np.ones((300, 1, MODES))).head["monitor"].astype(int)


@pytest.mark.parametrize("exposure_cycles", [60, 3 * CONVERSION_CYCLES])
@pytest.mark.parametrize("raw", [False, True])
def test_over_power_trips_in_the_same_exposure_on_twin_and_rtl(
    readings: np.ndarray, exposure_cycles: int, raw: bool
) -> None:
    """Lit up to the exposure whose reading exceeds the limit, dark from then on: integers, flags and counters agree."""
    timing = {"exposure_cycles": exposure_cycles, "settle_cycles": 10}
    program = intensity(**timing) if raw else complement(2, **timing)
    rows, before = 6, 3 * len(program) + len(program) // 2
    first = next(t for t in range(before, 300) if readings[t] > readings[t - before : t].max()) - before
    limit = int(readings[first : first + before].max())
    planes = np.random.default_rng(exposure_cycles).integers(0, 2, (rows, program.planes, MODES))
    found = []
    for url in DEVICES:
        with openopu.open(url, allow_dark=True, exposure_base=first) as opu:
            opu.apply(opu.settings.replace(program=program, bits=16, raw=raw))
            registers = opu.settings.registers | {"monitor_limit": limit}
            opu.apply(opu.settings.replace(registers=registers))
            record = opu.project_raw(planes)
            found.append((record, opu.status(), opu.counters(timing=False)))
    (twin, twin_status, twin_counters), (rtl, rtl_status, rtl_counters) = found
    # A trip within a projection takes the light from that one too; within an exposure, if it comes before the end.
    after = raw and exposure_cycles < CONVERSION_CYCLES
    assert (twin.head["flags"] & 1).tolist() == [1, 1, 1, int(after), 0, 0]
    assert twin_status["trip_over_power"]
    assert not twin_status["laser_on"]
    for name in HEAD_FIELDS:
        assert np.array_equal(twin.head[name], rtl.head[name]), name
    assert np.array_equal(twin.values, rtl.values)
    assert twin_status == rtl_status
    assert twin_counters == rtl_counters
    assert twin_counters["laser_trips"] == 1


def test_a_break_on_the_line_trips() -> None:
    length = len(complement(2))
    with openopu.open(f"rtl:verilator?{GEOMETRY}&fault={length}:link_break", allow_dark=True) as opu:
        opu.configure(complement(2, exposure_cycles=500))
        flags = [int(opu.project_raw(np.ones((1, 2, MODES))).head["flags"][0]) & 1 for _ in range(3)]
        assert flags == [1, 0, 0]
        status = opu.status()
        assert status["trip_link_reset"]
        assert opu.counters()["laser_trips"] == 1
        opu.allow_dark = False
        with pytest.raises(LaserDark, match=r"link was reset.*Check the cable"):
            opu.project_raw(np.ones((1, 2, MODES)))
        opu.arm()
        assert int(opu.project_raw(np.ones((1, 2, MODES))).head["flags"][0]) & 1


def write(name: str, value: int) -> bytes:
    payload = WRITE_HEADER.pack(REGISTERS[name].address) + value.to_bytes(4, "little")
    return Packet(PacketType.WRITE, 1, payload).encode()


def stays_dark(opu: Opu) -> None:
    assert not opu.status()["laser_on"]
    assert not opu.status()["armed"]
    with pytest.raises(LaserDark, match="arm"):
        opu.project_raw(np.ones((1, 2, MODES)))


def test_reconnecting_to_a_serial_port_never_arms() -> None:
    with Simulation(settings_of(DeviceUrl.parse(f"rtl:verilator?{GEOMETRY}"))) as simulation:
        url = f"serial:{simulation.port}"
        with openopu.open(url, arm=True) as opu:
            assert opu.status()["laser_on"]
        with openopu.open(url) as opu:
            stays_dark(opu)
        # A host that dies with the laser on: it trips, and whoever comes next is told why.
        with serial.Serial(simulation.port, 12_000_000, timeout=30) as port:
            for name, value in {
                "heartbeat_cycles": 6_000,
                "laser_unlock": PROTOCOL_HASH,
                "laser_arm": PROTOCOL_HASH,
            }.items():
                port.write(write(name, value))
                reply = Packet.decode(port.read_until(b"\0")[:-1])
                assert reply.type == PacketType.WRITE_REPLY
        wait_until_still(simulation.pid)
        with openopu.open(url) as opu:
            assert opu.status()["trip_heartbeat_lost"]
            assert not opu.status()["laser_on"]
            with pytest.raises(LaserDark, match=r"no valid packet came.*host stopped"):
                opu.project_raw(np.ones((1, 2, MODES)))
            opu.arm()
            opu.project_raw(np.ones((1, 2, MODES)))


class Line(TwinTransport):
    """A line to a twin that outlives it, as a board does."""

    def close(self) -> None:
        pass


def test_reconnecting_to_the_twin_never_arms() -> None:
    url = DeviceUrl.parse(f"twin:?{GEOMETRY}")
    twin = TwinDevice(plant_of(url, geometry_of(url)))

    def connect(arm: bool) -> Opu:
        return Opu(Device(url, "twin", Line(twin), realtime=False), arm=arm)

    with connect(arm=True) as opu:
        assert opu.status()["laser_on"]
    with connect(arm=False) as opu:
        stays_dark(opu)
        opu.arm()
        opu.project_raw(np.ones((1, 2, MODES)))
    # A trip outlasts a connection too.
    with connect(arm=True):
        twin.registers.set_interlock(False)
        twin.registers.set_interlock(True)
    with connect(arm=False) as opu:
        assert opu.status()["trip_interlock_open"]
        stays_dark(opu)
    twin.plant.close()
