"""Configure the camera's sensor over I2C: check its identity, write its registers, read them back.

Sensors: mt9v034, ar0135. Nothing is written to a sensor that says it is another.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from .opu import open as open_opu
from .sensors import SENSORS


def _address(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no I2C address such as 0x48") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="URL", required=True, help="such as twin: or serial:/dev/ttyUSB0")
    parser.add_argument("--name", required=True, help=f"of the sensor: {', '.join(SENSORS)}")
    parser.add_argument("--exposure-us", type=float, metavar="US", help="whole rows of it; default: as the device has")
    parser.add_argument("--gain", type=float, default=1.0, help="default: 1")
    parser.add_argument("--test-pattern", action="store_true", help="let the sensor send its test pattern")
    parser.add_argument("--address", type=_address, metavar="ADDRESS", help="7-bit I2C address, such as 0x48")
    parser.add_argument("--input-clock-hz", type=float, metavar="HZ", help="clock that the sensor is given")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return the report of :meth:`openopu.Opu.configure_sensor`."""
    with open_opu(args.device, allow_dark=True) as opu:
        report = opu.configure_sensor(
            args.name,
            exposure_us=args.exposure_us,
            gain=args.gain,
            test_pattern=args.test_pattern,
            address=args.address,
            input_clock_hz=args.input_clock_hz,
        )
        return {"ok": True, "device": str(opu.device.url), **dataclasses.asdict(report)}
