"""What every medium is: a fixed complex linear map from the panel's cells to the sensor's pixels."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Geometry

from ..cells import Cells

Reals = NDArray[np.float32]
Field = NDArray[np.complex64]

EXACT_BELOW = 1 << 24
"""float32 holds every integer up to this one."""
THREADS = 2
"""Threads that media use; what they compute does not depend on it."""


class Sensor:
    """Order of the sensor's pixels in a medium: those of the crop in raster order, then the others."""

    def __init__(self, geometry: Geometry) -> None:
        g = geometry
        self.geometry = g
        raster = np.arange(g.camera_width * g.camera_height).reshape(g.camera_height, g.camera_width)
        crop = raster[g.crop_y : g.crop_y + g.crop_height, g.crop_x : g.crop_x + g.crop_width].ravel()
        self.order: NDArray[np.intp] = np.concatenate([crop, np.setdiff1d(raster, crop)])
        self.crop_pixels = len(crop)
        self._column = np.empty(raster.size, dtype=np.intp)
        self._column[self.order] = np.arange(raster.size)

    def runs(self, y: int, crop: bool) -> list[tuple[slice, slice]]:
        """Where line ``y`` of the sensor goes: pairs of a slice of the line and one of the medium's pixels."""
        g = self.geometry
        if crop:
            if not g.crop_y <= y < g.crop_y + g.crop_height:
                return []
            first = (y - g.crop_y) * g.crop_width
            return [(slice(g.crop_x, g.crop_x + g.crop_width), slice(first, first + g.crop_width))]
        columns = self._column[y * g.camera_width : (y + 1) * g.camera_width]
        bounds = [0, *(np.flatnonzero(np.diff(columns) != 1) + 1).tolist(), len(columns)]
        return [
            (slice(low, high), slice(int(columns[low]), int(columns[low]) + high - low))
            for low, high in itertools.pairwise(bounds)
        ]

    def lines(self, crop: bool) -> range:
        """Lines of the sensor that the crop, or all of it, needs."""
        g = self.geometry
        return range(g.crop_y, g.crop_y + g.crop_height) if crop else range(g.camera_height)


class Medium(ABC):
    """Transmission matrix over all cells of the panel and all pixels of the sensor.

    Attributes
    ----------
    cells : the inputs; the signal's modes are the first.
    pixel_order : (pixels,) raster index on the sensor of each output; the crop's pixels are the first.
    crop_pixels : pixels of the crop.
    power : mean of ``|entry|**2``.

    It is an :class:`ExactMedium` or a :class:`FieldMedium`.
    """

    power: float

    def __init__(self, geometry: Geometry, cells: Cells) -> None:
        self.cells = cells
        self.sensor = Sensor(geometry)
        self.pixel_order = self.sensor.order
        self.crop_pixels = self.sensor.crop_pixels

    @property
    def pixels(self) -> int:
        """Pixels of the sensor."""
        return len(self.pixel_order)

    @abstractmethod
    def turned(self) -> Medium:
        """A second, independent medium of the same kind, into which this one turns as it drifts."""

    @abstractmethod
    def columns(self, first: int, stop: int, crop: bool = True) -> Field:
        """Entries of the cells ``first`` to ``stop``, (stop - first, pixels) complex64."""


class ExactMedium(Medium):
    """Entries are integers, so few bits long that every partial sum of a field is exact in float32.

    So a field depends neither on the order of summation nor on the batch or the BLAS.
    """

    bits: int
    """Bits of an entry, sign included."""

    @abstractmethod
    def products(
        self, weights: Reals, crop: bool = True, out: tuple[Reals, Reals] | None = None
    ) -> tuple[Reals, Reals]:
        """Fields of weighted cells, real and imaginary part, both (rows, pixels) float32 integers.

        Parameters
        ----------
        weights : (rows, k) float32, small integers: at most the panel pixels of a cell. ``k`` may be fewer than
            all cells: the first ones.
        crop : the crop's pixels only, else all of the sensor.
        out : two buffers of the result's shape, or None.
        """

    def columns(self, first: int, stop: int, crop: bool = True) -> Field:
        weights = np.zeros((stop - first, stop), dtype=np.float32)
        weights[np.arange(stop - first), np.arange(first, stop)] = 1.0
        real, imag = self.products(weights, crop)
        entries = np.empty(real.shape, dtype=np.complex64)
        entries.real, entries.imag = real, imag
        return entries


class FieldMedium(Medium):
    """A medium whose field is a floating-point computation, of one vector at a time: the same bits whoever asks."""

    @abstractmethod
    def field(self, amplitudes: Field | Reals, crop: bool = True) -> Field:
        """Field (pixels,) complex64 of all cells' amplitudes (cells,)."""

    def columns(self, first: int, stop: int, crop: bool = True) -> Field:
        rows = []
        amplitudes = np.zeros(self.cells.count, dtype=np.float32)
        for cell in range(first, stop):
            amplitudes[cell] = 1.0
            rows.append(self.field(amplitudes, crop))
            amplitudes[cell] = 0.0
        return np.stack(rows)


def outputs_of(rows: int, medium: Medium, crop: bool, out: tuple[Reals, Reals] | None) -> tuple[Reals, Reals]:
    """``out``, or new buffers for the products of ``rows`` weights."""
    shape = (rows, medium.crop_pixels if crop else medium.pixels)
    if out is None:
        return np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    return out
