"""Crosstalk between panel pixels: a share ``c`` of a pixel's field is the mean of its four neighbours'.

So a pixel's field is ``(1 - c) a + c mean(a of neighbours) = a + c/4 sum(a of neighbours - a)``. The sum is an integer
for an integer pattern, and within a cell that is evenly lit only its rim counts. Beyond the panel's edge a pixel's
neighbour is like itself. The four sides are summed in as many groups as leave no cell's sum above the number of its
pixels, so that fields stay exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .cells import Cells

Reals = NDArray[np.float32]


Side = tuple[int, int]
"""Axis (0: down, 1: right), and +1 or -1 along it."""
SIDES: tuple[Side, ...] = ((0, -1), (0, 1), (1, -1), (1, 1))


def differences(pattern: Reals, sides: Sequence[Side] = SIDES) -> Reals:
    """Sum over the neighbours of each pixel of their difference to it, same shape (height, width)."""
    out = np.zeros_like(pattern)
    for axis, direction in sides:
        step = np.diff(pattern, axis=axis)
        here = [slice(None)] * 2
        here[axis] = slice(None, -1) if direction > 0 else slice(1, None)
        out[tuple(here)] += step if direction > 0 else -step
    return out


class Crosstalk:
    """Sums of :func:`differences` over cells, one for each of the groups of sides. ``groups`` : those."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        g, k = cells.geometry, cells.geometry.macropixel
        count = min(-(-4 // k), 4)  # of groups: a cell's rim is k pixels at each side
        self.groups = [SIDES[i * 4 // count : (i + 1) * 4 // count] for i in range(count)]
        down, across = cells.shape
        place = np.empty(cells.count, dtype=np.intp)
        place[cells.order] = np.arange(cells.count)
        grid = np.full((down + 2, across + 2), -1)
        grid[1:-1, 1:-1] = place.reshape(cells.shape)
        y, x = (-(-g.signal_y // k) + 1, -(-g.signal_x // k) + 1)
        self._neighbours = {}
        """Of each mode the cell at each side, or -1."""
        for axis, direction in SIDES:
            to_y, to_x = (y + direction, x) if axis == 0 else (y, x + direction)
            self._neighbours[axis, direction] = grid[to_y : to_y + g.modes_y, to_x : to_x + g.modes_x].ravel()

    def sums(self, pattern: Reals) -> Reals:
        """Of a pattern (slm_height, slm_width) of whole numbers, (groups, cells)."""
        return np.stack([self.cells.sums(differences(pattern, sides)) for sides in self.groups])

    def of_modes(self, bits: Reals) -> Reals:
        """Of rows of bits (rows, modes), each lighting its macropixel, (groups, rows, cells)."""
        k = np.float32(self.cells.geometry.macropixel)
        modes = bits.shape[1]
        out = np.zeros((len(self.groups), len(bits), self.cells.count), dtype=np.float32)
        for sums, sides in zip(out, self.groups, strict=True):
            for axis, direction in sides:
                # A lit mode misses what its neighbour at this side lacks; a neighbour at the other side gains.
                near = self._neighbours[axis, direction] >= 0
                sums[:, :modes][:, near] -= k * bits[:, near]
                far = self._neighbours[axis, -direction]
                sums[:, far[far >= 0]] += k * bits[:, far >= 0]
        return out
