"""What the tools share of their command lines: types of arguments, and errors in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from openopu.errors import OpenopuError
from openopu_rtl.protocol import GeometryError


def positive(text: str) -> int:
    """``text`` as a whole number of at least 1, for argparse."""
    return _whole(text, 1)


def whole_seed(text: str) -> int:
    """``text`` as a seed, 0 to 2**64 - 1, for argparse."""
    return _whole(text, 0, (1 << 64) - 1)


def _whole(text: str, low: int, high: int | None = None) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if number < low or (high is not None and number > high):
        bounds = f"at least {low}" if high is None else f"{low} to {high}"
        raise argparse.ArgumentTypeError(f"{number} is out of range: take {bounds}")
    return number


def run_tool(main: Callable[[], object]) -> None:
    """A tool from the shell: what the library refuses ends it with one line."""
    try:
        main()
    except (OpenopuError, GeometryError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: error: {error}")
