"""The gateware's device behind a USB adapter that is pulled out and plugged in again, and a host that is stopped."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import openopu
import pytest
from openopu import LaserDark, Opu
from openopu.transports import open_serial
from openopu.url import DeviceUrl
from openopu.usb import Port
from openopu_rtl.protocol.shots import complement
from openopu_sim.bench.process import Simulation
from openopu_sim.device import settings_of

from .processes import cpu_seconds

GEOMETRY = "n=64&m=64"
PROGRAM = complement(2, exposure_cycles=500)
ROWS = 100
"""Some packets of results."""
PLANES = np.random.default_rng(3).integers(0, 2, (ROWS, 2, 64))


def simulation() -> Simulation:
    return Simulation(settings_of(DeviceUrl.parse(f"rtl:verilator?{GEOMETRY}")))


class Adapter:
    """Stands in for a USB serial adapter: a pty whose name is a link that comes and goes, between host and board."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugged: Path | None = None
        self.names = (folder / f"ttyUSB{i}" for i in range(100))
        self.to_host = 0
        """Bytes that have crossed to the host."""
        self.pull_at: int | None = None
        self._thread: threading.Thread | None = None

    def ports(self) -> list[Port]:
        return [Port(str(self.plugged), "OPU0001")] if self.plugged else []

    def plug(self, board: Simulation) -> None:
        name = next(self.names)
        master, slave = os.openpty()
        name.symlink_to(os.ttyname(slave))
        host, _, port = board.url.removeprefix("socket://").partition(":")
        wire = socket.create_connection((host, int(port)))
        self._thread = threading.Thread(target=self._carry, args=(master, slave, wire, name), daemon=True)
        self.plugged = name
        self._thread.start()

    def _carry(self, master: int, slave: int, wire: socket.socket, name: Path) -> None:
        with wire:
            while self.plugged == name:
                ready, _, _ = select.select([master, wire], [], [], 0.05)
                if master in ready:
                    wire.sendall(os.read(master, 4096))
                if wire in ready:
                    data = wire.recv(4096)
                    if not data:
                        break
                    left = len(data) if self.pull_at is None else max(self.pull_at - self.to_host, 0)
                    os.write(master, data[:left])
                    self.to_host += min(left, len(data))
                    if left < len(data):
                        break
            self.plugged = None
            name.unlink()
            os.close(slave)
            os.close(master)

    def pull(self) -> None:
        self.plugged = None
        self.wait()

    def wait(self) -> None:
        assert self._thread
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("power", ["kept", "lost"])
def test_unplugged_in_mid_batch(power: str, tmp_path: Path) -> None:
    """The missing rows go on when it is back, at another port, with the integers of an unbroken run."""
    with openopu.open(f"twin:?{GEOMETRY}") as twin:
        twin.configure(PROGRAM, bits=12)
        lit = twin.project_raw(PLANES)
        twin.disarm()
        twin.allow_dark = True
        twin.exposure_next = 0
        dark = twin.project_raw(PLANES)
    board = simulation()
    adapter = Adapter(tmp_path)
    adapter.plug(board)
    device = open_serial(DeviceUrl.parse("serial:usb=OPU0001"), adapter.ports)
    try:
        with Opu(device, arm=True) as opu:
            opu.configure(PROGRAM, bits=12)
            assert opu.status()["laser_on"]
            adapter.pull_at = adapter.to_host + 6000
            pending = opu._submit(PLANES.astype(bool))
            adapter.wait()
            time.sleep(0.2)
            if power == "lost":
                board.stop()
                board = simulation()
            adapter.pull_at = None
            adapter.plug(board)
            record = pending.result(60)
            assert opu.reconnected == 1
            on = record.head["flags"] & 1
            first_dark = int(np.argmin(on))
            assert 0 < first_dark < ROWS
            assert not on[first_dark:].any()  # nothing armed it again
            assert np.array_equal(record.head["exposure"], lit.head["exposure"])
            assert np.array_equal(record.values[:first_dark], lit.values[:first_dark])
            assert np.array_equal(record.values[first_dark:], dark.values[first_dark:])
            with pytest.raises(LaserDark, match="unplugged and came back"):
                opu.check_light(record)
            opu.arm()
            opu.exposure_next = 0
            assert np.array_equal(opu.project_raw(PLANES).values, lit.values)
            assert opu.exposure_next == ROWS * len(PROGRAM)
    finally:
        adapter.pull()
        board.stop()


STOPPED_HOST = """
import sys
import numpy as np
import openopu
from openopu_rtl.protocol.shots import complement
planes = np.zeros((4, 2, 64))
with openopu.open("rtl:verilator?n=64&m=64&time=free") as opu:
    opu.configure(complement(2, exposure_cycles=500), bits=12)
    # Not by `configure`, which makes the heartbeat of a simulation outlast any host.
    opu._worker.call(lambda: opu._session.write(heartbeat_cycles=600_000))
    print(opu.device.transport._simulation.pid, flush=True)
    try:
        while True:
            opu.project_raw(planes)
    except openopu.LaserDark as error:
        print(error.what, "|", error.next_step, flush=True)
"""


def test_a_host_that_is_stopped_for_longer_than_the_heartbeat() -> None:
    host = subprocess.Popen([sys.executable, "-c", STOPPED_HOST], stdout=subprocess.PIPE, text=True)
    guard = threading.Timer(120, host.kill)
    guard.start()
    try:
        assert host.stdout
        simulator = int(host.stdout.readline())
        time.sleep(0.5)
        assert host.poll() is None
        os.kill(host.pid, signal.SIGSTOP)
        # Simulated time runs on, at more than 300,000 clocks for a second of the processor.
        until = cpu_seconds(simulator) + 3
        while cpu_seconds(simulator) < until:
            time.sleep(0.1)
        os.kill(host.pid, signal.SIGCONT)
        said = host.stdout.readline()
        assert host.wait() == 0
    finally:
        guard.cancel()
        host.kill()
        host.wait()
        if host.stdout:
            host.stdout.close()
    assert "the laser was off in" in said
    assert "heartbeat" in said
    assert "arm()" in said
