"""What feedback noise costs a network: short trainings on the digits, with and without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openopu.encoding import Encoding, generator
from openopu.train import data
from openopu.train.config import TrainConfig
from openopu.train.feedback import Key, MatrixFeedback
from openopu.train.trainer import Trainer

Array = NDArray[Any]

MEASURED = ((0.0, 0.0), (0.35, 0.09), (0.64, 0.44))
"""Relative noise of the feedback, and test error that it adds, in points: 784-256-256-256-10 on Fashion-MNIST,
stochastic ternary errors, 20 epochs, exact matrix (measured for this project's design)."""

MOST = 90.0
"""Points that noise can add: ten classes are then guessed."""


class NoisyFeedback(MatrixFeedback):
    """Direct feedback alignment with encoded errors and Gaussian noise on the feedback.

    Parameters
    ----------
    matrix, hidden : as of :class:`MatrixFeedback`
    noise : rms of a row's noise over the rms of its feedback, on average
    """

    def __init__(self, matrix: Array, hidden: Sequence[int], noise: float) -> None:
        super().__init__(matrix, hidden)
        self._noise = noise
        self._rms = float(np.sqrt(np.mean(np.square(self._matrix))))
        self._waiting: list[tuple[Array, Array, Key]] = []

    def submit(self, errors: Array, key: Key) -> None:
        encoded = Encoding().encode(errors, key)
        scale = np.zeros(len(errors))
        scale[encoded.kept] = encoded.scale
        self._waiting.append((encoded.decoded().astype(np.float32), scale, key))

    def collect(self, errors: Array, scale: float, out: Array) -> None:
        decoded, row_scale, key = self._waiting.pop(0)
        np.matmul(decoded, self._matrix, out=out)
        if self._noise:
            # A projection's noise grows with the scale that its row was encoded with, not with its length.
            active = float(np.sqrt(np.mean((decoded**2).sum(axis=1)) / max(np.mean(row_scale**2), 1e-30)))
            sigma = self._noise * self._rms * active * row_scale
            noise = generator((*key, 7)).standard_normal(out.shape, dtype=np.float32)
            out += noise * sigma[:, None].astype(np.float32)
        out *= np.float32(scale)


@dataclass(frozen=True)
class Loss:
    interpolated: float
    """Points of test error by :data:`MEASURED`; beyond its end ``extrapolated``, :data:`MOST` at most."""
    trained: float | None
    """Points of test error on the digits, the mean over seeds of noisy less noiseless; None: not trained."""
    trained_error: float | None
    """Standard error of that mean; None: of one seed alone."""
    seeds: int
    extrapolated: bool = False

    @property
    def basis(self) -> str:
        """Where ``interpolated`` comes from, for people."""
        if not self.extrapolated:
            return "interpolated from measured trainings"
        return f"a guess: no training was measured beyond a noise of {MEASURED[-1][0]:.0%}"

    def as_json(self) -> dict[str, Any]:
        return vars(self)


def expected_loss(noise: float, seeds: int = 3, hidden: tuple[int, ...] = (128, 128), epochs: int = 12) -> Loss:
    """What a relative noise of the feedback costs: by interpolation, and by ``seeds`` paired trainings (0: none)."""
    x, y = (np.array(column) for column in zip(*MEASURED, strict=True))
    # Between the table's points, and beyond its end, with the square of the noise.
    slope = (y[-1] - y[-2]) / (x[-1] ** 2 - x[-2] ** 2)
    between = float(np.interp(noise**2, x**2, y)) if noise <= x[-1] else float(y[-1] + slope * (noise**2 - x[-1] ** 2))
    between, beyond = min(between, MOST), bool(noise > x[-1])
    if not seeds:
        return Loss(between, None, None, 0, beyond)
    digits = data.load("digits")
    costs = []
    for seed in range(1, seeds + 1):
        matrix = generator((seed, 41)).standard_normal((sum(hidden), digits.classes))
        errors = []
        for level in (noise, 0.0):
            config = TrainConfig(hidden=hidden, epochs=epochs, seed=seed)
            trainer = Trainer(config, digits, NoisyFeedback(matrix, hidden, level))
            trainer.run()
            errors.append(100 * (1 - trainer.history[-1]["test_accuracy"]))
        costs.append(errors[0] - errors[1])
    error = float(np.std(costs, ddof=1) / np.sqrt(seeds)) if seeds > 1 else None
    return Loss(between, float(np.mean(costs)), error, seeds, beyond)
