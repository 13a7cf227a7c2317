"""Plants: what stands between the panel's pins and the camera's, described by numbers and kept in a file.

The simulation plays such a description; a fit to a bench writes one.
"""

from .file import TABLES, dumps, load, save
from .named import DMD, NAMED, PHASE
from .parameters import (
    CameraParameters,
    LaserParameters,
    MediumKind,
    MediumParameters,
    ModulatorKind,
    ModulatorParameters,
    PhotodiodeParameters,
    PlantFileError,
    PlantParameters,
    ThermometerParameters,
)

__all__ = [
    "DMD",
    "NAMED",
    "PHASE",
    "TABLES",
    "CameraParameters",
    "LaserParameters",
    "MediumKind",
    "MediumParameters",
    "ModulatorKind",
    "ModulatorParameters",
    "PhotodiodeParameters",
    "PlantFileError",
    "PlantParameters",
    "ThermometerParameters",
    "dumps",
    "load",
    "save",
]
