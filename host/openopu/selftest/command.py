"""Check a board, step by step, before a laser is on the table and after; prints a report that says what to do.

Most checks need no optics: the link, the memories and the datapath are compared with the twin through a small
pseudo-random medium in the gateware. Camera, pairing and settling use the camera that is there; the laser is
armed only with --arm.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import DeviceError, UsageError
from ..opu import Opu
from ..opu import open as open_opu
from . import checks
from .report import Check, Verdict, as_text, failed

CHECKS: dict[str, Callable[[Opu], Check]] = {
    "link": checks.link,
    "modulator": checks.modulator,
    "camera": checks.camera,
    "pairing": checks.pairing,
    "settle": checks.settle,
    "interlock": checks.interlock,
}
"""In the order in which they are made: each relies on those before it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="URL", required=True, help="device to check, such as serial:/dev/ttyUSB0")
    parser.add_argument("--only", metavar="CHECK", nargs="+", default=[], help=f"some of: {', '.join(CHECKS)}")
    parser.add_argument("--arm", action="store_true", help="arm the laser of a real device, and try its interlock")
    parser.add_argument("--out", metavar="FILE", help="write the report to this file, too")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Make the checks; ``ok`` is True if none failed."""
    if unknown := [n for n in args.only if n not in CHECKS]:
        raise UsageError(f"there is no check `{unknown[0]}`", "--only", f"Take some of: {', '.join(CHECKS)}")
    chosen = [n for n in CHECKS if not args.only or n in args.only]
    made: list[Check] = []
    with open_opu(args.device, arm=args.arm, allow_dark=True) as opu:
        about = f"{opu.device.name}, gateware {opu.gateware}, n = {opu.geometry.modes}, m = {opu.geometry.outputs}\n\n"
        for name in chosen:
            made.append(_make(name, opu))
    text = about + as_text(made)
    if args.out:
        Path(args.out).write_text(text)
    if not args.json:
        print(text)
    return {
        "ok": all(c.verdict is not Verdict.FAIL for c in made),
        "device": args.device,
        "checks": [
            {
                "name": c.name,
                "verdict": c.verdict.value,
                "found": c.found,
                "next_step": c.next_step,
                "figures": c.figures,
            }
            for c in made
        ],
    }


def _make(name: str, opu: Opu) -> Check:
    """One check; a device that fails in it is a finding, and the next check is made all the same."""
    try:
        return CHECKS[name](opu)
    except DeviceError as error:
        return failed(name, error.what, error.next_step or f"`openopu doctor --device {opu.device.url}`")
