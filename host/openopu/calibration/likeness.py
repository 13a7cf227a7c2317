"""How alike two looks at one thing are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def cosine(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """Of the angle between all values of two arrays; 0 where one of them is 0 everywhere."""
    a, b = np.asarray(a, np.float64).reshape(-1), np.asarray(b, np.float64).reshape(-1)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b / length) if length else 0.0


def correlation(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """Pearson's, of all values; 0 where one of them is constant."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return cosine(a - a.mean(), b - b.mean())


def reliability(
    looks: NDArray[np.generic], alike: Callable[[NDArray[np.generic], NDArray[np.generic]], float]
) -> float:
    """How alike one of ``looks`` (an even number, ...) and another are, from two halves of them (Spearman, Brown)."""
    first, second = np.asarray(looks[0::2]).sum(axis=0), np.asarray(looks[1::2]).sum(axis=0)
    halves, half = alike(first, second), len(looks) / 2
    return halves / (half - (half - 1) * halves)
