"""Do the tests notice? Seeds one fault at a time into a copy of the gateware and runs the tests that should fail.

The faults stand in mutants.toml: a piece of a file's text, what replaces it, and the tests (or, with ``formal``, the
proofs) that must catch it. A fault that no test notices, and a text that is no longer there, are failures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).with_suffix(".toml")
SECONDS_MAX = 600
"""A mutant may hang; then it has been noticed."""
TESTS_FAILED = 1
"""pytest's exit code when tests ran and some failed."""


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    """Below ``rtl/openopu_rtl``."""
    old: str
    new: str
    tests: tuple[str, ...] = ()
    """Arguments of pytest."""
    formal: str = ""
    """Or a proof, as tools/formal.py names it."""


@dataclass(frozen=True)
class Outcome:
    mutant: Mutant
    caught: bool
    seconds: float
    by: str
    """The first test that failed, or why nothing was learnt."""


def mutants() -> list[Mutant]:
    """All of the list. Raises ValueError for one whose text is not there exactly once."""
    found = []
    for name, entry in tomllib.loads(LIST.read_text()).items():
        tests = entry.pop("tests", [])
        mutant = Mutant(name, **entry, tests=tuple([tests] if isinstance(tests, str) else tests))
        times = (ROOT / "rtl" / "openopu_rtl" / mutant.file).read_text().count(mutant.old)
        if times != 1:
            raise ValueError(f"{name}: its text stands {times} times in {mutant.file}; mend {LIST.name}")
        found.append(mutant)
    return found


def run(mutant: Mutant | None, tests: tuple[str, ...], formal: str = "") -> tuple[int, str]:
    """Run tests on gateware with one fault, or none. Returns the exit code and what was printed."""
    with tempfile.TemporaryDirectory(prefix="openopu-mutant-") as folder:
        copy = Path(folder) / "rtl"
        shutil.copytree(ROOT / "rtl", copy, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant:
            path = copy / "openopu_rtl" / mutant.file
            path.write_text(path.read_text().replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        if formal:
            command = [sys.executable, str(ROOT / "tools" / "formal.py"), "--only", formal, "--no-mutants"]
        environment = dict(os.environ, PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1", OPENBLAS_NUM_THREADS="1")
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
                timeout=SECONDS_MAX if mutant else None,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return TESTS_FAILED, f"did not end within {SECONDS_MAX} s"
    return done.returncode, done.stdout + done.stderr


def judge(mutant: Mutant) -> Outcome:
    """Seed one fault and see whether it is noticed."""
    started = time.monotonic()
    code, text = run(mutant, mutant.tests, mutant.formal)
    lines = text.splitlines()
    by = next((line.split(" ")[1] for line in lines if line.startswith("FAILED ")), "")
    by = by or mutant.formal or (lines[-1] if lines else "")
    return Outcome(mutant, code == TESTS_FAILED, time.monotonic() - started, by)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", metavar="NAME", nargs="+", default=[], help="some mutants, by the start of their names"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the outcomes as JSON to this file")
    args = parser.parse_args()
    try:
        chosen = [m for m in mutants() if not args.only or m.name.startswith(tuple(args.only))]
    except ValueError as error:
        sys.exit(str(error))
    whole = tuple(sorted({t for m in chosen for t in m.tests}))
    if whole:
        code, text = run(None, whole)
        if code:
            sys.exit(f"without a fault the tests do not pass, so they prove nothing:\n{text[-2000:]}")
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for outcome in pool.map(judge, chosen):
            outcomes.append(outcome)
            verdict = "caught" if outcome.caught else "ESCAPED"
            print(f"{verdict:8} {outcome.seconds:5.0f} s  {outcome.mutant.name}: {outcome.by}", flush=True)
    escaped = [o.mutant.name for o in outcomes if not o.caught]
    print(
        f"{len(outcomes)} seeded, {len(outcomes) - len(escaped)} caught" + (f"; escaped: {escaped}" if escaped else "")
    )
    if args.out:
        rows: list[dict[str, Any]] = [
            {"name": o.mutant.name, "file": o.mutant.file, "caught": o.caught, "by": o.by, "seconds": o.seconds}
            for o in outcomes
        ]
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(rows, indent=1))
    sys.exit(bool(escaped))


if __name__ == "__main__":
    main()
