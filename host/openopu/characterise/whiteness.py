"""Are residuals white: along time, and across pixels?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

LAGS = 20
NEAR = 3
"""Distance across outputs up to which neighbours are compared."""
LIKELY = 0.01
"""Probability below which white noise is given up."""


@dataclass(frozen=True)
class Whiteness:
    """Of residuals (rows, outputs), scaled to the standard deviation expected of each."""

    ljung_box: float
    """Sum of the Ljung-Box statistics of all outputs along time, over its degrees of freedom: 1 for white noise."""
    time_p: float
    """Probability that white noise deviates as much, along time."""
    space_z: float
    """Largest correlation with a neighbour, in standard errors."""
    space_p: float
    """Probability of as large a one in white noise, given how many there are."""
    autocorrelation: Reals
    """(LAGS,) along time, the mean over outputs, from lag 1 on."""
    spectrum: Reals
    """Power against frequency (0 to half of the rate of rows), the mean over outputs, 1 for white noise."""
    flatness: float
    """Geometric over arithmetic mean of that spectrum: 1 for white noise, in the limit of many outputs."""
    neighbours: Reals
    """(NEAR + 1, 2 NEAR + 1) correlations with the output so far down and across."""

    @property
    def white(self) -> bool:
        return min(self.time_p, self.space_p) > LIKELY

    def as_json(self) -> dict[str, Any]:
        return {
            "white": self.white, "ljung_box": self.ljung_box, "time_p": self.time_p, "space_z": self.space_z,
            "space_p": self.space_p, "flatness": self.flatness,
        }  # fmt: skip


def normal_tail(z: float) -> float:
    """Probability of a standard normal deviate above ``z``."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def chi2_tail(value: float, degrees: float) -> float:
    """Probability of a larger chi-squared (Wilson and Hilferty 1931; good for the many degrees of freedom here)."""
    spread = 2 / (9 * degrees)
    return normal_tail(((value / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))


def whiteness(z: Reals, shape: tuple[int, int] | None) -> Whiteness:
    """Test residuals (rows in order of time, outputs); ``shape``: rows and columns of the outputs, where they are all.

    Along time, the statistics of G. M. Ljung and G. E. P. Box (Biometrika 65, 297, 1978) of each output are summed.
    """
    rows, outputs = z.shape
    lags = min(LAGS, rows // 4)
    power = (z * z).sum(axis=0)
    power = np.where(power > 0, power, 1.0)
    lagged = np.stack([(z[k:] * z[: rows - k]).sum(axis=0) / power for k in range(1, lags + 1)])
    weight = rows * (rows + 2) / (rows - np.arange(1, lags + 1))
    total = float((lagged**2 * weight[:, None]).sum())
    degrees = lags * outputs
    spectrum = (np.abs(np.fft.rfft(z, axis=0)[1:]) ** 2 / power).mean(axis=1)
    spectrum = spectrum / spectrum.mean()
    near = np.zeros((NEAR + 1, 2 * NEAR + 1))
    scores = []
    if shape is not None and min(shape) > NEAR:
        image = z.reshape(rows, *shape)
        image = image - image.mean(axis=(1, 2), keepdims=True)
        unit = float((image**2).mean())
        for dy in range(NEAR + 1):
            for dx in range(-NEAR, NEAR + 1):
                a = image[:, dy:, max(dx, 0) : shape[1] + min(dx, 0)]
                b = image[:, : shape[0] - dy, max(-dx, 0) : shape[1] - max(dx, 0)]
                near[dy, dx + NEAR] = float((a * b).mean()) / unit
                if dy or dx > 0:
                    # Taking out the mean of a frame leaves a correlation of -1 / outputs.
                    scores.append((near[dy, dx + NEAR] + 1 / outputs) * math.sqrt(a.size))
    worst = max(scores, key=abs) if scores else 0.0
    return Whiteness(
        total / degrees, chi2_tail(total, degrees), float(worst),
        min(1.0, 2 * normal_tail(abs(worst)) * max(len(scores), 1)),
        lagged.mean(axis=1), spectrum, float(np.exp(np.log(spectrum).mean())), near,
    )  # fmt: skip
