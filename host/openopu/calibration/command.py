"""Measure a device: dark and flat field, bad pixels, region, settling, phase levels, matrix; into one file.

Dark, saturated or unsteady optics is refused with the cause, and nothing is written. A run that is given the file
(`openopu train --calibration FILE`) refuses one of another device, or a stale one.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import UsageError, whole
from ..files import part_of, why_not_written
from ..measure import TARGET_FILL
from ..opu import open as open_opu
from ..pipeline import EXPOSURE_IDS
from ..url import DeviceUrl
from .calibrate import GROUPS, QUICK, Effort, Progress, calibrate, planned, summary
from .errors import CalibrationFileError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", metavar="URL", required=True, help="device to calibrate, such as serial:/dev/ttyUSB0")
    add("--out", metavar="FILE", required=True, help="HDF5 file to write; an old one is replaced when all is measured")
    add("--only", metavar="NAME", nargs="+", default=[], help=f"some of: {', '.join(GROUPS)}; and what they need")
    add("--fill", type=float, default=TARGET_FILL, help="mean pixel over full scale (default: %(default)s)")
    add("--quick", action="store_true", help="fewer exposures, to try the procedure")
    add("--exposure-base", type=int, default=0, metavar="ID", help="the run's next exposure (default: %(default)s)")
    add("--undated", action="store_true", help="without the time of day: equal measurements are equal files")
    add("--arm", action="store_true", help="arm the laser of a real device")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Calibrate, and return the figures. Raises :class:`OpenopuError` with the next step."""
    planned(args.only)
    whole(args.exposure_base, "--exposure-base", 0, EXPOSURE_IDS - 1)
    if not args.out.strip() or Path(args.out).is_dir():
        raise UsageError("this is no file", f"--out {args.out}".strip(), "Name the file to write")
    recording = DeviceUrl.parse(args.device).parameters.get("record")
    if recording is not None and Path(recording).resolve() == Path(args.out).resolve():
        raise UsageError(
            "the recording has the same name", f"--out {args.out}", "Give the two files names of their own"
        )
    _refuse_unwritable(Path(args.out))
    effort = QUICK if args.quick else Effort()
    with (
        open_opu(args.device, arm=args.arm, exposure_base=args.exposure_base) as opu,
        _said(quiet=args.json) as said,
    ):
        made = calibrate(opu, args.only, fill=args.fill, effort=effort, dated=not args.undated, progress=said)
    made.calibration.save(args.out)
    return {
        "device": args.device,
        "out": args.out,
        "groups": sorted(made.calibration.groups),
        **{f"left_out_{name.replace(' ', '_')}": why for name, why in made.left_out.items()},
        **summary(made),
        "sha256": made.calibration.sha256,
    }


def _refuse_unwritable(path: Path) -> None:
    """Raise before minutes of measuring, not after."""
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.open("ab").close()
        part.unlink()
    except OSError as error:
        raise CalibrationFileError(
            f"the calibration cannot be written: {why_not_written(error)}", str(path), "Give another --out"
        ) from error


@contextlib.contextmanager
def _said(quiet: bool) -> Iterator[Progress]:
    if quiet:
        yield lambda name: None
        return
    console = Console(stderr=True)
    with console.status("calibrating") as status:
        yield lambda name: status.update(f"calibrating: {name}")
