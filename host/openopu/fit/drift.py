"""What changes from exposure to exposure: the laser's noise and drift, the photodiode's noise, the medium's drift.

From a series of binned frames of reference patterns that take turns over thousands of exposures. The laser's noise is
what two halves of the outputs have in common, and what a frame's sum has in common with the photodiode: neither camera
noise nor the photodiode's own counts. The medium turns from T0 to T1, so the field of two moments correlates with
``cos(angle)`` and the intensities of fully developed speckle with ``cos(angle)**2`` (complex Gaussian moment theorem;
J. W. Goodman, Speckle Phenomena in Optics, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .estimate import Estimate, FitError, root
from .record import Series

Reals = NDArray[np.floating]

FEWEST_EXPOSURES = 64
FAR = 0.3
"""Correlation below which the model's square of a cosine no longer tells the angle well."""
PHOTODIODE_DN = 20.0
"""Reading below which the photodiode is not used."""


@dataclass(frozen=True)
class Fluctuations:
    laser_noise: Estimate
    """Relative, rms of an exposure."""
    laser_noise_photodiode: Estimate | None
    """The same from the photodiode's share in the frames' sum."""
    laser_drift: Estimate
    """Relative, per exposure."""
    photodiode_dn: Estimate | None
    """Mean reading."""
    photodiode_noise: Estimate | None
    """rms of a reading without the laser's noise and rounding, DN."""
    medium_drift: Estimate
    """rad per exposure."""
    lag: Reals
    """Exposures between two rounds of the series."""
    correlation: Reals
    """Of the references' intensities at that lag, noise taken out."""
    power: Reals
    """Relative power of each exposure in turn, by the frame's sum."""
    exposure: Reals
    """When, for ``power``."""


def fluctuations(series: Series, black_sum: float) -> Fluctuations:
    """Estimate from a series; ``black_sum``: the black level of an output, DN summed over its pixels."""
    y = series.outputs.astype(np.float64) - black_sum
    blocks, patterns, frames, outputs = y.shape
    if blocks * patterns * frames < FEWEST_EXPOSURES or frames < 4:
        raise FitError(
            f"{blocks * patterns * frames} exposures are too few", "series", f"Record at least {FEWEST_EXPOSURES}"
        )
    mean = y.mean(axis=2)
    if not mean.mean() > 0:
        raise FitError("the series is dark", "series", "Check that the light reaches the camera")
    half = outputs // 2
    left, right = _relative(y[..., :half]), _relative(y[..., half:])
    noise = _common(left, right)
    total = _relative(y)
    readings = series.monitors
    photodiode = float(readings.mean())
    seen: Estimate | None = None
    pd_noise: Estimate | None = None
    if photodiode > PHOTODIODE_DN and readings.std() > 0:
        relative = readings / photodiode - 1
        here = relative - relative.mean(axis=2, keepdims=True)
        seen = _common(total, here)
        # The laser's noise is in both; the frames' own is in the difference of their halves.
        dof = here.size * (frames - 1) / frames
        variance, own = float(((here - total) ** 2).sum() / dof), float(((left - right) ** 2).sum() / dof) / 4
        rest = (variance - own) * photodiode**2 - 1 / 12
        error = np.sqrt(2 / dof) * np.hypot(variance, own) * photodiode**2
        pd_noise = root(rest, float(error), "DN")
        drift = _trend(relative, series.exposure)
    else:
        drift = _camera_trend(y, series.exposure)
    medium, lag, correlation = _medium(y, series.exposure)
    power = (y.sum(axis=3) / y.sum(axis=3).mean(axis=(0, 2), keepdims=True)).ravel()
    return Fluctuations(
        noise, seen, drift,
        Estimate(photodiode, float(readings.std() / np.sqrt(readings.size)), "DN") if seen else None,
        pd_noise, medium, lag, correlation, power, series.exposure.ravel(),
    )  # fmt: skip


def _relative(y: Reals) -> Reals:
    """(blocks, patterns, frames) deviation of each frame's sum from the mean of its burst, relative."""
    total = y.sum(axis=3)
    return np.asarray(total / total.mean(axis=2, keepdims=True) - 1)


def _common(a: Reals, b: Reals) -> Estimate:
    """What two records of the same bursts have in common, rms; each has zero mean in every burst."""
    frames = a.shape[-1]
    degrees = a.size * (frames - 1) / frames
    covariance = float((a * b).sum() / degrees)
    va, vb = float((a * a).sum() / degrees), float((b * b).sum() / degrees)
    return root(covariance, float(np.sqrt((va * vb + covariance**2) / degrees)), "1")


