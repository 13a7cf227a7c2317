"""Intensities: random features, not linear."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Geometry, Program, Shot

from .. import layout as layouts
from ..encoding import Encoded, Key
from ..errors import UsageError
from ..panel import Panel
from ..plants import ModulatorKind
from .linear import check_phases, phase_levels
from .reference import measured
from .scheme import Scheme, Values

if TYPE_CHECKING:
    from ..opu import Opu

BLACK_REPEATS = 16
"""Frames whose mean is the black level."""


@dataclass(frozen=True)
class Intensity(Scheme):
    """Intensity ``|T b + r|^2`` of bits ``b`` (0 or 1), in DN above black, one shot; ``r`` is 0 on a binary panel with
    anchor and border dark. Takes vectors of 0 and 1, which the modes show as they are. A phase panel shows them as
    phases 0 and pi: the intensity is that of the signs ``1 - 2 b``, and ``r`` the field of anchor and border.

    The black level does not cancel: it is measured with the shortest exposure, and subtracted."""

    name: ClassVar[str] = "intensity"
    linear: ClassVar[bool] = False

    @property
    def planes(self) -> int:
        return 1

    def program(self, panel: Panel | None = None, **fields: Any) -> Program:
        return Program((Shot(**(phase_levels(panel) | fields)),))

    def check(self, geometry: Geometry, panel: Panel | None) -> None:
        super().check(geometry, panel)
        if panel is not None and panel.kind is ModulatorKind.PHASE:
            check_phases(self.name, panel, (0.0, math.pi))

    def encode(self, vectors: NDArray[np.floating], key: Key = (0,)) -> Encoded:
        bits = np.asarray(vectors)
        if not np.isin(bits, (0, 1)).all():
            raise UsageError(
                "intensities are of bits, 0 or 1", "vectors", "Make bits of them first, for example x > x.mean(axis=0)"
            )
        rows = np.arange(len(bits))
        return Encoded(bits[:, None, :].astype(np.bool_), np.ones(len(bits)), rows, len(bits), np.ones(1))

    def layout(self, components: int, modes: int, seed: int = 0) -> layouts.Layout:
        return layouts.replicated(components, modes, seed)

    def weight(self, program: Program) -> float | None:
        shot = program.shots[0]
        alone = len(program) == 1 and not (shot.negative or shot.invert or shot.bank)
        return float(1 << shot.shift) if alone else None

    def measure(self, opu: Opu) -> Values:
        program = opu.settings.program.replace(exposure_cycles=1)
        weight = self.weight(program)
        assert weight is not None
        bits = np.zeros((BLACK_REPEATS, 1, opu.geometry.modes), dtype=np.bool_)
        return np.asarray(measured(opu, program, bits, normalise=False) / weight)

    def decode(self, values: Values, factor: Values, reference: Values | None) -> Values:
        assert reference is not None
        return np.asarray(values[:, :, 0] * factor[:, None] - reference)
