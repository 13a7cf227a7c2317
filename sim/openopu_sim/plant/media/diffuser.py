"""A cascade of random phase masks, each followed by a lens: what a laboratory builds from diffusers.

    field at the sensor = F D_L F ... D_2 F D_1 x

``D`` are phase masks and ``F`` is the two-dimensional Fourier transform of a lens, on a grid larger than
panel and sensor. Time is that of ``L`` FFTs, memory that of the masks. With two masks the entries
``T[j, k] = D_1[k] h(j + k)`` are Gaussian, but a matrix of Hankel's kind: shifting the input shifts the
speckle (a thin diffuser's memory effect, without end). From three masks on it is gone; docs/media.md shows how
near to a matrix of independent entries that is. This use of structured matrices: arXiv 2510.14490, 2409.05734.

Each mask has four phases (0, pi/2, pi, 3 pi/2; a diffuser that two etches make): multiplying by one of them is
exact, and their mean and mean square are zero, as those of a uniform phase.
The camera's pupil, a square of side ``1 / grain_px`` of the last mask, sets the speckle grain.

The same vector gives the same bits whoever asks, with however many threads, alone or in a batch: each is
transformed alone, line by line. (The FFT is scipy's; another build of it may round its last bits elsewhere.)
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray
from openopu.errors import UsageError
from openopu_rtl.protocol import Geometry

from ..cells import Cells
from .interface import THREADS, Field, FieldMedium, Reals
from .memory import refuse

MASK_STREAM = 3 << 32
"""Offset of the masks' Philox keys."""
TURN_STREAM = 1 << 16
LAYERS = 3
OVERSAMPLING = 2.0
LAYERS_MAX = 64
SMALL_GRID = 1 << 17
"""Points of a grid up to which threads take whole vectors; larger ones are transformed one by one, by all threads."""
PHASES = np.array([1, 1j, -1, -1j], dtype=np.complex64)
Put = Callable[[int, Field], None]
PAD = 8
"""Columns between the rows of a grid: strides that are powers of two would fall on the same lines of the cache."""


