"""The medium that a plant file asks for, and what it will take, estimated beforehand."""

from __future__ import annotations

from pathlib import Path

from openopu.plants import MediumKind, MediumParameters
from openopu_rtl.protocol import Geometry

from ..cells import Cells
from .counter import Counter
from .dense import Dense
from .diffuser import Cascade, DiffuserMedium, medium_grid
from .entries import BAND_LINES, BLOCK, grain_kernel
from .interface import THREADS, Medium
from .measured import Measured
from .memory import refuse

FEWER = "fewer modes, larger macropixels, or a smaller sensor (n=, m=, geometry=)"
STEPS = {
    MediumKind.DENSE: f"Take {FEWER}; or kind = counter (the same matrix, not stored) or diffuser in the plant file",
    MediumKind.COUNTER: f"Take {FEWER}",
    MediumKind.DIFFUSER: f"Take less oversampling, fewer layers, {FEWER}",
    MediumKind.MEASURED: f"Take {FEWER}",
}


def memory_needed(geometry: Geometry, parameters: MediumParameters) -> int:
    """Bytes that the plant's cells and medium take at most, of a geometry that may be absurd."""
    g, p = geometry, parameters
    pixels = g.camera_width * g.camera_height
    # Cells cut at the edges may make two more in each direction.
    across, down = g.slm_width // g.macropixel + 2, g.slm_height // g.macropixel + 2
    needed = 24 * (pixels + across * down)
    needed += 8 * (g.slm_width * across + g.slm_height * down + g.slm_width * g.slm_height)
    if p.kind in (MediumKind.DENSE, MediumKind.MEASURED):
        needed += 8 * across * down * pixels
    if p.kind in (MediumKind.DENSE, MediumKind.COUNTER):
        needed += drawing_needed(g, p.grain_px)
    if p.kind is MediumKind.DIFFUSER:
        cells, sensor = (down, across), (g.camera_height, g.camera_width)
        needed += Cascade.memory_needed(cells, sensor, medium_grid(cells, sensor, p.oversampling), p.layers)
    if p.kind is MediumKind.MEASURED and Path(p.file).is_file():
        needed += 3 * Path(p.file).stat().st_size
    return needed


def drawing_needed(geometry: Geometry, grain_px: float) -> int:
    """Bytes of the blocks that are drawn and filtered at a time."""
    margin = 0 if grain_px == 1.0 else 2 * len(grain_kernel(grain_px))
    return THREADS * 4 * 4 * max(BLOCK, (BAND_LINES + margin) * (geometry.camera_width + margin))


def refuse_too_large(geometry: Geometry, parameters: MediumParameters, turns: bool = False) -> None:
    """Raise :class:`UsageError`, before anything is allocated, for a medium that this machine cannot hold, and with it
    another one, if it turns."""
    refuse(
        memory_needed(geometry, parameters) * (2 if turns else 1),
        f"a {parameters.kind} medium of this geometry" + (" and what it turns into" if turns else ""),
        STEPS[parameters.kind] + ("; or no drift" if turns else ""),
    )


def make(geometry: Geometry, cells: Cells, parameters: MediumParameters, seed: int) -> Medium:
    """The medium of the table ``[medium]`` of a plant file.

    Raises :class:`UsageError` for a file that cannot be used, and for a medium that this machine cannot hold.
    """
    p = parameters
    refuse_too_large(geometry, p)
    if p.kind is MediumKind.MEASURED:
        return Measured(geometry, cells, p.file, p.entry_bits, seed)
    if p.kind is MediumKind.DIFFUSER:
        return DiffuserMedium(geometry, cells, seed, p.layers, p.oversampling, p.grain_px)
    cls = Dense if p.kind is MediumKind.DENSE else Counter
    return cls(geometry, cells, seed, p.entry_bits, p.grain_px)
