"""The camera: from mean electrons to integers (DN).

Chain, as in the emva1288 camera model: shot noise of light and dark signal, read noise, full well,
gain and black level, rounding, limits of the ADC. Everything is elementwise in float32 with a fixed
order of operations, and none of them is fused, so a pixel's integer depends on its mean and its
draws only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from openopu.plants import CameraParameters

Pixels = NDArray[np.float32]


class Camera:
    def __init__(self, parameters: CameraParameters, pixel_bits: int) -> None:
        self.parameters = p = parameters
        self.largest = (1 << pixel_bits) - 1
        self._full_well = np.float32(p.full_well_e)
        self.dn_per_e = p.analog_gain * self.largest * (1.0 - p.black_level_share) / p.full_well_e
        """Gain in DN per electron: at analog gain 1 a full well reaches the end of the range."""
        self.black_dn = p.black_level_share * self.largest
        self._dark_e_per_s = p.dark_e_per_s()
        self._read_e = np.float32(p.read_noise_e)
        self._read_variance = np.float32(p.read_noise_e**2)
        self._normal_from = np.float32(p.normal_from_e)

    def dark_e(self, exposure_s: float) -> float:
        """Mean dark signal of an exposure in electrons."""
        return self._dark_e_per_s * exposure_s

    def digitise(
        self, electrons: Pixels, streams: Sequence[np.random.Generator] | None = None, scratch: Pixels | None = None
    ) -> None:
        """Turn mean electrons (exposures, pixels) into DN (whole numbers), in place.

        Parameters
        ----------
        streams : one generator for each exposure, or None for no noise. Of each, one standard normal
            deviate is drawn for each pixel, then a Poisson one for each pixel below ``normal_from_e``.
        scratch : buffer of the shape of ``electrons``, or None.
        """
        if streams is not None:
            self._add_noise(electrons, streams, np.empty_like(electrons) if scratch is None else scratch)
        # The lower limits only keep the conversion to integers defined.
        np.clip(electrons, -self._full_well, self._full_well, out=electrons)
        electrons *= np.float32(self.dn_per_e)
        electrons += np.float32(self.black_dn)
        np.rint(electrons, out=electrons)
        np.clip(electrons, np.float32(0), np.float32(self.largest), out=electrons)

    def _add_noise(self, mean: Pixels, streams: Sequence[np.random.Generator], noise: Pixels) -> None:
        for row, stream in zip(noise, streams, strict=True):
            stream.standard_normal(out=row, dtype=np.float32)
        low = mean < self._normal_from
        rare = []
        for i in np.flatnonzero(low.any(axis=1)).tolist():
            where = np.flatnonzero(low[i])
            counted = streams[i].poisson(mean[i, where].astype(np.float64)).astype(np.float32)
            counted += self._read_e * noise[i, where]
            rare.append((i, where, counted))
        sigma = mean + self._read_variance
        np.sqrt(sigma, out=sigma)
        noise *= sigma
        mean += noise
        for i, where, counted in rare:
            mean[i, where] = counted