class Cascade:
    """Masks and lenses between a block of inputs and one of outputs.

    Parameters
    ----------
    inputs, outputs : (rows, columns) of the two blocks, both at a corner of the grid.
    seed : of the masks, 0 to 2**64 - 1.
    layers : masks, at least 2.
    oversampling : points of the grid over those of the larger block, at least 1.
    grain_px : speckle grain over output, at least 1.
    turn : the masks of the medium that this one turns into.

    Attributes: ``grid`` and ``pupil``, (rows, columns); ``masks``; ``power``, the mean of ``|entry|**2``.
    """

    def __init__(
        self,
        inputs: tuple[int, int],
        outputs: tuple[int, int],
        seed: int,
        layers: int = LAYERS,
        oversampling: float = OVERSAMPLING,
        grain_px: float = 1.0,
        *,
        turn: bool = False,
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.grid = rows, columns = self.grid_of(inputs, outputs, layers, oversampling)
        if not 1.0 <= grain_px <= min(self.grid):
            raise UsageError(
                f"grain_px = {grain_px:g} is out of range", "[medium] grain_px",
                f"Speckle grain over sensor pixel: 1 to {min(self.grid)} on this grid",
            )  # fmt: skip
        self.pupil = round(rows / grain_px), round(columns / grain_px)
        self.power = self.pupil[0] * self.pupil[1] / (rows * columns) ** 2
        sizes = [inputs, *[self.grid] * (layers - 2), self.pupil]
        base = MASK_STREAM + (TURN_STREAM if turn else 0)
        self.masks = [_mask(size, seed, base + layer) for layer, size in enumerate(sizes)]

    @staticmethod
    def grid_of(inputs: tuple[int, int], outputs: tuple[int, int], layers: int, oversampling: float) -> tuple[int, int]:
        """Grid of a cascade, checked. Lengths are ones that FFTs are quick at."""
        if not 2 <= layers <= LAYERS_MAX:
            raise UsageError(
                f"layers = {layers} is out of range", "[medium] layers",
                f"2 (with memory effect) to {LAYERS_MAX} phase masks; take {LAYERS} for independent entries",
            )  # fmt: skip
        if not 1.0 <= oversampling <= 1024.0:
            raise UsageError(
                f"oversampling = {oversampling:g} is out of range", "[medium] oversampling",
                f"Points of the grid over cells or pixels: 1 to 1024; take {OVERSAMPLING:g}",
            )  # fmt: skip
        points = oversampling * max(inputs[0] * inputs[1], outputs[0] * outputs[1])
        least = [max(pair) for pair in zip(inputs, outputs, strict=True)]
        # Both sides grow alike from the smallest grid that holds both blocks.
        grow = max(1.0, math.sqrt(points / (least[0] * least[1])))
        rows = scipy.fft.next_fast_len(math.ceil(least[0] * grow))
        return rows, scipy.fft.next_fast_len(max(least[1], math.ceil(points / rows)))

    @classmethod
    def memory_needed(cls, inputs: tuple[int, int], outputs: tuple[int, int], layers: int, oversampling: float) -> int:
        """Bytes of masks, buffers and one field."""
        rows, columns = cls.grid_of(inputs, outputs, layers, oversampling)
        small = rows * columns <= SMALL_GRID
        buffers = (THREADS if small else 1) * 8 * rows * (columns + PAD)
        masks = 8 * (inputs[0] * inputs[1] + (layers - 1) * rows * columns)
        return masks + buffers + rows * columns + 24 * outputs[0] * outputs[1]

    @property
    def small(self) -> bool:
        """Whether threads take whole vectors."""
        return self.grid[0] * self.grid[1] <= SMALL_GRID

    def buffer(self) -> Field:
        """A grid for :meth:`propagate`."""
        return np.empty((self.grid[0], self.grid[1] + PAD), dtype=np.complex64)[:, : self.grid[1]]

    def propagate(self, amplitudes: NDArray[Any], grid: Field) -> Field:
        """Field at the outputs of amplitudes (rows, columns): a view of ``grid``, which is overwritten."""
        masks = self.masks
        np.multiply(masks[0], amplitudes, out=grid[: self.inputs[0], : self.inputs[1]])
        lit = self.inputs
        for mask in masks[1:]:
            field = self._lens(grid, lit, mask.shape)
            np.multiply(field, mask, out=field)
            lit = mask.shape
        return self._lens(grid, lit, self.outputs)

    def _lens(self, grid: Field, lit: tuple[int, ...], wanted: tuple[int, ...]) -> Field:
        """Transform in place; all light is in the corner ``lit``, only that of ``wanted`` is made."""
        workers = 1 if self.small else THREADS
        grid[: lit[0], lit[1] :] = 0
        grid[lit[0] :, : wanted[1]] = 0
        rows, columns = grid[: lit[0]], grid[:, : wanted[1]]
        for axis, part in ((1, rows), (0, columns)):
            scipy.fft.fft(part, axis=axis, norm="ortho", overwrite_x=True, workers=workers)
        return columns[: wanted[0]]


def _mask(size: tuple[int, int], seed: int, stream: int) -> Field:
    """Random phases, of bits that Philox gives on every machine, drawn in parts."""
    key = np.array([seed, stream], dtype=np.uint64)
    philox = np.random.Philox(key=key)
    mask = np.empty(size[0] * size[1], dtype=np.complex64)
    step = 1 << 20
    shifts = np.arange(0, 8, 2, dtype=np.uint8)
    for first in range(0, len(mask), step):
        part = mask[first : first + step]
        words = np.asarray(philox.random_raw(-(-len(part) // 32))).astype("<u8")
        codes = (words.view(np.uint8)[:, None] >> shifts) & 3
        np.take(PHASES, codes.reshape(-1)[: len(part)], out=part)
    return mask.reshape(size)


class DiffuserMedium(FieldMedium):
    """A cascade between the panel's cells and the sensor's pixels. Its speed is that of :class:`Cascade`."""

    def __init__(
        self,
        geometry: Geometry,
        cells: Cells,
        seed: int,
        layers: int = LAYERS,
        oversampling: float = OVERSAMPLING,
        grain_px: float = 1.0,
        *,
        turn: bool = False,
    ) -> None:
        super().__init__(geometry, cells)
        self._made_of = (geometry, cells, seed, layers, oversampling, grain_px)
        sensor = (geometry.camera_height, geometry.camera_width)
        self.cascade = Cascade(cells.shape, sensor, seed, layers, oversampling, grain_px, turn=turn)
        self.power = self.cascade.power
        self._local = threading.local()

    def field(self, amplitudes: Field | Reals, crop: bool = True) -> Field:
        """As :meth:`FieldMedium.field`. All of the sensor is computed in any case, so that the crop has its bits."""
        grid: Field | None = getattr(self._local, "grid", None)
        if grid is None:
            grid = self._local.grid = self.cascade.buffer()
        raster = np.empty(self.cells.count, dtype=amplitudes.dtype)
        raster[self.cells.order] = amplitudes
        field = self.cascade.propagate(raster.reshape(self.cells.shape), grid)
        if crop:
            g = self.sensor.geometry
            return field[g.crop_y : g.crop_y + g.crop_height, g.crop_x : g.crop_x + g.crop_width].reshape(-1)
        return np.take(field.reshape(-1), self.pixel_order)

    def turned(self) -> DiffuserMedium:
        """As :meth:`Medium.turned`."""
        return DiffuserMedium(*self._made_of, turn=True)


class Diffuser:
    """A random projection ``T`` of n inputs to m outputs by a cascade, without panel and camera.

    ``E |T[j, k]|**2`` is 1. Both blocks are nearly square, their last row may be cut.

    Parameters
    ----------
    n, m : inputs and outputs, each at least 1.
    seed, layers, oversampling, grain_px : of :class:`Cascade`.

    Raises :class:`UsageError` for values out of range, and for sizes that this machine cannot hold.
    """

    def __init__(
        self,
        n: int,
        m: int,
        seed: int = 1,
        layers: int = LAYERS,
        oversampling: float = OVERSAMPLING,
        grain_px: float = 1.0,
    ) -> None:
        if min(n, m) < 1:
            raise UsageError(f"n = {n}, m = {m}", "Diffuser", "Take at least one input and one output")
        self.n, self.m = n, m
        inputs, outputs = _block(n), _block(m)
        refuse(
            Cascade.memory_needed(inputs, outputs, layers, oversampling),
            f"a diffuser of {n} inputs and {m} outputs",
            "Take less oversampling, fewer layers, fewer inputs, or fewer outputs",
        )
        self.cascade = Cascade(inputs, outputs, seed, layers, oversampling, grain_px)
        self._scale = np.float32(1.0 / math.sqrt(self.cascade.power))
        self._grids = [self.cascade.buffer() for _ in range(THREADS if self.cascade.small else 1)]
        self._lock = threading.Lock()

    def project(self, x: ArrayLike, out: Reals | None = None) -> Reals:
        """Intensities ``|T x|**2``, (batch, m) float32, of ``x`` (batch, n): bits, or real or complex numbers."""
        rows = self._checked(x)
        result = np.empty((len(rows), self.m), dtype=np.float32) if out is None else out
        scale = self._scale**2

        def square(i: int, field: Field) -> None:
            to = result[i]
            whole = len(to) // field.shape[1] * field.shape[1]
            blocks = [(field[: whole // field.shape[1]], to[:whole].reshape(-1, field.shape[1]))]
            if whole < len(to):
                blocks.append((field[-1:, : len(to) - whole], to[whole:].reshape(1, -1)))
            for part, values in blocks:
                np.multiply(part.real, part.real, out=values)
                values += part.imag * part.imag
                values *= scale

        self._run(rows, square)
        return result

    def field(self, x: ArrayLike, out: Field | None = None) -> Field:
        """Fields ``T x``, (batch, m) complex64, of ``x`` as in :meth:`project`."""
        rows = self._checked(x)
        result = np.empty((len(rows), self.m), dtype=np.complex64) if out is None else out

        def copy(i: int, field: Field) -> None:
            np.multiply(field.reshape(-1)[: self.m], self._scale, out=result[i])

        self._run(rows, copy)
        return result

    def _checked(self, x: ArrayLike) -> NDArray[np.generic]:
        rows = np.asarray(x)
        if rows.ndim != 2 or rows.shape[1] != self.n:
            raise UsageError(f"x has the shape {rows.shape}", "project", f"Give (batch, {self.n})")
        if rows.dtype.kind not in "biufc":
            raise UsageError(f"x is of type {rows.dtype}", "project", "Give bits, or real or complex numbers")
        return rows

    def _run(self, rows: NDArray[np.generic], put: Put) -> None:
        with self._lock:
            if len(self._grids) == 1 or len(rows) == 1:
                self._some(rows, range(len(rows)), self._grids[0], put)
                return
            parts = [range(k, len(rows), len(self._grids)) for k in range(len(self._grids))]
            with ThreadPoolExecutor(len(parts)) as pool:
                list(pool.map(lambda part, grid: self._some(rows, part, grid, put), parts, self._grids))

    def _some(self, rows: NDArray[np.generic], which: range, grid: Field, put: Put) -> None:
        shape = self.cascade.inputs
        amplitudes: NDArray[Any] = np.zeros(shape, dtype=np.complex64 if rows.dtype.kind == "c" else np.float32)
        for i in which:
            amplitudes.reshape(-1)[: self.n] = rows[i]
            put(i, self.cascade.propagate(amplitudes, grid))


def _block(count: int) -> tuple[int, int]:
    """(rows, columns) of a nearly square block of at least ``count`` places, less than a row more."""
    columns = math.isqrt(count - 1) + 1
    return -(-count // columns), columns
