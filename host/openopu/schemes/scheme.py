"""What every scheme is: how vectors become bit planes, which shots show them, and what the sums of frames mean.

Notation: ``T`` is the medium, ``s`` the signs on the panel's modes, ``r`` the field at an output of all that does not
depend on them. Frames are intensities in DN, summed over an output's pixels and weighted by their shots.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Geometry, Program, Shot

from .. import layout as layouts
from ..encoding import Encoded, Encoding, Key
from ..errors import UsageError
from ..panel import Panel
from ..plants import ModulatorKind
from ..settings import LIGHT, largest_sum

if TYPE_CHECKING:
    from ..opu import Opu

Values = NDArray[Any]
ACCUMULATOR_LIMIT = 1 << 31
"""Sums of frames are 32-bit integers."""
Exact = Callable[[Shot], NDArray[np.floating]]
"""See :attr:`openopu.device.Device.exact_matrix`."""


@dataclass(frozen=True)
class Scheme(ABC):
    """One scheme. Immutable: what it has to measure on a device is kept by :class:`openopu.Opu`."""

    name: ClassVar[str]
    panels: ClassVar[frozenset[ModulatorKind]] = frozenset(ModulatorKind)
    """Types of panel that it works on."""
    banks: ClassVar[int] = 1
    """Accumulator banks that it reads."""
    dtype: ClassVar[type[np.generic]] = np.float32
    """Of its results."""
    unit: ClassVar[str] = "DN"
    """Of its results, for one unit of the vectors."""
    linear: ClassVar[bool] = True
    """Whether :meth:`openopu.Opu.matrix` exists."""

    @property
    @abstractmethod
    def planes(self) -> int:
        """Bit planes of one vector."""

    @abstractmethod
    def program(self, panel: Panel | None = None, **fields: Any) -> Program:
        """The shots of one vector. ``fields`` go to every :class:`Shot`; ``panel`` None: one of unknown levels."""

    @property
    def shots(self) -> int:
        """Shots of one vector."""
        return len(self.program())

    @abstractmethod
    def encode(self, vectors: NDArray[np.floating], key: Key = (0,)) -> Encoded:
        """Planes of (rows, components) vectors; ``key`` names the draws of a stochastic rounding."""

    def layout(self, components: int, modes: int, seed: int = 0) -> layouts.Layout:
        """Which mode shows which component."""
        return layouts.balanced(components, modes, seed)

    def check(self, geometry: Geometry, panel: Panel | None) -> None:
        """Raise :class:`UsageError` where a device cannot do this. Panels of unknown type are believed."""
        if panel is not None and panel.kind not in self.panels:
            from . import others_for  # it builds on schemes

            others = " or ".join(others_for(self, geometry, panel))
            raise UsageError(
                f"the scheme {self.name} needs a {' or '.join(sorted(self.panels))} panel, this one is {panel.kind}",
                "scheme",
                f"Take {others}" if others else "Take a device with another panel",
            )
        program = self.program(panel)
        if len(program) > geometry.shot_depth:
            raise UsageError(
                f"the scheme {self.name} with {self.planes} planes takes {len(program)} shots, the shot table holds "
                f"{geometry.shot_depth}",
                "scheme",
                "Take fewer bits, or a device with more (`shot_depth`)",
            )
        if self.planes * geometry.plane_bytes > geometry.store_bytes:
            raise UsageError(
                f"{self.planes} planes of {geometry.plane_bytes} bytes exceed the pattern store of "
                f"{geometry.store_bytes}",
                "scheme",
                "Take fewer bits, or a device with more (`store_bytes`)",
            )
        largest = largest_sum(program, geometry, self.banks)
        if largest >= ACCUMULATOR_LIMIT:
            raise UsageError(
                f"frames at full scale, weighted by 2**{max(s.shift for s in program)}, sum to {largest:.1e}: more "
                "than the accumulators' 32 bits",
                "scheme",
                "Take fewer bits, or smaller bins",
            )

    @abstractmethod
    def weight(self, program: Program) -> float | None:
        """Total weight of ``program``'s planes where it computes this scheme, else None."""

    def measure(self, opu: Opu) -> Values | None:
        """Measure on ``opu`` what :meth:`decode` needs beside the sums: (outputs,) in DN; None: nothing."""
        return None

    @abstractmethod
    def decode(self, values: Values, factor: Values, reference: Values | None) -> Values:
        """Results of some rows.

        Parameters
        ----------
        values
            (rows, outputs, banks) integers of the records.
        factor
            (rows,): DN of one unit of the integers, divided by the planes' weight, times the rows' scale.
        reference
            Of :meth:`measure`.

        Returns
        -------
        (rows, outputs) in :attr:`unit`.
        """

    def matrix(self, program: Program, exact: Exact, reference: Values | None) -> Values:
        """(outputs, modes): the linear map of ``program``, in :attr:`unit`, from the medium that ``exact`` knows.

        Raises :class:`UsageError` where the scheme is not linear.
        """
        raise self.not_linear()

    def not_linear(self) -> UsageError:
        return UsageError(f"the scheme {self.name} is not linear", "matrix", "Take complement, anchor, phase, stepping")


@dataclass(frozen=True)
class LinearScheme(Scheme):
    """A scheme whose result is linear in the signs of each plane."""

    encoding: Encoding = field(default_factory=Encoding)

    def __post_init__(self) -> None:
        if not isinstance(self.encoding, Encoding):
            raise UsageError(f"{self.encoding!r} is none", "encoding", "Give an openopu Encoding")

    @property
    def planes(self) -> int:
        return self.encoding.planes

    def encode(self, vectors: NDArray[np.floating], key: Key = (0,)) -> Encoded:
        return self.encoding.encode(vectors, key)

    def odd_part(self, program: Program, exact: Exact, bank: int) -> Values:
        """(outputs, modes): half the difference of a bank's sums for ``s`` and ``-s`` on plane 0, per unit of weight.

        Each shot adds the half of ``exact``, which is the difference of two frames.
        """
        known: dict[Shot, Values] = {}
        total: Values = np.zeros(1)
        for shot in program:
            if shot.plane or shot.bank != bank:
                continue
            same = _plain(shot)
            if same not in known:
                known[same] = 0.5 * np.asarray(exact(same), dtype=np.float64)
            sign = -1 if shot.negative != shot.invert else 1
            total = total + sign * 2.0**shot.shift * known[same]
        weight = self.weight(program)
        assert weight is not None
        return total / (weight * float(self.encoding.weights[0]))


def _plain(shot: Shot) -> Shot:
    """``shot`` as far as ``exact`` depends on it."""
    return Shot(**{n: getattr(shot, n) for n in LIGHT})


def pairs(shifts: Sequence[int], **fields: Any) -> Program:
    """A pair of shots for each plane, itself and its complement, weighted by 2**shift, in the order + - - +."""
    shots = []
    for plane, shift in enumerate(shifts):
        for second in (False, True):
            inverted = second != bool(plane % 2)
            shots.append(Shot(plane=plane, invert=inverted, negative=inverted, shift=shift, **fields))
    return Program(tuple(shots), len(shifts))
