"""The modulator: the field of a pixel by the level that it is driven with."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from openopu.panel import Panel
from openopu.plants import ModulatorKind, ModulatorParameters

SMALLEST = 1e-12
"""Parts of an amplitude below this are rounding errors of sine and cosine: a phase of pi gives -1."""


class Modulator:
    """A panel tells ``steps`` levels apart: level L (0 to 255) is step ``L * steps // 256``.

    The amplitude of a step is relative to that of a fully lit pixel: of a binary panel ``off_amplitude`` and 1, of a
    phase panel a complex number of modulus 1, whose phase is ``phase_max (step / (steps - 1))**gamma``.
    """

    def __init__(self, parameters: ModulatorParameters) -> None:
        self.parameters = p = parameters
        self.steps = p.levels
        self.flickers = p.flicker_rad_rms > 0
        self._table = (np.arange(256) * p.levels >> 8).astype(np.uint8)
        self._shares = [(step / (p.levels - 1)) ** p.gamma for step in range(p.levels)]

    @property
    def panel(self) -> Panel:
        """What schemes may know of it."""
        p = self.parameters
        if p.kind is ModulatorKind.BINARY:
            return Panel(p.kind, settle_s=p.settle_s)
        return Panel(p.kind, p.phase_max_rad * np.array(self._shares)[self._table], p.settle_s)

    def step(self, level: int) -> int:
        """Step of a pixel at ``level`` (0 to 255)."""
        return int(self._table[level])

    def steps_of(self, levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Steps of pixels at ``levels``, same shape."""
        return self._table[levels]

    def amplitude(self, step: int, flicker: float = 0.0) -> complex:
        """Amplitude at a step; ``flicker`` is a standard normal deviate of the panel's phase noise, which grows with
        the phase, as the drive's ripple does."""
        p = self.parameters
        if p.kind is ModulatorKind.BINARY:
            return complex(1.0 if step else p.off_amplitude)
        phase = (p.phase_max_rad + p.flicker_rad_rms * flicker) * self._shares[step]
        real, imag = math.cos(phase), math.sin(phase)
        return complex(real if abs(real) > SMALLEST else 0.0, imag if abs(imag) > SMALLEST else 0.0)

    def stale(self, settle_s: float, exposure_s: float) -> float:
        """Share of the pattern before in the field, averaged over an exposure that begins ``settle_s`` after the
        change."""
        tau = self.parameters.settle_s
        if not tau:
            return 0.0
        return math.exp(-settle_s / tau) * -math.expm1(-exposure_s / tau) * tau / exposure_s
