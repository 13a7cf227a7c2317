"""Frames that schemes measure once, before they project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program

from ..measure import CALIBRATION_EXPOSURES
from ..settings import lossless

if TYPE_CHECKING:
    from ..opu import Opu

EXPOSURES = 1 << 28
"""Exposure IDs of measurements follow those of the run modulo so many, so that a drifting medium is that of now."""


def measured(opu: Opu, program: Program, bits: NDArray[np.bool_], *, normalise: bool) -> NDArray[Any]:
    """(outputs,) mean in DN of what ``program`` makes of ``bits`` (rows, planes, modes)."""
    width, shift = lossless(program, opu.geometry, normalise=normalise)
    settings = opu.settings.replace(
        program=program, bits=width, shift=shift, banks=1, normalise=normalise, monitors=False, raw=False
    )
    with opu.using(settings, exposure_base=CALIBRATION_EXPOSURES + opu.exposure_next % EXPOSURES):
        return np.asarray(opu.project_raw(bits).values.mean(axis=0) * 2.0**shift)
