"""Optics for tests of the bench: they tell in the monitor's value whether they saw what the stub device sent."""

from __future__ import annotations

import numpy as np


class Echo:
    """Frame: every pixel the ID + 1. Monitor: bit 0: right levels, bit 1: 100 cycles, then the laser's code."""

    def __init__(self, settings) -> None:
        g = settings.geometry
        self.shape = (g.camera_height, g.camera_width)
        self.x, self.y = np.meshgrid(np.arange(g.slm_width), np.arange(g.slm_height))

    def expose_frame(self, levels, exposure_id, exposure_cycles, laser_code):
        right = np.array_equal(levels, (self.x + 3 * self.y + exposure_id & 0xFF).astype(np.uint8))
        monitor = right | (exposure_cycles == 100) << 1 | (laser_code & 0x3FF) << 2
        return np.full(self.shape, exposure_id + 1, np.uint16), int(monitor)