def _trend(relative: Reals, when: Reals) -> Estimate:
    x = (when - when.mean()).ravel()
    y = (relative - relative.mean()).ravel()
    slope = float(x @ y / (x @ x))
    rest = y - slope * x
    return Estimate(slope, float(np.sqrt(rest @ rest / max(len(x) - 2, 1) / (x @ x))), "1/exposure")


def _camera_trend(y: Reals, when: Reals) -> Estimate:
    """Of the frames' sums, where there is no photodiode: the medium's drift changes them too, and is in the error."""
    total = y.sum(axis=3)
    slopes = [_trend((total[:, p] / total[:, p].mean() - 1), when[:, p]).value for p in range(total.shape[1])]
    spread = float(np.std(slopes, ddof=1) / np.sqrt(len(slopes))) if len(slopes) > 1 else float("inf")
    return Estimate(float(np.mean(slopes)), spread, "1/exposure")


def _medium(y: Reals, when: Reals) -> tuple[Estimate, Reals, Reals]:
    """Drift in rad per exposure, and the correlations of the references against the lag."""
    blocks, patterns, _, outputs = y.shape
    burst = y / y.sum(axis=3, keepdims=True)
    even, odd = burst[:, :, ::2].mean(axis=2), burst[:, :, 1::2].mean(axis=2)
    both = burst.mean(axis=2)
    groups = min(16, outputs)
    member = np.arange(outputs) * groups // outputs

    def correlations(chosen: NDArray[np.bool_]) -> Reals:
        """(patterns, blocks, blocks), of noise-free intensities."""
        out = np.empty((patterns, blocks, blocks))
        for p in range(patterns):
            a = both[:, p, chosen] - both[:, p, chosen].mean(axis=1, keepdims=True)
            e = even[:, p, chosen] - even[:, p, chosen].mean(axis=1, keepdims=True)
            o = odd[:, p, chosen] - odd[:, p, chosen].mean(axis=1, keepdims=True)
            variance = (e * o).sum(axis=1)
            scale = np.sqrt(np.maximum(variance, 1e-30))
            out[p] = a @ a.T / np.outer(scale, scale)
        return out

    def rate(c: Reals) -> float:
        """Squared drift, signed, from the correlations of all pairs of blocks."""
        c = c.mean(axis=0)
        i, j = np.triu_indices(blocks, 1)
        lag = when.mean(axis=(1, 2))
        distance = lag[j] - lag[i]
        values = c[i, j]
        far = values > FAR
        if not far.any():
            return float("nan")
        # arccos of the root, squared; smooth through zero, where noise makes a correlation exceed 1.
        angle2 = np.where(values < 1, np.arccos(np.sqrt(np.clip(values, 0, 1))) ** 2, 1 - values)
        # Errors of angle**2 are about the same at every lag while it is small, and grow with it later. What does not
        # grow with the lag is no drift: vibration within a burst.
        weight = far / (1e-4 + angle2.clip(0))
        x = distance**2
        middle = (weight * x).sum() / weight.sum()
        return float((weight * (x - middle) * angle2).sum() / (weight * (x - middle) ** 2).sum())

    everything = correlations(np.ones(outputs, np.bool_))
    if blocks < 3:
        raise FitError(f"{blocks} rounds are too few for the medium's drift", "series", "Record at least 3 rounds")
    value = rate(everything)
    lags = np.arange(1, blocks)
    spacing = float(np.diff(when.mean(axis=(1, 2))).mean())
    mean = everything.mean(axis=0)
    by_lag = np.array([np.mean(np.diagonal(mean, k)) for k in lags])
    if not np.isfinite(value):
        raise FitError(
            f"the references are gone after {spacing:.0f} exposures (correlation {by_lag[0]:.2f})", "series",
            "Record shorter rounds, or look whether something moves on the bench",
        )  # fmt: skip
    parts = np.array([rate(correlations(member != k)) for k in range(groups)])
    by_output = (groups - 1) / groups * ((parts - parts.mean()) ** 2).sum()
    if patterns > 2:
        left_out = np.array([rate(np.delete(everything, p, axis=0)) for p in range(patterns)])
        by_output = max(by_output, (patterns - 1) / patterns * ((left_out - left_out.mean()) ** 2).sum())
    estimate = root(value, float(np.sqrt(by_output)), "rad/exposure")
    return estimate, lags * spacing, by_lag
