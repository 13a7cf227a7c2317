"""The laser: power against its DAC's code and against time, and photons."""

from __future__ import annotations

from openopu.plants import LaserParameters
from openopu.plants.constants import DAC_FULL_SCALE, LIGHT_M_PER_S, PLANCK_J_S


class Laser:
    def __init__(self, parameters: LaserParameters) -> None:
        self.parameters = parameters
        self._photon_j = PLANCK_J_S * LIGHT_M_PER_S / parameters.wavelength_m

    def power_w(self, code: int, draw: float = 0.0, time: int = 0) -> float:
        """Power in W at a code of the DAC, ``time`` exposures after the start; ``draw`` is a standard normal deviate
        of the intensity noise. A laser that has drifted to nothing stays dark."""
        p = self.parameters
        power = p.power_w * code / DAC_FULL_SCALE * (1.0 + p.relative_noise_rms * draw)
        return max(power * (1.0 + p.drift_per_exposure * time), 0.0)

    def photons_per_s(self, power_w: float) -> float:
        return power_w / self._photon_j
