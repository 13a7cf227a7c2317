"""Open a device, say what it is and whether all is well, or what to do.

Without --device it lists the serial ports and the device schemes that are there.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from openopu_rtl.protocol.boards import board_name
from openopu_rtl.protocol.links import name_of

from . import laser
from .device import open_device, schemes
from .errors import DeviceError, DeviceSilent, IdentityMismatch, LaserDark, LinkGarbled, OpenopuError
from .opu import Opu
from .session import Session
from .url import DeviceUrl
from .usb import latency_advice, path_of, ports, usb_number

OTHER_BAUDS = (12_000_000, 6_000_000, 4_000_000, 3_000_000, 2_000_000, 1_000_000, 921_600, 460_800, 230_400, 115_200)
"""Rates that are tried on a line that answers nothing, or garbage; fastest first."""
PROBES = 20
"""Requests whose median gives the latency."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="URL", help="device to look at, such as twin: or serial:/dev/ttyUSB0")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was found; ``ok`` says whether the device can be used."""
    if args.device is None:
        return {"ok": True, "ports": [str(port) for port in ports()], "schemes": sorted(schemes())}
    url = DeviceUrl.parse(args.device)
    try:
        device = open_device(url)
    except OpenopuError as error:
        return _trouble(url, error, "open")
    try:
        with Opu(device, allow_dark=True) as opu:
            return _examine(opu)
    except (DeviceSilent, LinkGarbled) as error:
        if url.scheme == "serial" and (baud := other_baud(url)):
            better = str(url.with_parameters(baud=str(baud)))
            return _trouble(url, error, "baud") | {
                "answers_at_baud": baud,
                "next_step": f"The device answers at {baud} baud: use {better}",
            }
        return _trouble(url, error, "silent" if isinstance(error, DeviceSilent) else "garbled")
    except IdentityMismatch as error:
        return _trouble(url, error, "identity")
    except LaserDark as error:
        return _trouble(url, error, "laser")
    except OpenopuError as error:
        return _trouble(url, error, "device")


def _trouble(url: DeviceUrl, error: OpenopuError, stage: str) -> dict[str, Any]:
    return {
        "ok": False,
        "device": str(url),
        "stage": stage,
        "error": type(error).__name__,
        "cause": error.what,
        "where": error.where,
        "next_step": error.next_step,
    }


def other_baud(url: DeviceUrl) -> int | None:
    """A rate at which the device behind a serial port answers, or None."""
    for baud in OTHER_BAUDS:
        try:
            device = open_device(url.with_parameters(baud=str(baud)))
        except OpenopuError:
            continue  # a rate that this adapter cannot make
        try:
            session = Session(device)
            with session.brief():
                session.flush()
                session.read("magic")
            return baud
        except DeviceError:
            continue
        finally:
            device.transport.close()
    return None


def _examine(opu: Opu) -> dict[str, Any]:
    status = opu.status()
    counters = opu.counters()
    times = []
    for _ in range(PROBES):
        start = time.perf_counter()
        opu.registers(["magic"])
        times.append(time.perf_counter() - start)
    warnings = []
    if not status["interlock_closed"] or status["tripped"]:
        why, step = laser.why_dark(status)
        warnings.append(f"laser: {'; '.join(why)}. {step}")
    if status["resync"]:
        warnings.append("the device is realigning itself after a fault: wait, then look again")
    if opu.device.url.scheme == "serial":
        rest = opu.device.url.rest
        number = usb_number(rest)
        path = rest if number is None else path_of(number, ports)
        if path and (advice := latency_advice(path)):
            warnings.append(advice)
    damaged = opu.registers(["packets_damaged"])["packets_damaged"]
    if damaged:
        warnings.append(f"{damaged} packets arrived damaged: check the cable or lower the baud rate")
    record = opu.project_raw(np.ones((1, opu.settings.program.planes, opu.geometry.modes)))
    if not record.ok.all():
        warnings.append("a test projection failed")
    g, identity = opu.geometry, opu.identity
    return {
        "ok": not warnings,
        "device": str(opu.device.url),
        "name": opu.device.name,
        "gateware": opu.gateware,
        "board": board_name(identity.board),
        "link": name_of(identity.link),
        "clock_hz": identity.clock_hz,
        "n": g.modes,
        "m": g.outputs,
        "slm": f"{g.slm_width} x {g.slm_height}",
        "camera": f"{g.camera_width} x {g.camera_height}, {g.pixel_bits} bit",
        "latency_us": float(np.median(times)) * 1e6,
        "status": status,
        "counters": counters,
        "warnings": warnings,
    }
