"""Train a network whose hidden layers are taught by a device, with checkpoints and a run record."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from openopu_rtl.protocol import Record

import openopu
from openopu import Encoding, Opu, schemes
from openopu.calibration import Calibration, MediumDrifted
from openopu.calibration import load as load_calibration
from openopu.calibration.monitor import STOP, WARN, Monitor
from openopu.encoding import KINDS, ROUNDINGS
from openopu.errors import Interrupted, UsageError, whole
from openopu.measure import unsettled

from .checkpoint import RunFolder
from .config import AUTO, FEEDBACKS, SCHEMES, TrainConfig
from .data import Dataset, load
from .feedback import Backpropagation, Feedback, NoFeedback
from .networks import ACTIVATIONS
from .optical import IdealFeedback, OpticalFeedback
from .optimisers import OPTIMISERS, SCHEDULES
from .progress import TrainingProgress
from .record import run_record
from .trainer import Trainer

log = logging.getLogger("openopu")

MAX_AGE_H = 24.0
"""Oldest calibration that a run takes, where nothing is said."""


def _units(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of layer widths such as 256,256,256") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command; their defaults are those of :class:`TrainConfig`."""
    default = TrainConfig()
    add = parser.add_argument
    add(
        "--data",
        default=default.data,
        metavar="{digits,fashion-mnist,DIR}",
        help="images: embedded digits, Fashion-MNIST, or a folder of four IDX files (default: %(default)s)",
    )
    add("--device", default="twin:", metavar="URL", help="device that teaches the hidden layers (default: %(default)s)")
    add("--hidden", type=_units, default=default.hidden, metavar="N,N,...", help="units of each hidden layer")
    add(
        "--feedback",
        choices=FEEDBACKS,
        default=default.feedback,
        help="optical: through the device; ideal: its matrix in floating point; backprop; none: last layer only",
    )
    add(
        "--scheme",
        choices=SCHEMES,
        default=default.scheme,
        help="how the device multiplies; auto: complement, of a phase panel phase",
    )
    add("--encoding", choices=KINDS, default=default.encoding, help="values that an error takes on the modulator")
    add("--rounding", choices=ROUNDINGS, default=default.rounding, help="how errors become such values")
    add("--threshold", type=float, default=default.threshold, help="of the threshold rounding (default: %(default)s)")
    add("--bits", type=int, metavar="B", help=f"of the encoding bits (default: {default.bits})")
    add("--activation", choices=ACTIVATIONS, default=default.activation)
    add("--optimizer", choices=OPTIMISERS, default=default.optimiser)
    add("--learning-rate", type=float, default=default.learning_rate, help="at the beginning (default: %(default)s)")
    add("--schedule", choices=SCHEDULES, default=default.schedule, help="of the learning rate")
    add("--batch", type=int, default=default.batch, help="images of one update (default: %(default)s)")
    add("--chunk", type=int, default=default.chunk, help="rows sent to the device at once (default: %(default)s)")
    add("--epochs", type=int, default=default.epochs, metavar="N", help="(default: %(default)s)")
    add("--seed", type=int, default=default.seed, metavar="S", help="of weights, order and rounding")
    add(
        "--fill",
        type=float,
        help=f"exposure: mean pixel as a fraction of full scale (default: {default.fill}, or as calibrated)",
    )
    add("--train-images", type=int, metavar="N", help="only the first N training images")
    add("--test-images", type=int, metavar="N", help="only the first N test images")
    add(
        "--threads",
        type=int,
        default=default.threads,
        metavar="N",
        help="of the matrix products; the last bit of the weights depends on it (default: %(default)s)",
    )
    add("--out", metavar="DIR", help="folder for checkpoint and run record (default: keep nothing)")
    add("--resume", action="store_true", help="continue the run in --out; begin it if there is none")
    add(
        "--checkpoint-steps",
        type=int,
        default=default.checkpoint_steps,
        metavar="N",
        help="updates between checkpoints within an epoch (default: %(default)s)",
    )
    add(
        "--calibration", metavar="FILE", help="of the device (`openopu calibrate`): exposure, level table, good outputs"
    )
    add("--max-age", type=float, metavar="HOURS", help=f"of the calibration (default: {MAX_AGE_H:g})")
    add("--max-exposures", type=int, metavar="N", help="from the calibration to the run's beginning (default: any)")
    add("--monitor-every", type=int, metavar="N", help="projections between two looks at the medium")
    add("--monitor-warn", type=float, metavar="C", help=f"correlation that is reported (default: {WARN})")
    add("--monitor-stop", type=float, metavar="C", help=f"correlation that stops the run (default: {STOP})")
    add("--pictures", action="store_true", help="also draw loss, accuracy and angles into --out")
    add("--arm", action="store_true", help="arm the laser of a real device")


