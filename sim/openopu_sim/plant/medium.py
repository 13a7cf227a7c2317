"""The medium: a dense complex Gaussian transmission matrix of integers.

Entries are integers times one scale, so small that every partial sum of a field is an integer below
2**24 and therefore exact in float32: the field does not depend on the order of summation, on the
batch, or on the BLAS. Real and imaginary part are two real matrices.

Speckle grains are as large as a sensor pixel: the rows are independent.
"""

from __future__ import annotations

import logging
import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from openopu.errors import UsageError
from openopu_rtl.protocol import Geometry

from .cells import Cells

EXACT_BELOW = 1 << 24
"""float32 holds every integer up to this one."""
LIMIT_SIGMAS = 4
"""The largest entry, in standard deviations: a Gaussian has 6e-5 beyond."""
MEDIUM_STREAM = 1 << 32
"""Offset of the medium's Philox keys: exposure IDs, which key the noise, stay below."""
THREADS = 2
MEMORY_SHARE = 0.5
"""Largest share of the machine's memory that a medium may take."""

log = logging.getLogger(__name__)
Matrix = NDArray[np.float32]


class Medium:
    """Transmission matrix over all cells of the panel and all pixels of the sensor.

    Attributes
    ----------
    real, imag : (cells, pixels) float32, integers. The signal's modes are the first cells, and the
        pixels of the crop the first pixels, in raster order; see ``pixel_order``.
    pixel_order : (pixels,) raster index on the sensor of each column.
    crop_pixels : pixels of the crop.
    bits : bits of an entry, sign included.
    power : mean of ``|entry|**2``.
    """

    def __init__(self, geometry: Geometry, cells: Cells, seed: int, entry_bits: int) -> None:
        g = geometry
        self.cells = cells
        refuse_too_large(g)
        raster = np.arange(g.camera_width * g.camera_height).reshape(g.camera_height, g.camera_width)
        crop = raster[g.crop_y : g.crop_y + g.crop_height, g.crop_x : g.crop_x + g.crop_width].ravel()
        self.pixel_order: NDArray[np.intp] = np.concatenate([crop, np.setdiff1d(raster, crop)])
        self.crop_pixels = len(crop)
        full = g.macropixel**2
        self.bits = entry_bits
        while full * cells.count * _sigma(self.bits) * math.sqrt(2 / math.pi) >= EXACT_BELOW and self.bits > 2:
            self.bits -= 1
        while True:
            if self.bits < 3:
                raise UsageError(
                    f"{cells.count} cells of {full} panel pixels leave fewer than 3 bits to an entry of the medium",
                    "medium",
                    "Take a smaller panel or smaller macropixels (more modes on the same panel)",
                )
            self._draw(geometry, seed)
            largest = max(float(np.abs(part).sum(axis=0, dtype=np.float64).max()) for part in (self.real, self.imag))
            if full * largest < EXACT_BELOW:
                break
            self.bits -= 1
        self.power = 2.0 * _sigma(self.bits) ** 2
        if self.bits < entry_bits:
            log.warning(
                "medium: entries have %d bits instead of %d, so that the field of %d cells is exact in float32",
                self.bits, entry_bits, cells.count,
            )  # fmt: skip

    def _draw(self, geometry: Geometry, seed: int) -> None:
        g = geometry
        shape = (self.cells.count, g.camera_width * g.camera_height)
        self.real, self.imag = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        column = np.empty(shape[1], dtype=np.intp)
        column[self.pixel_order] = np.arange(shape[1])
        limit = np.float32((1 << (self.bits - 1)) - 1)
        sigma = np.float32(_sigma(self.bits))

        def line(y: int) -> None:
            # One stream for each line of the sensor: what a pixel sees depends on neither crop nor modes.
            key = np.array([seed, MEDIUM_STREAM + y], dtype=np.uint64)
            stream = np.random.Generator(np.random.Philox(key=key))
            draws = stream.standard_normal((2, shape[0], g.camera_width), dtype=np.float32)
            draws *= sigma
            np.rint(draws, out=draws)
            np.clip(draws, -limit, limit, out=draws)
            columns = column[y * g.camera_width : (y + 1) * g.camera_width]
            for part, drawn in ((self.real, draws[0]), (self.imag, draws[1])):
                for run in np.split(np.arange(len(columns)), np.flatnonzero(np.diff(columns) != 1) + 1):
                    part[:, columns[run[0]] : columns[run[-1]] + 1] = drawn[self.cells.order, run[0] : run[-1] + 1]

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(line, range(g.camera_height)))


def _sigma(bits: int) -> float:
    """Standard deviation of the real and of the imaginary part of an entry, before it is rounded."""
    return ((1 << (bits - 1)) - 1) / LIMIT_SIGMAS


def refuse_too_large(geometry: Geometry) -> None:
    """Raise :class:`UsageError`, before anything is allocated, for a geometry whose plant this machine cannot hold."""
    g = geometry
    pixels = g.camera_width * g.camera_height
    # Cells cut at the edges may make two more in each direction.
    across, down = g.slm_width // g.macropixel + 2, g.slm_height // g.macropixel + 2
    needed = 8 * across * down * pixels + 24 * (pixels + across * down)
    needed += 8 * (g.slm_width * across + g.slm_height * down + g.slm_width * g.slm_height)
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > MEMORY_SHARE * have:
        raise UsageError(
            f"a dense medium of this geometry takes {needed / 2**30:.1f} GiB; "
            f"this machine has {have / 2**30:.1f} GiB, of which at most {MEMORY_SHARE:.0%} may be taken",
            "medium",
            "Take fewer modes, larger macropixels, or a smaller sensor (n=, m=, geometry=)",
        )
