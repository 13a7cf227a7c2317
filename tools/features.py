"""The table of docs/features.md: ridge regression on optical random features of Fashion-MNIST.

An image is thresholded to bits, 16 further bits are always on, and a feature is the intensity of one camera pixel in
one exposure: ``|t . b|**2`` (degree 2). Beside the features' own mathematics stand the plant's effects, one by one and
together. Protocol and published figures: https://github.com/joneswack/opu-kernel-experiments (threshold 10, bias 4,
targets of -1 and +1, no intercept, alpha 10,000 for features over the square root of their number).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openopu.train.data import Dataset, load
from openopu_rtl.protocol import Geometry
from openopu_sim.plant import DMD, Plant, PlantParameters
from openopu_sim.plant.plant import Illumination
from ridge import Integers, cholesky, conjugate_gradients, targets_of

Reals = NDArray[np.float32]

THRESHOLD = 10
"""Pixels above are bits that are on."""
BIAS_BITS = 16
"""Inputs that are always on: the published bias of 4 is one input of that amplitude, which adds 4**2 to the power."""
ALPHA = 1e4
FILL = 0.12
"""Mean of the camera's range that the light fills, above black, as :data:`openopu.measure.TARGET_FILL`."""
LASER_CODE = 2048
REGION = 10_000
"""Most features of one plant; more are further regions of the sensor, each with rows of its own."""
ROWS = 2000
"""Images at a time."""
SCALE_ROWS = 256
"""Images that exposure and scale are measured with."""


def bits_of(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(rows, inputs) of 0 and 1: the thresholded pixels, and the inputs that are always on."""
    ones = np.ones((len(images), BIAS_BITS), np.uint8)
    return np.hstack([(images > THRESHOLD).astype(np.uint8), ones])


class Optics:
    """Features of one region of the sensor.

    ``parameters`` None: the mathematics alone, ``|t . b|**2`` in float32 of the same matrix.
    """

    def __init__(
        self, inputs: int, features: int, parameters: PlantParameters | None, *, bits: int, seed: int, fill: float
    ) -> None:
        self.ideal = parameters is None
        geometry = Geometry.fitting(inputs, features, bits, bin=1)
        self.plant = Plant(geometry, parameters or DMD, seed=seed, noise_seed=seed)
        self.black = 0.0 if self.ideal else self.plant.camera.black_dn
        self._fill = fill * self.plant.camera.largest
        self.scale = 0.0
        self._shot = Illumination(0, 255, 0, 0, 0, 1000)
        self._next = 0

    def calibrate(self, bits: NDArray[np.uint8]) -> None:
        """Choose the exposure for these rows, and find what one lit input adds to the mean of a feature."""
        lit = bits.sum(axis=1, dtype=np.float64)[:, None]
        for _ in range(1 if self.ideal else 4):
            raw = self.raw(bits, exposures=0xF000_0000).astype(np.float64) - self.black
            if not self.ideal:
                cycles = max(1, round(self._shot.exposure_cycles * self._fill / raw.mean()))
                settled = abs(cycles / self._shot.exposure_cycles - 1) < 0.02
                self._shot = dataclasses.replace(self._shot, exposure_cycles=cycles)
                if settled:
                    break
        self.scale = 1.0 / float((raw / lit).mean())

    def raw(self, bits: NDArray[np.uint8], exposures: int | None = None) -> NDArray[np.generic]:
        """(rows, features): integers of the camera, or (ideal) intensities in the medium's units."""
        if self.ideal:
            medium, rows = self.plant.medium, bits.astype(np.float32)
            crop = slice(medium.crop_pixels)
            out = np.square(rows @ medium.real[: rows.shape[1], crop])
            out += np.square(rows @ medium.imag[: rows.shape[1], crop])
            return out
        first = self._next if exposures is None else exposures
        if exposures is None:
            self._next += len(bits)
        ids = first + np.arange(len(bits))
        values, _ = self.plant.expose_batch(bits[:, None, :], [self._shot], ids, LASER_CODE, _pixels, self._features)
        return values[:, 0]

    @property
    def _features(self) -> int:
        return self.plant.medium.crop_pixels

    def features(self, bits: NDArray[np.uint8]) -> Reals:
        """(rows, features), so that ``y @ y.T`` estimates the kernel, but for the square root of their number."""
        out = self.raw(bits).astype(np.float32)
        out -= np.float32(self.black)
        out *= np.float32(self.scale)
        return out


def _pixels(crops: NDArray[np.uint16]) -> NDArray[np.int32]:
    return crops.reshape(len(crops), -1).astype(np.int32)
