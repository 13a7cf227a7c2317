"""Make the bitstream of a board, with its timing met, and a side-car that says what is in it.

For boards whose vendor's tools are not ours (Arty A7) it writes Verilog and constraints, and estimates resources.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from openopu.errors import UsageError, whole

from .. import report
from ..board import MODULES, board
from ..build import TimingMissed, build

_TRIES_MAX = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--board", required=True, choices=sorted(MODULES), help="which board")
    parser.add_argument("--link", metavar="KIND", help="uart, ft245, ft245sync or usb, of those that the board has")
    parser.add_argument("--out", default="build/bitstream", metavar="DIR", help="folder; a board's files go below it")
    parser.add_argument("--seed", type=int, help="of place and route; default: the board's, whose timing is known")
    parser.add_argument(
        "--tries", type=int, default=1, metavar="N", help="as many seeds, one after the other, until one meets timing"
    )
    parser.add_argument("--report", metavar="FILE", help="page whose table gets this build's line")


def run(args: argparse.Namespace) -> dict[str, Any]:
    page = Path(args.report) if args.report else None
    if page and (not page.exists() or report.BEGIN not in page.read_text()):
        raise UsageError("the page has no place for the table", str(page), f"It needs a line `{report.BEGIN}`")
    chosen = board(args.board, args.link)
    seed = chosen.seed if args.seed is None else whole(args.seed, "--seed", 0, (1 << 31) - 1)
    last = seed + whole(args.tries, "--tries", 1, _TRIES_MAX) - 1
    while True:
        try:
            about = build(chosen, Path(args.out), seed)
            break
        except TimingMissed as missed:
            if seed == last:
                raise
            print(f"seed {seed}: {missed.what}", file=sys.stderr, flush=True)
            seed += 1
    if page:
        report.update(page, about)
    clocks = [f"{name}: " + ", ".join(f"{k} {v}" for k, v in c.items()) for name, c in about["clocks"].items()]
    return {"ok": True, "lines": clocks, **about}
