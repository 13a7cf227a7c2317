"""The training loop: batches through the network, errors through the feedback, updates, checkpoints, history."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from openopu.errors import OpenopuError, UsageError
from openopu.memory import shortage

from .checkpoint import CheckpointError, array_sha256
from .config import TrainConfig
from .data import Dataset
from .feedback import Feedback
from .networks import Network, Workspace
from .optimisers import learning_rate, optimiser

EVALUATION_ROWS = 1000
"""Rows of one evaluation pass: large enough for the matrix products, small enough for the caches."""
PROBE_ROWS = 256
"""Rows of the fixed batch on which the angles between updates are measured."""
_ORDER, _PROBE = 1, 2  # purposes that keep the random draws of a run apart

PARTS = ("load", "forward", "submit", "wait", "deltas", "gradients", "update")
"""What a step's time is booked on: reading the batch, forward pass and error, encoding and sending errors,
waiting for the feedback, deltas, weight gradients, optimiser."""


class Diverged(OpenopuError):
    """The loss is no longer a number."""


PARAMETER_COPIES = 8
"""Parameters, gradients, two moments, a partial sum of each of two workspaces, and two updates to compare."""


class Observer(Protocol):
    """Hears of the progress of a run."""

    def stepped(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """``step`` of ``steps`` in ``epoch`` (from 0) is done; ``loss`` is the epoch's mean so far."""

    def epoch_ended(self, entry: dict[str, Any]) -> None:
        """An epoch's entry of the history is complete."""


class Silent:
    """An observer that says nothing."""

    def stepped(self, epoch: int, step: int, steps: int, loss: float) -> None:
        pass

    def epoch_ended(self, entry: dict[str, Any]) -> None:
        pass


