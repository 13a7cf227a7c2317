"""The thermometer on the second channel of the 12-bit ADC."""

from __future__ import annotations

from openopu.plants import ThermometerParameters
from openopu.plants.constants import ADC_FULL_SCALE


class Thermometer:
    def __init__(self, parameters: ThermometerParameters) -> None:
        self.parameters = parameters

    def reading(self) -> int:
        """Reading in DN."""
        p = self.parameters
        value = (p.zero_v + p.slope_v_per_k * p.temperature_c) / p.reference_v * (ADC_FULL_SCALE + 1)
        return min(max(round(value), 0), ADC_FULL_SCALE)
