"""The camera: from mean electrons to integers (DN).

Chain, as in the emva1288 camera model: response of each pixel (PRNU, dead pixels), dark signal (and that of hot
pixels), shot noise of light and dark signal, read noise, dark offset of each pixel (DSNU), full well, gain and black
level, rounding, limits of the ADC. A full well does not spill over. Everything is elementwise in float32 with a fixed
order of operations, and none of them is fused, so a pixel's integer depends on its mean and its draws only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openopu.plants import CameraParameters

Pixels = NDArray[np.float32]
EVERY = slice(None)

FIXED_STREAM = 1 << 48
"""Offset of the Philox keys of fixed patterns, beside those of media and exposures."""


@dataclass(frozen=True)
class FixedPattern:
    """What tells the pixels of one sensor apart, each (pixels,) float32, or None where they are alike."""

    response: Pixels | None
    """Relative to the mean response."""
    hot: Pixels | None
    """1 for a hot pixel, else 0."""
    offset_e: Pixels | None
    """Of the dark value."""

    @classmethod
    def draw(cls, parameters: CameraParameters, pixels: int, seed: int) -> FixedPattern:
        """That of a sensor, in raster order; it follows from ``seed`` (0 to 2**64 - 1) alone."""
        p = parameters

        def stream(number: int) -> np.random.Generator:
            key = np.array([seed, FIXED_STREAM + number], dtype=np.uint64)
            return np.random.Generator(np.random.Philox(key=key))

        response = None
        if p.prnu_rms or p.dead_pixel_share:
            response = np.float32(1) + np.float32(p.prnu_rms) * stream(0).standard_normal(pixels, dtype=np.float32)
            np.maximum(response, np.float32(0), out=response)
            response[stream(1).random(pixels) < p.dead_pixel_share] = 0
        hot = None
        if p.hot_pixel_share and p.hot_pixel_e_per_s:
            hot = (stream(2).random(pixels) < p.hot_pixel_share).astype(np.float32)
        offset = None
        if p.dsnu_e_rms:
            offset = np.float32(p.dsnu_e_rms) * stream(3).standard_normal(pixels, dtype=np.float32)
        return cls(response, hot, offset)

    def ordered(self, order: NDArray[np.intp]) -> FixedPattern:
        """The same with pixel ``order[i]`` at place i."""
        return FixedPattern(
            *(None if values is None else values[order] for values in (self.response, self.hot, self.offset_e))
        )


UNIFORM = FixedPattern(None, None, None)
"""All pixels alike."""


class Camera:
    def __init__(self, parameters: CameraParameters, pixel_bits: int, fixed: FixedPattern = UNIFORM) -> None:
        self.parameters = p = parameters
        self.fixed = fixed
        self.largest = (1 << pixel_bits) - 1
        self._full_well = np.float32(p.full_well_e)
        self.dn_per_e = p.analog_gain * self.largest * (1.0 - p.black_level_share) / p.full_well_e
        """Gain in DN per electron: at analog gain 1 a full well reaches the end of the range."""
        self.black_dn = p.black_level_share * self.largest
        self._dark_e_per_s = p.dark_e_per_s()
        self._hot_e_per_s = p.hot_pixel_e_per_s * p.dark_factor()
        self._read_e = np.float32(p.read_noise_e)
        self._read_variance = np.float32(p.read_noise_e**2)
        self._normal_from = np.float32(p.normal_from_e)

    def dark_e(self, exposure_s: float) -> float:
        """Mean dark signal of an exposure in electrons, of a pixel that is not hot."""
        return self._dark_e_per_s * exposure_s

    def collect(self, light: Pixels, exposure_s: float, part: slice = EVERY) -> None:
        """Turn the electrons that the light would free on average (exposures, pixels) into the pixels' means, in place.

        ``part`` : which of the fixed pattern's pixels they are.
        """
        fixed = self.fixed
        if fixed.response is not None:
            light *= fixed.response[part]
        light += np.float32(self.dark_e(exposure_s))
        if fixed.hot is not None:
            light += fixed.hot[part] * np.float32(self._hot_e_per_s * exposure_s)

    def digitise(
        self,
        electrons: Pixels,
        streams: Sequence[np.random.Generator] | None = None,
        scratch: Pixels | None = None,
        part: slice = EVERY,
    ) -> None:
        """Turn mean electrons (exposures, pixels) into DN (whole numbers), in place.

        Parameters
        ----------
        streams : one generator for each exposure, or None for no noise. Of each, one standard normal
            deviate is drawn for each pixel, then a Poisson one for each pixel below ``normal_from_e``.
        scratch : buffer of the shape of ``electrons``, or None.
        part : which of the fixed pattern's pixels they are.
        """
        if streams is not None:
            self._add_noise(electrons, streams, np.empty_like(electrons) if scratch is None else scratch)
        if self.fixed.offset_e is not None:
            electrons += self.fixed.offset_e[part]
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
