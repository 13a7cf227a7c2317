"""Photon transfer: gain from the growth of temporal noise with the mean signal.

The mean square difference of neighbouring frames holds temporal noise only: fixed patterns, and speckle is one here,
cancel. Of electrons with Poisson statistics behind a gain of K DN/e-, in DN (EMVA 1288, section 6):

    variance = K**2 read_noise**2 + K (mean - black) + rounding.

The laser's noise is common to a frame; it is estimated by the frame's sum and taken out. What moves the speckle
(vibration of the medium by v rad rms) adds ``2 v**2 (mean - black) <mean - black>``, <> the mean over pixels; it is
told from shot noise by its growth with the exposure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .estimate import Estimate, FitError, root
from .record import Burst
from .rounding import ROUNDING, true_slope, true_variance

Reals = NDArray[np.floating]

FEWEST_FRAMES = 8
USED_SHARE = 0.7
"""Of full scale: brighter pixels are left out, whose noise could be clipped."""
BINS = 24
"""Groups of pixels by their mean, for each exposure."""
FEWEST_PIXELS = 20
SMOOTH_DN2 = 0.15
"""Variance from which on rounding adds its twelfth wherever the mean lies between two steps."""
COARSE_DN = 0.6
"""Noise below which an ADC's steps show: pixels must then be spread over several of them."""


@dataclass(frozen=True)
class Point:
    """A group of pixels of one exposure."""

    exposure_cycles: int
    mean: float
    """Above black, DN."""
    variance: float
    """Temporal, common mode and rounding taken out, DN**2."""
    error: float
    pixels: int
    frame_mean: float
    """Of all pixels at that exposure, above black, DN."""


@dataclass(frozen=True)
class Transfer:
    gain: Estimate
    """DN/e-."""
    offset_dn2: Estimate
    """Variance without signal, K**2 read_noise**2, from the same line, DN**2."""
    motion: Estimate
    """Movement of the speckle from one exposure to the next, rad rms."""
    chi2: float
    """Per degree of freedom, of the model above: 1 where the noise is shot noise."""
    exponent: Estimate
    """Of the growth of the variance with the mean, both above the dark: 1 for shot noise."""
    points: tuple[Point, ...]


def temporal(frames: NDArray[np.float32], black: float) -> tuple[Reals, Reals]:
    """Mean above black and temporal variance of each pixel, DN and DN**2; rounding is in the variance.

    From differences of neighbouring frames, so that slow drift does not count; the frames' common mode is taken out.
    """
    count = len(frames)
    mean = frames.mean(axis=0, dtype=np.float64) - black
    total = frames.sum(axis=1, dtype=np.float64) - black * frames.shape[1]
    scale = total / total.mean() if total.mean() > 0.05 * frames.shape[1] else np.ones(count)
    variance = np.zeros(frames.shape[1])
    for i in range(count - 1):
        step = frames[i + 1].astype(np.float64) - frames[i] - mean * (scale[i + 1] - scale[i])
        variance += step * step
    return mean, variance / (2 * (count - 1))


def relative_error(frames: int, pixels: int) -> float:
    """Standard error of such a variance over itself, for Gaussian noise."""
    return float(np.sqrt((3 * frames - 4) / (frames - 1) ** 2 / pixels))


