"""The bench around a stub device, on both simulators: ports, exposures, rates, laws, and its end."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from openopu_rtl.protocol import Geometry, Link
from openopu_sim.bench.process import Simulation, SimulatorDied
from openopu_sim.bench.settings import SIMULATORS, BenchSettings

HERE = Path(__file__).parent
STUB = HERE / "stub.v"
BAUD = 12_000_000
PIXELS = Geometry().camera_width * Geometry().camera_height


def start(simulator: str, netlist: Path = STUB, **settings) -> Simulation:
    """The bench around the stub, with optics that check what they see."""
    return Simulation(BenchSettings(simulator=simulator, optics="echo_optics:Echo", **settings), netlist)


@pytest.fixture(scope="module", autouse=True)
def optics_importable() -> Iterator[None]:
    """The simulator's process inherits our module path."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(HERE))
    yield
    patch.undo()


@pytest.fixture(
    scope="module",
    params=[(s, b) for s in SIMULATORS for b in (Link.UART, Link.BYTES)],
    ids=lambda p: f"{p[0]}-{p[1].key}",
)
def bench(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    simulator, link = request.param
    with start(simulator, link=link) as simulation:
        yield simulation


def connect(address: str, baud: int = BAUD) -> serial.SerialBase:
    return serial.serial_for_url(address, baudrate=baud, timeout=20)


def test_echo_through_both_ports(bench: Simulation) -> None:
    for address in (bench.port, bench.url, bench.port):
        with connect(address) as port:
            for data in (b"hello\0", b"\0", bytes(range(1, 65)) * 4 + b"\0"):
                data = data.replace(b"E", b"e").replace(b"A", b"a").replace(b"D", b"d")
                port.write(data)
                assert port.read(len(data)) == data


def test_a_packet_in_pieces_is_handed_over(bench: Simulation) -> None:
    with connect(bench.port) as port:
        port.write(b"ab")
        assert port.read(2) == b"ab"  # after a silence, without a delimiter
        port.write(b"c\0")
        assert port.read(2) == b"c\0"


def test_exposures(bench: Simulation) -> None:
    with connect(bench.port) as port:
        seen = []
        for _ in range(3):
            port.write(b"E")
            seen.append(struct.unpack("<IIHx", port.read(11)))
        first = seen[0][0]
        for i, (exposure, total, monitor) in enumerate(seen):
            assert exposure == first + i
            assert total == PIXELS * (exposure + 1)  # right levels, right width
            assert monitor == exposure & 0xF  # and of this exposure; the laser is off
        port.write(b"A")
        assert port.read(1) == b"A"
        port.write(b"E")
        exposure, _, monitor = struct.unpack("<IIHx", port.read(11))
        assert monitor == exposure & 0xF | (0x5A5 & 0xFF) << 4
        port.write(b"DE")
        assert port.read(1) == b"D"
        exposure, _, monitor = struct.unpack("<IIHx", port.read(11))
        assert monitor == exposure & 0xF


def test_one_host_at_a_time(bench: Simulation) -> None:
    with connect(bench.port) as port:
        port.write(b"x\0")
        assert port.read(2) == b"x\0"
        with connect(bench.url) as other:
            with pytest.raises(serial.SerialException, match=r"disconnected|reset"):
                other.read(1)
        port.write(b"y\0")
        assert port.read(2) == b"y\0"


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_a_wrong_baud_rate_is_wrong(simulator: str) -> None:
    with start(simulator) as simulation, connect(simulation.port, BAUD // 3) as port:
        port.timeout = 0.5
        port.write(b"hello\0")
        assert port.read(64) != b"hello\0"
        port.baudrate = BAUD
        port.reset_input_buffer()
        port.write(b"hello\0")
        assert port.read(6) == b"hello\0"


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_time_stands_still_while_the_host_thinks(simulator: str) -> None:
    with start(simulator) as simulation, connect(simulation.port) as port:
        port.write(b"x\0")
        assert port.read(2) == b"x\0"
        before = cpu_seconds(simulation.pid)
        time.sleep(0.6)
        assert cpu_seconds(simulation.pid) - before < 0.1
    with start(simulator, free_running=True) as simulation, connect(simulation.port) as port:
        port.write(b"x\0")
        assert port.read(2) == b"x\0"
        before = cpu_seconds(simulation.pid)
        time.sleep(1.0)
        assert cpu_seconds(simulation.pid) - before > 0.2


def cpu_seconds(pid: int) -> float:
    """CPU time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_broken_law_ends_the_simulation_by_name(tmp_path: Path) -> None:
    broken = tmp_path / "broken.v"
    text = STUB.read_text()
    assert "HS = 4" in text
    broken.write_text(text.replace("HS = 4", "HS = 3").replace("HB = 8", "HB = 9"))
    with start("icarus", broken) as simulation:
        with connect(simulation.port) as port:
            port.write(b"E")
        with pytest.raises(SimulatorDied, match="HSYNC has the wrong width"):
            simulation.serve()


def test_a_killed_simulator_is_reported() -> None:
    with start("icarus") as simulation:
        os.kill(simulation.pid, signal.SIGKILL)
        with pytest.raises(SimulatorDied, match="signal 9"):
            simulation.serve()


def test_the_simulator_ends_when_its_starter_does() -> None:
    with start("icarus") as simulation:
        assert not simulation.ended_within(0)
        pid = simulation.pid
        folder = simulation.folder
        assert folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not folder.exists()


@pytest.mark.parametrize(("simulator", "suffix"), [("icarus", "fst"), ("icarus", "vcd"), ("verilator", "fst")])
def test_waves(simulator: str, suffix: str, tmp_path: Path) -> None:
    waves = tmp_path / f"waves.{suffix}"
    with start(simulator, waves=str(waves), link=Link.BYTES) as simulation, connect(simulation.port) as port:
        port.write(b"hello\0")
        assert port.read(6) == b"hello\0"
    data = waves.read_bytes()
    # A whole FST file begins with its header block (0) of 329 bytes; a VCD file is text.
    assert data[0:9] == b"\0" + (329).to_bytes(8, "big") if suffix == "fst" else b"$enddefinitions" in data
    assert len(data) > 1000
