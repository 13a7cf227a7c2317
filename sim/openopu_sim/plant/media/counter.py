"""The matrix of :class:`~.dense.Dense`, bit for bit, but drawn whenever it is needed and never stored.

Its time is that of the draws, about 17 ns of a processor for a real number (docs/media.md), so it serves where
``dense`` does not fit the memory; many weights at a time share the draws.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from openopu_rtl.protocol import Geometry

from ..cells import Cells
from .entries import BAND_LINES, entries_of, power_of
from .interface import THREADS, ExactMedium, Reals, outputs_of


class Counter(ExactMedium):
    def __init__(
        self, geometry: Geometry, cells: Cells, seed: int, entry_bits: int, grain_px: float = 1.0, *, turn: bool = False
    ) -> None:
        super().__init__(geometry, cells)
        self._made_of = (geometry, cells, seed, entry_bits, grain_px)
        self._entries = entries_of(geometry, cells, seed, entry_bits, grain_px, turn)
        self.bits = self._entries.bits
        self.power = power_of(self.bits)

    def products(
        self, weights: Reals, crop: bool = True, out: tuple[Reals, Reals] | None = None
    ) -> tuple[Reals, Reals]:
        """As :meth:`ExactMedium.products`. All lines of the crop, or of the sensor, are drawn once."""
        outs = outputs_of(len(weights), self, crop, out)
        raster = np.zeros((len(weights), self.cells.count), dtype=np.float32)
        raster[:, self.cells.order[: weights.shape[1]]] = weights
        g = self.sensor.geometry
        left, width = (g.crop_x, g.crop_width) if crop else (0, g.camera_width)
        every = self.sensor.lines(crop)
        # Two threads that share the BLAS's own threads would wait for each other.
        blas = threading.Lock()

        def draw(first: int) -> None:
            lines = range(first, min(first + BAND_LINES, every.stop))
            for part, cell, block in self._entries.blocks(lines):
                # One product of all lines: small ones cost more in starting the BLAS's threads than in arithmetic.
                wide = block[:, :, left : left + width].transpose(1, 0, 2).reshape(block.shape[1], -1)
                with blas:
                    product = raster[:, cell : cell + len(wide)] @ wide
                for i, y in enumerate(lines):
                    for source, target in self.sensor.runs(y, crop):
                        low = i * width - left
                        new = product[:, low + source.start : low + source.stop]
                        if cell:
                            outs[part][:, target] += new
                        else:
                            outs[part][:, target] = new

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(draw, range(every.start, every.stop, BAND_LINES)))
        return outs

    def turned(self) -> Counter:
        """As :meth:`Medium.turned`."""
        return Counter(*self._made_of, turn=True)
