"""Cascades of random phase masks, each followed by a lens: what a laboratory builds from diffusers.

    field at the sensor = F_L D_L ... F_2 D_2 F_1 D_1 x

``D`` are phase masks and ``F`` are Fourier transforms on a grid that is larger than panel and sensor: along both axes
(a spherical lens), or along one while the other is imaged (a pair of cylindrical ones). Time is that of the FFTs,
memory that of the masks. Structured matrices of this kind: arXiv 2510.14490, 2409.05734.

``layers = 1`` is one thin diffuser between two spherical lenses, with another one on the panel. Its entries
``T[j, k] = D_1[k] h(j + k)`` are a matrix of Hankel's kind: the speckle of the next input is the same, one pixel on
(the memory effect of a thin diffuser, without end). From ``layers = 2`` on each layer is two masks and two crossed
cylindrical lenses, and the entries are Gaussian and independent, as docs/media.md shows; two layers take
no more arithmetic than the thin diffuser, that of two FFTs of the grid.

Each mask has four phases (0, pi/2, pi, 3 pi/2; a diffuser that two etches make). Their mean and mean square are zero,
as those of a uniform phase, and multiplying by one, and by a mask's scale, rounds once, on every machine.
Speckle grain: the last lens is spherical, behind a square pupil of side ``1 / grain_px``.

The same vector gives the same bits whoever asks, with however many threads, alone or in a batch: each is
transformed alone, line by line. (The FFT is scipy's; another build of it may round its last bits elsewhere.)
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray
from openopu.errors import UsageError, whole
from openopu_rtl.protocol import Geometry

from ..cells import Cells
from .interface import THREADS, Field, FieldMedium, Reals
from .memory import refuse

MASK_STREAM = 3 << 32
"""Offset of the masks' Philox keys."""
TURN_STREAM = 1 << 16
LAYERS = 2
OVERSAMPLING = 2.0
LAYERS_MAX = 32
MOST = 1 << 48
"""Inputs or outputs; any machine's memory ends before."""
SEED_MAX = (1 << 64) - 1
OVERSAMPLING_MAX = 1024.0
SMALL_GRID = 1 << 17
"""Points of a grid up to which threads take whole vectors; larger ones are transformed one by one, by all threads."""
TOGETHER = 1 << 19
"""Points of the grids (4 MiB) that a thread transforms in one call: with a call for each vector two threads were no
quicker than one, as they waited for Python's lock."""
PHASES = np.array([1, 1j, -1, -1j], dtype=np.complex64)
Put = Callable[[int, Field], None]
PAD = 8
"""Columns between the rows of a grid: strides that are powers of two would fall on the same lines of the cache."""


def _within(value: Any, name: str, low: float, high: float, advice: str) -> float:
    """``value`` as a float. Raises :class:`UsageError` for what is no real number, or not from ``low`` to ``high``."""
    if not isinstance(value, int | float | np.integer | np.floating):
        raise UsageError(f"{name} = {value!r} is no number", f"[medium] {name}", advice)
    if not low <= value <= high:
        raise UsageError(f"{name} = {value} is out of range", f"[medium] {name}", advice)
    return float(value)


def grid_of(count: int, oversampling: float, rows: int = 1, columns: int = 1) -> tuple[int, int]:
    """Grid (rows, columns) that FFTs are quick at, as square as it can be.

    It has at least ``oversampling`` times ``count`` points, and at least so many rows and columns.
    """
    advice = f"Points of the grid over cells or pixels: 1 to {OVERSAMPLING_MAX:g}; take {OVERSAMPLING:g}"
    oversampling = _within(oversampling, "oversampling", 1.0, OVERSAMPLING_MAX, advice)
    points = math.ceil(oversampling * count)

    def cost(length: int) -> float:
        # Of scipy's FFT, for a point; measured at lengths of 120 to 200.
        threes = next(i for i in itertools.count() if length % 3 ** (i + 1))
        fives = next(i for i in itertools.count() if length % 5 ** (i + 1))
        return 1.0 + 0.03 * threes + 0.05 * fives

    side = math.ceil(math.sqrt(points))
    if rows > side or columns > side:
        side = max(rows, math.ceil(points / columns)) if columns > rows else rows
    grids: list[tuple[float, int, int]] = []
    tall = max(rows, math.ceil(0.8 * side))
    while tall <= max(1.25 * side, rows) or not grids:
        tall = scipy.fft.next_fast_len(tall, real=True)
        wide = scipy.fft.next_fast_len(max(columns, math.ceil(points / tall)), real=True)
        grids.append((tall * wide * (cost(tall) + cost(wide)), tall, wide))
        tall += 1
    _, tall, wide = min(grids)
    return tall, wide


