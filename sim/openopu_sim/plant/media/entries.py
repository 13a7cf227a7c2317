"""Integer entries of a complex Gaussian transmission matrix, drawn line by line from counter-based streams.

One Philox stream for each line of the sensor: what a pixel sees depends on neither crop nor modes, and a
line's stream is drawn in blocks of cells, so that nobody has to hold a whole one.

Speckle grain: with ``grain_px`` above 1, the draws are filtered over neighbouring pixels before they are
rounded. The grain is the side of the square whose area is the correlation area of the intensity,
``sum |mu|**2`` over all distances in pixels, with ``mu`` the field's correlation (Goodman, Speckle Phenomena
in Optics: from memory, unconfirmed): 1 for independent pixels.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from openopu.errors import UsageError
from openopu_rtl.protocol import Geometry

from ..cells import Cells
from .interface import EXACT_BELOW, THREADS, Reals

LIMIT_SIGMAS = 4
"""The largest entry, in standard deviations: a Gaussian has 6e-5 beyond."""
MEDIUM_STREAM = 1 << 32
"""Offset of the medium's Philox keys: exposure IDs, which key the noise, stay below."""
TURN_STREAM = 1 << 33
"""Added to it for the medium that this one turns into."""
MARGIN_SIGMAS = 8.0
"""Room for the largest of the pixels' sums: a normal deviate is beyond with 6e-16."""
BLOCK = 1 << 20
"""Draws that are held at a time, by each thread."""
BAND_LINES = 16
"""Lines that are drawn together: products of many are quick, and a grain's filter draws few lines twice."""
GRAIN_MAX = 64.0

log = logging.getLogger(__name__)


def sigma_of(bits: int) -> float:
    """Standard deviation of the real and of the imaginary part of an entry, before it is rounded."""
    return ((1 << (bits - 1)) - 1) / LIMIT_SIGMAS


def power_of(bits: int) -> float:
    """Mean of ``|entry|**2``."""
    return 2.0 * sigma_of(bits) ** 2


def entries_of(geometry: Geometry, cells: Cells, seed: int, entry_bits: int, grain_px: float, turn: bool) -> Entries:
    """Entries of at most ``entry_bits`` bits with which the field of every frame is exact in float32.

    The sum of the absolute entries of all cells, each full of lit pixels, must stay below 2**24. Where its mean and
    :data:`MARGIN_SIGMAS` standard deviations do, it is not looked at; where only the mean does, all entries are drawn
    once, and not stored. Raises :class:`UsageError` where fewer than 3 bits are left.
    """
    full = geometry.macropixel**2
    for bits in range(entry_bits, 2, -1):
        entries = Entries(geometry, cells, seed, bits, grain_px, turn)
        sigma = sigma_of(bits)
        mean = cells.count * sigma * math.sqrt(2 / math.pi)
        if full * mean >= EXACT_BELOW:
            continue
        # Rounding adds at most 1/4 to the variance.
        deviation = math.sqrt(cells.count * (sigma**2 * (1 - 2 / math.pi) + 0.25))
        bound = min(mean + MARGIN_SIGMAS * deviation, cells.count * LIMIT_SIGMAS * sigma)
        if full * bound < EXACT_BELOW or full * entries.largest_sum() < EXACT_BELOW:
            if bits < entry_bits:
                log.warning(
                    "medium: entries have %d bits instead of %d, so that the field of %d cells is exact in float32",
                    bits,
                    entry_bits,
                    cells.count,
                )
            return entries
    raise UsageError(
        f"{cells.count} cells of {full} panel pixels leave fewer than 3 bits to an entry of the medium",
        "medium",
        "Take a smaller panel or smaller macropixels (more modes on the same panel), or kind = diffuser",
    )


