"""Optics that cost next to nothing and yet tell every exposure from every other, for measurements of pairing."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from .settings import BenchSettings


class Keyed:
    """Each pixel depends on the whole pattern and on the exposure's ID. The monitor reads half its range."""

    def __init__(self, settings: BenchSettings) -> None:
        g = settings.geometry
        self._ramp = np.arange(1, g.camera_width * g.camera_height + 1, dtype=np.uint64)
        self._shape = (g.camera_height, g.camera_width)
        self._bits = g.pixel_bits

    def expose_frame(
        self, levels: NDArray[np.uint8], exposure_id: int, exposure_cycles: int, laser_code: int, settle_cycles: int
    ) -> tuple[NDArray[np.uint16], int]:
        key = zlib.crc32(levels.tobytes()) << 32 | exposure_id
        # A multiplicative hash of (key, pixel): its upper bits are as good as random.
        mixed = (self._ramp * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(key)) * np.uint64(0xD6E8FEB86659FD93)
        pixels = (mixed >> np.uint64(64 - self._bits)).astype(np.uint16)
        return pixels.reshape(self._shape), self.monitor_reading(exposure_id, laser_code)

    def monitor_reading(self, exposure_id: int | None, laser_code: int) -> int:
        return 2048

    def temperature_reading(self) -> int:
        return 1000


KEYED = "openopu_sim.bench.keyed:Keyed"
"""Value of ``BenchSettings.optics``."""
