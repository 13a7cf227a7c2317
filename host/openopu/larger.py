"""Advice where a device is too small: one that can be built."""

from __future__ import annotations

import contextlib

from openopu_rtl.protocol import Geometry, GeometryError

TRIES = 1000
MOST = 1 << 20
"""Modes, or outputs, that a URL can ask for."""


def larger_twin(**wanted: int) -> str:
    """Advice: the next number of ``modes`` or ``outputs`` that the simulation can be built with, where there is one."""
    ((what, count),) = wanted.items()
    for one in range(count, min(count + TRIES, MOST + 1)):
        with contextlib.suppress(GeometryError):
            Geometry.fitting(**{what: one})
            return f", or a device with more {what} (`twin:?{'n' if what == 'modes' else 'm'}={one}`)"
    return f", or a device with more {what}"
