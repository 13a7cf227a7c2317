"""Check a board, step by step, before a laser is on the table and after; prints a report that says what to do.

Most checks need no optics: the link, the memories and the datapath are compared with the twin through a small
pseudo-random medium in the gateware. Camera, pairing and settling use the camera that is there; the laser is
armed only with --arm.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from openopu_rtl.protocol.registers import PLANT_SOURCES

from ..errors import DeviceError, UsageError
from ..opu import Opu
from ..opu import open as open_opu
from ..settings import Settings
from . import checks
from .counted import with_faults, with_trip
from .report import Check, Verdict, as_text, failed

CHECKS: dict[str, Callable[[Opu], Check]] = {
    "link": checks.link,
    "memory": checks.memory,
    "datapath": checks.datapath,
    "modulator": checks.modulator,
    "camera": checks.camera,
    "pairing": checks.pairing,
    "settle": checks.settle,
    "interlock": checks.interlock,
}
"""In the order in which they are made: each relies on those before it."""
FRAME_SIMULATED_CYCLES = 1 << 17
"""How long a simulated camera may take for a frame, beside 8 cycles a pixel. A real one's longer time-out stays."""
IDLE_S = 2.0
"""Device seconds in which what an interrupted check has under way may end."""


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
    if args.out:
        Path(args.out).open("a").close()  # not after minutes of checks: can it be written?
    made: list[Check] = []
    with open_opu(args.device, arm=args.arm, allow_dark=True) as opu:
        about = f"{opu.device.name}, gateware {opu.gateware}, n = {opu.geometry.modes}, m = {opu.geometry.outputs}\n\n"
        with _in_order(opu), opu.using(_patient(opu)):
            for name in chosen:
                made.append(_make(name, opu))
    text = about + as_text(made)
    if not args.json:
        print(text)
    if args.out:
        Path(args.out).write_text(text)
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


@contextlib.contextmanager
def _in_order(opu: Opu) -> Iterator[None]:
    """An interrupt darkens the laser before all else, waits for nothing that is in flight, and undoes the settings."""
    usual = opu.settings
    main = threading.current_thread() is threading.main_thread()  # no other one is interrupted
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)} if main else {}

    def interrupt(number: int, frame: FrameType | None) -> None:
        opu.abandon()
        handler = before[signal.Signals(number)]
        if not callable(handler):
            raise KeyboardInterrupt
        handler(number, frame)

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(DeviceError):  # nothing better can be done: opening a device writes all its settings
            opu.disarm()
            opu.on_link(lambda session: session.wait_idle(IDLE_S if opu.realtime else 0.0))
            opu.on_link(lambda session: usual.write(session, opu.geometry, None))
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _patient(opu: Opu) -> Settings:
    """The settings to make the checks with: where every clock is computed, a frame that does not come costs less."""
    registers = dict(opu.settings.registers)
    if not opu.realtime and opu.device.plant_source == PLANT_SOURCES["camera"]:
        enough = FRAME_SIMULATED_CYCLES + 8 * opu.geometry.camera_pixels
        registers["frame_timeout_cycles"] = min(registers["frame_timeout_cycles"], enough)
    return opu.settings.replace(registers=registers)


def _make(name: str, opu: Opu) -> Check:
    """One check; a device that fails in it is a finding, and the next check is made all the same."""
    opu.clear_counters()
    try:
        check = CHECKS[name](opu)
    except (DeviceError, UsageError) as error:  # usage: what this panel or camera cannot do
        if opu.abandoned:
            raise KeyboardInterrupt from error
        check = failed(name, error.what, error.next_step or f"`openopu doctor --device {opu.device.url}`")
    # The interlock's own check trips the laser; where it was left out it has not.
    tripping = name == "interlock" and check.verdict is not Verdict.LEFT_OUT
    return check if tripping else with_trip(with_faults(check, opu), opu)
