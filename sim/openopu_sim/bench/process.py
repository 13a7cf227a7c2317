"""Runs a simulator as a child process, in a folder of its own on a RAM disk."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from openopu.errors import DeviceError

from . import build
from .settings import SETTINGS_VARIABLE, BenchSettings

START_SECONDS = 120.0
"""A simulator that has not announced itself by then never will."""
STOP_SECONDS = 10.0
LOG_LINES = 40
SERVER_MODULE = "openopu_sim.bench.server"


class SimulatorDied(DeviceError):
    """The simulator ended by itself; the message holds its last lines."""


def cocotb_environment(module: str, top: str) -> dict[str, str]:
    """Environment in which a simulator loads cocotb and runs ``module`` on ``top``.

    It is what cocotb's runner sets; we start the simulator ourselves, as the bench has to live as long
    as its host and not until a test has passed.
    """
    import cocotb_tools.config
    import find_libpython

    library = find_libpython.find_libpython()
    if library is None:
        raise DeviceError(
            "Python's shared library was not found",
            "rtl bench",
            "Install it, for example: apt-get install libpython3-dev",
        )
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYGPI_PYTHON_BIN": sys.executable,
        "GPI_USERS": f"{library};{cocotb_tools.config.pygpi_entry_point()}",
        "COCOTB_TOPLEVEL": top,
        "COCOTB_TEST_MODULES": module,
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "TOPLEVEL_LANG": "verilog",
        "COCOTB_LOG_LEVEL": "WARNING",
        "GPI_LOG_LEVEL": "WARNING",
        "COCOTB_REWRITE_ASSERTION_FILES": "",  # else it loads pytest at every start
        # The plant multiplies a vector at a time: waking a second thread costs more than it saves, and on a
        # busy machine ten times as much.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def vvp_command(program: Path) -> list[str]:
    """How Icarus runs ``program`` with cocotb."""
    import cocotb_tools.config

    return ["vvp", "-n", "-m", cocotb_tools.config.lib_entry("vpi", "icarus"), str(program)]


def _working_folder() -> Path:
    """A new folder, on a RAM disk where there is one; those that killed processes left behind are removed."""
    ram = Path("/dev/shm")
    base = ram if os.access(ram, os.W_OK) else Path(tempfile.gettempdir())
    for old in base.glob("openopu-*-*"):
        owner = old.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"openopu-{os.getpid()}-", dir=base))


class Simulation:
    """A running simulator.

    Parameters
    ----------
    settings : of the bench.
    netlist : Verilog of another device than the gateware, for tests.

    Raises
    ------
    BuildError
        The program could not be made.
    SimulatorDied
        It did not come up.
    """

    def __init__(self, settings: BenchSettings, netlist: Path | None = None) -> None:
        program = build.program(settings, netlist)
        command = vvp_command(program) if settings.simulator == "icarus" else [str(program)]
        command += [f"+{name}={value}" for name, value in settings.half_periods_ps.items()]
        if settings.waves:
            command += [f"+waves={settings.waves}"]
            if settings.simulator == "icarus":
                command += ["-fst" if settings.waves.endswith(".fst") else "-vcd"]
        environment = cocotb_environment(SERVER_MODULE, build.TOP)
        environment[SETTINGS_VARIABLE] = settings.dumps()
        self.folder = _working_folder()
        environment["COCOTB_RESULTS_FILE"] = str(self.folder / "results.xml")
        self._log: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self._said: Queue[dict[str, Any] | None] = Queue()
        # A session of its own: an interrupt from the keyboard reaches us alone, and we end it in order.
        # The simulator ends when its standard input does, so it never outlives us.
        self._process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.announcement: dict[str, Any] = {}
        if not settings.replay:
            try:
                self.announcement = self.wait_for("ready", START_SECONDS)
            except BaseException:
                self.stop()
                raise

    @property
    def port(self) -> str:
        """Path of the virtual serial port."""
        return str(self.announcement["port"])

    @property
    def url(self) -> str:
        """URL of the TCP port, for pyserial."""
        return str(self.announcement["url"])

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith('{"event"'):
                with contextlib.suppress(ValueError):
                    self._said.put(json.loads(line))
                    continue
            self._log.append(line.rstrip())
        self._said.put(None)

    def wait_for(self, event: str, timeout_s: float) -> dict[str, Any]:
        """Return the simulator's announcement of ``event``. Raises :class:`SimulatorDied`."""
        try:
            while said := self._said.get(timeout=timeout_s):
                if said["event"] == event:
                    return said
        except Empty:
            raise SimulatorDied(
                f"the simulator said nothing within {timeout_s:.0f} s",
                "rtl bench",
                "Is the machine overloaded? Try again",
            ) from None
        raise SimulatorDied(*self.death())

    def ended_within(self, seconds: float) -> bool:
        """Whether the simulator has ended, or does so within ``seconds``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.poll() is not None

    def serve(self) -> None:
        """Wait until interrupted. Raises :class:`SimulatorDied` when the simulator ends by itself."""
        self._process.wait()
        raise SimulatorDied(*self.death())

    def death(self) -> tuple[str, str, str]:
        """What happened, where, and the next step, once the simulator has ended."""
        code = self._process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        tail = "\n".join(self._log)
        return (
            f"the simulator ended {how}" + (f"; its last lines:\n{tail}\n" if tail else ""),
            "rtl bench",
            "Start again; if it ended by itself, its last lines say why",
        )

    def stop(self) -> None:
        """End the simulator in order, so that waveforms are whole; kill it if it does not. May be called twice."""
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(STOP_SECONDS)
        if self._process.stdout:
            self._process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
