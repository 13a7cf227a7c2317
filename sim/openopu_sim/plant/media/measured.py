"""A transmission matrix that was measured, from a calibration file."""

from __future__ import annotations

import copy
import math
import os
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from openopu import calibration
from openopu.calibration.errors import CalibrationMismatch
from openopu.errors import UsageError
from openopu_rtl.protocol import Geometry

from ..cells import Cells
from .dense import Stored
from .entries import MEDIUM_STREAM, TURN_STREAM
from .interface import EXACT_BELOW, Reals

Matrix = NDArray[np.float64]
OPTICAL = (
    *("slm_width", "slm_height", "macropixel", "modes_x", "modes_y", "signal_x", "signal_y"),
    *("anchor_x", "anchor_y", "anchor_width", "anchor_height"),
    *("camera_width", "camera_height", "crop_x", "crop_y", "crop_width", "crop_height", "bin"),
)
"""Fields of a geometry that decide what a matrix means."""
STEP = "Measure one with this geometry: openopu calibrate"
PHASE_PANEL = (
    "Calibrate (without --only) a phase panel that reaches 3/2 pi, with an anchor region; of the named ones lcos2pi"
)


class Measured(Stored):
    """Group ``matrix`` of a file: datasets ``real`` and ``imag``, (rows, columns), each with an attribute ``unit``.

    A file that says that it is a calibration of ours must have the right hash, and the same panel, regions and sensor;
    any other HDF5 file will do that holds the two. Rows are the crop's pixels in raster order, or outputs, each of
    whose pixels then has its output's field. Columns are the signal's modes, or all cells. Of pixels and cells that
    were not measured the field is zero. Entries are rounded to integers of at most ``entry_bits`` bits, with the
    largest at their limit.

    The rows of a calibration of ours are ``-4 conj(r) T`` (one unit on a mode is shown as phase pi, amplitude -1) with
    ``r`` the field of anchor and border, which is not known by itself. It is found from the rows' powers, as if those
    of ``T`` were equal (many modes, developed speckle), and is spread evenly over the panel's other cells. So pairs and
    phase steps give what was measured, and intensities are right as far as that holds. An output of several pixels is
    then one grain, not several, and its pairs are larger by the bin's side.

    Raises :class:`UsageError` for a file that cannot be read, holds no matrix, or one of another geometry.
    """

    def __init__(self, geometry: Geometry, cells: Cells, path: str | Path, entry_bits: int, seed: int = 1) -> None:
        super().__init__(geometry, cells)
        self._seed = seed
        real, imag = self._with_reference(*_read(str(path), geometry, cells))
        largest = max(float(np.abs(part).max()) for part in (real, imag))
        if largest == 0.0:
            raise UsageError("every entry of the matrix is zero", str(path), STEP)
        for self.bits in range(entry_bits, 2, -1):
            scale = ((1 << (self.bits - 1)) - 1) / largest
            parts = [np.rint(part * scale).astype(np.float32) for part in (real, imag)]
            # Of the larger part, so that the medium that this one turns into is exact too.
            bound = np.maximum(np.abs(parts[0]), np.abs(parts[1])).sum(axis=1, dtype=np.float64).max()
            if geometry.macropixel**2 * bound < EXACT_BELOW:
                break
        else:
            raise UsageError("fewer than 3 bits are left to an entry", str(path), "Take smaller macropixels")
        self._measured = geometry.modes if self._referenced else real.shape[1]
        squares = [np.mean(part[:, : self._measured].astype(np.float64) ** 2) for part in parts]
        self.power = float(np.mean(squares)) * 2
        self.real, self.imag = (self._spread(part) for part in parts)

    def _with_reference(self, real: Matrix, imag: Matrix, stepped: bool) -> tuple[Matrix, Matrix]:
        """Both parts over all cells, with the field of the others, where the rows are those of phase stepping."""
        self._referenced = stepped and real.shape[1] < self.cells.count
        if not self._referenced:
            return real, imag
        row = np.sqrt((real**2 + imag**2).mean(axis=1, keepdims=True))
        weights = self.cells.sums(1 - self.cells.mask("modes"))[real.shape[1] :].astype(np.float64)
        # Cells are independent, so the mean of |r|^2 is the sum of their pixels' squares, in units of a mode's pixel.
        typical = math.sqrt(float(np.mean(row**2)))
        reference = row / (typical or 1.0) * math.sqrt(float(np.sum(weights**2))) / float(weights.sum())
        lit = np.where(row > 0, row, 1.0)
        others = np.broadcast_to(reference, (len(real), len(weights)))
        return np.hstack([-real / lit, others]), np.hstack([-imag / lit, np.zeros_like(others)])

    def _spread(self, part: Reals) -> Reals:
        """(cells, pixels) of a part (rows, columns)."""
        g = self.sensor.geometry
        if len(part) != self.crop_pixels:
            outputs = part.reshape(g.outputs_y, g.outputs_x, -1)
            part = outputs.repeat(g.bin, axis=0).repeat(g.bin, axis=1).reshape(self.crop_pixels, -1)
        spread = np.zeros((self.cells.count, self.pixels), dtype=np.float32)
        spread[: part.shape[1], : self.crop_pixels] = part.T
        return spread

    def turned(self) -> Measured:
        """The measured columns in another order, each entry turned by a random multiple of pi/2: each pixel
        keeps its power."""
        other = copy.copy(self)
        rng = np.random.Generator(np.random.Philox(key=np.array([self._seed, MEDIUM_STREAM + TURN_STREAM], np.uint64)))
        order = np.arange(self.cells.count)
        order[: self._measured] = rng.permutation(self._measured)
        quarter = rng.integers(0, 4, self.real.shape, dtype=np.uint8)
        # The reference turns as a whole.
        quarter[self._measured :] = quarter[-1]
        real, imag = self.real[order], self.imag[order]
        swap = quarter % 2 == 1
        signs = 1.0 - 2.0 * (quarter >= 2)
        other.real = (np.where(swap, -imag, real) * signs).astype(np.float32)
        other.imag = (np.where(swap, real, imag) * signs).astype(np.float32)
        return other


