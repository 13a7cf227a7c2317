"""The plant: what stands between the panel's pins and the camera's, as a physical model in SI units."""

from openopu.plants import (
    DMD,
    NAMED,
    PHASE,
    CameraParameters,
    LaserParameters,
    MediumParameters,
    ModulatorKind,
    ModulatorParameters,
    PhotodiodeParameters,
    PlantFileError,
    PlantParameters,
    dumps,
    load,
    save,
)

from .chip import ChipPlant
from .light import Illumination
from .plant import Plant

__all__ = [
    "DMD",
    "NAMED",
    "PHASE",
    "CameraParameters",
    "ChipPlant",
    "Illumination",
    "LaserParameters",
    "MediumParameters",
    "ModulatorKind",
    "ModulatorParameters",
    "PhotodiodeParameters",
    "Plant",
    "PlantFileError",
    "PlantParameters",
    "dumps",
    "load",
    "save",
]
