"""Cells: the blocks of panel pixels that share one column of the medium.

A cell has the size of a macropixel and the cells are aligned with the signal region's macropixels,
but they go on over the whole panel, cut at its edges. So each signal mode is one cell, and any frame
has a defined field, also one that a fault has shifted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Geometry

REGIONS = ("modes", "anchor", "border")
"""Of the panel: each pixel is in one of them, the border has what the others leave."""


class Cells:
    """Attributes: ``shape`` (down, across); ``count``; ``order`` (count,) raster index of each cell, the signal's modes
    first, in their order."""

    def __init__(self, geometry: Geometry) -> None:
        g, k = geometry, geometry.macropixel
        self.geometry = g
        self._columns = _membership(g.slm_width, g.signal_x % k, k)
        self._rows = _membership(g.slm_height, g.signal_y % k, k)
        across, down = self._columns.shape[1], self._rows.shape[1]
        self.shape: tuple[int, int] = (down, across)
        self.count = across * down
        first_x, first_y = -(-g.signal_x // k), -(-g.signal_y // k)
        raster = np.arange(self.count).reshape(down, across)
        signal = raster[first_y : first_y + g.modes_y, first_x : first_x + g.modes_x].ravel()
        others = np.setdiff1d(raster, signal)
        self.order: NDArray[np.intp] = np.concatenate([signal, others])

    def sums(self, amplitudes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sum of the amplitudes (slm_height, slm_width) in each cell, (count,). Small integers: exact."""
        sums = self._rows.T @ amplitudes @ self._columns
        return np.asarray(sums, dtype=np.float32).ravel()[self.order]

    def mask(self, region: str) -> NDArray[np.float32]:
        """1 where a pixel is in one of the :data:`REGIONS`, else 0, (slm_height, slm_width)."""
        g = self.geometry
        mask = np.full((g.slm_height, g.slm_width), float(region == "border"), dtype=np.float32)
        for name, x, y, width, height in (
            ("modes", g.signal_x, g.signal_y, g.signal_width, g.signal_height),
            ("anchor", g.anchor_x, g.anchor_y, g.anchor_width, g.anchor_height),
        ):
            mask[y : y + height, x : x + width] = float(region == name)
        return mask


def _membership(length: int, offset: int, k: int) -> NDArray[np.float32]:
    """(length, cells): 1 where a pixel lies in a cell; the first cell is cut to ``offset`` pixels, if that is not 0."""
    index = (np.arange(length) + (k - offset) % k) // k
    member: NDArray[np.float32] = (index[:, None] == np.arange(index[-1] + 1)).astype(np.float32)
    return member
