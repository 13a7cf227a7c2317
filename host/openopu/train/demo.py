"""Train through the twin, repeat the beginning through the RTL, compare the integers, and draw pictures.

By default a network learns Fashion-MNIST through the twin, and its
first updates are repeated through the gateware's RTL in Verilator, behind a virtual serial port.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Record
from openopu_rtl.protocol.packets import RECORD_TIMING_FIELDS
from rich.console import Console

import openopu
from openopu import Opu
from openopu.device import known_scheme
from openopu.encoding import generator
from openopu.errors import OpenopuError, UsageError

from . import pictures
from .checkpoint import RunFolder, write_atomic
from .command import draw_history, make_feedback, train
from .config import TrainConfig
from .data import DataError, Dataset, load
from .optical import OpticalFeedback
from .progress import TrainingProgress
from .trainer import Trainer

RESULT_FILE = "demo.json"


class Tape:
    """The records of a run's first ``limit`` projections; timing fields are left out, the rest must be equal."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._rows: list[tuple[bytes, NDArray[np.int32]]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __call__(self, record: Record) -> None:
        names = [n for n in record.head.dtype.names or () if n not in RECORD_TIMING_FIELDS]
        for head, values in zip(record.head, record.values, strict=True):
            if self._limit is not None and len(self._rows) >= self._limit:
                return
            fields = json.dumps({n: int(head[n]) for n in names}).encode()
            self._rows.append((fields, values.copy()))

    def compare(self, other: Tape) -> dict[str, Any]:
        """Projections that both have, how many of them differ, and the first difference."""
        count = min(len(self), len(other))
        differing = [
            i
            for i in range(count)
            if self._rows[i][0] != other._rows[i][0] or not np.array_equal(self._rows[i][1], other._rows[i][1])
        ]
        first = None
        if differing:
            (head_a, a), (head_b, b) = self._rows[differing[0]], other._rows[differing[0]]
            where = np.flatnonzero(a != b) if a.shape == b.shape else np.array([0])
            first = {
                "projection": differing[0],
                "heads": [json.loads(head_a), json.loads(head_b)],
                "output": int(where[0]) if len(where) else None,
                "integers": [int(a[where[0]]), int(b[where[0]])] if len(where) else None,
            }
        integers = sum(self._rows[i][1].size for i in range(count))
        return {"projections": count, "integers": integers, "mismatches": len(differing), "first_difference": first}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the demonstration."""
    add = parser.add_argument
    add("--data", default="auto", help="as for `openopu train`; auto: Fashion-MNIST, or the digits where it is missing")
    add("--device", default="twin:", metavar="URL", help="trains (default: %(default)s)")
    add("--replay", default="rtl:verilator", metavar="URL", help="repeats the first updates (default: %(default)s)")
    add("--replay-steps", type=int, default=8, metavar="N", help="updates to repeat (default: %(default)s)")
    add("--epochs", type=int, help="epochs (default: 3 for Fashion-MNIST, 20 for the digits)")
    add("--seed", type=int, default=0, metavar="S")
    add("--train-images", type=int, metavar="N", help="only the first N training images")
    add("--out", default="build/demo", metavar="DIR", help="folder for all results (default: %(default)s)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The whole demonstration; returns its results. Raises :class:`OpenopuError` with the next step."""
    started = time.perf_counter()
    if args.replay_steps < 1:
        raise UsageError(f"{args.replay_steps} is out of range", "--replay-steps", "Take at least 1")
    for url in (args.device, args.replay):  # before the training, not after it
        known_scheme(url)
    quiet = getattr(args, "json", False)
    say = Console(stderr=True, quiet=quiet, highlight=False).print
    data = choose_data(args.data, say).head(args.train_images)
    epochs = (3 if data.name == "fashion-mnist" else 20) if args.epochs is None else args.epochs
    config = TrainConfig(data=data.name, epochs=epochs, seed=args.seed, train_images=args.train_images)
    out = fresh_folder(Path(args.out))
    tape = Tape(args.replay_steps * config.batch)

    say(f"Training {'-'.join(map(str, (data.inputs, *config.hidden, data.classes)))} on {data.name} "
        f"({len(data.train_labels):,} images) by direct feedback alignment through {args.device}")  # fmt: skip
    with RunFolder(out) as folder:
        folder.begin(resume=False)
        with openopu.open(args.device) as opu:
            results = train(config, data, opu, folder, quiet=quiet, tap=tape)
            history = json.loads(folder.record.read_text())["history"]
            files = draw_history(history, out, f"{data.name}: {results['test_accuracy']:.2%} of test images right")
            files += draw_optics(opu, out)
    say(f"Test accuracy {results['test_accuracy']:.2%} after {epochs} epochs, {results['projections']:,} projections")

    say(f"Repeating the first {args.replay_steps} updates through {args.replay} and, for the weights, {args.device}")
    ours = replay(args.device, config, data, args.replay_steps, quiet=True)
    theirs = replay(args.replay, config, data, args.replay_steps, quiet=quiet)
    comparison = tape.compare(theirs["tape"])
    weights_equal = ours["weights_sha256"] == theirs["weights_sha256"]
    identical = comparison["mismatches"] == 0 and comparison["projections"] > 0 and weights_equal
    if pictures.budget_shares(theirs["counters"]):
        files.append(out / "cycles.png")
        pictures.cycle_budget(theirs["counters"], files[-1], args.replay)
    summary = {
        "ok": identical,
        "identical": identical,
        "comparison": comparison,
        "weights_equal": weights_equal,
        "replay_device": args.replay,
        "replay_gateware": theirs["gateware"],
        "replay_seconds": theirs["seconds"],
        "replay_counters": theirs["counters"],
        "pictures": [str(f) for f in files],
        "record": str(out / "run.json"),
        "checkpoint": str(out / "checkpoint.npz"),
        **{k: results[k] for k in ("test_accuracy", "train_accuracy", "projections", "device", "gateware", "data")},
        "weights_sha256": results["weights_sha256"],
        "training_seconds": results["seconds"],
        "seconds": time.perf_counter() - started,
    }
    write_atomic(out / RESULT_FILE, (json.dumps(summary, indent=2) + "\n").encode())
    verdict = "identical" if identical else "DIFFERENT"
    say(f"{comparison['projections']:,} projections, {comparison['integers']:,} integers: {verdict}. See {out}")
    return summary


