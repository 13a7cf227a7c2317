"""The modulator: from the panel's levels to field amplitudes, all small integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from openopu.plants import ModulatorKind, ModulatorParameters

THRESHOLD = 128
"""From this level on a pixel is "on"."""


class Modulator:
    """Amplitude of a pixel, relative to a fully lit one: 0 or 1 (binary), or +1 and -1 (phase 0 and pi)."""

    def __init__(self, parameters: ModulatorParameters) -> None:
        on, off = (-1, 1) if parameters.kind is ModulatorKind.PHASE else (1, 0)
        self._table = np.where(np.arange(256) >= THRESHOLD, on, off).astype(np.float32)

    def amplitude(self, level: int) -> int:
        """Amplitude of a pixel at ``level`` (0 to 255)."""
        return int(self._table[level])

    def amplitudes(self, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Amplitudes of pixels at ``levels``, same shape."""
        return self._table[levels]