def _why_not(file: h5py.File) -> str:
    """Why a calibration of ours has no complex matrix."""
    if "matrix" not in file:
        return "`matrix` was not measured"
    if "levels" not in file:
        return "its panel cannot step the phase, as of a DMD or one of two levels, or `levels` was not measured"
    return "its panel cannot step the phase to 3/2 pi, or has no anchor region"


def _read(path: str, geometry: Geometry, cells: Cells) -> tuple[Matrix, Matrix, bool]:
    """Both parts of a file's matrix, float64, checked, and whether it is a calibration of ours."""
    g = geometry
    parts = []
    try:
        with h5py.File(path, "r") as file:
            ours = "format" in file.attrs
            if ours and "matrix/real" not in file:
                raise UsageError(f"this calibration has no complex matrix: {_why_not(file)}", path, PHASE_PANEL)
            for name in ("matrix/real", "matrix/imag"):
                data = file.get(name)
                if not isinstance(data, h5py.Dataset):
                    raise UsageError(f"there is no dataset {name}", path, f"It is no file of a complex matrix. {STEP}")
                if data.ndim != 2 or data.dtype.kind not in "fiu" or "unit" not in data.attrs:
                    raise UsageError(
                        f"{name} is {data.dtype} of shape {data.shape}"
                        + ("" if "unit" in data.attrs else " without a unit"),
                        path,
                        f"It must hold real numbers (rows, columns) and an attribute `unit`. {STEP}",
                    )
                parts.append(np.asarray(data[()], dtype=np.float64))
    except OSError as error:
        # HDF5's own text has several lines, and the time of day.
        cause = os.strerror(error.errno) if error.errno else "it is no HDF5 file, or is cut short"
        raise UsageError(
            f"the calibration cannot be read ({cause})",
            path,
            f"Name an HDF5 file that is whole. {STEP}",
        ) from None
    if ours:
        # Its hash is right, or this raises.
        made_with = calibration.load(path).geometry
        other = [f"{n} {made_with[n]} (now {getattr(g, n)})" for n in OPTICAL if made_with[n] != getattr(g, n)]
        if other:
            raise CalibrationMismatch(
                f"it was made with another geometry: {', '.join(other)}",
                path,
                f"Open the device with the geometry of the calibration. {STEP}",
            )
    shapes = [part.shape for part in parts]
    rows = {g.crop_width * g.crop_height: "pixels of the crop", g.outputs: "outputs"}
    columns = {g.modes: "modes", cells.count: "cells"}
    if shapes[0] != shapes[1] or shapes[0][0] not in rows or shapes[0][1] not in columns:
        raise UsageError(
            f"the matrix is {shapes[0]} and {shapes[1]}; this geometry has "
            + " or ".join(f"{count} {what}" for count, what in rows.items())
            + ", and "
            + " or ".join(f"{count} {what}" for count, what in columns.items()),
            path,
            f"Open the device with the geometry of the calibration. {STEP}",
        )
    if not all(np.isfinite(part).all() for part in parts):
        raise UsageError("the matrix holds NaN or infinity", path, STEP)
    return parts[0], parts[1], ours
