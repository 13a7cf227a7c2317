"""Frames that schemes measure once, before they project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program

from ..measure import calibrating
from ..settings import lossless

if TYPE_CHECKING:
    from ..opu import Opu


def measured(opu: Opu, program: Program, bits: NDArray[np.bool_], *, normalise: bool) -> NDArray[Any]:
    """(outputs,) mean in DN of what ``program`` makes of ``bits`` (rows, planes, modes)."""
    width, shift = lossless(program, opu.geometry, normalise=normalise)
    settings = opu.settings.replace(
        program=program, bits=width, shift=shift, banks=1, normalise=normalise, monitors=False, raw=False
    )
    with calibrating(opu), opu.using(settings):
        return np.asarray(opu.project_raw(bits).values.mean(axis=0) * 2.0**shift)
