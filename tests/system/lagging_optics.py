"""Optics doubles for the test of pairing: bright where the pattern is, at once or an exposure late."""

from __future__ import annotations

import numpy as np


class Prompt:
    """Pixels of 200 DN for a pattern of which much is lit, else of 10."""

    LAG = 0

    def __init__(self, settings) -> None:
        g = settings.geometry
        self.shape = (g.camera_height, g.camera_width)
        self.seen = [10] * self.LAG

    def expose_frame(self, levels, exposure_id, exposure_cycles, laser_code, settle_cycles):
        self.seen.append(200 if (levels > 0).sum() >= 16 else 10)
        return np.full(self.shape, self.seen.pop(0), np.uint16), self.monitor_reading(exposure_id, laser_code)

    def monitor_reading(self, exposure_id, laser_code) -> int:
        return 2048

    def temperature_reading(self) -> int:
        return 1000


class Lagging(Prompt):
    """A camera that has kept a frame back: every frame is that of the exposure before."""

    LAG = 1
