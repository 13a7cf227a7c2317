"""Where the hidden layers' teaching signal comes from: the device, its matrix in floating point, or neither.

A feedback takes the errors of one chunk of rows after another (:meth:`Feedback.submit`) and gives back the teaching
signals in the same order (:meth:`Feedback.collect`), so that a device can work while the host goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Key = tuple[int, ...]


class Feedback(Protocol):
    """Teaching signals of the hidden layers for a batch of errors."""

    teaches: bool
    """False where the hidden layers stay as they are."""
    propagates: bool
    """True for back-propagation, which the network does by itself."""
    streams: bool
    """True where it pays to submit a batch in chunks."""
    projections: int
    """Projections made so far."""

    def submit(self, errors: Array, key: Key) -> None:
        """Hand over (rows, classes) errors; ``key`` names the random draws of their encoding."""

    def collect(self, errors: Array, scale: float, out: Array) -> None:
        """Write ``scale`` times the oldest outstanding submission's signals into ``out``, (rows, all hidden units).

        ``errors`` are those that were submitted, meanwhile multiplied by ``scale``.
        """

    def state(self) -> dict[str, Any]:
        """JSON-able state for a checkpoint, taken while nothing is outstanding."""

    def arrays(self) -> dict[str, Array]:
        """Arrays that belong to the state."""

    def restore(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Continue from :meth:`state` and :meth:`arrays`. Raises :class:`CheckpointError` on another device."""


class NoFeedback:
    """Only the last layer learns."""

    teaches = propagates = streams = False
    projections = 0

    def submit(self, errors: Array, key: Key) -> None:
        pass

    def collect(self, errors: Array, scale: float, out: Array) -> None:
        out[:] = 0

    def state(self) -> dict[str, Any]:
        return {}

    def arrays(self) -> dict[str, Array]:
        return {}

    def restore(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        pass


class Backpropagation(NoFeedback):
    """The network propagates its errors by itself."""

    teaches = propagates = True


def gains(hidden: Sequence[int], entry_rms: float) -> NDArray[np.float32]:
    """(all hidden units,) factors that give the feedback matrix of a layer of h units entries of rms ``1/sqrt(h)``.

    That is the size of the signal which back-propagation begins with, so that one learning rate fits both;
    ``entry_rms`` is the rms of the entries of the device's matrix, in its units.
    """
    return np.concatenate([np.full(h, 1 / (entry_rms * h**0.5)) for h in hidden]).astype(np.float32)


class MatrixFeedback:
    """Exact direct feedback alignment: errors times a matrix in floating point.

    Parameters
    ----------
    matrix : (all hidden units, classes), in any unit
    hidden : units of each hidden layer
    """

    teaches = True
    propagates = streams = False
    projections = 0

    def __init__(self, matrix: Array, hidden: Sequence[int]) -> None:
        rms = float(np.sqrt(np.mean(np.square(matrix, dtype=np.float64))))
        self._matrix = np.ascontiguousarray((matrix * gains(hidden, rms)[:, None]).T, np.float32)

    def submit(self, errors: Array, key: Key) -> None:
        pass

    def collect(self, errors: Array, scale: float, out: Array) -> None:
        np.matmul(errors, self._matrix, out=out)

    def state(self) -> dict[str, Any]:
        return {}

    def arrays(self) -> dict[str, Array]:
        return {}

    def restore(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        pass
