"""Signal over noise that each scheme can reach, from the statistics of fully developed speckle.

Derivation (docs/schemes.md writes it out). Over media and vectors the fields at a camera pixel are complex normal. Let
a frame have ``N`` electrons in a pixel on average, and an error of the variance ``v = N + read^2 + step^2 / 12 +
2 N^2 exp(-full / N)`` (shot noise, read noise, rounding to steps of so many electrons, clipping of an exponential
intensity at the full well); let an output sum ``K`` such pixels (grains), and exposures differ in power by ``d`` rms.
The signal is the variance of the exact result, over outputs and vectors of random signs.

========== ====================================================== ==============================================
scheme     signal, per pixel                                      SNR
========== ====================================================== ==============================================
complement ``2 N^2`` of a pair, noise ``2 v``                     ``N^2 / (v + d^2 (K + 1) N^2)``
intensity  ``N^2``, noise ``v``                                   the same
phase      ``8 a (1 - a) N^2``, noise ``2 v``                     ``4 a (1 - a)`` times that; ``a``: reference's share
stepping   ``16 a (1 - a) N^2`` of both parts, noise ``4 v``      the same as phase
anchor     ``N``, noise ``1/2 + m (1/2 + (v - N) / N)``, with     ``N / noise``
           ``m = <K / X | X > dark K>``, ``X ~ Gamma(K)``
========== ====================================================== ==============================================

Planes of weights ``w`` (sum 1) carry a vector of mean square ``p`` with noise of ``sum w^2`` planes: times
``p / sum(w^2)``. That is ``2 p`` of a ternary vector with a share ``p`` of nonzero components, and 1 of a vector of B
bits that takes all its values equally often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .anchor import Anchor
from .linear import Phase
from .scheme import LinearScheme, Scheme
from .stepping import Stepping

GRID = np.exp(np.linspace(-30.0, 6.0, 20_001))
"""Of the integrals over the anchor's intensity, in units of its mean in a pixel."""


@dataclass(frozen=True)
class Light:
    """Frames of a camera: what the SNR depends on beside the scheme."""

    electrons: float
    """Mean of a pixel in a frame."""
    read_noise_e: float = 0.0
    step_e: float = 0.0
    """Electrons of one DN."""
    relative_noise: float = 0.0
    """rms of the power of exposures; of the anchor scheme it is left out."""
    full_well_e: float = float("inf")
    """Where a pixel clips."""
    grains: int = 1
    """Independent pixels that are summed in an output."""

    @property
    def variance(self) -> float:
        """Of a pixel's error in a frame, electrons squared."""
        return self.electrons + self.extra

    @property
    def extra(self) -> float:
        """What comes on top of shot noise."""
        clipped = 2 * self.electrons**2 * float(np.exp(-self.full_well_e / self.electrons))
        return self.read_noise_e**2 + self.step_e**2 / 12 + clipped


def snr(scheme: Scheme, light: Light, *, mean_square: float = 1.0, reference_share: float = 0.5) -> float:
    """Variance of the exact result over that of its error.

    Parameters
    ----------
    mean_square
        Of a vector's components, in units of the scale; 1: random signs.
    reference_share
        Share of a phase panel's light that is the reference: all but the modes'.

    Raises
    ------
    UsageError
        A share that is none.
    """
    if not 0 < reference_share < 1:
        raise UsageError(f"{reference_share} is no share", "reference_share", "Take 0 to 1")
    n, k = light.electrons, light.grains
    if isinstance(scheme, Anchor):
        base = n / (0.5 + inverse_intensity(k, scheme.dark) * (0.5 + light.extra / n))
    else:
        base = n**2 / (light.variance + light.relative_noise**2 * (k + 1) * n**2)
    if isinstance(scheme, Phase | Stepping):
        base *= 4 * reference_share * (1 - reference_share)
    if isinstance(scheme, LinearScheme):
        base *= mean_square / float(np.square(scheme.encoding.weights).sum())
    return float(base)


def inverse_intensity(grains: int, dark: float) -> float:
    """Mean of ``1 / I`` of ``grains`` summed pixels of speckle, of those with ``I > dark``; ``<I>`` is 1.

    Infinite for one grain and ``dark`` 0.
    """
    if grains == 1 and dark == 0:
        return float("inf")
    density: NDArray[np.float64] = GRID**grains * np.exp(-GRID) * (dark * grains < GRID)  # on a logarithmic grid
    return float(grains * (density / GRID).sum() / density.sum())


def correlation(snr_: float) -> float:
    """Of measured and exact results, for this SNR."""
    return float((1 + 1 / snr_) ** -0.5)
