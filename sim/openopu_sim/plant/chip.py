"""The medium that the gateware itself can hold, as a plant: integers, no noise, light of constant power."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from openopu.panel import Panel
from openopu.plants import ModulatorKind
from openopu_rtl import chip_medium, panel_probe
from openopu_rtl.protocol import Geometry
from openopu_rtl.protocol.patterns import LIT_FROM

from .light import Illumination

Reals = NDArray[np.float32]

CHUNK_PIXELS = 1 << 22
"""Pixels of the crops that are held at a time."""


class ChipPlant:
    """What :class:`openopu_rtl.chip_medium.ChipMedium` makes; see there."""

    panel = Panel(ModulatorKind.BINARY)

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        # Sums of signs are small integers: exact in float32, in whatever order.
        real, imag = chip_medium.signs(geometry)
        self._parts: tuple[Reals, Reals] = (real.astype(np.float32), imag.astype(np.float32))
        self._all: tuple[Reals, Reals] = (self._parts[0].sum(axis=1), self._parts[1].sum(axis=1))

    def expose_frame(
        self,
        levels: NDArray[np.uint8],
        exposure_id: int,
        exposure_cycles: int,
        laser_code: int,
        settle_cycles: int = 0,
    ) -> tuple[NDArray[np.uint16], int]:
        """Frame and photodiode reading, as of :meth:`Plant.expose_frame`; only pattern and exposure matter."""
        modes = panel_probe.model(self.geometry, levels)[0]
        lit = (modes >= LIT_FROM).astype(np.float32)
        values = self._values(self._parts[0] @ lit, self._parts[1] @ lit, exposure_cycles)
        return chip_medium.spread(self.geometry, values), chip_medium.MONITOR

    def expose_batch(
        self,
        planes: NDArray[np.uint8],
        shots: Sequence[Illumination],
        first_exposures: NDArray[np.integer],
        laser_code: int,
        reduce: Callable[[NDArray[np.uint16]], NDArray[np.int32]],
        outputs: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """As :meth:`Plant.expose_batch`."""
        g = self.geometry
        reduced = np.empty((len(planes), len(shots), outputs), dtype=np.int32)
        at_once = max(1, CHUNK_PIXELS // (g.crop_width * g.crop_height))
        rows, columns = slice(g.crop_y, g.crop_y + g.crop_height), slice(g.crop_x, g.crop_x + g.crop_width)
        shown = sorted({shot.plane for shot in shots if shot.plane is not None})
        for low in range(0, len(planes), at_once):
            group = slice(low, low + at_once)
            bits = {plane: planes[group, plane].astype(np.float32) for plane in shown}
            fields = {plane: [b @ part.T for part in self._parts] for plane, b in bits.items()}
            for s, shot in enumerate(shots):
                on, off = shot.level_on >= LIT_FROM, shot.level_off >= LIT_FROM
                real, imag = (
                    np.float32(off) * self._all[i]
                    + (np.float32(on) - np.float32(off)) * (0 if shot.plane is None else fields[shot.plane][i])
                    for i in (0, 1)
                )
                values = np.broadcast_to(
                    self._values(real, imag, shot.exposure_cycles), (len(planes[group]), g.outputs)
                )
                reduced[group, s] = reduce(chip_medium.spread(g, values)[..., rows, columns])
        return reduced, np.full((len(planes), len(shots)), chip_medium.MONITOR, dtype=np.uint16)

    def temperature_reading(self) -> int:
        """There is no thermometer."""
        return 0

    def _values(self, real: Reals, imag: Reals, exposure_cycles: int) -> NDArray[np.uint16]:
        """Pixels of each output for its field."""
        energy = real.astype(np.int64) ** 2 + imag.astype(np.int64) ** 2
        return np.asarray(chip_medium.pixels(self.geometry, energy, exposure_cycles))

    pair_is_linear = True

    def effective_matrix(self, shot: Illumination, laser_code: int, exposure_id: int = 0) -> NDArray[np.float64]:
        """As :meth:`Plant.effective_matrix`: ``Re(conj(r) T)``, with ``r`` the field of all modes lit."""
        g = self.geometry
        on, off = int(shot.level_on >= LIT_FROM), int(shot.level_off >= LIT_FROM)
        # |c + d|^2 - |c - d|^2 = 4 Re(conj(c) d) with c = (on + off) r / 2 and d = (on - off) T s / 2.
        scale = (on * on - off * off) * min(shot.exposure_cycles, chip_medium.EXPOSURE_MAX) * g.bin**2
        product = sum(part * whole[:, None] for part, whole in zip(self._parts, self._all, strict=True))
        return np.asarray(product, dtype=np.float64) * scale / (1 << chip_medium.shift_of(g))

    def close(self) -> None:
        """Nothing to end."""
