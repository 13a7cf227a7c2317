"""The devices ``rtl:verilator`` and ``rtl:icarus``: the gateware in a simulator, behind a virtual serial port.

Keys of the URL beside those of :mod:`openopu_sim.options`:

=============== ==========================================================================================
link            ``uart`` (default): a line at 12 Mbaud; ``bytes``: the link's bytes are handed over whole;
                ``ft245``, ``ft245sync``: through a model of an FT232H, asynchronous or at its CLKOUT
clock_hz        system clock, default 48 MHz; the twin's stays, so exposures in cycles then differ
time            ``lockstep`` (default): simulated time stands still while the host thinks; ``free``: it runs
interlock       ``closed`` (default) or ``open``
fault           faults to inject: see :mod:`openopu_sim.bench.faults`
waves           write all signals to this file, .fst or .vcd
slm_clock_hz    pixel clock of the panel
camera_clock_hz pixel clock of the camera
netlist         simulate this Verilog of the gateware, such as what synthesis made of it (see ``make netlist``)
=============== ==========================================================================================
"""

from __future__ import annotations

from pathlib import Path

import serial
from openopu.device import Device, Transport
from openopu.errors import LinkLost, UrlError
from openopu.injection import inject
from openopu.transports import SerialTransport
from openopu.url import DeviceUrl
from openopu_rtl.protocol import Link
from openopu_rtl.protocol.registers import PLANT_SOURCES

from .bench.process import Simulation
from .bench.settings import CAMERA_CLOCK_HZ, CLOCK_HZ, LINKS_PLAYED, SIMULATORS, SLM_CLOCK_HZ, BenchSettings
from .options import (
    KEYS,
    check_size,
    geometry_of,
    panel_of,
    parameters_of,
    plant_options,
    plant_source_of,
    refuse_slow,
    sensor_of,
)
from .plant.fields import refuse_too_large

BENCH_KEYS = (
    "link",
    "clock_hz",
    "time",
    "interlock",
    "fault",
    "waves",
    "slm_clock_hz",
    "camera_clock_hz",
    "netlist",
)
TIME_FACTOR = {"verilator": 500.0, "icarus": 20_000.0, "netlist": 40_000.0}
"""Wall seconds for a second of the device's clock, at most, also on a machine with other work to do."""
_CLOCKS_HZ = (1_000_000, 500_000_000)


def settings_of(url: DeviceUrl) -> BenchSettings:
    """The bench that a URL asks for. Raises :class:`openopu.errors.UsageError`."""
    url.refuse_unknown((*KEYS, *BENCH_KEYS))
    simulator = url.rest or SIMULATORS[0]
    if simulator not in SIMULATORS:
        raise UrlError(f"there is no simulator `{simulator}`", str(url), f"Write rtl:{' or rtl:'.join(SIMULATORS)}")
    waves = url.parameters.get("waves", "")
    geometry = geometry_of(url)
    if plant_source_of(url, geometry) != "chip":
        check_size(url, geometry)
        refuse_too_large(geometry, parameters_of(url))  # before minutes of building
    return BenchSettings(
        simulator=simulator,
        geometry=geometry,
        plant=plant_options(url),
        link=Link[_choice(url, "link", tuple(link.key for link in LINKS_PLAYED)).upper()],
        clock_hz=url.get_int("clock_hz", CLOCK_HZ, *_CLOCKS_HZ),
        free_running=_choice(url, "time", ("lockstep", "free")) == "free",
        faults=url.parameters.get("fault", ""),
        sensor=sensor_of(url),
        interlock_closed=_choice(url, "interlock", ("closed", "open")) == "closed",
        slm_clock_hz=url.get_int("slm_clock_hz", SLM_CLOCK_HZ, *_CLOCKS_HZ),
        camera_clock_hz=url.get_int("camera_clock_hz", CAMERA_CLOCK_HZ, *_CLOCKS_HZ),
        waves=str(Path(waves).absolute()) if waves else "",
    )


def netlist_of(url: DeviceUrl) -> Path | None:
    """Verilog to simulate in place of the gateware's, if a URL names one. Raises :class:`UrlError`."""
    if "netlist" not in url.parameters:
        return None
    netlist = Path(url.parameters["netlist"])
    if not netlist.is_file():
        raise UrlError(f"there is no netlist {netlist}", str(url), "Make one: make netlist")
    return netlist


def _choice(url: DeviceUrl, key: str, choices: tuple[str, ...]) -> str:
    """Value of ``key``, one of ``choices``, the first one where it is not given."""

    def convert(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return url.get(key, convert, choices[0], " or ".join(choices))


class RtlTransport(Transport):
    """The simulator's virtual serial port, and the simulator, which ends with it."""

    def __init__(self, simulation: Simulation, where: str, baud: int) -> None:
        self._simulation = simulation
        self._where = where
        port = serial.Serial(simulation.port, baud, exclusive=True)
        self._line = SerialTransport(port, where)
        self._closed = False

    def write(self, data: bytes) -> None:
        try:
            self._line.write(data)
        except LinkLost as error:
            raise self._explain(error) from error

    def read(self, timeout_s: float) -> bytes:
        try:
            return self._line.read(timeout_s)
        except LinkLost as error:
            raise self._explain(error) from error

    def _explain(self, error: LinkLost) -> LinkLost:
        """Why the line was lost: in general, the simulator has ended."""
        if self._closed or not self._simulation.ended_within(1.0):
            return error
        what, _, next_step = self._simulation.death()
        return LinkLost(what, self._where, next_step)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._line.close()
            self._simulation.stop()

    def set_baud(self, baud: int) -> None:
        self._line.set_baud(baud)


def open_rtl(url: DeviceUrl) -> Device:
    """Build and start the simulation that ``url`` asks for, and open its port.

    Raises
    ------
    UsageError
        Unknown simulator, key or value.
    DeviceError
        The simulator could not be built or started.
    """
    settings = settings_of(url)
    source = plant_source_of(url)
    netlist = netlist_of(url)
    if netlist and source == "camera":
        refuse_slow(url, "a netlist")
    simulation = Simulation(settings, netlist)
    try:
        transport = RtlTransport(simulation, str(url), settings.reset_baud)
    except BaseException:
        simulation.stop()
        raise
    device = Device(
        url=url,
        name=f"rtl:{settings.simulator}",
        transport=transport,
        arms_itself=source == "camera",
        plant_source=PLANT_SOURCES[source],
        realtime=settings.free_running,
        time_factor=TIME_FACTOR["netlist" if netlist else settings.simulator],
        panel=panel_of(url),
    )
    return inject(device) if source == "host" else device
