"""Pairs of a plane and its complement: exactly linear on a binary panel, and on a phase panel with an anchor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from openopu_rtl.protocol import Geometry, Program

from ..errors import UsageError
from ..panel import Panel
from ..plants import ModulatorKind
from ..settings import plane_weights
from .scheme import Exact, LinearScheme, Values, pairs

ANCHOR_SHARES = (0.05, 0.5)
"""Of a phase panel's pixels. Signal over noise goes as 4 a (1 - a) of the share a (docs/schemes.md): 0.19 of its
largest value at the lower end, and beyond the upper one the modes get fewer for nothing."""
PHASE_TOLERANCE = 0.1
"""rad, of a level from the phase that a scheme asks for: 32 levels over a turn miss by so much at worst."""


@dataclass(frozen=True)
class Complement(LinearScheme):
    """Pairs on a binary panel: ``I(b) - I(1 - b) = Re(conj(r) . T s)``, ``b = (1 + s) / 2``, ``r`` the field of
    everything lit, in DN. Two shots for each plane. Whatever is static adds to ``r``, and black levels cancel."""

    name: ClassVar[str] = "complement"
    panels: ClassVar[frozenset[ModulatorKind]] = frozenset({ModulatorKind.BINARY})

    def program(self, panel: Panel | None = None, **fields: Any) -> Program:
        return pairs(self.encoding.shifts, **fields)

    def weight(self, program: Program) -> float | None:
        weights = plane_weights(program)
        if weights is None:
            return None
        total = float(weights.sum())
        return total if total and np.array_equal(weights / total, self.encoding.weights) else None

    def decode(self, values: Values, factor: Values, reference: Values | None) -> Values:
        return np.asarray(values[:, :, 0] * factor[:, None])

    def matrix(self, program: Program, exact: Exact, reference: Values | None) -> Values:
        return self.odd_part(program, exact, 0)


@dataclass(frozen=True)
class Phase(Complement):
    """Pairs on a phase panel whose modes show phases 0 and pi: ``I(s) - I(-s) = 4 Re(conj(r) T s)`` up to its sign,
    in DN, ``r`` the field of anchor region and border alone, which stay at phase 0. Two shots for each plane."""

    name: ClassVar[str] = "phase"
    panels: ClassVar[frozenset[ModulatorKind]] = frozenset({ModulatorKind.PHASE})

    def program(self, panel: Panel | None = None, **fields: Any) -> Program:
        return pairs(self.encoding.shifts, **(phase_levels(panel or Panel(ModulatorKind.PHASE)) | fields))

    def check(self, geometry: Geometry, panel: Panel | None) -> None:
        super().check(geometry, panel)
        check_anchor(self.name, geometry)
        check_phases(self.name, panel, (0.0, math.pi))


def phase_levels(panel: Panel | None) -> dict[str, int]:
    """Levels of a shot whose bits are phases 0 and pi, all else at phase 0; none where it is no phase panel."""
    if panel is None or panel.kind is not ModulatorKind.PHASE:
        return {}
    off = panel.level(0.0)
    return {"level_on": panel.level(math.pi), "level_off": off, "level_anchor": off, "level_border": off}


def check_anchor(name: str, geometry: Geometry) -> None:
    """Raise :class:`UsageError` where the panel has no anchor region that is any good."""
    share = geometry.anchor_pixels / (geometry.slm_width * geometry.slm_height)
    low, high = ANCHOR_SHARES
    if not low <= share <= high:
        what = f"the anchor region is {share:.1%} of the panel" if share else "the panel has no anchor region"
        raise UsageError(
            f"{what}; the scheme {name} needs {low:.0%} to {high:.0%}",
            "scheme",
            "Take a geometry with such an `anchor_width` and `anchor_height`",
        )


def check_phases(name: str, panel: Panel | None, phases: tuple[float, ...]) -> None:
    """Raise :class:`UsageError` where no level of the panel comes near one of ``phases``, rad."""
    for phase in phases:
        if panel is not None and panel.error(phase) > PHASE_TOLERANCE:
            raise UsageError(
                f"the scheme {name} needs a phase of {phase / math.pi:g} pi, and the panel's levels miss it by "
                f"{panel.error(phase):.2f} rad",
                "scheme",
                "Take a panel of more levels or a larger range, or a level table that does not cut them",
            )
