"""Noise that an ADC has rounded.

Let a signal have a mean spread evenly over the ADC's steps, and Gaussian noise of variance v in squared steps. Half the
mean square difference of two rounded readings is then

    v + 1/12 - 1/(2 pi**2) * sum over k of exp(-4 pi**2 k**2 v) / k**2

because a difference of ``n + f`` steps is read as n or n + 1 with a mean square of ``(n + f)**2 + f (1 - f)`` (derived
here from the Fourier series of f (1 - f)). For v above 0.1 it is v + 1/12, Sheppard's correction.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.floating]

ROUNDING = 1 / 12
"""Variance of a rounding error, in squared steps."""
_LARGEST_K = 200
_SIGMAS = np.concatenate([np.linspace(0, 1, 2001), np.geomspace(1.001, 1e4, 4000)])
_CDF_STEP, _CDF_END = 1e-3, 8.0
_CDF_AT = np.arange(-_CDF_END, _CDF_END + _CDF_STEP / 2, _CDF_STEP)
_CDF = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in _CDF_AT.tolist()])


def rounded_variance(variance: Reals | float) -> Reals:
    """Variance of rounded readings, whose true one is ``variance``, both in squared steps (see the module)."""
    v = np.asarray(variance, dtype=np.float64)[..., None]
    k2 = np.arange(1, _LARGEST_K + 1) ** 2
    series = (np.exp(-4 * np.pi**2 * k2 * v) / k2).sum(axis=-1)
    # At v = 0 the sum of 1/k**2 cancels the twelfth; what the cut series lacks there is added evenly.
    whole = np.pi**2 / 6
    out: Reals = v[..., 0] + ROUNDING * (1 - series / whole)
    return np.asarray(np.where(v[..., 0] < 1e-9, 0.0, out))


_ROUNDED = rounded_variance(_SIGMAS**2)


def true_variance(rounded: Reals | float) -> Reals:
    """Inverse of :func:`rounded_variance`; zero where there is none."""
    sigma = np.interp(np.asarray(rounded, dtype=np.float64), _ROUNDED, _SIGMAS)
    variance: Reals = np.square(sigma)
    return variance


def true_slope(rounded: Reals | float) -> Reals:
    """Derivative of :func:`true_variance`."""
    at = np.asarray(rounded, dtype=np.float64)
    step = 1e-3 * np.maximum(at, 1e-3)
    slope: Reals = (true_variance(at + step) - true_variance(at - step)) / (2 * step)
    return slope


def normal_cdf(z: Reals) -> Reals:
    """Standard normal distribution function to 1e-7, from a table."""
    probability: Reals = np.interp(z, _CDF_AT, _CDF)
    return probability
