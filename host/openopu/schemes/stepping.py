"""Phase stepping: the complex field, by four steps of the anchor's phase."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from openopu_rtl.protocol import Geometry, Program, Shot

from ..panel import Panel
from ..plants import ModulatorKind
from ..settings import SHOWN
from .linear import check_anchor, check_phases
from .scheme import Exact, LinearScheme, Values

STEPS = tuple(i * math.pi / 2 for i in range(4))
ORDER = ((0, False, 0), (1, False, 1), (3, True, 1), (2, True, 0))
"""Step, whether it is subtracted, and the bank, of the shots of even planes; odd planes run backwards. So a linear
drift cancels in every two planes of one weight."""


@dataclass(frozen=True)
class Stepping(LinearScheme):
    """Four steps of anchor and border, at phases 0, pi/2, pi and 3 pi/2 (``I_0`` to ``I_3``), on a phase panel whose
    modes show 0 and pi: ``(I_0 - I_2) + i (I_1 - I_3) = 4 conj(r) T s`` up to its sign, complex, in DN, ``r`` the field
    of anchor and border at phase 0. Real part in bank 0, imaginary part in bank 1; four shots for each plane."""

    name: ClassVar[str] = "stepping"
    panels: ClassVar[frozenset[ModulatorKind]] = frozenset({ModulatorKind.PHASE})
    banks: ClassVar[int] = 2
    dtype: ClassVar[type[np.generic]] = np.complex64

    def program(self, panel: Panel | None = None, **fields: Any) -> Program:
        p = panel or Panel(ModulatorKind.PHASE)
        on, off = p.level(math.pi), p.level(0.0)
        shots = []
        for plane, shift in enumerate(self.encoding.shifts):
            for step, negative, bank in ORDER[:: -1 if plane % 2 else 1]:
                level = p.level(STEPS[step])
                shown = {"level_on": on, "level_off": off, "level_anchor": level, "level_border": level}
                shots.append(Shot(plane=plane, negative=negative, bank=bank, shift=shift, **(shown | fields)))
        return Program(tuple(shots), self.planes)

    def check(self, geometry: Geometry, panel: Panel | None) -> None:
        super().check(geometry, panel)
        check_anchor(self.name, geometry)
        check_phases(self.name, panel, STEPS)

    def weight(self, program: Program) -> float | None:
        """Where its shots are those of :meth:`program` but for timing and levels."""
        mine = self.program()
        same = len(program) == len(mine) and all(
            dataclasses.replace(wanted, **{n: getattr(shot, n) for n in SHOWN}) == shot
            for shot, wanted in zip(program, mine, strict=True)
        )
        once = len({s.exposure_cycles for s in program}) == 1
        return float(np.exp2(self.encoding.shifts).sum()) if same and once else None

    def decode(self, values: Values, factor: Values, reference: Values | None) -> Values:
        return np.asarray((values[:, :, 0] + 1j * values[:, :, 1]) * factor[:, None])

    def matrix(self, program: Program, exact: Exact, reference: Values | None) -> Values:
        return np.asarray(self.odd_part(program, exact, 0) + 1j * self.odd_part(program, exact, 1))