def config_of(args: argparse.Namespace) -> TrainConfig:
    """The settings that the options give. Raises :class:`UsageError`."""
    values = {f.name: getattr(args, f.name) for f in dataclasses.fields(TrainConfig) if f.name != "optimiser"}
    if args.fill is None:
        values["fill"] = TrainConfig.fill
    elif args.calibration is not None:
        raise UsageError(
            "the exposure is that of the calibration",
            "--fill",
            "Leave it out, or give it to `openopu calibrate` and train with that file",
        )
    if args.bits is None:
        values["bits"] = TrainConfig.bits
    elif args.encoding != "bits":
        raise UsageError(f"the encoding {args.encoding} has no bits to choose", "--bits", "Add --encoding bits")
    return TrainConfig(**values, optimiser=args.optimizer)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train, and return what came of it. Raises :class:`OpenopuError` with the next step."""
    config = config_of(args)
    if config.threads > (os.cpu_count() or 1):
        raise UsageError(
            f"{config.threads} threads exceed this machine's {os.cpu_count()} cores", "--threads", "Take fewer"
        )
    if args.out is not None and not args.out.strip():
        raise UsageError("the folder has no name", "--out", "Write --out DIR; --out . for this one")
    if args.out is None and (args.resume or args.pictures):
        raise UsageError("there is no folder", "--out", "Give the run's folder with --out DIR")
    data = load(config.data).head(config.train_images, config.test_images)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(RunFolder(args.out)) if args.out is not None else None
        resuming = folder.begin(resume=args.resume) if folder else False
        opu = stack.enter_context(openopu.open(args.device, arm=args.arm)) if config.uses_device else None
        monitor = _monitor(args, opu)
        return train(config, data, opu, folder, resume=resuming, quiet=getattr(args, "json", False),
                     pictures=args.pictures, monitor=monitor)  # fmt: skip


def _monitor(args: argparse.Namespace, opu: Opu | None) -> Monitor | None:
    """What compares the device with the calibration that was given. Raises :class:`UsageError` where it cannot hold."""
    if args.calibration is None:
        for name in ("max_age", "max_exposures", "monitor_every", "monitor_warn", "monitor_stop"):
            if getattr(args, name) is not None:
                raise UsageError(
                    "there is nothing to compare with", f"--{name.replace('_', '-')}", "Give --calibration FILE"
                )
        return None
    if opu is None:
        raise UsageError("this feedback uses no device", "--calibration", "Leave it out")
    if args.monitor_every and args.feedback == "ideal":
        raise UsageError(
            "the feedback ideal projects nothing that looks could come between",
            "--monitor-every",
            "Leave it out (the medium is compared once, before the run), or take --feedback optical",
        )
    max_age_h = MAX_AGE_H if args.max_age is None else args.max_age
    if not max_age_h >= 0:
        raise UsageError(f"{max_age_h} is no age", "--max-age", "Give hours, 0 or more")
    if args.max_exposures is not None:
        whole(args.max_exposures, "--max-exposures", 0)
    calibration = load_calibration(args.calibration)
    calibration.check(opu, max_age_h * 3600, None if args.resume else args.max_exposures)
    warn, stop = (WARN if args.monitor_warn is None else args.monitor_warn,
                  STOP if args.monitor_stop is None else args.monitor_stop)  # fmt: skip
    return Monitor(opu, calibration, args.monitor_every or 0, warn, stop)


def make_feedback(
    config: TrainConfig, opu: Opu | None, classes: int, calibration: Calibration | None = None
) -> Feedback:
    """The feedback that the settings name. Raises :class:`UsageError` where it needs a device and has none."""
    if config.feedback == "backprop":
        return Backpropagation()
    if config.feedback == "none":
        return NoFeedback()
    if opu is None:
        raise UsageError("there is no device", f"feedback {config.feedback}", "Give one with --device URL")
    encoding = Encoding(config.encoding, config.rounding, config.threshold, config.bits)
    if calibration:
        calibration.apply(opu)  # first: a scheme's levels are those behind the level table
    scheme = schemes.make(None if config.scheme == AUTO else config.scheme, encoding, opu.panel)
    cls = IdealFeedback if config.feedback == "ideal" else OpticalFeedback
    return cls(opu, config.hidden, classes, scheme, calibration)


def train(
    config: TrainConfig,
    data: Dataset,
    opu: Opu | None = None,
    folder: RunFolder | None = None,
    *,
    resume: bool = False,
    quiet: bool = True,
    pictures: bool = False,
    tap: Callable[[Record], None] | None = None,
    monitor: Monitor | None = None,
) -> dict[str, Any]:
    """Run a training on an opened device, with checkpoints and a record in ``folder``. Returns the results.

    ``tap`` is called with the records of every optical feedback, in order. ``monitor`` brings the calibration to use,
    and looks at the medium between updates.
    """
    feedback = make_feedback(config, opu, data.classes, monitor.calibration if monitor else None)
    if isinstance(feedback, OpticalFeedback):
        feedback.tap = tap
    trainer = Trainer(config, data, feedback)
    calibration: dict[str, Any] | None = None
    if resume and folder is not None:
        trainer.restore(*folder.load())
        calibration = folder.calibration()
    if monitor is not None:
        monitor.verify()
        monitor.seen = feedback.projections
    if not resume and isinstance(feedback, OpticalFeedback | IdealFeedback):
        report = feedback.prepare(config.fill)
        calibration = dataclasses.asdict(report) if report else None
    if monitor is not None:
        calibration = {"sha256": monitor.calibration.sha256, "created": monitor.calibration.created, "warnings": []}
    warnings = list(calibration["warnings"]) if calibration else []
    if opu is not None and (text := unsettled(opu)):
        log.warning("%s: %s", opu.device.url, text)
        warnings.append(text)
    device = describe_device(opu) if opu else None

    def write_record(results: dict[str, Any] | None = None) -> None:
        if folder is not None:
            folder.write_record(
                run_record(
                    config=config.as_json(), device=device, data=describe_data(data, trainer.data_sha256),
                    history=trainer.history, results=results, calibration=calibration, warnings=warnings,
                )
            )  # fmt: skip

    with _said_where(folder, trainer):
        write_record()
        if folder is not None and not resume:
            trainer.save(folder)
        done = trainer.epoch * trainer.steps_per_epoch + trainer.step
        with TrainingProgress(config.epochs, trainer.steps_per_epoch, trainer.batch, done, quiet=quiet) as progress:
            trainer.run(folder, _Recording(progress, write_record, trainer, folder, monitor))
    results = summarise(trainer, opu, warnings)
    if monitor is not None:
        results["monitor"] = [dataclasses.asdict(look) for look in monitor.history]
    write_record(results)
    if pictures and folder is not None:
        draw_history(trainer.history, folder.path, f"{data.name}, {config.feedback} feedback")
    return results | ({"out": str(folder.path)} if folder else {})


def draw_history(history: list[dict[str, Any]], folder: Path, title: str) -> list[Path]:
    """Pictures of loss, accuracy and angles over the epochs; returns their files."""
    from . import pictures

    files = [folder / "curves.png", folder / "alignment.png"]
    pictures.learning_curves(history, files[0], title)
    pictures.alignment_angles(history, files[1])
    return files


class _Recording:
    """Passes progress on, brings the run record up to date after each epoch, and has the medium looked at."""

    def __init__(
        self,
        progress: TrainingProgress,
        write: Callable[[], None],
        trainer: Trainer,
        folder: RunFolder | None,
        monitor: Monitor | None,
    ) -> None:
        self._progress, self._write = progress, write
        self._trainer, self._folder, self._monitor = trainer, folder, monitor

    def stepped(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self._progress.stepped(epoch, step, steps, loss)
        if self._monitor is None:
            return
        try:
            self._monitor.due(self._trainer.feedback.projections)
        except MediumDrifted:
            if self._folder is not None:
                self._trainer.save(self._folder)
            raise

    def epoch_ended(self, entry: dict[str, Any]) -> None:
        self._progress.epoch_ended(entry)
        self._write()


@contextlib.contextmanager
def _said_where(folder: RunFolder | None, trainer: Trainer) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        where = f"epoch {trainer.epoch + 1}, step {trainer.step}"
        step = (
            f"Continue with `openopu train --resume --out {folder.path}` and the same settings"
            if folder
            else "With --out DIR it could be resumed"
        )
        raise Interrupted("stopped", where, step) from None


def describe_device(opu: Opu) -> dict[str, Any]:
    """What the run record says of the device."""
    return {
        "url": str(opu.device.url),
        "name": opu.device.name,
        "gateware": opu.gateware,
        "board": opu.identity.board,
        "clock_hz": opu.identity.clock_hz,
        "geometry": dataclasses.asdict(opu.geometry),
    }


def describe_data(data: Dataset, sha256: str) -> dict[str, Any]:
    """What the run record says of the data."""
    return {
        "name": data.name,
        "source": data.source,
        "sha256": sha256,
        "train_images": len(data.train_labels),
        "test_images": len(data.test_labels),
        "inputs": data.inputs,
        "classes": data.classes,
    }


def summarise(trainer: Trainer, opu: Opu | None, warnings: list[str]) -> dict[str, Any]:
    """Results of a finished run. Accuracies are those of the last epoch."""
    last = trainer.history[-1]
    return {
        "test_accuracy": last["test_accuracy"],
        "train_accuracy": last["train_accuracy"],
        "test_error_percent": 100 * (1 - last["test_accuracy"]),
        "loss": last["loss"],
        "alignment_degrees": last["alignment_degrees"],
        "epochs": trainer.epoch,
        "updates": trainer.optimiser.steps,
        "projections": trainer.feedback.projections,
        "seconds": trainer.seconds,
        "seconds_by_part": trainer.parts,
        "device": str(opu.device.url) if opu else None,
        "gateware": opu.gateware if opu else None,
        "repeated": opu.repeated if opu else 0,
        "counters": opu.counters() if opu else None,
        "weights_sha256": trainer.weights_sha256(),
        "feedback": trainer.config.feedback,
        "data": trainer.data.name,
        "scheme": opu.scheme.name if opu and trainer.config.feedback == "optical" else None,
        "seed": trainer.config.seed,
        "warnings": warnings,
    }
