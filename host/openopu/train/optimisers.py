"""Optimisers over one vector of parameters, in place, and learning-rate schedules."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

OPTIMISERS = ("adam", "sgd")
SCHEDULES = ("cosine", "constant")
Array = NDArray[Any]

BLOCK = 16384
"""Parameters updated at a time: five such vectors of float32 stay in a core's second-level cache."""


class Optimiser(Protocol):
    """Updates parameters in place; ``state`` is what a checkpoint stores, ``steps`` the updates made."""

    state: dict[str, Array]
    steps: int

    def step(self, parameters: Array, gradients: Array, learning_rate: float) -> None: ...


class Sgd:
    """Stochastic gradient descent with momentum: ``v = momentum v + g``, ``p -= rate v``."""

    def __init__(self, parameters: Array, momentum: float = 0.9) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, not {momentum}")
        self.momentum = momentum
        self.steps = 0
        self.state = {"velocity": np.zeros_like(parameters)}
        self._scratch = np.zeros(min(BLOCK, parameters.size), parameters.dtype)

    def step(self, parameters: Array, gradients: Array, learning_rate: float) -> None:
        self.steps += 1
        velocity = self.state["velocity"]
        for start in range(0, parameters.size, BLOCK):
            block = slice(start, start + BLOCK)
            v = velocity[block]
            scratch = self._scratch[: v.size]
            v *= self.momentum
            v += gradients[block]
            np.multiply(v, learning_rate, out=scratch)
            parameters[block] -= scratch


class Adam:
    """Adam with bias correction (Kingma and Ba, arXiv 1412.6980), in blocks that stay in the cache.

    The moments are stored without their factors ``1 - beta``: one pass less for each.
    """

    def __init__(self, parameters: Array, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.steps = 0
        self.state = {"mean": np.zeros_like(parameters), "square": np.zeros_like(parameters)}
        self._scratch = np.zeros(min(BLOCK, parameters.size), parameters.dtype)

    def step(self, parameters: Array, gradients: Array, learning_rate: float) -> None:
        """One update. ``gradients`` are overwritten (with their squares)."""
        self.steps += 1
        mean_factor = (1 - self.beta1) / (1 - self.beta1**self.steps)
        square_factor = math.sqrt((1 - self.beta2) / (1 - self.beta2**self.steps))
        # p -= rate * mean_factor m / (square_factor sqrt(v) + epsilon), with square_factor divided out.
        rate = learning_rate * mean_factor / square_factor
        epsilon = self.epsilon / square_factor
        mean, square = self.state["mean"], self.state["square"]
        for start in range(0, parameters.size, BLOCK):
            block = slice(start, start + BLOCK)
            m, v, g = mean[block], square[block], gradients[block]
            scratch = self._scratch[: m.size]
            m *= self.beta1
            m += g
            g *= g
            v *= self.beta2
            v += g
            np.sqrt(v, out=scratch)
            scratch += epsilon
            np.divide(m, scratch, out=scratch)
            scratch *= rate
            parameters[block] -= scratch


def optimiser(name: str, parameters: Array) -> Optimiser:
    """The optimiser of that name for these parameters. Raises ``ValueError`` for an unknown one."""
    if name == "adam":
        return Adam(parameters)
    if name == "sgd":
        return Sgd(parameters)
    raise ValueError(f"optimiser must be one of {', '.join(OPTIMISERS)}, not {name!r}")


def learning_rate(schedule: str, peak: float, step: int, steps: int) -> float:
    """Rate of update ``step`` (from 0) of ``steps``: constant, or half a cosine from ``peak`` to 0.

    Raises ``ValueError`` for an unknown schedule.
    """
    if schedule == "constant":
        return peak
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1)))
    raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, not {schedule!r}")