def grain_kernel(grain_px: float) -> Reals:
    """Filter of independent draws along one axis, of unit power, whose result has that grain; (1,) for a grain of 1.

    A Gaussian. Its values are rounded to 2**-16, so that they are the same on every machine.
    """
    if not 1.0 <= grain_px <= GRAIN_MAX:
        raise UsageError(
            f"grain_px = {grain_px:g} is out of range", "[medium] grain_px",
            f"Speckle grain over sensor pixel: 1 to {GRAIN_MAX:g}",
        )  # fmt: skip

    def kernel(width: float) -> NDArray[np.float64]:
        reach = np.arange(-math.ceil(4 * width), math.ceil(4 * width) + 1)
        taps = np.exp(-((reach / width) ** 2) / 2)
        return np.asarray(np.rint(65536 * taps / np.sqrt(np.sum(taps**2))) / 65536)

    if grain_px == 1.0:
        return np.ones(1, dtype=np.float32)
    low, high = 0.05, 2 * GRAIN_MAX
    for _ in range(50):
        middle = (low + high) / 2
        taps = kernel(middle)
        area = np.sum(np.correlate(taps, taps, "full") ** 2)
        low, high = (middle, high) if area < grain_px else (low, middle)
    result: Reals = kernel(low).astype(np.float32)
    return result


class Entries:
    """Entries over (lines, cells in raster order, pixels of a line), in blocks of cells."""

    def __init__(self, geometry: Geometry, cells: Cells, seed: int, bits: int, grain_px: float, turn: bool) -> None:
        self.bits = bits
        self._lines = geometry.camera_height
        self._width = geometry.camera_width
        self._cells = cells.count
        self._seed = seed
        self._base = MEDIUM_STREAM + (TURN_STREAM if turn else 0)
        self._limit = np.float32((1 << (bits - 1)) - 1)
        self._sigma = np.float32(sigma_of(bits))
        self._kernel = grain_kernel(grain_px)
        self._reach = len(self._kernel) // 2

    def blocks(self, lines: range) -> Iterator[tuple[int, int, Reals]]:
        """Entries of neighbouring lines: (part, first cell, (lines, cells, width) float32), part 0 real, 1 imaginary.

        A block holds until the next is drawn. First all of the real part, then the imaginary one.
        """
        margin = 2 * self._reach
        streams = [self._stream(y) for y in range(lines.start, lines.stop + margin)]
        shape = (len(streams), self._cells, self._width + margin)
        step = max(1, min(self._cells, BLOCK // (shape[0] * shape[2])))
        held = np.empty((shape[0], step, shape[2]), dtype=np.float32)
        for part in (0, 1):
            for first in range(0, self._cells, step):
                count = min(step, self._cells - first)
                draws = held.reshape(-1)[: shape[0] * count * shape[2]].reshape(shape[0], count, shape[2])
                for stream, line in zip(streams, draws, strict=True):
                    stream.standard_normal(out=line, dtype=np.float32)
                if margin:
                    draws = self._filtered(self._filtered(draws, 0, len(lines)), 2, self._width)
                draws *= self._sigma
                np.rint(draws, out=draws)
                np.clip(draws, -self._limit, self._limit, out=draws)
                yield part, first, draws

    def largest_sum(self) -> float:
        """The largest sum of a pixel's absolute entries, of either part."""

        def largest(first: int) -> float:
            lines = range(first, min(first + BAND_LINES, self._lines))
            sums = np.zeros((2, len(lines), self._width))
            for part, _, block in self.blocks(lines):
                sums[part] += np.abs(block).sum(axis=1, dtype=np.float64)
            return float(sums.max())

        with ThreadPoolExecutor(THREADS) as pool:
            return max(pool.map(largest, range(0, self._lines, BAND_LINES)))

    def _stream(self, line: int) -> np.random.Generator:
        key = np.array([self._seed, self._base + line], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    def _filtered(self, draws: Reals, axis: int, length: int) -> Reals:
        """Products and sums in a fixed order, none of them fused: the same bits on every machine."""
        parts = [draws[i : i + length] if axis == 0 else draws[:, :, i : i + length] for i in range(len(self._kernel))]
        total: Reals = parts[0] * self._kernel[0]
        scratch = np.empty_like(total)
        for part, tap in zip(parts[1:], self._kernel[1:], strict=True):
            np.multiply(part, tap, out=scratch)
            total += scratch
        return total
