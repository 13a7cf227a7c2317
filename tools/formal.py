"""Proves properties of the gateware with SymbiYosys and z3, and shows that each proof can fail.

For every proof the same claim is tried on gateware with a seeded fault, which must yield a counterexample.
Ends with a table; fails if a proof fails or a fault is not found. ``--page`` writes the table into docs/formal.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "formal"))

from catalogue import PROOFS  # noqa: E402
from prover import Mutant, Proof, prove, seek  # noqa: E402

PAGE = ROOT / "docs" / "formal.md"
BEGIN, END = "<!-- proofs -->", "<!-- end of proofs -->"
FAILED, BROKEN = 1, 2
"""Exit codes: there is a counterexample; anything else that is no proof."""


@dataclass(frozen=True)
class Row:
    proof: Proof
    status: str
    seconds: float
    mutants: list[str]
    """Status of the proof with each seeded fault."""

    @property
    def good(self) -> bool:
        return self.status == "PASS" and all(m == "FAIL" for m in self.mutants)


def mutate(mutant: Mutant, folder: Path) -> Path:
    """A copy of the gateware with one fault, as a path for imports. Raises ValueError if its text is not there once."""
    copy = folder / "rtl"
    shutil.copytree(ROOT / "rtl", copy, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "openopu_rtl" / mutant.file
    text = path.read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"`{mutant.old}` stands {text.count(mutant.old)} times in {mutant.file}: mend the mutant")
    path.write_text(text.replace(mutant.old, mutant.new))
    return copy


def try_mutant(proof: Proof, mutant: Mutant) -> str:
    """Status of the proof on the mutated gateware, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="openopu-formal-") as folder:
        try:
            copy = mutate(mutant, Path(folder))
        except ValueError as error:
            return str(error)
        environment = dict(os.environ, PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1")
        command = [sys.executable, __file__, "--only", proof.name, "--exact", "--seek", "--out", folder]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return "FAIL" if done.returncode == FAILED else (done.stdout + done.stderr).strip().rpartition("\n")[2]


def check(proof: Proof, folder: Path, mutants: bool, only_seek: bool) -> Row:
    result = (seek if only_seek else prove)(proof, folder / proof.name)
    tried = [try_mutant(proof, m) for m in proof.mutants] if mutants else []
    row = Row(proof, result.status, result.seconds, tried)
    caught = f", {sum(m == 'FAIL' for m in tried)} of {len(tried)} faults found" if mutants else ""
    print(f"{result.status:8} {result.seconds:5.1f} s  {proof.name}{caught}", flush=True)
    if result.status != "PASS":
        print("\n".join(line for line in result.log.splitlines() if "failed assertion" in line or "ERROR" in line))
    for mutant, status in zip(proof.mutants, tried, strict=False):
        if status != "FAIL":
            print(f"         not found: {mutant.file}: {mutant.new}: {status}", flush=True)
    return row


def table(rows: list[Row], before: str) -> str:
    """The table, in the catalogue's order; proofs that were not run keep their row of the page ``before``."""
    lines = {line.split("`")[1]: line for line in before.splitlines() if line.startswith("| `")}
    for row in rows:
        p = row.proof
        mode = (
            f"**{row.status}**"
            if row.status != "PASS"
            else "netlist"
            if p.structure
            else f"bounded: {p.bounded}"
            if p.bounded
            else "induction"
        )
        found = f"{sum(m == 'FAIL' for m in row.mutants)} of {len(row.mutants)}"
        lines[p.name] = f"| `{p.name}` | {p.claim} | {mode} | {p.depth} | {row.seconds:.0f} | {found} |"
    head = ["| proof | claim | mode | depth | seconds | seeded faults found |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join(head + [lines[p.name] for p in PROOFS if p.name in lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", metavar="NAME", nargs="+", default=[], help="some proofs, by the start of their names"
    )
    parser.add_argument("--exact", action="store_true", help="... by their whole names")
    parser.add_argument("--no-mutants", action="store_true", help="leave the seeded faults out")
    parser.add_argument("--seek", action="store_true", help="... and only look for a counterexample near reset")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "formal", help="netlists, logs and traces")
    parser.add_argument("--page", action="store_true", help="write the table into docs/formal.md")
    args = parser.parse_args()
    chosen = [
        p
        for p in PROOFS
        if not args.only or (p.name in args.only if args.exact else p.name.startswith(tuple(args.only)))
    ]
    if not chosen:
        sys.exit("no proof has such a name")
    with ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(lambda p: check(p, args.out, not (args.no_mutants or args.seek), args.seek), chosen))
    if args.page:
        text = PAGE.read_text()
        head, tail = text.split(BEGIN)[0], text.split(END)[1]
        PAGE.write_text(f"{head}{BEGIN}\n{table(rows, text)}\n{END}{tail}")
    bad = [row.proof.name for row in rows if not row.good]
    print(
        f"{len(rows)} proofs, {sum(len(r.mutants) for r in rows)} seeded faults"
        + (f"; not as expected: {bad}" if bad else "")
    )
    if bad:
        sys.exit(FAILED if all(row.status in ("PASS", "FAIL") for row in rows) else BROKEN)


if __name__ == "__main__":
    main()
