"""Optics for tests of the bench: they tell whether they saw what the stub device sent."""

from __future__ import annotations

import numpy as np


class Echo:
    """Frame: every pixel the ID + 1 if levels and cycles are right, else 0. Monitor: 4 bits of the ID, 8 of code."""

    def __init__(self, settings) -> None:
        g = settings.geometry
        self.shape = (g.camera_height, g.camera_width)
        self.x, self.y = np.meshgrid(np.arange(g.slm_width), np.arange(g.slm_height))

    def expose_frame(self, levels, exposure_id, exposure_cycles, laser_code, settle_cycles):
        right = np.array_equal(levels, (self.x + 3 * self.y + exposure_id & 0xFF).astype(np.uint8))
        pixel = exposure_id + 1 if right and exposure_cycles == 100 else 0
        return np.full(self.shape, pixel, np.uint16), self.monitor_reading(exposure_id, laser_code)

    def monitor_reading(self, exposure_id, laser_code):
        return 0xFFF if exposure_id is None else exposure_id & 0xF | (laser_code & 0xFF) << 4

    def temperature_reading(self):
        return 1
