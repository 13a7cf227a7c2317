"""A bench in a few lines of NumPy, from the physics alone: what the estimators are held against."""

from dataclasses import dataclass

import numpy as np
from openopu.fit.record import Burst, Series


@dataclass
class Bench:
    """Speckle of two independent fields, of which the second comes in by drift and vibration."""

    gain: float = 0.27
    read_noise: float = 5.0
    dsnu: float = 0.0
    black: float = 49.0
    bits: int = 12
    laser_noise: float = 0.006
    vibration: float = 0.0
    drift: float = 0.0
    pixels: int = 3000
    working_e: float = 1800.0
    """Mean electrons of a pixel at 1000 cycles."""
    seed: int = 1

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)
        self.offsets = self.dsnu * np.random.default_rng(self.seed + 1).standard_normal(self.pixels)

    def fields(self):
        draw = self.rng.standard_normal((2, 2, self.pixels)) / np.sqrt(2)
        return draw[:, 0] + 1j * draw[:, 1]

    def expose(self, fields, when, cycles, power=1.0):
        """Frames (exposures, pixels) in DN at the given moments, and the power of each."""
        when = np.asarray(when, float)
        z = self.rng.standard_normal(when.shape)
        angle = self.drift * when + self.vibration * self.rng.standard_normal(when.shape)
        field = np.cos(angle)[:, None] * fields[0] + np.sin(angle)[:, None] * fields[1]
        light = power * (1 + self.laser_noise * z)
        electrons = np.abs(field) ** 2 * self.working_e * cycles / 1000 * light[:, None]
        collected = self.rng.poisson(electrons) + self.read_noise * self.rng.standard_normal(electrons.shape)
        collected += self.offsets
        full = (1 << self.bits) - 1
        return np.clip(np.rint(self.gain * collected + self.black), 0, full).astype(np.float32), light

    def burst(self, fields, frames, cycles, power=1.0):
        dn, light = self.expose(fields, np.arange(frames), cycles, power)
        return Burst(dn, cycles, 1700 * light)

    def series(self, blocks, patterns, frames, photodiode_noise=1.5):
        sums, readings, when = [], [], []
        fields = [self.fields() for _ in range(patterns)]
        moment = 0
        for _ in range(blocks):
            for f in fields:
                at = moment + np.arange(frames)
                dn, light = self.expose(f, at, 1000)
                sums.append(dn.reshape(frames, -1, 4).sum(axis=2))
                readings.append(np.rint(1700 * light + photodiode_noise * self.rng.standard_normal(frames)))
                when.append(at)
                moment += frames
        shape = (blocks, patterns, frames)
        return Series(
            np.array(sums, np.float32).reshape(*shape, -1), np.array(readings).reshape(shape),
            np.array(when, float).reshape(shape), 1000, 0, 2048,
        )  # fmt: skip