def points_of(bursts: Sequence[Burst], black: float, full: int, dark_sigma: float) -> list[Point]:
    """Group the pixels of each exposure by their mean."""
    out = []
    for b in bursts:
        count = len(b.frames)
        if count < FEWEST_FRAMES:
            raise FitError(f"{count} frames are too few", "photon transfer", f"Record at least {FEWEST_FRAMES}")
        mean, variance = temporal(b.frames, black)
        used = (mean + black < USED_SHARE * full) & (b.frames.max(axis=0) < full)
        # Steps show in dim pixels of a quiet camera, where the mean is not spread over them.
        used &= mean > (2.0 if dark_sigma < COARSE_DN else 0.0)
        if used.sum() < FEWEST_PIXELS:
            continue
        # Whole steps, from half to half: within one, the mean of rounded readings is drawn to its middle.
        edges = np.unique(
            np.floor(
                np.quantile(mean[used] + black, np.linspace(0, 1, min(BINS, int(used.sum()) // FEWEST_PIXELS) + 1))
            )
            + 0.5
        )
        group = np.searchsorted(edges, mean + black, side="right") - 1
        for k in range(len(edges) - 1):
            chosen = used & (group == k)
            pixels = int(chosen.sum())
            if pixels < FEWEST_PIXELS:
                continue
            seen = float(variance[chosen].mean())
            error = seen * relative_error(count, pixels) * float(true_slope(seen))
            out.append(
                Point(
                    b.exposure_cycles, float(mean[chosen].mean()), float(true_variance(seen)),
                    max(error, 1e-9), pixels, float(mean.mean()),
                )
            )  # fmt: skip
    return out


def photon_transfer(bursts: Sequence[Burst], black: float, full: int, dark_sigma: float) -> Transfer:
    """Fit the model above to flat bursts at several exposures.

    Parameters
    ----------
    bursts : at exposures that span a factor of four or more; of several patterns where the speckle may move
    black : DN
    full : largest DN
    dark_sigma : rms of a pixel without light, rounding included, DN

    Raises
    ------
    FitError
        Too few frames, no pixels in range, or no noise.
    """
    points = points_of(bursts, black, full, dark_sigma)
    if len(points) < 6:
        raise FitError(
            f"only {len(points)} groups of pixels lie between black and {USED_SHARE:.0%} of full scale",
            "photon transfer", "Record exposures from dark to half full scale: `expose_to()` finds the brightest",
        )  # fmt: skip
    mean = np.array([p.mean for p in points])
    level = np.array([p.frame_mean for p in points])
    variance = np.array([p.variance for p in points])
    error = np.array([p.error for p in points])
    count = np.array([p.pixels for p in points])
    if not variance.max() > 1e-4:
        raise FitError(
            "frames at one exposure do not differ: there is no noise to measure", "photon transfer",
            "Is the noise of a simulation switched off, or the camera denoising?",
        )  # fmt: skip
    columns = np.stack([mean, np.ones_like(mean), 2 * mean * level], axis=1)
    values, covariance = _least_squares(columns, variance, error)
    for _ in range(3):
        # Errors by the model's variance, not the measured: a group that is low by chance would weigh more.
        predicted = np.maximum(columns @ values, 1e-3)
        weight = error * (predicted + ROUNDING) / (np.maximum(variance, 1e-6) + ROUNDING)
        # How much motion changes a pixel has one draw for each pixel, not for each frame.
        weight = np.hypot(weight, max(values[2], 0.0) * columns[:, 2] * np.sqrt(2 / count))
        # Rounded noise much smaller than a step depends on how evenly the means are spread.
        kept = (predicted > SMOOTH_DN2) | (dark_sigma > COARSE_DN)
        if kept.sum() < 6:
            raise FitError(
                "too few pixels have noise beyond a step of the ADC", "photon transfer",
                "Expose longer, raise the camera's gain, or read it with more bits",
            )  # fmt: skip
        values, covariance = _least_squares(columns[kept], variance[kept], weight[kept])
    points = [p for p, k in zip(points, kept.tolist(), strict=True) if k]
    columns, variance, error, mean = columns[kept], variance[kept], weight[kept], mean[kept]
    residual = (variance - columns @ values) / error
    freedom = max(len(points) - len(values), 1)
    chi2 = float(residual @ residual / freedom)
    # Motion that is not there costs precision of the gain: leave it out where it is not seen.
    motion = root(values[2], np.sqrt(covariance[2, 2]), "rad")
    motion_term = float(values[2])
    if values[2] < 3 * np.sqrt(covariance[2, 2]):
        motion_term = 0.0
        values, covariance = _least_squares(columns[:, :2], variance, error)
    gain, offset = values[0], values[1]
    if not gain > 0:
        raise FitError(
            f"noise does not grow with light ({gain:.3g} DN/e-)", "photon transfer",
            "Is the camera's gamma or denoising on? Switch it off",
        )  # fmt: skip
    widen = np.sqrt(max(chi2, 1.0))
    return Transfer(
        Estimate(float(gain), float(widen * np.sqrt(covariance[0, 0])), "DN/e-"),
        Estimate(float(offset), float(widen * np.sqrt(covariance[1, 1])), "DN^2"),
        motion, chi2, _exponent(mean, variance - offset - (motion_term * columns[:, 2]), error), tuple(points),
    )  # fmt: skip


def _least_squares(columns: Reals, values: Reals, error: Reals) -> tuple[Reals, Reals]:
    weighted = columns / error[:, None]
    covariance = np.linalg.inv(weighted.T @ weighted)
    return covariance @ (weighted.T @ (values / error)), covariance


def _exponent(mean: Reals, variance: Reals, error: Reals) -> Estimate:
    good = (variance > 5 * error) & (mean > 0)
    if good.sum() < 3:
        return Estimate(float("nan"), float("inf"), "1")
    columns = np.stack([np.log(mean[good]), np.ones(good.sum())], axis=1)
    values, covariance = _least_squares(columns, np.log(variance[good]), error[good] / variance[good])
    return Estimate(float(values[0]), float(np.sqrt(covariance[0, 0])), "1")
