"""Settings that measurements share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program, Shot
from openopu_rtl.protocol.shots import complement

from ..opu import Opu
from ..settings import SHOWN, Settings, lossless
from .file import Quantity

TIMES = ("frames", "settle_cycles", "exposure_cycles")
"""Of ``SHOWN``, what is no level."""


def all_outputs(opu: Opu, program: Program, **changes: int) -> Settings:
    """Settings that return every output, without losses, of ``program``."""
    fields = {"banks": 1, **changes}
    bits, shift = lossless(program, opu.geometry, banks=fields["banks"], normalise=opu.settings.normalise)
    return opu.settings.replace(
        program=program, selection=np.arange(opu.geometry.outputs), bits=bits, shift=shift, raw=False, **fields
    )


def pair(shot: Shot) -> Program:
    """The complement pair of one plane, at the levels and times of ``shot``."""
    return complement(1).replace(**{n: getattr(shot, n) for n in SHOWN})


def kept(shot: Shot) -> Quantity:
    """What light comes in ``shot``, for a file."""
    return Quantity(np.array([getattr(shot, n) for n in SHOWN], np.int64), "1")


def kept_shot(values: NDArray[np.integer]) -> Shot:
    """Inverse of :func:`kept`."""
    return Shot(**dict(zip(SHOWN, values.tolist(), strict=True)))
