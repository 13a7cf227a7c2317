"""A dense complex Gaussian transmission matrix, stored: the quickest exact medium."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from openopu_rtl.protocol import Geometry

from ..cells import Cells
from .entries import BAND_LINES, entries_of, power_of
from .interface import THREADS, ExactMedium, Reals, outputs_of


class Stored(ExactMedium):
    """``real`` and ``imag`` are (cells, pixels) float32 integers: two real matrices, as inputs are real."""

    real: Reals
    imag: Reals

    def products(
        self, weights: Reals, crop: bool = True, out: tuple[Reals, Reals] | None = None
    ) -> tuple[Reals, Reals]:
        """As :meth:`ExactMedium.products`."""
        real, imag = outputs_of(len(weights), self, crop, out)
        for part, to in ((self.real, real), (self.imag, imag)):
            np.matmul(weights, part[: weights.shape[1], : to.shape[1]], out=to)
        return real, imag


class Dense(Stored):
    """Independent entries, but for the speckle's grain."""

    def __init__(
        self, geometry: Geometry, cells: Cells, seed: int, entry_bits: int, grain_px: float = 1.0, *, turn: bool = False
    ) -> None:
        super().__init__(geometry, cells)
        self._made_of = (geometry, cells, seed, entry_bits, grain_px)
        entries = entries_of(geometry, cells, seed, entry_bits, grain_px, turn)
        self.bits = entries.bits
        self.power = power_of(self.bits)
        shape = (cells.count, self.pixels)
        self.real, self.imag = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        row = np.empty(cells.count, dtype=np.intp)
        row[cells.order] = np.arange(cells.count)

        def draw(first: int) -> None:
            lines = range(first, min(first + BAND_LINES, geometry.camera_height))
            for part, cell, block in entries.blocks(lines):
                to = (self.real, self.imag)[part]
                rows = row[cell : cell + block.shape[1]]
                for y, line in zip(lines, block, strict=True):
                    for source, target in self.sensor.runs(y, crop=False):
                        to[rows, target] = line[:, source]

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(draw, range(0, geometry.camera_height, BAND_LINES)))

    def turned(self) -> Dense:
        """As :meth:`Medium.turned`."""
        return Dense(*self._made_of, turn=True)
