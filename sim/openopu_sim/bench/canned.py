"""Optics that cost nothing, for the measurement of the bench itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .settings import BenchSettings


class Canned:
    """The same frame for every exposure: a ramp of pixels, and half the monitor's range."""

    def __init__(self, settings: BenchSettings) -> None:
        g = settings.geometry
        pixels = np.arange(g.camera_width * g.camera_height, dtype=np.uint32) * 7 % (1 << g.pixel_bits)
        self.frame = pixels.astype(np.uint16).reshape(g.camera_height, g.camera_width)

    def expose_frame(
        self, levels: NDArray[np.uint8], exposure_id: int, exposure_cycles: int, laser_code: int, settle_cycles: int
    ) -> tuple[NDArray[np.uint16], int]:
        return self.frame, self.monitor_reading(exposure_id, laser_code)

    def monitor_reading(self, exposure_id: int | None, laser_code: int) -> int:
        return 2048

    def temperature_reading(self) -> int:
        return 1000


CANNED = "openopu_sim.bench.canned:Canned"
"""Value of ``BenchSettings.optics``."""
