"""The cases of tools/features.py: a bench of named devices, and each of its effects with all others off."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from openopu.measure import TARGET_FILL
from openopu.plants import DMD, PlantParameters
from openopu.plants.devices import CAMERAS, LASERS, MODULATORS, WARM_UP_RAD, compose

LASER_CODE = 2048
LOW_FILL = 0.04
"""Mean over the camera's range at which nothing clips: exp(-1/0.04) of exponential intensities, 1e-11."""
MANY = 1e6
"""So many times more light: its shot noise is a thousandth, and stands for none."""
EXPOSURES = 70_000
"""Of all images."""
VIBRATION_RAD = 0.03
"""A few 0.01 rad, cable clamped (arXiv 2311.17496, read from a figure)."""


@dataclass(frozen=True)
class Case:
    """A plant (None: no camera at all), bits of its pixels, the mean that the exposure aims at, and pixels along an
    output."""

    name: str
    plant: PlantParameters | None
    bits: int = 12
    fill: float = LOW_FILL
    bin: int = 1


def changed(plant: PlantParameters, **tables: dict[str, Any]) -> PlantParameters:
    """``plant`` with some fields of some tables set."""
    parts = {name: dataclasses.replace(getattr(plant, name), **fields) for name, fields in tables.items()}
    return dataclasses.replace(plant, **parts)


CAMERA = CAMERAS["imx255"].parameters
MIRRORS = MODULATORS["dlp4500"].parameters
DIODE = LASERS["diode"].parameters
WELL_E = CAMERA.full_well_e * TARGET_FILL / LOW_FILL
"""With this well, the low fill is as many electrons as the usual fill of the camera."""
MEAN_E = round(CAMERA.full_well_e * TARGET_FILL)
BARE = changed(
    DMD,
    laser={"relative_noise_rms": 0.0},
    medium={"throughput": DMD.medium.throughput * MANY},
    camera={"full_well_e": WELL_E * MANY, "read_noise_e": 0.0, "dark_signal_e_per_s": 0.0},
)
"""Light without shot noise, and nothing else."""
DIM = changed(BARE, medium={"throughput": DMD.medium.throughput}, camera={"full_well_e": WELL_E})
"""The same at the camera's own electrons: shot noise."""
NAMED_BENCH = compose("dlp4500+imx255")
assert NAMED_BENCH is not None
HARD = changed(
    NAMED_BENCH,
    laser=dataclasses.asdict(DIODE),
    modulator={"warm_up_exposures": EXPOSURES / 3},
    medium={"vibration_rad_rms": VIBRATION_RAD, "grain_px": 2.0},
)

MATHEMATICS = "mathematics alone"
BENCH = "dlp4500+imx255"
WARM = "dlp4500+imx255, warm"
HARD_BENCH = "dlp4500+imx255+diode, cold, vibrating, grain 2 px"
_CASES = [
    Case(MATHEMATICS, None),
    Case("12 bit, no noise", BARE),
    Case("8 bit", BARE, bits=8, fill=TARGET_FILL),
    Case("saturation, fill 0.12", BARE, fill=TARGET_FILL),
    Case("saturation, fill 0.35", BARE, fill=0.35),
    Case(f"shot noise, {MEAN_E} e-", DIM),
    Case("shot noise, 100 e-", changed(DIM, camera={"full_well_e": 100 / LOW_FILL})),
    Case(
        f"read noise {CAMERA.read_noise_e:.1f} e-", changed(BARE, camera={"read_noise_e": CAMERA.read_noise_e * MANY})
    ),
    Case("RIN 1 %", changed(BARE, laser={"relative_noise_rms": DIODE.relative_noise_rms})),
    Case("PRNU 1 %", changed(BARE, camera={"prnu_rms": CAMERA.prnu_rms})),
    Case(
        "0.1 % dead pixels, DSNU tenfold",
        changed(BARE, camera={"dead_pixel_share": 1e-3, "dsnu_e_rms": 10 * CAMERA.dsnu_e_rms * MANY}),
    ),
    Case("DMD contrast 2,500:1", changed(BARE, modulator={"off_amplitude": MIRRORS.off_amplitude})),
    Case("DMD contrast 100:1", changed(BARE, modulator={"off_amplitude": 0.1})),
    Case("coherence 0.95", changed(BARE, laser={"coherence": DIODE.coherence})),
    Case("speckle grain 2 px", changed(BARE, medium={"grain_px": 2.0})),
    Case("speckle grain 1/2 px", BARE, bin=2),
    Case("vibration 0.03 rad", changed(BARE, medium={"vibration_rad_rms": VIBRATION_RAD})),
    Case(
        "warm-up, correlation 0.983",
        changed(BARE, modulator={"warm_up_rad": WARM_UP_RAD, "warm_up_exposures": EXPOSURES / 3}),
    ),
    Case(
        "drift, correlation 0.88",
        changed(BARE, medium={"drift_rad_per_exposure": math.acos(0.88) / EXPOSURES}),
    ),
    Case(BENCH, NAMED_BENCH, bits=8, fill=TARGET_FILL),
    Case(WARM, changed(NAMED_BENCH, modulator={"warm_up_rad": 0.0}), bits=8, fill=TARGET_FILL),
    Case(HARD_BENCH, HARD, bits=8, fill=TARGET_FILL),
]
CASES = {case.name: case for case in _CASES}
"""By name, in the order of the table. Each effect stands alone but in the last three."""
