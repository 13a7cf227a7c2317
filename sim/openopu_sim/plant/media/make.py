"""The medium that a plant file asks for, and what it will take, estimated beforehand."""

from __future__ import annotations

from pathlib import Path

from openopu.errors import UsageError
from openopu_rtl.protocol import Geometry

from ..cells import Cells
from .counter import Counter
from .dense import Dense
from .diffuser import LAYERS_MAX, Cascade, DiffuserMedium, medium_grid
from .entries import BAND_LINES, BLOCK, grain_kernel
from .interface import KINDS, THREADS, Medium, Settings
from .measured import Measured
from .memory import refuse

FEWER = "fewer modes, larger macropixels, or a smaller sensor (n=, m=, geometry=)"
STEPS = {
    "dense": f"Take {FEWER}; or kind = counter (the same matrix, not stored) or diffuser in the plant file",
    "counter": f"Take {FEWER}",
    "diffuser": f"Take less oversampling, fewer layers, {FEWER}",
    "measured": f"Take {FEWER}",
}


def memory_needed(geometry: Geometry, settings: Settings | None = None) -> int:
    """Bytes that the plant's cells and medium take at most, of a geometry that may be absurd. None: a dense one."""
    g = geometry
    pixels = g.camera_width * g.camera_height
    # Cells cut at the edges may make two more in each direction.
    across, down = g.slm_width // g.macropixel + 2, g.slm_height // g.macropixel + 2
    needed = 24 * (pixels + across * down)
    needed += 8 * (g.slm_width * across + g.slm_height * down + g.slm_width * g.slm_height)
    kind = "dense" if settings is None else str(settings.kind)
    if kind in ("dense", "measured"):
        needed += 8 * across * down * pixels + (drawing_needed(g, settings) if kind == "dense" else 0)
    elif kind == "counter":
        needed += drawing_needed(g, settings)
    elif settings is not None:
        cells, sensor = (down, across), (g.camera_height, g.camera_width)
        grid = medium_grid(cells, sensor, settings.oversampling)
        needed += Cascade.memory_needed(cells, sensor, grid, max(1, min(settings.layers, LAYERS_MAX)))
    if kind == "measured" and settings is not None and Path(settings.file).is_file():
        needed += 3 * Path(settings.file).stat().st_size
    return needed


def drawing_needed(geometry: Geometry, settings: Settings | None) -> int:
    """Bytes of the blocks that are drawn and filtered at a time."""
    margin = 0 if settings is None or settings.grain_px == 1.0 else 2 * len(grain_kernel(settings.grain_px))
    return THREADS * 4 * 4 * max(BLOCK, (BAND_LINES + margin) * (geometry.camera_width + margin))


def refuse_too_large(geometry: Geometry, settings: Settings | None = None) -> None:
    """Raise :class:`UsageError`, before anything is allocated, for a geometry whose plant this machine cannot hold."""
    kind = "dense" if settings is None else str(settings.kind)
    refuse(memory_needed(geometry, settings), f"a {kind} medium of this geometry", STEPS[kind])


def make(geometry: Geometry, cells: Cells, settings: Settings, seed: int) -> Medium:
    """The medium of the table ``[medium]`` of a plant file.

    Raises :class:`UsageError` for a kind that is not known, values out of range, a file that cannot be used, and
    for a medium that this machine cannot hold.
    """
    kind = str(settings.kind)
    if kind not in KINDS:
        raise UsageError(f"kind = {kind!r} is not known", "[medium] kind", f"Take one of: {', '.join(KINDS)}")
    if bool(settings.file) != (kind == "measured"):
        raise UsageError(
            f"kind = {kind!r} with file = {settings.file!r}",
            "[medium] file",
            'kind = measured needs the file of a calibration; the other kinds have file = ""',
        )
    refuse_too_large(geometry, settings)
    if kind == "measured":
        return Measured(geometry, cells, settings.file, settings.entry_bits, seed)
    if kind == "diffuser":
        return DiffuserMedium(geometry, cells, seed, settings.layers, settings.oversampling, settings.grain_px)
    cls = Dense if kind == "dense" else Counter
    return cls(geometry, cells, seed, settings.entry_bits, settings.grain_px)
