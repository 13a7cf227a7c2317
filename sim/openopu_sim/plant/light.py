"""What tells one exposure from another, beside its pattern: power, time, and the deviates of noise.

Deviates are drawn for each exposure from a stream keyed by (noise seed, exposure ID), standard normal ones, in this
order: the laser's relative intensity, the photodiode's reading, the panel's flicker (if it flickers), the bench's
vibration (if it vibrates); then those of the crop's pixels in raster order, and of the others. So whoever needs only
the crop draws only the crop, and gets the same integers. Scalars are computed in double precision, one exposure at a
time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from openopu.measure import CALIBRATION_SPAN
from openopu.plants import PlantParameters

from .laser import Laser
from .modulator import Modulator
from .noise import NoiseStreams
from .photodiode import Photodiode

TIME_MODULUS = CALIBRATION_SPAN
"""Time is the exposure's ID modulo this: IDs of calibrations, which have the upper bits set, see the medium of now."""


@dataclass(frozen=True)
class Illumination:
    """One shot as the optics sees it. Levels are those on the panel, after level table and inversion."""

    plane: int | None
    """Bit plane that is shown, or None: all modes 0."""
    level_on: int
    """Level of a mode whose bit is 1."""
    level_off: int
    level_anchor: int
    level_border: int
    exposure_cycles: int
    settle_cycles: int = 0
    """From the pattern's change to the exposure's begin."""


@dataclass(frozen=True)
class Moment:
    """One exposure."""

    stream: np.random.Generator | None
    """Of noise, from the pixels' on; None without noise."""
    rate: float
    """Electrons per unit of ``|E|**2``."""
    monitor: int
    """Reading of the photodiode, DN."""
    flicker: float
    """Deviate of the panel's phase."""
    angle: float
    """That the medium has turned by, rad."""
    stale: float
    """Share of the pattern before."""


def turns(parameters: PlantParameters) -> bool:
    """Whether the medium changes in time."""
    p = parameters.medium
    return bool(p.drift_rad_per_exposure or parameters.modulator.warm_up_rad or p.vibration_rad_rms)


class Light:
    """Makes the moments of a plant. ``electrons_per_j`` : of a unit of ``|E|**2`` and a joule of the laser."""

    def __init__(
        self, parameters: PlantParameters, electrons_per_j: float, noise_seed: int, noise: bool, clock_hz: int
    ) -> None:
        self.parameters = parameters
        self.laser = Laser(parameters.laser)
        self.photodiode = Photodiode(parameters.photodiode)
        self.modulator = Modulator(parameters.modulator)
        self.noise = noise
        self.clock_hz = clock_hz
        self._electrons_per_j = electrons_per_j
        self._streams = NoiseStreams(noise_seed)
        self._vibrates = parameters.medium.vibration_rad_rms > 0
        self.turns = turns(parameters)
        self.settles = parameters.modulator.settle_s > 0
        """Whether a pattern fades in."""

    def moment(
        self,
        exposure_id: int,
        exposure_cycles: int,
        settle_cycles: int,
        laser_code: int,
        slot: int = 0,
        *,
        quiet: bool = False,
    ) -> Moment:
        """An exposure of at least one cycle, without noise if ``quiet``. Its stream holds until this thread makes
        another one in ``slot``."""
        stream = self._streams.start(exposure_id, slot) if self.noise and not quiet else None
        power_w, monitor = self._power_and_monitor(stream, exposure_id, laser_code)
        flicker = stream.standard_normal() if stream and self.modulator.flickers else 0.0
        vibration = stream.standard_normal() if stream and self._vibrates else 0.0
        exposure_s = exposure_cycles / self.clock_hz
        return Moment(
            stream=stream,
            rate=self._electrons_per_j * power_w * exposure_cycles / self.clock_hz,
            monitor=monitor,
            flicker=flicker,
            angle=self.angle(exposure_id, vibration),
            stale=self.modulator.stale(settle_cycles / self.clock_hz, exposure_s) if self.settles else 0.0,
        )

    def monitor(self, exposure_id: int, laser_code: int, *, quiet: bool = False) -> int:
        """Reading of the photodiode during an exposure, DN, without noise if ``quiet``."""
        stream = self._streams.start(exposure_id) if self.noise and not quiet else None
        return self._power_and_monitor(stream, exposure_id, laser_code)[1]

    def _power_and_monitor(
        self, stream: np.random.Generator | None, exposure_id: int, laser_code: int
    ) -> tuple[float, int]:
        """The laser's power in W and the photodiode's reading in DN, by the first two deviates of a stream."""
        laser, monitor = stream.standard_normal(2).tolist() if stream else (0.0, 0.0)
        power_w = self.laser.power_w(laser_code, laser, exposure_id % TIME_MODULUS)
        return power_w, self.photodiode.reading(power_w, monitor)

    def angle(self, exposure_id: int, vibration: float = 0.0) -> float:
        """By which the medium has turned at an exposure, rad; ``vibration`` is a standard normal deviate."""
        if not self.turns:
            return 0.0
        m, p = self.parameters.modulator, self.parameters.medium
        time = exposure_id % TIME_MODULUS
        warm = -m.warm_up_rad * math.expm1(-time / m.warm_up_exposures)
        return p.drift_rad_per_exposure * time + warm + p.vibration_rad_rms * vibration
