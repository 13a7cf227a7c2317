"""What a medium's statistics are, and what theory says; docs/media.md shows both.

Sources: exponential intensities and Rayleigh amplitudes of speckle, and its correlation area, are Goodman's (Speckle
Phenomena in Optics; from memory, unconfirmed). The kernel of ``|Tx|**2`` is the second-degree kernel of the optical
random features of Saade and others. The spectrum of a block of a random unitary matrix was checked against drawn ones
(``tools/media.py``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def distance(sample: NDArray[np.floating], cdf: Floats) -> float:
    """Kolmogorov's distance between an ascending sample and the distribution whose values at it are ``cdf``."""
    steps = np.arange(len(sample) + 1) / len(sample)
    return float(max(np.max(steps[1:] - cdf), np.max(cdf - steps[:-1])))


def ks_bound(count: int, confidence: float = 0.999) -> float:
    """Distance that ``count`` independent draws stay below with that confidence (asymptotic)."""
    return math.sqrt(-math.log((1.0 - confidence) / 2.0) / 2.0 / count)


def normal_distance(entries: NDArray[np.floating]) -> float:
    """Kolmogorov's distance between entries and a normal distribution of mean 0 and their power."""
    ordered = np.sort(entries, axis=None).astype(np.float64)
    ordered /= math.sqrt(float(np.mean(ordered**2)))
    erf = np.vectorize(math.erf, otypes=[np.float64])
    # erf at some points; in between it is straight enough.
    points = np.linspace(-6, 6, 4001)
    return distance(ordered, np.interp(ordered, points, 0.5 + 0.5 * erf(points / math.sqrt(2))))


def rayleigh_distance(field: NDArray[np.complexfloating]) -> float:
    """Kolmogorov's distance between amplitudes of a field and Rayleigh's distribution of their power."""
    return exponential_distance(np.abs(field) ** 2)


def exponential_distance(intensities: NDArray[np.floating]) -> float:
    """Kolmogorov's distance between intensities and the exponential distribution of their mean."""
    ordered = np.sort(intensities, axis=None).astype(np.float64)
    return distance(ordered, 1.0 - np.exp(-ordered / ordered.mean()))


def kurtosis(entries: NDArray[np.complexfloating]) -> float:
    """``<|T|**4> / <|T|**2>**2``: 2 for a circular Gaussian, 1 for a phase."""
    power = np.abs(entries.astype(np.complex128)) ** 2
    return float(np.mean(power**2) / np.mean(power) ** 2)


def spectrum(entries: NDArray[np.complexfloating]) -> Floats:
    """Squared singular values of (outputs, inputs), ascending, over their mean."""
    values = np.linalg.svd(entries, compute_uv=False).astype(np.float64)[::-1] ** 2
    return np.asarray(values / values.mean())


def marchenko_pastur(values: Floats, ratio: float) -> Floats:
    """Distribution of squared singular values, over their mean, of inputs / outputs = ``ratio`` <= 1."""
    return unitary_block(values, ratio, 0.0)


def unitary_block(values: Floats, ratio: float, share: float) -> Floats:
    """The same of a block of a random unitary matrix: its outputs are a ``share`` of the matrix's rows, its inputs
    ``ratio`` times as many. In the limit ``share = 0`` it is Marchenko and Pastur's; the variance is
    ``ratio (1 - share)``.
    """
    if share * (1 + ratio) > 1.0:
        raise ValueError("outputs and inputs together must not be more than the matrix has rows")
    inner, outer = math.sqrt(1 - ratio * share), math.sqrt(ratio * (1 - share))
    low, high = (inner - outer) ** 2, (inner + outer) ** 2
    # The substitution takes away the infinite slopes at both ends.
    angle = np.linspace(0, math.pi, 20_001)
    x = low + (high - low) * (1 - np.cos(angle)) / 2
    density = np.sqrt(np.maximum((x - low) * (high - x), 0)) * np.sin(angle)
    density[1:-1] /= x[1:-1] * (1 - share * x[1:-1])
    density[0], density[-1] = density[1], density[-2]
    cdf = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return np.asarray(np.interp(values, x, cdf / cdf[-1], left=0.0, right=1.0))


def kernel(x: Floats, y: Floats) -> float:
    """Mean of ``|Tx|**2 |Ty|**2`` over media of independent complex Gaussian entries of power 1, for real vectors."""
    return float((x @ x) * (y @ y) + (x @ y) ** 2)


def grain(fields: NDArray[np.complexfloating]) -> float:
    """Speckle grain in pixels of fields (count, rows, columns): root of the sum of ``|mu|**2`` over all distances.

    Distances are counted to a fourth of the field: beyond, chance alone correlates.
    """
    _, rows, columns = fields.shape
    spectra = np.abs(np.fft.fft2(fields, (2 * rows, 2 * columns))) ** 2
    correlation = np.fft.ifft2(spectra.mean(axis=0))
    pairs = np.abs(np.fft.ifft2(np.abs(np.fft.fft2(np.ones((rows, columns)), (2 * rows, 2 * columns))) ** 2))
    reach_y, reach_x = rows // 4, columns // 4
    near = np.ix_(np.r_[0 : reach_y + 1, -reach_y:0], np.r_[0 : reach_x + 1, -reach_x:0])
    mu = np.abs(correlation[near] / pairs[near])
    return float(np.sqrt(np.sum((mu / mu[0, 0]) ** 2)))


def memory_effect(speckles: NDArray[np.floating]) -> Floats:
    """Correlation of the speckle of an input with that of its neighbours 0, 1, 2, ... places along a row of inputs,
    moved back by as many pixels; ``speckles`` (inputs, rows, columns) are intensities."""
    first = speckles[0]
    curve = []
    for shift, other in enumerate(speckles):
        a, b = first[:, shift:], other[:, : other.shape[1] - shift]
        curve.append(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]))
    return np.array(curve)
