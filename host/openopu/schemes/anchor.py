"""Division by the anchor's modulus: rows of one size, of the field itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from openopu_rtl.protocol import Program

from ..errors import UsageError
from ..settings import SHOWN
from .linear import Complement
from .reference import measured
from .scheme import Exact, Values, pairs

if TYPE_CHECKING:
    from ..opu import Opu

REPEATS = 16
"""Pairs of frames, lit and dark, whose mean is the anchor's intensity."""
SHORTER = 4
"""The anchor alone is twice as bright as a half-lit panel: its frames are exposed for a part of the time, so that
they do not clip, and scaled."""


@dataclass(frozen=True)
class Anchor(Complement):
    """Linear projections by an anchor ``a`` (arXiv 2305.12988): ``(|T a|^2 + |T x|^2 - |T(a - x)|^2) / (2 |T a|) =
    Re(conj(T a) T x) / |T a|``, for ``x`` that ``a`` covers; here ``a`` is the whole panel lit, and ``|T a|^2`` a frame
    that is measured once.

    Of a sign plane ``s = 2 x - 1`` the frames are a complement pair, and the result is
    ``Re(conj(T a) T s) / |T a| = (|T x|^2 - |T(a - x)|^2) / |T a|`` in sqrt(DN): two shots for each plane. Where an
    output sums several pixels, so do numerator and ``|T a|^2``. Noise grows where the anchor is dark: outputs below
    ``dark`` times its mean intensity are masked, with a result of 0."""

    name: ClassVar[str] = "anchor"
    unit: ClassVar[str] = "sqrt(DN)"
    dark: float = 0.02
    """Share of the anchor's mean intensity below which an output is masked. 0: none is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.dark, int | float) and 0 <= self.dark < 1 and math.isfinite(self.dark)):
            raise UsageError(f"{self.dark!r} is out of range", "dark", "Take a share from 0 to below 1")

    def measure(self, opu: Opu) -> Values:
        """Intensity of the anchor, (outputs,) DN."""
        settings = opu.settings
        shot = settings.program.shots[0]
        least = opu.identity.monitor_cycles + 1 if settings.normalise else 1
        cycles = min(max(shot.exposure_cycles // SHORTER, least), shot.exposure_cycles)
        program = pairs((0,), **{n: getattr(shot, n) for n in SHOWN}).replace(exposure_cycles=cycles)
        bits = np.ones((REPEATS, 1, opu.geometry.modes), dtype=np.bool_)
        power = measured(opu, program, bits, normalise=settings.normalise) * (shot.exposure_cycles / cycles)
        if not power.mean() > 0:
            raise UsageError(
                "the anchor gives no light", "scheme", "Look at a frame with `Opu.capture()`, or lengthen the exposure"
            )
        return np.asarray(power)

    def lit(self, reference: Values) -> Values:
        """(outputs,) bool: the outputs that are not masked."""
        return np.asarray(reference > max(self.dark * float(reference.mean()), 0.0))

    def divisor(self, reference: Values) -> Values:
        """(outputs,): ``|T a|`` in sqrt(DN), infinite where masked."""
        root: Values = np.full(len(reference), np.inf)
        np.sqrt(reference, out=root, where=self.lit(reference))
        return root

    def decode(self, values: Values, factor: Values, reference: Values | None) -> Values:
        assert reference is not None
        return np.asarray(super().decode(values, factor, None) / self.divisor(reference))

    def matrix(self, program: Program, exact: Exact, reference: Values | None) -> Values:
        assert reference is not None
        return np.asarray(super().matrix(program, exact, None) / self.divisor(reference)[:, None])
