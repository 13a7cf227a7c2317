"""The plant: what stands between the panel's pins and the camera's, as a physical model in SI units."""

from .chip import ChipPlant
from .parameters import (
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
from .plant import Illumination, Plant

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
