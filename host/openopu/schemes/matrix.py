"""The linear map that a device is configured for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program

from ..encoding import Encoding
from ..errors import UsageError, whole
from ..measure import calibrating, hadamard_matrix
from .scheme import LinearScheme

if TYPE_CHECKING:
    from ..opu import Opu


def matrix(opu: Opu, measured: bool, repeats: int) -> NDArray[Any]:
    """See :meth:`openopu.Opu.matrix`."""
    scheme, program = opu.scheme, opu.settings.program
    if not isinstance(scheme, LinearScheme):
        raise scheme.not_linear()
    weight = scheme.weight(program)
    if weight is None:
        raise UsageError(
            f"the configured program does not compute the scheme {scheme.name}",
            "matrix",
            "Use `configure()` without a program",
        )
    exact = opu.device.exact_matrix
    if exact is not None and not measured:
        selection = opu.settings.selection
        return scheme.matrix(program, lambda shot: exact(shot)[selection], opu.reference) @ opu.layout.matrix()
    whole(repeats, "repeats", 1)
    reference = opu.reference
    single = Program(tuple(s for s in program if s.plane == 0))  # one plane of signs
    weight = dataclasses.replace(scheme, encoding=Encoding("sign", "threshold")).weight(single)
    assert weight is not None
    with calibrating(opu):
        found, _ = hadamard_matrix(opu, opu.layout, single, repeats, scheme.banks)
    values = found.T.reshape(opu.components, -1, scheme.banks)
    return scheme.decode(values, np.full(opu.components, 1 / weight), reference).T
