"""Load a bitstream into a board; refused where it is made for another one.

Checks the bitstream against its side-car, and the connected part's IDCODE against the board's.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from openopu.errors import UsageError

from ..board import MODULES, board
from ..build import NAME
from ..flash import flash


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--board", required=True, choices=sorted(MODULES), help="which board is connected")
    parser.add_argument("--bitstream", metavar="FILE", help="default: the one that `openopu bitstream` made")
    parser.add_argument("--keep", action="store_true", help="into flash memory, so that it is there after power-up")


def run(args: argparse.Namespace) -> dict[str, Any]:
    chosen = board(args.board)
    if chosen.family != "ecp5":
        raise UsageError(
            f"no bitstream of the {chosen.title} is made here", "--board", "Use the vendor's tools with the files made"
        )
    default = Path("build/bitstream", chosen.name, f"{NAME}-{chosen.name}.bit")
    return {"ok": True, **flash(chosen, Path(args.bitstream) if args.bitstream else default, args.keep)}
