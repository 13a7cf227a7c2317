"""Fixed offsets of pixels (DSNU), where they are smaller than the ADC's steps.

A pixel whose level lies near the edge between two steps tells its offset by how often it reads the upper one. What the
mean readings of two bursts of one exposure lack of those that level and noise make expected has this covariance:

    Var over o of E(level + o),  o normal with the offsets' variance d**2,

``E`` the mean of rounded readings with the noise in time, ``S**2 - d**2`` of what the readings of all pixels together
have. Levels far from an edge say nothing and count little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rounding import normal_cdf

Reals = NDArray[np.floating]

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
EDGES = np.arange(-5, 6) + 0.5
"""Around the step that is nearest to a level, DN: enough for noise below 0.7 DN."""
FLOOR_DN2 = 1e-4
"""Least variance of a mean that counts, so that pixels that never change do not outweigh all others."""
MOST = 0.95
"""Of the whole variance: offsets that are more leave no noise in time."""
STEPS = 30


@dataclass(frozen=True)
class Looks:
    """Two bursts of one exposure."""

    first: Reals
    second: Reals
    """(pixels,) mean readings, DN."""
    frames: int
    """Of each."""
    level: Reals
    """(pixels,) expected before rounding, DN."""
    variance: Reals
    """(pixels,) of a reading before rounding, offsets included, DN**2."""
    signal: Reals
    """(pixels,) of ``level``, what the light has, DN."""


def reading(level: Reals, sigma: Reals) -> tuple[Reals, Reals]:
    """Mean (DN) and variance (DN**2) of rounded readings of levels with Gaussian noise."""
    nearest = np.rint(level)
    # Probabilities to exceed each edge; a reading is the lowest one and the number of edges that it exceeds.
    above = 1 - normal_cdf((EDGES - (level - nearest)[..., None]) / sigma[..., None])
    exceeded = above.sum(axis=-1)
    square = above @ (2 * np.arange(len(EDGES)) + 1)
    return np.asarray(nearest + EDGES[0] - 0.5 + exceeded), np.asarray(np.maximum(square - exceeded**2, 0.0))


def covariance(looks: Looks, square: float) -> Reals:
    """(pixels,) expected of two mean readings with offsets of this variance, DN**2."""
    sigma = np.sqrt(np.maximum(looks.variance - square, 1e-6))
    shifted = looks.level[None] + np.sqrt(square) * NODES[:, None]
    means, _ = reading(shifted, np.broadcast_to(sigma, shifted.shape))
    weights = WEIGHTS / WEIGHTS.sum()
    return np.asarray(weights @ means**2 - (weights @ means) ** 2)


def offset_variance(pairs: Sequence[Looks]) -> tuple[float, float]:
    """Variance of the pixels' offsets and its standard error, DN**2."""
    most = MOST * min(float(p.variance.min()) for p in pairs)
    products, weights = [], []
    for p in pairs:
        sigma = np.sqrt(p.variance)
        slope = (reading(p.level + 0.01, sigma)[0] - reading(p.level - 0.01, sigma)[0]) / 0.02
        expected, variance = reading(p.level, sigma)
        # The light's common mode, and a level that is a little off, change all pixels alike.
        common = np.stack([slope, slope * p.signal]) if p.signal.any() else slope[None]
        rest = [x - expected - common.T @ np.linalg.lstsq(common.T, x - expected, rcond=None)[0]
                for x in (p.first, p.second)]  # fmt: skip
        of_mean = variance / p.frames + FLOOR_DN2
        products.append(rest[0] * rest[1])
        weights.append(slope**2 / (of_mean + slope**2 * most / 10) ** 2)
    product, weight = np.concatenate(products), np.concatenate(weights)

    def lack(square: float) -> Reals:
        return np.asarray(weight * (product - np.concatenate([covariance(p, square) for p in pairs])))

    low, high = 0.0, most
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if lack(middle).sum() > 0 else (low, middle)
    found = (low + high) / 2
    step = max(0.05 * found, 0.01 * most)
    below = max(found - step, 0.0)
    change = float(lack(found + step).sum() - lack(below).sum()) / (found + step - below)
    return found, float(np.linalg.norm(lack(found))) / max(abs(change), 1e-12)
