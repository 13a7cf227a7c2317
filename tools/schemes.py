"""The measurements of docs/schemes.md: SNR against light, bias and cost of every scheme, on the twin.

Writes ``OUT/schemes.json``, and ``snr.svg`` and ``share.svg`` of docs/schemes with ``--docs``. With ``--train`` also the
digits, which take minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import openopu
from openopu import Encoding, Opu, plants
from openopu.schemes import Anchor, Complement, Intensity, LinearScheme, Phase, Scheme, Stepping
from openopu.schemes.theory import Light, correlation, snr
from openopu.train.command import train
from openopu.train.config import TrainConfig
from openopu.train.data import load
from openopu.train.pictures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

MODES, OUTPUTS = 256, 1024
ELECTRONS = (3, 10, 30, 100, 300, 1000, 2700)
DEFAULT_ELECTRONS = 1284
"""Of the exposure that training sets: a fill of 0.12 of the IMX255's full well."""
SHARES = (0.06, 0.12, 0.25, 0.4, 0.5)
SIGN = Encoding("sign", "threshold")
TERNARY = Encoding("ternary", "threshold")
CASES: dict[str, Scheme] = {
    "complement, signs": Complement(SIGN),
    "complement, ternary": Complement(TERNARY),
    "complement, 4 bits": Complement(Encoding("bits", "threshold", bits=4)),
    "anchor, signs": Anchor(SIGN),
    "phase, signs": Phase(SIGN),
    "stepping, signs": Stepping(SIGN),
    "intensity": Intensity(),
}
COLOURS = dict(zip(CASES, (BLUE, SKY, PURPLE, VERMILION, GREEN, ORANGE, "black"), strict=True))
TRAININGS: dict[str, dict[str, Any]] = {
    "complement, stochastic ternary": {},
    "complement, stochastic sign": {"encoding": "sign"},
    "complement, stochastic 2 bits": {"encoding": "bits", "bits": 2},
    "complement, stochastic 4 bits": {"encoding": "bits", "bits": 4},
    "complement, nearest of 4 bits": {"encoding": "bits", "bits": 4, "rounding": "threshold"},
    "anchor, stochastic ternary": {"scheme": "anchor"},
    "phase, stochastic ternary": {"scheme": "phase"},
    "stepping, stochastic ternary": {"scheme": "stepping"},
}


def lcos(folder: Path) -> Path:
    """A plant file: the phase panel of the plant ``phase``, with 256 levels over a turn."""
    path = folder / "lcos.toml"
    modulator = dataclasses.replace(plants.PHASE.modulator, levels=256, phase_max_rad=2 * np.pi * 255 / 256)
    plants.save(path, dataclasses.replace(plants.PHASE, modulator=modulator))
    return path


def plant_of(scheme: Scheme, folder: Path) -> str:
    return str(lcos(folder)) if isinstance(scheme, Phase | Stepping) else "dmd"


def vectors(scheme: Scheme, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors that the scheme's encoding holds exactly."""
    shape = (rows, MODES)
    if isinstance(scheme, Intensity):
        return rng.integers(0, 2, shape).astype(float)
    assert isinstance(scheme, LinearScheme)
    kind = scheme.encoding.kind
    if kind == "ternary":
        return rng.integers(-1, 2, shape).astype(float)
    if kind == "sign":
        return rng.integers(0, 2, shape) * 2.0 - 1
    largest = (1 << scheme.encoding.bits) - 1
    out = (2.0 * rng.integers(0, largest + 1, shape) - largest) / largest
    out[:, 0] = 1.0  # the scale is 1
    return out


def light_of(opu: Opu, electrons: float) -> Light:
    camera = plants.DMD.camera
    full = (1 << opu.geometry.pixel_bits) - 1
    step = camera.full_well_e / (full * (1 - camera.black_level_share))
    rin = plants.DMD.laser.relative_noise_rms
    return Light(electrons, camera.read_noise_e, step, rin, opu.geometry.bin**2)


def exact_results(scheme: Scheme, opu: Opu, coded: Any, url: str) -> np.ndarray:
    """Without noise and rounding, in the scheme's unit, at the exposure of ``opu``."""
    if isinstance(scheme, Intensity):
        # Long exposures of the plant without noise, scaled.
        with openopu.open(url.replace("bits=8", "bits=12") + "&noise=off&full=1") as quiet:
            raise NotImplementedError
    reference = None
    if isinstance(scheme, Anchor):
        assert opu.device.exact_matrix is not None
        reference = opu.device.exact_matrix(opu.settings.program.shots[0]).sum(axis=1)
    assert opu.device.exact_matrix is not None
    matrix = scheme.matrix(opu.settings.program, opu.device.exact_matrix, reference) @ opu.layout.matrix()
    return coded.decoded() @ matrix.T
