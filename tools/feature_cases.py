"""The cases of tools/features.py: a bench of named devices, and each of its effects with all others off."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from openopu.measure import TARGET_FILL
from openopu.plants import DMD, PlantParameters

LASER_CODE = 2048
LOW_FILL = 0.04
"""Mean over the camera's range at which nothing clips: exp(-1/0.04) of exponential intensities, 1e-11."""
MANY = 1e6
"""So many times more light: its shot noise is a thousandth, and stands for none."""


@dataclass(frozen=True)
class Case:
    """A plant (None: no camera at all), bits of its pixels, and the mean that the exposure aims at."""

    name: str
    plant: PlantParameters | None
    bits: int = 12
    fill: float = LOW_FILL


def changed(plant: PlantParameters, **tables: dict[str, Any]) -> PlantParameters:
    """``plant`` with some fields of some tables set."""
    parts = {name: dataclasses.replace(getattr(plant, name), **fields) for name, fields in tables.items()}
    return dataclasses.replace(plant, **parts)


CAMERA = DMD.camera
WELL_E = CAMERA.full_well_e * TARGET_FILL / LOW_FILL
"""With this well, the low fill is as many electrons as the usual fill of the camera."""
BARE = changed(
    DMD,
    laser={"relative_noise_rms": 0.0},
    medium={"throughput": DMD.medium.throughput * MANY},
    camera={"full_well_e": WELL_E * MANY, "read_noise_e": 0.0, "dark_signal_e_per_s": 0.0},
)
"""Light without shot noise, and nothing else."""
DIM = changed(BARE, medium={"throughput": DMD.medium.throughput}, camera={"full_well_e": WELL_E})
"""The same at the camera's own electrons: shot noise."""

MATHEMATICS = "mathematics alone"
BENCH = "all of IMX255 and DMD"
_CASES = [
    Case(MATHEMATICS, None),
    Case("12 bit, no noise", BARE),
    Case("8 bit", BARE, bits=8, fill=TARGET_FILL),
    Case("saturation, fill 0.12", BARE, fill=TARGET_FILL),
    Case("saturation, fill 0.35", BARE, fill=0.35),
    Case("shot noise, 1284 e-", DIM),
    Case("shot noise, 100 e-", changed(DIM, camera={"full_well_e": 100 / LOW_FILL})),
    Case("read noise 2.9 e-", changed(BARE, camera={"read_noise_e": CAMERA.read_noise_e * MANY})),
    Case("RIN 0.01 %", changed(BARE, laser={"relative_noise_rms": 1e-4})),
    Case("RIN 1 %", changed(BARE, laser={"relative_noise_rms": 1e-2})),
    Case(BENCH, DMD, bits=8, fill=TARGET_FILL),
]
CASES = {case.name: case for case in _CASES}
ALONE = [c.name for c in _CASES if c.name not in (MATHEMATICS, BENCH)]
"""Names of the cases of one effect."""
