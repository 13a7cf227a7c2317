"""The accuracy table of docs/results.md: every control and encoding on Fashion-MNIST through the noisy twin.

Runs one training after the other, each a plain ``openopu train``; a run that has ended is not repeated.
Takes about an hour and a half on two cores with the defaults.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from command_line import positive

RULES: dict[str, list[str]] = {
    "optical, stochastic ternary": ["--feedback", "optical", "--encoding", "ternary", "--rounding", "stochastic"],
    "back-propagation": ["--feedback", "backprop"],
    "exact DFA": ["--feedback", "ideal"],
    "last layer only": ["--feedback", "none"],
    "optical, ternary threshold 0.2": ["--feedback", "optical", "--encoding", "ternary", "--rounding", "threshold"],
    "optical, stochastic sign": ["--feedback", "optical", "--encoding", "sign", "--rounding", "stochastic"],
    "optical, sign": ["--feedback", "optical", "--encoding", "sign", "--rounding", "threshold"],
}


def run(rule: str, seed: int, args: argparse.Namespace) -> dict:
    """The JSON object of one training, made now or before."""
    name = rule.replace(", ", "-").replace(" ", "-")
    folder = args.out / f"{name}-{seed}"
    result = folder / "result.json"
    if result.exists():
        return json.loads(result.read_text())
    command = [
        *(sys.executable, "-m", "openopu.cli", "train", "--data", args.data, "--device", args.device),
        *("--hidden", "256,256,256", "--epochs", str(args.epochs), "--batch", "128", "--chunk", "128"),
        *("--seed", str(seed), "--out", str(folder), "--resume", "--json", *RULES[rule]),
    ]
    print(" ".join(["openopu", *command[3:]]), file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)  # it has said why
    last = done.stdout.strip().splitlines()[-1]
    result.write_text(last + "\n")
    return json.loads(last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/accuracy"))
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--device", default="twin:?m=768")
    parser.add_argument("--epochs", type=positive, default=10)
    parser.add_argument("--seeds", type=positive, default=3, help="seeds 1 to SEEDS of every rule")
    parser.add_argument("--rules", nargs="*", default=list(RULES), choices=RULES)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print("| teaching signal | test error, last epoch, % (seeds) | mean | projections of a run |")
    print("| --- | --- | --- | --- |")
    for rule in args.rules:
        results = [run(rule, seed, args) for seed in range(1, args.seeds + 1)]
        errors = [100 * (1 - r["test_accuracy"]) for r in results]
        listed = " ".join(f"{e:.2f}" for e in errors)
        mean = sum(errors) / len(errors)
        print(f"| {rule} | {listed} | {mean:.2f} | {results[0]['projections']:,} |", flush=True)


if __name__ == "__main__":
    main()
