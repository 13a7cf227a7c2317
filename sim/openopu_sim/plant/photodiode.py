"""The monitor photodiode and its 12-bit ADC."""

from __future__ import annotations

from openopu.plants import PhotodiodeParameters

ADC_FULL_SCALE = 4095
"""Largest reading of the 12-bit ADC."""


class Photodiode:
    def __init__(self, parameters: PhotodiodeParameters) -> None:
        self.parameters = parameters

    def reading(self, power_w: float, draw: float = 0.0) -> int:
        """Reading in DN at a laser power; ``draw`` is a standard normal deviate of the reading's noise."""
        value = power_w / self.parameters.full_scale_w * ADC_FULL_SCALE + self.parameters.noise_rms_dn * draw
        return min(max(round(value), 0), ADC_FULL_SCALE)
