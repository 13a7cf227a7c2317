"""What a training step costs: exact feedback against back-propagation, and where its time goes."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from .config import TrainConfig
from .data import Dataset
from .feedback import Backpropagation, Feedback, MatrixFeedback
from .trainer import PARTS, Trainer


def synthetic(inputs: int = 784, images: int = 4096, classes: int = 10, seed: int = 0) -> Dataset:
    """Random images and labels, by default of Fashion-MNIST's shape: a step costs the same whatever it learns."""
    rng = np.random.Generator(np.random.Philox(seed))
    pixels = rng.integers(0, 256, (images, inputs), dtype=np.uint8)
    labels = rng.integers(0, classes, images, dtype=np.uint8)
    return Dataset("synthetic", pixels, labels, pixels[:1], labels[:1], (1, inputs), classes, "random numbers")


def step_vs_backprop(
    hidden: tuple[int, ...] = (256, 256, 256), batch: int = 64, steps: int = 20, rounds: int = 15, threads: int = 1
) -> dict[str, Any]:
    """Time of a step with exact feedback over that of the same step by back-propagation.

    Both networks take turns, ``steps`` updates each in ``rounds`` rounds of one process, in changing order, so that
    a machine that gets busier or warmer slows both. Returns the ratio of the median times, and the times in
    milliseconds behind it.
    """
    data = synthetic()
    config = TrainConfig(hidden=hidden, batch=batch, feedback="ideal", schedule="constant")
    rng = np.random.Generator(np.random.Philox(1))
    matrix = rng.standard_normal((sum(hidden), data.classes))
    rules: dict[str, Feedback] = {"feedback": MatrixFeedback(matrix, hidden), "backprop": Backpropagation()}
    trainers = {name: Trainer(config, data, rule) for name, rule in rules.items()}
    index = np.arange(len(data.train_labels))
    times: dict[str, list[float]] = {name: [] for name in trainers}
    with threadpool_limits(threads, user_api="blas"):
        for name in trainers:
            _time_steps(trainers[name], index, batch, steps)  # memory is touched, caches and clock are warm
        for round_ in range(rounds):
            order = list(trainers) if round_ % 2 else list(trainers)[::-1]
            for name in order:
                times[name].append(1e3 * _time_steps(trainers[name], index, batch, steps) / steps)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "step_vs_backprop": medians["feedback"] / medians["backprop"],
        "feedback_ms": times["feedback"],
        "backprop_ms": times["backprop"],
        "parts_ms": {name: part_table(trainer, steps * (rounds + 1)) for name, trainer in trainers.items()},
        "network": [data.inputs, *hidden, data.classes],
        "batch": batch,
        "threads": threads,
    }


def _time_steps(trainer: Trainer, index: np.ndarray, batch: int, steps: int) -> float:
    per_pass = len(index) // batch
    started = time.perf_counter()
    for step in range(steps):
        start = step % per_pass * batch
        trainer.train_step(index[start : start + batch])
    return time.perf_counter() - started


def part_table(trainer: Trainer, steps: int) -> dict[str, float]:
    """Milliseconds of each part of a step, the mean over ``steps``."""
    return {part: 1e3 * trainer.parts[part] / steps for part in PARTS}