def choose_data(name: str, say: Any) -> Dataset:
    """The data set; ``auto``: Fashion-MNIST, or the digits, said aloud, where it cannot be had."""
    if name != "auto":
        return load(name)
    try:
        return load("fashion-mnist")
    except DataError as error:
        say(f"{error}")
        say("Taking the embedded digits instead")
        return load("digits")


def fresh_folder(path: Path) -> Path:
    """``path``, or the first of ``path-2``, ``path-3`` ... that holds no run yet: no result is ever overwritten."""
    number = 1
    chosen = path
    while (chosen / "checkpoint.npz").exists():
        number += 1
        chosen = path.with_name(f"{path.name}-{number}")
    return chosen


def replay(url: str, config: TrainConfig, data: Dataset, steps: int, *, quiet: bool) -> dict[str, Any]:
    """The first ``steps`` updates of a run on the device ``url``, calibration included: integers and weights."""
    tape = Tape()
    with openopu.open(url) as opu:
        feedback = make_feedback(config, opu, data.classes)
        if not isinstance(feedback, OpticalFeedback):
            raise OpenopuError(f"{config.feedback} feedback makes no projections", "replay", "Take optical feedback")
        feedback.prepare(config.fill)
        feedback.tap = tape
        trainer = Trainer(config, data, feedback)
        # The cycle budget is that of the training, not of the calibration.
        opu.clear_counters()
        started = time.perf_counter()
        with TrainingProgress(1, steps, trainer.batch, quiet=quiet) as progress:
            trainer.run(None, _Only(progress, steps), stop_after=steps)
        return {
            "tape": tape,
            "weights_sha256": trainer.weights_sha256(),
            "seconds": time.perf_counter() - started,
            "counters": opu.counters(),
            "gateware": opu.gateware,
        }


class _Only:
    """Shows a run of ``steps`` updates as one whole bar."""

    def __init__(self, progress: TrainingProgress, steps: int) -> None:
        self._progress, self._steps, self._done = progress, steps, 0

    def stepped(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self._done += 1
        self._progress.stepped(0, self._done, self._steps, loss)

    def epoch_ended(self, entry: dict[str, Any]) -> None:
        pass


def draw_optics(opu: Opu, folder: Path) -> list[Path]:
    """Panel and camera frame of one pattern of the configured encoding; returns the pictures' files."""
    error = generator((1,)).random((1, opu.components)) - 0.5
    planes = opu.layout.expand(opu.encoding.encode(error, (1,)).planes)
    plane = planes[0, 0]
    shot = dataclasses.replace(opu.settings.program.shots[0], plane=0, invert=False)
    files = [folder / "panel.png", folder / "speckle.png"]
    pictures.slm_pattern(pictures.panel_levels(opu.geometry, plane, shot), opu.geometry, files[0])
    pictures.speckle(opu.capture(plane), opu.geometry, files[1])
    return files
