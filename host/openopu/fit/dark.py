"""Black level and read noise, also where they are smaller than the ADC's steps.

A quiet camera of few bits hides its read noise within one step. Then the frames of dim speckle tell it: the pixels'
means, known from bright frames, lie anywhere between two steps, and how often a reading is the upper of the two goes
with the mean as a normal distribution function, whose width is the noise. The likelihood of all readings is maximised
over black level, read noise, and one scale of each exposure:

    P(reading = d) = Phi((d + 1/2 - m) / s) - Phi((d - 1/2 - m) / s),
    m = black + scale * rate,  s**2 = K (m - black) + (K read_noise)**2 + the error of m.

All pixels' readings together have the variance of their fixed offsets, too; :mod:`.offsets` tells how much of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .estimate import Estimate, FitError, root
from .offsets import Looks, offset_variance
from .record import Burst
from .rounding import ROUNDING, normal_cdf
from .transfer import USED_SHARE, relative_error, temporal

Reals = NDArray[np.floating]

FINE_DN = 0.75
"""rms of dark readings from which on rounding is a noise of its own, wherever between two steps the level lies."""
NEAR_DN = 3.0
OFFSETS_NEAR_DN = 1.5
"""Largest signal from which offsets are told: beyond, a medium that turns changes the pixels more than they do."""
MOST_READINGS = 150_000
"""Readings that the likelihood takes: beyond, the errors are smaller than those of the gain."""
UNLIKELY = 1e-6
"""Probability of a reading that the model does not know, such as a hot pixel's."""
STEPS = 40
"""Most steps of the maximisation."""
HOT_SIGMAS = 8.0
ROOT_2PI = math.sqrt(2 * math.pi)
LIKELY_READ_NOISE_E = 3.0
"""e-; for the weight of bright frames, where it hardly matters."""


@dataclass(frozen=True)
class Dark:
    black: Estimate
    """DN, without dark signal."""
    read_noise: Estimate
    """e- rms."""
    dsnu: Estimate
    """e- rms, of the pixels' offsets."""
    sigma_dn: float
    """rms of a dark pixel in time, rounding included."""
    hot: NDArray[np.bool_]
    """(pixels,): left out, brighter in the dark than the others."""


def dark_sigma(burst: Burst) -> float:
    """rms in time of a typical pixel without light, DN, rounding included."""
    return float(np.sqrt(np.median(temporal(burst.frames, 0.0)[1])))


