"""What a panel makes of its levels, as far as it is known: schemes choose their shots' levels by it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .plants import ModulatorKind

LEVELS = 256
TURN = 2 * math.pi


@dataclass(frozen=True, eq=False)
class Panel:
    """A panel's kind, and of a phase panel its curve.

    Attributes
    ----------
    kind
        Binary: pixels are lit or dark (DMD); phase: all are lit, and a level sets the phase of a pixel's light (LCOS).
    phases
        (256,) rad: phase of a pixel at each level; None: program levels are phases in units of ``2 pi / 256``, to
        which a level table (:meth:`openopu.Opu.set_level_table`) brings the panel.
    settle_s
        Time constant in s with which its field follows a new pattern; 0: at once, or not known.
    """

    kind: ModulatorKind
    phases: NDArray[np.float64] | None = None
    settle_s: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", ModulatorKind(self.kind))
        if self.phases is not None and (np.shape(self.phases) != (LEVELS,) or not np.isfinite(self.phases).all()):
            raise UsageError(f"a panel's curve has {LEVELS} finite phases", "panel", "Give one for each level, in rad")

    def through(self, table: NDArray[np.integer]) -> Panel:
        """The same panel behind a level table, (256,) of 0 to 255."""
        return dataclasses.replace(self, phases=None if self.phases is None else self.phases[table])

    def level(self, phase: float) -> int:
        """The lowest of the levels that come nearest to ``phase`` in rad, modulo a turn."""
        return int(np.argmin(self._distances(phase).round(9)))

    def error(self, phase: float) -> float:
        """How far from ``phase`` that level is, rad; 0 where the curve is not known."""
        return 0.0 if self.phases is None else float(self._distances(phase).min())

    def _distances(self, phase: float) -> NDArray[np.float64]:
        phases = np.arange(LEVELS) * (TURN / LEVELS) if self.phases is None else self.phases
        return np.abs((phases - phase + math.pi) % TURN - math.pi)
