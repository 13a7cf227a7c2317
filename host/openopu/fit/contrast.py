"""Statistics of the speckle: contrast and grain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .estimate import Estimate
from .record import Burst

Reals = NDArray[np.float64]

GROUPS = 16
LAGS = 8


@dataclass(frozen=True)
class Speckle:
    contrast: Estimate
    """rms over mean of the intensity, noise taken out: 1 for fully developed, polarised, resolved speckle."""
    grain_px: Estimate
    """Width of the autocorrelation's peak at half its height, the mean of both directions."""
    autocorrelation: Reals
    """(2, LAGS): along rows and along columns, from lag 0 on; noise taken out."""


def speckle(burst: Burst, shape: tuple[int, int], black: float) -> Speckle:
    """From a bright burst; its frames have ``shape`` (rows, columns). Even and odd frames share no noise."""
    even = burst.frames[::2].mean(axis=0, dtype=np.float64) - black
    odd = burst.frames[1::2].mean(axis=0, dtype=np.float64) - black
    pixels = np.arange(even.size)

    def contrast(chosen: NDArray[np.bool_]) -> float:
        e, o = even[chosen], odd[chosen]
        covariance = float(((e - e.mean()) * (o - o.mean())).mean())
        return float(np.sqrt(max(covariance, 0.0) / (e.mean() * o.mean())))

    parts = np.array([contrast(pixels * GROUPS // even.size != k) for k in range(GROUPS)])
    error = float(np.sqrt((GROUPS - 1) / GROUPS * ((parts - parts.mean()) ** 2).sum()))
    a, b = (v.reshape(shape) - v.mean() for v in (even, odd))
    lags = min(LAGS, *shape)
    across = [float((a[:, : shape[1] - k] * b[:, k:]).mean()) for k in range(lags)]
    down = [float((a[: shape[0] - k] * b[k:]).mean()) for k in range(lags)]
    correlation = np.array([across, down]) / max(across[0], 1e-30)
    widths = [2 * _half(c) for c in correlation]
    return Speckle(
        Estimate(contrast(np.ones(even.size, np.bool_)), error, "1"),
        Estimate(float(np.mean(widths)), float(max(np.ptp(widths) / 2, 2 / np.sqrt(even.size))), "px"), correlation,
    )  # fmt: skip


def _half(correlation: Reals) -> float:
    """Lag at which it falls through a half, interpolated."""
    below = np.flatnonzero(correlation < 0.5)
    if not len(below):
        return float(len(correlation))
    k = int(below[0])
    return k - 1 + float((correlation[k - 1] - 0.5) / (correlation[k - 1] - correlation[k]))