def hot_pixels(frames: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels whose mean is far from the others'."""
    mean = frames.mean(axis=0)
    middle = np.median(mean)
    spread = max(1.4826 * float(np.median(np.abs(mean - middle))), 0.25)
    hot: NDArray[np.bool_] = np.abs(mean - middle) > HOT_SIGMAS * spread
    return hot


def black_and_read_noise(
    dark: Sequence[Burst], dim: Sequence[Burst], bright: Sequence[Burst], gain: Estimate, full: int,
    black: float | None = None,
) -> Dark:  # fmt: skip
    """Estimate from frames of one pattern.

    Parameters
    ----------
    dark : short bursts without light
    dim : of a mean of few DN; used where the read noise is below the ADC's steps
    bright : of the same pattern, from which each pixel's share of the light is known
    gain : DN/e-, from photon transfer
    full : largest DN
    black : a first estimate, DN; None: the dark frames' mean
    """
    frames = np.concatenate([b.frames for b in dark])
    if (frames <= 0).mean() > 0.3 and frames.std() < 0.7:
        raise FitError(
            f"{(frames <= 0).mean():.0%} of the dark readings are zero: noise below black is cut off", "dark frames",
            "Raise the camera's black level, so that dark pixels read at least 2 DN",
        )  # fmt: skip
    hot = hot_pixels(frames)
    good = ~hot
    sigma = dark_sigma(dark[0])
    if sigma > FINE_DN:
        variances = [temporal(b.frames[:, good], 0.0)[1].mean() for b in dark]
        variance = float(np.mean(variances)) - ROUNDING
        error = (variance + ROUNDING) * relative_error(len(frames), int(good.sum()))
        read = np.sqrt(variance) / gain.value
        level = float(frames[:, good].mean(dtype=np.float64))
        means = [b.frames[:, good].mean(axis=0, dtype=np.float64) for b in dark[:2]]
        pattern = float(((means[0] - means[0].mean()) * (means[1] - means[1].mean())).mean())
        pattern_error = float(np.sqrt(means[0].var() * means[1].var() / good.sum()))
        return Dark(
            Estimate(level, float(np.sqrt(variance / (len(frames) * good.sum()))), "DN"),
            Estimate(float(read), float(read * np.hypot(error / (2 * variance), gain.error / gain.value)), "e-"),
            root(pattern / gain.value**2, pattern_error / gain.value**2, "e-"),
            sigma, hot,
        )  # fmt: skip
    first = float(frames[:, good].mean()) if black is None else black
    return _likelihood(dark, dim, bright, gain, full, hot, sigma, first)


def _likelihood(
    dark: Sequence[Burst], dim: Sequence[Burst], bright: Sequence[Burst], gain: Estimate, full: int,
    hot: NDArray[np.bool_], sigma: float, start: float,
) -> Dark:  # fmt: skip
    rate, rate_variance = _rates(bright, start, gain.value, full)
    good = ~hot & np.isfinite(rate) & (rate > 0)
    pixels = np.flatnonzero(good)
    values, counts = np.unique(np.concatenate([b.frames for b in dark])[:, good], return_counts=True)
    # Dark readings are all alike, so each value counts as often as it was seen.
    dark_readings = _Readings(values.astype(np.float64), np.zeros(len(values)), np.zeros(len(values)),
                              np.full(len(values), -1), counts.astype(np.float64))  # fmt: skip
    exposures = sorted({b.exposure_cycles for b in dim})
    parts = []
    for b in dim:
        # A pixel far brighter than black says nothing of the read noise.
        near = pixels[rate[pixels] * b.exposure_cycles < NEAR_DN]
        near = near[:: max(1, -(-len(near) * len(b.frames) * len(dim) // MOST_READINGS))]
        frames = b.frames[:, near].astype(np.float64)
        parts.append(
            _Readings(frames.ravel(), np.tile(rate[near], len(frames)), np.tile(rate_variance[near], len(frames)),
                      np.full(frames.size, exposures.index(b.exposure_cycles)), np.ones(frames.size))
        )  # fmt: skip
    likelihood = _Likelihood([dark_readings, *parts], gain, full, len(exposures))
    coarse = _Likelihood([dark_readings, *(p.every(16) for p in parts)], gain, full, len(exposures))
    # Several maxima are possible: begin at the best of many noises, each with the black level that its dark mean has.
    mean = float(values @ counts / counts.sum())
    starts = [
        np.array([black_of_mean(mean, noise), np.log(noise), gain.value, *exposures])
        for noise in np.geomspace(0.02, 1.0, 40).tolist()
    ]  # fmt: skip
    p, covariance = likelihood.maximise(max(starts, key=coarse))
    square, k = float(np.exp(2 * p[1])), float(p[2])
    offsets, offsets_error = offset_variance(_looks(dark, dim, exposures, p, rate, rate_variance, good))
    dsnu = root(offsets / k**2, offsets_error / k**2, "e-")
    # Of the square in electrons, of which gain and noise go together.
    by_noise, by_gain = 2 * square / k**2, -2 * square / k**3
    error = by_noise**2 * covariance[1, 1] + 2 * by_noise * by_gain * covariance[1, 2] + by_gain**2 * covariance[2, 2]
    read = root(
        (square - (offsets if dsnu.resolved else 0.0)) / k**2, math.hypot(math.sqrt(error), offsets_error / k**2), "e-"
    )
    return Dark(Estimate(float(p[0]), float(np.sqrt(covariance[0, 0])), "DN"), read, dsnu, sigma, hot)


def _looks(
    dark: Sequence[Burst], dim: Sequence[Burst], exposures: Sequence[int], p: Reals, rate: Reals, rate_variance: Reals,
    good: NDArray[np.bool_],
) -> list[Looks]:  # fmt: skip
    """Pairs of bursts of one exposure, of the parameters ``p`` of :class:`_Likelihood`."""
    out = []
    for bursts, scale in [(dark, 0.0), *(([b for b in dim if b.exposure_cycles == e], s)
                                         for e, s in zip(exposures, p[3:].tolist(), strict=True))]:  # fmt: skip
        if len(bursts) < 2:
            continue
        signal = scale * np.where(good, rate, 0.0)
        near = good & (signal < OFFSETS_NEAR_DN)
        variance = np.exp(2 * p[1]) + p[2] * np.maximum(signal, 0) + scale**2 * rate_variance
        first, second = (b.frames[:, near].mean(axis=0, dtype=np.float64) for b in (bursts[0], bursts[-1]))
        out.append(
            Looks(first, second, len(bursts[0].frames), p[0] + signal[near], np.asarray(variance)[near], signal[near])
        )
    return out


def black_of_mean(mean: float, noise: float) -> float:
    """The level whose readings, with Gaussian noise, have this mean."""
    edges = np.arange(np.floor(mean) - 5, np.floor(mean) + 7) + 0.5
    low, high = mean - 1.0, mean + 1.0
    for _ in range(40):
        middle = (low + high) / 2
        expected = edges[0] - 0.5 + float((1 - normal_cdf((edges - middle) / noise)).sum())
        low, high = (middle, high) if expected < mean else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class _Readings:
    """One value for each reading: DN; the pixel's rate, DN a cycle, and its variance; which scale; weight."""

    dn: Reals
    rate: Reals
    rate_variance: Reals
    scale: NDArray[np.int64]
    weight: Reals

    def every(self, step: int) -> _Readings:
        return _Readings(*(getattr(self, f.name)[::step] for f in dataclasses.fields(self)))


class _Likelihood:
    """Of black level, logarithm of the read noise in DN, gain, and the scale of each exposure in cycles."""

    def __init__(self, parts: Sequence[_Readings], gain: Estimate, full: int, scales: int) -> None:
        joined = [np.concatenate([getattr(p, f.name) for p in parts]) for f in dataclasses.fields(_Readings)]
        self._r = _Readings(*joined)
        self._gain = gain
        self._prior = max(gain.error, 1e-6 * gain.value) ** -2
        self._scales = scales
        self._low, self._high = self._r.dn <= 0, self._r.dn >= full

    def __call__(self, p: Reals) -> float:
        return self._terms(p)[0]

    def _terms(self, p: Reals) -> tuple[float, Reals, Reals, Reals, Reals, Reals, Reals]:
        r = self._r
        scale = np.append(p[3:], 0.0)[r.scale]
        signal = scale * r.rate
        s = np.sqrt(p[2] * signal + np.exp(2 * p[1]) + scale * scale * r.rate_variance)
        z = r.dn - p[0] - signal
        up, down = (z + 0.5) / s, (z - 0.5) / s
        skew = p[2] ** 2 * signal / s**3
        upper, lower = _skewed_cdf(up, skew), _skewed_cdf(down, skew)
        lower[self._low], upper[self._high] = 0.0, 1.0
        chance = np.maximum(upper - lower, 0.0) + UNLIKELY
        value = float(r.weight @ np.log(chance)) - self._prior * (p[2] - self._gain.value) ** 2 / 2
        return value, chance, s, up, down, scale, signal

    def _slopes(self, p: Reals) -> tuple[float, Reals, Reals]:
        """Value, gradient, and the sum of squared gradients of the readings (their information)."""
        r = self._r
        value, chance, s, up, down, scale, signal = self._terms(p)
        skew = p[2] ** 2 * signal / s**3
        (d_up, v_up), (d_down, v_down) = _skewed_slopes(up, skew), _skewed_slopes(down, skew)
        for slope_of in (d_down, v_down):
            slope_of[self._low] = 0.0
        for slope_of in (d_up, v_up):
            slope_of[self._high] = 0.0
        by_mean = (d_down - d_up) / (s * chance)
        by_variance = (v_up - v_down) / (s * s * chance)
        columns = [by_mean, by_variance * 2 * np.exp(2 * p[1]), by_variance * signal]
        for i in range(self._scales):
            mine = r.scale == i
            columns.append(mine * (by_mean * r.rate + by_variance * (p[2] * r.rate + 2 * scale * r.rate_variance)))
        g = np.stack(columns)
        information = (g * r.weight) @ g.T
        information[2, 2] += self._prior
        gradient = g @ r.weight
        gradient[2] -= self._prior * (p[2] - self._gain.value)
        return value, gradient, information

    def maximise(self, start: Reals) -> tuple[Reals, Reals]:
        """Scoring, with steps halved until they climb. Returns place and covariance."""
        p = start.copy()
        for _ in range(STEPS):
            value, gradient, information = self._slopes(p)
            unit = np.sqrt(np.diag(information))
            if not (unit > 0).all() or np.linalg.cond(information / np.outer(unit, unit)) > 1e10:
                raise FitError(
                    "black level and read noise cannot be told apart", "dark frames",
                    "Record more dim frames, or with more bits",
                )  # fmt: skip
            move = np.linalg.solve(information, gradient)
            move[1] = np.clip(move[1], -0.7, 0.7)
            shrink = 1.0
            while shrink > 1e-4 and not self(p + shrink * move) > value:
                shrink /= 2
            if shrink <= 1e-4:
                break
            p = p + shrink * move
            if abs(gradient @ move) < 1e-4:
                break
        return p, np.linalg.inv(self._slopes(p)[2])


def _skewed_cdf(z: Reals, skew: Reals) -> Reals:
    """Distribution function of a standard deviate of small skewness, of a few photoelectrons (Edgeworth's series)."""
    return np.asarray(normal_cdf(z) - skew / 6 * (z * z - 1) * np.exp(-z * z / 2) / ROOT_2PI)


def _skewed_slopes(z: Reals, skew: Reals) -> tuple[Reals, Reals]:
    """Its derivatives by ``z``, and by the logarithm of the variance, which ``z`` and the skewness depend on."""
    density = np.exp(-z * z / 2) / ROOT_2PI
    slope = density * (1 + skew / 6 * (z**3 - 3 * z))
    return slope, -z * slope / 2 + skew / 4 * (z * z - 1) * density


def _rates(bright: Sequence[Burst], black: float, gain: float, full: int) -> tuple[Reals, Reals]:
    """Signal of each pixel in DN per cycle of exposure, and its variance."""
    usable = [b for b in bright if b.frames.mean() < USED_SHARE * full]
    if not usable:
        raise FitError("all bright frames are saturated", "dark frames", "Lower the exposure")
    total = np.sum([b.frames.sum(axis=0, dtype=np.float64) - black * len(b.frames) for b in usable], axis=0)
    cycles = sum(b.exposure_cycles * len(b.frames) for b in usable)
    noise = ROUNDING + (gain * LIKELY_READ_NOISE_E) ** 2
    variance = (gain * np.maximum(total, 0) + sum(len(b.frames) for b in usable) * noise) / cycles**2
    top = np.max([b.frames.max(axis=0) for b in usable], axis=0)
    return np.where(top < full, total / cycles, np.nan), np.asarray(variance)