class Store(Protocol):
    """Where checkpoints go."""

    def save(self, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None: ...


def _check_memory(sizes: Sequence[int], batch: int) -> None:
    """Raise :class:`UsageError` for a network that this machine cannot hold, before it begins to swap."""
    parameters = sum((i + 1) * o for i, o in pairwise(sizes))
    needed = 4 * (PARAMETER_COPIES * parameters + 3 * (batch + EVALUATION_ROWS) * sum(sizes))
    if short := shortage(needed):
        raise UsageError(
            f"training {parameters:,} parameters takes {short}",
            "--hidden",
            "Take fewer units, or a smaller --batch",
        )


def permutation(count: int, *key: int) -> NDArray[np.intp]:
    """Permutation of ``count`` that ``key`` names. From sorted doubles: NumPy keeps that stream over its versions."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(list(key))))
    return np.argsort(generator.random(count), kind="stable")


class Trainer:
    """One run. All that its future depends on is in :meth:`state`, and comes back by :meth:`restore`.

    Parameters
    ----------
    config, data : what to do, on what
    feedback : teaches the hidden layers
    """

    def __init__(self, config: TrainConfig, data: Dataset, feedback: Feedback) -> None:
        self.config = config
        self.data = data
        self.data_sha256 = data.sha256()
        self.feedback = feedback
        _check_memory((data.inputs, *config.hidden, data.classes), config.batch)
        self.network = Network((data.inputs, *config.hidden, data.classes), config.activation, config.seed)
        self.batch = min(config.batch, len(data.train_labels))
        self.workspace = Workspace(self.network, self.batch)
        # Without feedback only the last layer is trained; it lies at the end of the parameters.
        self._trained = (
            range(self.network.layers) if feedback.teaches else range(self.network.layers - 1, self.network.layers)
        )
        span = slice(self.network.spans[self._trained[0]].start, None)
        self._parameters, self._gradients = self.network.parameters[span], self.network.gradients[span]
        self.optimiser = optimiser(config.optimiser, self._parameters)
        mean, deviation = data.statistics()
        self._scale = np.float32(1 / deviation if deviation else 1)
        self._offset = np.float32(-mean * float(self._scale))
        self._bytes = np.empty((max(self.batch, EVALUATION_ROWS), data.inputs), np.uint8)
        self._targets = np.zeros((self.batch, sum(config.hidden)), np.float32)
        ends = np.cumsum((0, *config.hidden)).tolist()
        self._slices = [slice(a, b) for a, b in pairwise(ends)]
        self._evaluation: Workspace | None = None
        self.steps_per_epoch = -(-len(data.train_labels) // self.batch)
        self.epoch = 0
        self.step = 0
        self._loss_sum = 0.0
        self._rows_seen = 0
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._epoch_seconds = 0.0
        self._epoch_projections = 0
        self.parts = dict.fromkeys(PARTS, 0.0)

    # --- the run ---------------------------------------------------------------------------------------------

    def run(self, store: Store | None = None, observer: Observer | None = None, stop_after: int | None = None) -> None:
        """Train to the end of the last epoch, or for ``stop_after`` steps.

        Raises :class:`Diverged`, and what feedback and store raise; the last checkpoint then stands.
        """
        with threadpool_limits(self.config.threads, user_api="blas"):
            self._run(store, observer or Silent(), stop_after)

    def _run(self, store: Store | None, observer: Observer, stop_after: int | None) -> None:
        started = time.perf_counter()
        done = 0
        while self.epoch < self.config.epochs:
            order = permutation(len(self.data.train_labels), self.config.seed, _ORDER, self.epoch)
            while self.step < self.steps_per_epoch:
                if done == stop_after:
                    return
                self.train_step(order[self.step * self.batch : (self.step + 1) * self.batch])
                done += 1
                observer.stepped(self.epoch, self.step, self.steps_per_epoch, self._loss_sum / self._rows_seen)
                if (
                    store is not None
                    and self.step % self.config.checkpoint_steps == 0
                    and self.step < self.steps_per_epoch
                ):
                    started = self._book_time(started)
                    self.save(store)
            entry = self._end_epoch(started)
            started = time.perf_counter()
            observer.epoch_ended(entry)
            if store is not None:
                self.save(store)

    def train_step(self, index: NDArray[np.intp]) -> None:
        """One update from the training images ``index``.

        The errors of each chunk of rows leave for the device as soon as they are known, and the next chunk's
        forward pass runs while it works; the output layer's gradient is computed while it works on the last one,
        and each chunk's gradients while it works on the next.
        """
        config, workspace, feedback = self.config, self.workspace, self.feedback
        labels = self.data.train_labels[index]
        count = len(index)
        clock = self._clock
        with clock("load"):
            self._load(self.data.train_images, index, workspace.inputs[:count])
        chunks = list(self._chunks(count))
        for number, rows in enumerate(chunks):
            with clock("forward"):
                workspace.forward(rows)
                loss, _ = workspace.compare(labels[rows], rows)
            self._loss_sum += loss
            with clock("submit"):
                feedback.submit(workspace.errors[rows], (config.seed, self.epoch, self.step, number))
        if not math.isfinite(self._loss_sum):
            raise Diverged(
                f"the loss is {self._loss_sum} in epoch {self.epoch + 1}, step {self.step + 1}",
                "training",
                "Lower --learning-rate",
            )
        self._rows_seen += count
        self._gradient(count, chunks, 1.0 / count)
        with clock("update"):
            steps = self.config.epochs * self.steps_per_epoch
            rate = learning_rate(config.schedule, config.learning_rate, self.optimiser.steps, steps)
            self.optimiser.step(self._parameters, self._gradients, rate)
        self.step += 1

    def _gradient(self, count: int, chunks: list[slice], scale: float) -> None:
        """Gradients of the trained layers, from errors that have been submitted."""
        workspace, clock, last = self.workspace, self._clock, self.network.layers - 1
        whole = slice(0, count)
        with clock("gradients"):
            workspace.errors[whole] *= scale
            workspace.gradients(range(last, last + 1), whole)
        if not self.feedback.teaches:
            return
        for number, rows in enumerate(chunks):
            if self.feedback.propagates:
                with clock("deltas"):
                    workspace.backpropagate(rows)
            else:
                targets = self._targets[rows]
                with clock("wait"):
                    self.feedback.collect(workspace.errors[rows], scale, targets)
                with clock("deltas"):
                    workspace.hidden_deltas([targets[:, part] for part in self._slices], rows)
            with clock("gradients"):
                workspace.gradients(range(last), rows, accumulate=number > 0)

    def _chunks(self, count: int) -> Iterator[slice]:
        size = min(self.config.chunk, count) if self.feedback.streams else count
        for start in range(0, count, size):
            yield slice(start, min(start + size, count))

    def _load(self, images: NDArray[np.uint8], index: NDArray[np.intp] | slice, out: NDArray[Any]) -> None:
        """Standardise images into ``out``: mean 0 and deviation 1 over all pixels of the training images."""
        if isinstance(index, slice):
            rows = images[index]
        else:
            rows = self._bytes[: len(index)]
            np.take(images, index, axis=0, out=rows, mode="clip")
        np.multiply(rows, self._scale, out=out)
        out += self._offset

    @contextmanager
    def _clock(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.parts[part] += time.perf_counter() - started

    # --- measurements ----------------------------------------------------------------------------------------

    def _end_epoch(self, started: float) -> dict[str, Any]:
        parts = dict(self.parts)  # what the measurements take is no part of a step
        angles = self.alignment()
        self.parts = parts
        train_loss, train_accuracy = self.evaluate(self.data.train_images, self.data.train_labels)
        test_loss, test_accuracy = self.evaluate(self.data.test_images, self.data.test_labels)
        self._book_time(started)
        entry: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "loss": self._loss_sum / self._rows_seen,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "alignment_degrees": angles,
            "learning_rate": learning_rate(
                self.config.schedule, self.config.learning_rate, self.optimiser.steps - 1,
                self.config.epochs * self.steps_per_epoch,
            ),
            "projections": self.feedback.projections - self._epoch_projections,
            "seconds": self.seconds - self._epoch_seconds,
        }  # fmt: skip
        if not math.isfinite(entry["loss"] + train_loss + test_loss):
            raise Diverged(f"the loss is not finite after epoch {self.epoch + 1}", "training", "Lower --learning-rate")
        self.history.append(entry)
        self.epoch += 1
        self.step = 0
        self._loss_sum, self._rows_seen = 0.0, 0
        self._epoch_seconds, self._epoch_projections = self.seconds, self.feedback.projections
        return entry

    def evaluate(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[float, float]:
        """Mean loss (nats) and accuracy (0 to 1) on labelled images."""
        if self._evaluation is None:
            self._evaluation = Workspace(self.network, EVALUATION_ROWS)
        loss, right = 0.0, 0
        for start in range(0, len(labels), EVALUATION_ROWS):
            part = slice(start, min(start + EVALUATION_ROWS, len(labels)))
            rows = slice(0, part.stop - start)
            self._load(images, part, self._evaluation.inputs[rows])
            self._evaluation.forward(rows)
            more_loss, more_right = self._evaluation.compare(labels[part], rows)
            loss += more_loss
            right += more_right
        return loss / len(labels), right / len(labels)

    def alignment(self) -> list[float | None]:
        """Angle in degrees between this rule's update and the back-propagated one, for each hidden layer.

        Measured on the first rows of the training images in a fixed order. None where one of the two is zero.
        """
        hidden = self.network.layers - 1
        if not self.feedback.teaches:
            return [None] * hidden
        workspace = self.workspace
        index = permutation(len(self.data.train_labels), self.config.seed, _PROBE)[:PROBE_ROWS]
        ours = np.zeros_like(self.network.parameters)
        exact = np.zeros_like(self.network.parameters)
        for number, start in enumerate(range(0, len(index), self.batch)):
            part = index[start : start + self.batch]
            self._load(self.data.train_images, part, workspace.inputs[: len(part)])
            whole = slice(0, len(part))
            workspace.forward(whole)
            workspace.compare(self.data.train_labels[part], whole)
            # Keys of the probe: its step lies after the epoch's last one.
            self.feedback.submit(workspace.errors[whole], (self.config.seed, self.epoch, self.steps_per_epoch, number))
            self._gradient(len(part), [whole], 1.0)
            ours += self.network.gradients
            workspace.backpropagate(whole)
            workspace.gradients(range(hidden), whole)
            exact += self.network.gradients
        angles: list[float | None] = []
        for span in self.network.spans[:hidden]:
            a, b = ours[span].astype(np.float64), exact[span].astype(np.float64)
            length = float(np.linalg.norm(a) * np.linalg.norm(b))
            angles.append(math.degrees(math.acos(min(1.0, max(-1.0, float(a @ b) / length)))) if length else None)
        return angles

    # --- state -----------------------------------------------------------------------------------------------

    def _book_time(self, started: float) -> float:
        now = time.perf_counter()
        self.seconds += now - started
        return now

    def weights_sha256(self) -> str:
        """Hash of all weights and biases."""
        return array_sha256({"parameters": self.network.parameters})

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """``(meta, arrays)``: JSON-able values and arrays that :meth:`restore` takes back."""
        meta = {
            "config": self.config.as_json(),
            "data_sha256": self.data_sha256,
            "position": {"epoch": self.epoch, "step": self.step, "updates": self.optimiser.steps},
            "sums": {
                "loss": self._loss_sum,
                "rows": self._rows_seen,
                "seconds": self.seconds,
                "epoch_seconds": self._epoch_seconds,
                "epoch_projections": self._epoch_projections,
            },
            "history": self.history,
            "feedback": self.feedback.state(),
        }
        arrays = {"parameters": self.network.parameters}
        arrays |= {f"optimiser.{name}": value for name, value in self.optimiser.state.items()}
        arrays |= {f"feedback.{name}": value for name, value in self.feedback.arrays().items()}
        return meta, arrays

    def save(self, store: Store) -> None:
        store.save(*self.state())

    def restore(self, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Continue where :meth:`state` was taken.

        Raises :class:`openopu.train.checkpoint.CheckpointError` where settings, data or device are others.
        """
        refuse_other_settings(meta["config"], self.config.as_json())
        if meta["data_sha256"] != self.data_sha256:
            raise CheckpointError(
                f"the run was begun on other data than {self.data.name} from {self.data.source} holds now",
                "--resume",
                "Resume with the same data, or begin the run again in another folder",
            )
        targets = {"parameters": self.network.parameters}
        targets |= {f"optimiser.{name}": value for name, value in self.optimiser.state.items()}
        for name, target in targets.items():
            if name not in arrays or arrays[name].shape != target.shape or arrays[name].dtype != target.dtype:
                raise CheckpointError(f"the checkpoint's {name} does not fit the network", "--resume")
        prefix = "feedback."
        self.feedback.restore(
            meta["feedback"], {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
        )
        for name, target in targets.items():
            np.copyto(target, arrays[name])
        self.epoch, self.step = meta["position"]["epoch"], meta["position"]["step"]
        self.optimiser.steps = meta["position"]["updates"]
        sums = meta["sums"]
        self._loss_sum, self._rows_seen, self.seconds = sums["loss"], sums["rows"], sums["seconds"]
        self._epoch_seconds, self._epoch_projections = sums["epoch_seconds"], sums["epoch_projections"]
        self.history = meta["history"]


def refuse_other_settings(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise :class:`CheckpointError` that names the settings in which a resumed run differs from its beginning."""
    # How often a run is saved does not change what comes out of it.
    names = sorted((then.keys() | now.keys()) - {"checkpoint_steps"})
    other = [f"{n} {then.get(n)!r} (now {now.get(n)!r})" for n in names if then.get(n) != now.get(n)]
    if other:
        raise CheckpointError(
            f"the run was begun with {', '.join(other)}",
            "--resume",
            "Resume with the same settings, or begin another run in another folder",
        )
