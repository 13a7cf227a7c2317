"""Settings that measurements share."""

from __future__ import annotations

import numpy as np
from openopu_rtl.protocol import Program
from openopu_rtl.protocol.shots import complement

from ..measure import SHOWN, plain_shot
from ..opu import Opu
from ..settings import Settings, lossless


def all_outputs(opu: Opu, program: Program, **changes: int) -> Settings:
    """Settings that return every output, without losses, of ``program``."""
    fields = {"banks": 1, **changes}
    bits, shift = lossless(program, opu.geometry, banks=fields["banks"], normalise=opu.settings.normalise)
    return opu.settings.replace(
        program=program, selection=np.arange(opu.geometry.outputs), bits=bits, shift=shift, raw=False, **fields
    )


def complement_shots(opu: Opu) -> Program:
    """The complement pair of one plane, at the levels and times that the device is set to."""
    return complement(1).replace(**{n: getattr(plain_shot(opu), n) for n in SHOWN})
