"""Synthesise a small gateware for the ECP5, simulate the mapped netlist, and compare it with the twin.

Leaves the netlist, yosys' count of its cells, and the result of the comparison in the folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from openopu import compare
from openopu_boards.netlist import mapped_verilog
from openopu_rtl.protocol import Geometry

MODES = OUTPUTS = 64


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/netlist"), metavar="DIR")
    parser.add_argument("--projections", type=int, default=8, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    netlist = mapped_verilog(Geometry.fitting(MODES, OUTPUTS), args.out).absolute()
    size = f"n={MODES}&m={OUTPUTS}"
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    words = ["--device-a", f"twin:?{size}", "--device-b", f"rtl:verilator?{size}&link=bytes&netlist={netlist}"]
    words += ["--projections", str(args.projections), "--seed", str(args.seed)]
    result: dict[str, Any] = compare.run(parser.parse_args(words))
    (args.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
