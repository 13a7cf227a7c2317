"""The gateware in the bench, from outside: the command, ports, lock step, hang-up, faults, and a dying simulator."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import serial
from openopu.device import open_device
from openopu.errors import DeviceError, LinkLost, UrlError
from openopu.url import DeviceUrl
from openopu_rtl.protocol import (
    MAGIC,
    PROTOCOL_HASH,
    REGISTERS,
    WINDOWS,
    Code,
    Format,
    Link,
    Packet,
    PacketType,
    Record,
    decode_records,
    encode_project,
)
from openopu_rtl.protocol.packets import READ_PAYLOAD, WRITE_HEADER
from openopu_rtl.protocol.registers import STATUS_BITS, TRIP_CAUSES
from openopu_rtl.protocol.shots import Program, complement
from openopu_sim.bench.process import Simulation
from openopu_sim.bench.settings import LINKS_PLAYED, SIMULATORS
from openopu_sim.device import settings_of

from .processes import wait_until_still

GEOMETRY = "n=64&m=64"
"""Small, so that Icarus is quick."""
MODES = OUTPUTS = 64
BAUD = 12_000_000


class Client:
    """Speaks packets over any pyserial port; keeps every byte that came back."""

    def __init__(self, port: serial.SerialBase, think_s: float = 0.0) -> None:
        self.port = port
        self.think_s = think_s
        self.answers = b""
        self._sequence = 0

    def command(self, kind: PacketType, payload: bytes) -> Packet:
        time.sleep(self.think_s)
        self._sequence = (self._sequence + 1) & 0xFF
        self.port.write(Packet(kind, self._sequence, payload).encode())
        return self.answer()

    def answer(self) -> Packet:
        data = self.port.read_until(b"\0")
        assert data.endswith(b"\0"), f"no answer, only {data!r}"
        self.answers += data
        return Packet.decode(data[:-1])

    def read(self, name: str) -> int:
        payload = self.command(PacketType.READ, READ_PAYLOAD.pack(REGISTERS[name].address, 1)).payload
        return struct.unpack("<I", payload)[0]

    def write(self, name: str, *words: int) -> None:
        address = (REGISTERS[name] if name in REGISTERS else WINDOWS[name]).address
        reply = self.command(PacketType.WRITE, WRITE_HEADER.pack(address) + struct.pack(f"<{len(words)}I", *words))
        assert reply.type == PacketType.WRITE_REPLY, reply

    def load(self, program: Program) -> None:
        self.write("shot_table", *map(int, program.words()))
        for name, value in {
            "program_length": len(program),
            "planes": program.planes,
            "selection_length": OUTPUTS,
            "result_format": 2,
            "laser_power": 2000,
            "frame_timeout_cycles": 20_000,
            "laser_unlock": PROTOCOL_HASH,
            "laser_arm": PROTOCOL_HASH,
        }.items():
            self.write(name, value)

    def project(self, first_exposure: int, planes: np.ndarray) -> Record:
        time.sleep(self.think_s)
        self.port.write(encode_project(1, first_exposure, planes))
        reply = self.answer()
        assert reply.type == PacketType.RESULT, reply
        return decode_records(reply.payload, Format(OUTPUTS, 16))[1]


def simulation_of(simulator: str, options: str = "") -> Simulation:
    return Simulation(settings_of(DeviceUrl.parse(f"rtl:{simulator}?{GEOMETRY}{options}")))


def connect(simulation: Simulation, think_s: float = 0.0) -> Client:
    return Client(serial.Serial(simulation.port, BAUD, timeout=60), think_s)


def planes_of(seed: int, count: int, planes: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (count, planes, MODES))


PROGRAM = complement(2, exposure_cycles=500)


@pytest.fixture(params=SIMULATORS)
def simulator(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("end_signal", [signal.SIGINT, signal.SIGTERM])
def test_command_cosim(simulator: str, end_signal: signal.Signals) -> None:
    command = [sys.executable, "-m", "openopu.cli", "cosim", "--json", "--simulator", simulator]
    command += ["--n", "64", "--m", "64"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout
        ready = next(json.loads(line) for line in process.stdout if line.startswith("{"))
        for address in (ready["port"], ready["url"]):
            with serial.serial_for_url(address, baudrate=BAUD, timeout=30) as port:
                assert Client(port).read("magic") == MAGIC
    finally:
        process.send_signal(end_signal)
        rest = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert json.loads(rest.splitlines()[-1])["port"] == ready["port"]
    with pytest.raises(ProcessLookupError):
        os.kill(ready["simulator_pid"], 0)


def test_results_and_times_do_not_depend_on_the_hosts_speed(simulator: str) -> None:
    answers = []
    for think_s in (0.0, 0.03):
        with simulation_of(simulator) as simulation:
            client = connect(simulation, think_s)
            client.load(PROGRAM)
            assert client.project(0, planes_of(1, 2)).ok.all()
            client.read("timestamp")
            client.port.close()
        answers.append(client.answers)
    assert answers[0] == answers[1]  # timestamps too: every answer was awaited


def test_simulators_and_links_agree() -> None:
    records = []
    for simulator, link in (*(("verilator", link) for link in LINKS_PLAYED), ("icarus", Link.BYTES)):
        with simulation_of(simulator, f"&link={link.key}") as simulation:
            client = connect(simulation)
            assert client.read("link") == link
            client.load(PROGRAM)
            records.append(client.project(0, planes_of(2, 3)))
            client.port.close()
    assert np.ptp(records[0].values) > 10
    for other in records[1:]:
        assert np.array_equal(other.values, records[0].values)
        assert np.array_equal(other.head["monitor"], records[0].head["monitor"])


def test_noise_belongs_to_the_exposure() -> None:
    """The same exposures give the same integers, whatever came before."""
    with simulation_of("verilator", "&link=bytes") as simulation:
        client = connect(simulation)
        client.load(PROGRAM)
        planes = planes_of(3, 4)
        together = client.project(0, planes).values
        client.write("exposure_base", 3 * len(PROGRAM))
        alone = client.project(3 * len(PROGRAM), planes[3:]).values
        client.write("exposure_base", 100)
        elsewhere = client.project(100, planes[3:]).values
        client.port.close()
    assert np.array_equal(together[3], alone[0])
    assert not np.array_equal(elsewhere, alone)


def test_a_host_that_hangs_up_lets_the_laser_trip(simulator: str) -> None:
    with simulation_of(simulator) as simulation:
        client = connect(simulation)
        client.write("heartbeat_cycles", 6_000)
        client.write("laser_unlock", PROTOCOL_HASH)
        client.write("laser_arm", PROTOCOL_HASH)
        assert client.read("status") >> STATUS_BITS["laser_on"] & 1
        time.sleep(0.3)  # the host thinks: no time passes
        assert client.read("status") >> STATUS_BITS["laser_on"] & 1
        armed_at = client.read("timestamp")
        client.port.close()
        wait_until_still(simulation.pid)
        with serial.serial_for_url(simulation.url, timeout=30) as port:
            client = Client(port)
            status = client.read("status")
            assert status >> STATUS_BITS["tripped"] & 1
            assert not status >> STATUS_BITS["laser_on"] & 1
            assert client.read("trip_cause") == 1 << TRIP_CAUSES["heartbeat_lost"]
            assert client.read("laser_trips") == 1
            assert 4_000 < client.read("trip_time") - armed_at < 8_000


FAULTS = {
    "drop": {Code.FRAME_MISSING},
    "extra": {Code.FRAME_EXTRA},
    "short_line": {Code.FRAME_GEOMETRY},
    "long_line": {Code.FRAME_GEOMETRY},
    "missing_line": {Code.FRAME_GEOMETRY},
    # The line too many also makes it end later than the frame before did.
    "extra_line": {Code.FRAME_GEOMETRY, Code.FRAME_LATE},
    "late:30000": {Code.FRAME_MISSING},
    "clock_stop:30000": {Code.FRAME_LATE},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_the_camera_show_in_the_record(fault: str) -> None:
    run_fault("verilator", fault)


def test_a_lost_frame_shows_in_icarus_too() -> None:
    run_fault("icarus", "drop")


def run_fault(simulator: str, fault: str) -> None:
    """Hit the third shot of the second projection of three, sent one by one; its neighbours are whole."""
    hit = len(PROGRAM) + 2
    planes = planes_of(4, 3)
    with simulation_of(simulator, f"&link=bytes&fault={hit}:{fault}") as simulation:
        client = connect(simulation)
        client.load(PROGRAM)
        records = [client.project(i * len(PROGRAM), planes[i : i + 1]) for i in range(3)]
        statuses = [Code(int(r.head["status"][0])) for r in records]
        assert statuses[0] == Code.OK
        assert statuses[1] in FAULTS[fault]
        # What a fault leaves behind may also cost the next projection, but never gives it a wrong frame.
        assert statuses[2] in (Code.OK, Code.RESYNC, Code.FRAME_EXTRA)
        time_out = time.monotonic() + 30
        while client.read("status") >> STATUS_BITS["busy"] & 1 and time.monotonic() < time_out:
            pass
        # Sent again, both are what an undisturbed run gives.
        again = []
        for i in (1, 2):
            client.write("exposure_base", i * len(PROGRAM))
            again.append(client.project(i * len(PROGRAM), planes[i : i + 1]))
        client.port.close()
    with simulation_of(simulator, "&link=bytes") as simulation:
        client = connect(simulation)
        client.load(PROGRAM)
        undisturbed = client.project(0, planes)
        client.port.close()
    for i, record in enumerate(again, 1):
        assert record.ok.all()
        assert np.array_equal(record.values[0], undisturbed.values[i])
    for i, record in enumerate(records):
        if record.ok[0]:
            assert np.array_equal(record.values[0], undisturbed.values[i])


def test_an_opened_interlock_darkens_the_projection() -> None:
    with simulation_of("verilator", f"&link=bytes&fault={len(PROGRAM)}:interlock:2") as simulation:
        client = connect(simulation)
        client.load(PROGRAM)
        records = [client.project(i * len(PROGRAM), planes_of(5, 1)) for i in range(2)]
        assert [int(r.head["flags"][0]) & 1 for r in records] == [1, 0]
        assert client.read("trip_cause") == 1 << TRIP_CAUSES["interlock_open"]
        client.port.close()


def test_device_reports_a_killed_simulator() -> None:
    device = open_device(f"rtl:verilator?{GEOMETRY}")
    try:
        pid = device.transport._simulation.pid  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGKILL)

        def talk() -> None:
            for _ in range(100):
                device.transport.write(Packet(PacketType.READ, 1, READ_PAYLOAD.pack(0, 1)).encode())
                device.transport.read(0.1)

        with pytest.raises(LinkLost, match="ended by signal 9"):
            talk()
    finally:
        device.transport.close()
        device.transport.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("rtl:modelsim", "no simulator `modelsim`"),
        ("rtl:icarus?link=fast", "uart or bytes or ft245 or ft245sync"),
        ("rtl:icarus?fault=1:melt", "is no fault"),
        ("rtl:icarus?colour=red", "knows no key `colour`"),
        ("rtl:icarus?n=67", "cannot be built"),
        ("rtl:icarus?waves=x.png", r"\.fst or \.vcd"),
    ],
)
def test_bad_urls(url: str, message: str) -> None:
    with pytest.raises((UrlError, DeviceError, ValueError), match=message):
        open_device(url)
