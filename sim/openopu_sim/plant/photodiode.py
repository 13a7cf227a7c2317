"""The monitor photodiode and its 12-bit ADC."""

from __future__ import annotations

import math

from openopu.plants import PhotodiodeParameters
from openopu.plants.constants import ADC_FULL_SCALE, ELEMENTARY_CHARGE_C


class Photodiode:
    def __init__(self, parameters: PhotodiodeParameters) -> None:
        self.parameters = parameters

    def reading(self, power_w: float, draw: float = 0.0) -> int:
        """Reading in DN at a laser power; ``draw`` is a standard normal deviate of the reading's noise, whose
        variance is that of the electronics and of the photocurrent's shot noise together."""
        p = self.parameters
        share = power_w / p.full_scale_w
        noise = math.hypot(p.noise_rms_dn, self.shot_noise_dn(share))
        value = share * ADC_FULL_SCALE + p.offset_dn + noise * draw
        return min(max(round(value), 0), ADC_FULL_SCALE)

    def shot_noise_dn(self, share: float) -> float:
        """Rms of shot noise in DN at a share of full scale: ``sqrt(2 q I B)`` of the photocurrent I."""
        p = self.parameters
        noise_a = math.sqrt(2 * ELEMENTARY_CHARGE_C * p.full_scale_a * share * p.bandwidth_hz)
        return noise_a / p.full_scale_a * ADC_FULL_SCALE
