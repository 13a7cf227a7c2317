"""Schemes without a device: frames in float64 from a random medium, summed as the accumulators do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from openopu.panel import Panel
from openopu.plants import ModulatorKind
from openopu_rtl.protocol import Program, Shot

CURVE = np.arange(256) * (2 * np.pi / 256)
PHASE = Panel(ModulatorKind.PHASE, CURVE)
BINARY = Panel(ModulatorKind.BINARY)


@dataclass
class Optics:
    """``grains`` pixels of speckle are summed in each output."""

    panel: Panel
    modes: int
    outputs: int
    grains: int = 1
    seed: int = 0
    black: float = 0.0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)

        def field(*shape: int) -> np.ndarray:
            return rng.normal(size=shape) + 1j * rng.normal(size=shape)

        self.medium = field(self.outputs, self.grains, self.modes)
        self.anchor, self.border = field(self.outputs, self.grains), field(self.outputs, self.grains)

    def amplitude(self, level: int) -> complex:
        if self.panel.kind is ModulatorKind.BINARY:
            return complex(level >= 128)
        assert self.panel.phases is not None
        return complex(np.exp(1j * self.panel.phases[level]))

    def static(self, shot: Shot) -> np.ndarray:
        return self.amplitude(shot.level_anchor) * self.anchor + self.amplitude(shot.level_border) * self.border

    def frame(self, plane: np.ndarray, shot: Shot) -> np.ndarray:
        """(outputs,): what the camera sums of one exposure of (modes,) bits."""
        on, off = self.amplitude(shot.level_on), self.amplitude(shot.level_off)
        field = self.static(shot) + self.medium @ np.where(plane != shot.invert, on, off)
        return (np.abs(field) ** 2 * shot.exposure_cycles + self.black).sum(axis=1)

    def sums(self, planes: np.ndarray, program: Program, banks: int) -> np.ndarray:
        """(rows, outputs, banks), of (rows, planes, modes) bits."""
        out = np.zeros((len(planes), self.outputs, banks))
        for row, bits in enumerate(planes):
            for shot in program:
                weight = -(1 << shot.shift) if shot.negative else 1 << shot.shift
                out[row, :, shot.bank] += weight * self.frame(bits[shot.plane], shot)
        return out

    def exact(self, shot: Shot) -> np.ndarray:
        """(outputs, modes): see :attr:`openopu.device.Device.exact_matrix`."""
        on, off = self.amplitude(shot.level_on), self.amplitude(shot.level_off)
        centre = self.static(shot) + (on + off) / 2 * self.medium.sum(axis=2)
        terms = np.conj(centre)[:, :, None] * self.medium * (on - off)
        return 2 * shot.exposure_cycles * terms.real.sum(axis=1)