def buffers_of(points: int) -> tuple[int, int]:
    """Threads that take vectors of their own on a grid of so many points, and vectors that each takes in one call."""
    return (THREADS, max(1, TOGETHER // points)) if points <= SMALL_GRID else (1, 1)


def lenses_of(layers: int, grain_px: float) -> list[tuple[int, ...]]:
    """Axes that each lens of a cascade transforms, in this order."""
    if layers == 1:
        return [(1, 0), (1, 0)]
    lenses: list[tuple[int, ...]] = [(1,), (0,)] * layers
    if grain_px > 1.0:
        # The camera's pupil has to see all of the last mask.
        lenses[-1] = (1, 0)
    return lenses


def corners_of(
    grid: tuple[int, int], inputs: tuple[int, int], outputs: tuple[int, int], lenses: list[tuple[int, ...]]
) -> list[tuple[int, int]]:
    """For each mask the corner of the grid where there is light that reaches the outputs."""
    lit, wanted = [inputs], [outputs]
    for axes in lenses[:-1]:
        lit.append((grid[0] if 0 in axes else lit[-1][0], grid[1] if 1 in axes else lit[-1][1]))
    for axes in reversed(lenses):
        wanted.append((grid[0] if 0 in axes else wanted[-1][0], grid[1] if 1 in axes else wanted[-1][1]))
    return [_smaller(a, b) for a, b in zip(lit, reversed(wanted[1:]), strict=True)]


def _smaller(a: tuple[int, int], b: tuple[int, ...]) -> tuple[int, int]:
    return min(a[0], b[0]), min(a[1], b[1])


def _mask(size: tuple[int, int], seed: int, stream: int, scale: float) -> Field:
    """Random phases times ``scale``, of bits that Philox gives on every machine, drawn in parts."""
    key = np.array([seed, stream], dtype=np.uint64)
    philox = np.random.Philox(key=key)
    mask = np.empty(size[0] * size[1], dtype=np.complex64)
    phases = PHASES * np.float32(scale)
    step = 1 << 20
    shifts = np.arange(0, 8, 2, dtype=np.uint8)
    for first in range(0, len(mask), step):
        part = mask[first : first + step]
        words = np.asarray(philox.random_raw(-(-len(part) // 32))).astype("<u8")
        codes = (words.view(np.uint8)[:, None] >> shifts) & 3
        np.take(phases, codes.reshape(-1)[: len(part)], out=part)
    return mask.reshape(size)


def medium_grid(inputs: tuple[int, int], outputs: tuple[int, int], oversampling: float) -> tuple[int, int]:
    """Grid for blocks whose shapes are given."""
    rows, columns = (max(pair) for pair in zip(inputs, outputs, strict=True))
    return grid_of(max(math.prod(inputs), math.prod(outputs)), oversampling, rows, columns)


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
        grid = medium_grid(cells.shape, sensor, oversampling)
        self.cascade = Cascade(cells.shape, sensor, grid, seed, layers, grain_px, turn=turn)
        self.power = 1.0
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

    ``E |T[j, k]|**2`` is 1. Inputs fill rows of the grid and outputs columns, so that the first and the last lens have
    least to do.

    Parameters
    ----------
    n, m : inputs and outputs, each at least 1.
    seed, layers, grain_px : of :class:`Cascade`.
    oversampling : points of the grid over inputs or outputs, whichever are more, at least 1.

    Raises :class:`UsageError` for values of a wrong type or out of range, and for sizes that this machine cannot hold.
    Copied and pickled as its arguments: the masks are drawn again.
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
        n, m = whole(n, "n", 1, MOST), whole(m, "m", 1, MOST)
        layers = whole(layers, "[medium] layers")
        self.n, self.m = n, m
        self._made_of = (n, m, seed, layers, oversampling, grain_px)
        grid = rows, columns = grid_of(max(n, m), oversampling)
        inputs, outputs = (-(-n // columns), columns), (rows, -(-m // rows))
        refuse(
            Cascade.memory_needed(inputs, outputs, grid, max(1, min(layers, LAYERS_MAX))),
            f"a diffuser of {n} inputs and {m} outputs",
            "Take less oversampling, fewer layers, fewer inputs, or fewer outputs",
        )
        self.cascade = Cascade(inputs, outputs, grid, seed, layers, grain_px)
        threads, together = buffers_of(math.prod(grid))
        self._grids = [self.cascade.buffer(together) for _ in range(threads)]
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Diffuser], tuple[Any, ...]]:
        return type(self), self._made_of

    def project(self, x: ArrayLike, out: Reals | None = None) -> Reals:
        """Intensities ``|T x|**2``, (batch, m) float32, of ``x`` (batch, n): bits, or real or complex numbers.

        Raises :class:`UsageError` for another shape or type, and for numbers that are not finite in single precision.
        """
        rows = self._checked(x)
        result = np.empty((len(rows), self.m), dtype=np.float32) if out is None else out

        def square(first: int, fields: Field) -> None:
            # In place, over real and imaginary parts as they lie side by side.
            parts, width = fields.view(np.float32), fields.shape[-1]
            np.multiply(parts, parts, out=parts)
            whole, left = divmod(self.m, width)
            to = result[first : first + len(parts)]
            lines = to[:, : whole * width].reshape(len(parts), whole, width)
            np.add(parts[:, :whole, 0::2], parts[:, :whole, 1::2], out=lines)
            if left:
                np.add(parts[:, whole, 0 : 2 * left : 2], parts[:, whole, 1 : 2 * left : 2], out=to[:, whole * width :])

        self._run(rows, square)
        return result

    def field(self, x: ArrayLike, out: Field | None = None) -> Field:
        """Fields ``T x``, (batch, m) complex64, of ``x`` as in :meth:`project`."""
        rows = self._checked(x)
        result = np.empty((len(rows), self.m), dtype=np.complex64) if out is None else out

        def copy(first: int, fields: Field) -> None:
            result[first : first + len(fields)] = fields.reshape(len(fields), -1)[:, : self.m]

        self._run(rows, copy)
        return result

    def _checked(self, x: ArrayLike) -> NDArray[np.generic]:
        rows = np.asarray(x)
        if rows.ndim != 2 or rows.shape[1] != self.n:
            raise UsageError(f"x has the shape {rows.shape}", "project", f"Give (batch, {self.n})")
        if rows.dtype.kind not in "biufc":
            raise UsageError(f"x is of type {rows.dtype}", "project", "Give bits, or real or complex numbers")
        if rows.dtype.kind in "fc":
            with np.errstate(over="ignore"):
                rows = rows.astype(np.complex64 if rows.dtype.kind == "c" else np.float32, copy=False)
            if not np.isfinite(rows).all():
                raise UsageError(
                    "x holds NaN, infinity, or numbers beyond single precision", "project", "Give finite numbers"
                )
        return rows

    def _run(self, rows: NDArray[np.generic], put: Put) -> None:
        with self._lock:
            together = len(self._grids[0])
            some = [rows[first : first + together] for first in range(0, len(rows), together)]
            parts = [range(k, len(some), len(self._grids)) for k in range(min(len(self._grids), len(some)))]

            def run(part: range, grids: Field) -> None:
                for i in part:
                    self._some(some[i], grids, i * together, put)

            if len(parts) < 2:
                run(range(len(some)), self._grids[0])
                return
            with ThreadPoolExecutor(len(parts)) as pool:
                list(pool.map(run, parts, self._grids))

    def _some(self, rows: NDArray[np.generic], grids: Field, first: int, put: Put) -> None:
        kind = np.complex64 if rows.dtype.kind == "c" else np.float32
        amplitudes: NDArray[Any] = np.zeros((len(rows), *self.cascade.inputs), dtype=kind)
        amplitudes.reshape(len(rows), -1)[:, : self.n] = rows
        put(first, self.cascade.propagate(amplitudes, grids[: len(rows)]))


class Cascade:
    """Masks and lenses between a block of inputs and one of outputs.

    Parameters
    ----------
    inputs, outputs : (rows, columns) of the two blocks, both at a corner of the grid.
    grid : (rows, columns); see :func:`grid_of`.
    seed : of the masks, 0 to 2**64 - 1.
    layers : 1 (one thin diffuser) or more; see above.
    grain_px : speckle grain over output, at least 1.
    turn : the masks of the medium that this one turns into.

    Attributes: ``lenses``, the axes of each; ``masks``, each over that corner of the grid
    where there is light that matters, and scaled so that the mean of ``|entry|**2`` is 1.
    """

    def __init__(
        self,
        inputs: tuple[int, int],
        outputs: tuple[int, int],
        grid: tuple[int, int],
        seed: int,
        layers: int = LAYERS,
        grain_px: float = 1.0,
        *,
        turn: bool = False,
    ) -> None:
        seed, layers = whole(seed, "seed", 0, SEED_MAX), whole(layers, "[medium] layers")
        if not 1 <= layers <= LAYERS_MAX:
            raise UsageError(
                f"layers = {layers} is out of range", "[medium] layers",
                f"1 (a thin diffuser, with memory effect) to {LAYERS_MAX}; take {LAYERS} for independent entries",
            )  # fmt: skip
        self.inputs, self.outputs, self.grid = inputs, outputs, grid
        advice = f"Speckle grain over sensor pixel: 1 to {min(self.grid)} on this grid"
        grain_px = _within(grain_px, "grain_px", 1.0, min(self.grid), advice)
        self.lenses = lenses_of(layers, grain_px)
        corners = corners_of(self.grid, inputs, outputs, self.lenses)
        if grain_px > 1.0:
            corners[-1] = _smaller(corners[-1], (round(self.grid[0] / grain_px), round(self.grid[1] / grain_px)))
        base = MASK_STREAM + (TURN_STREAM if turn else 0)
        # An FFT multiplies the power by its length; at the end it is spread over all points.
        scales = [math.prod(self.grid[axis] for axis in axes) ** -0.5 for axes in self.lenses]
        scales[-1] *= math.prod(self.grid) ** 0.5
        if grain_px > 1.0:
            scales[-1] *= (math.prod(self.grid) / math.prod(corners[-1])) ** 0.5
        self.masks = [
            _mask(corner, seed, base + i, scale) for i, (corner, scale) in enumerate(zip(corners, scales, strict=True))
        ]

    @property
    def ffts(self) -> float:
        """Two-dimensional transforms of the grid that its lenses are, if nothing was left out."""
        return sum(len(axes) for axes in self.lenses) / 2

    @staticmethod
    def memory_needed(inputs: tuple[int, int], outputs: tuple[int, int], grid: tuple[int, int], layers: int) -> int:
        """Bytes of masks, buffers and one field."""
        points = math.prod(grid)
        buffers = math.prod(buffers_of(points)) * 8 * grid[0] * (grid[1] + PAD)
        masks = 8 * sum(math.prod(corner) for corner in corners_of(grid, inputs, outputs, lenses_of(layers, 1.0)))
        return masks + buffers + points + 24 * math.prod(outputs)

    @property
    def small(self) -> bool:
        """Whether threads take whole vectors."""
        return math.prod(self.grid) <= SMALL_GRID

    def buffer(self, *batch: int) -> Field:
        """Grids (*batch, rows, columns) for :meth:`propagate`."""
        return np.empty((*batch, self.grid[0], self.grid[1] + PAD), dtype=np.complex64)[..., : self.grid[1]]

    def propagate(self, amplitudes: NDArray[Any], grid: Field) -> Field:
        """Fields at the outputs of amplitudes (..., rows, columns): a view of ``grid``, which is overwritten."""
        lit = self.inputs
        source = amplitudes
        for i, (mask, axes) in enumerate(zip(self.masks, self.lenses, strict=True)):
            # Of the light that reaches a mask only that in its corner goes on to the outputs.
            lit = _smaller(lit, mask.shape)
            field = grid[..., : lit[0], : lit[1]]
            np.multiply(mask[: lit[0], : lit[1]], source[..., : lit[0], : lit[1]], out=field)
            wanted = self.masks[i + 1].shape if i + 1 < len(self.masks) else self.outputs
            lit = self._lens(grid, lit, wanted, axes)
            source = grid
        return grid[..., : self.outputs[0], : self.outputs[1]]

    def entries(self, first: int, stop: int) -> Field:
        """Fields (stop - first, rows, columns) at the outputs of single inputs, in raster order."""
        amplitudes, grid = np.zeros(self.inputs, dtype=np.float32), self.buffer()
        result = np.empty((stop - first, *self.outputs), dtype=np.complex64)
        for k in range(first, stop):
            amplitudes.flat[k] = 1.0
            result[k - first] = self.propagate(amplitudes, grid)
            amplitudes.flat[k] = 0.0
        return result

    def _lens(
        self, grid: Field, lit: tuple[int, int], wanted: tuple[int, ...], axes: tuple[int, ...]
    ) -> tuple[int, int]:
        """Transform in place: all light is in the corner ``lit``, only that of ``wanted`` is made. Returns the corner
        that is lit then."""
        workers = 1 if self.small else THREADS
        rows, columns = lit
        if 1 in axes:
            grid[..., :rows, columns:] = 0
            scipy.fft.fft(grid[..., :rows, :], axis=-1, overwrite_x=True, workers=workers)
            columns = min(self.grid[1], wanted[1])
        if 0 in axes:
            grid[..., rows:, :columns] = 0
            scipy.fft.fft(grid[..., :columns], axis=-2, overwrite_x=True, workers=workers)
            rows = self.grid[0]
        return rows, columns
