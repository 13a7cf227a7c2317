"""Plants: what stands between the panel's pins and the camera's, described by numbers and kept in a file.

The simulation plays such a description; a fit to a bench writes one.
"""

from .devices import CAMERAS, LASERS, MODULATORS, PHOTODIODE, Described, camera_from_emva, compose
from .file import TABLES, dumps, find, load, save
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
    "CAMERAS",
    "DMD",
    "LASERS",
    "MODULATORS",
    "NAMED",
    "PHASE",
    "PHOTODIODE",
    "TABLES",
    "CameraParameters",
    "Described",
    "LaserParameters",
    "MediumKind",
    "MediumParameters",
    "ModulatorKind",
    "ModulatorParameters",
    "PhotodiodeParameters",
    "PlantFileError",
    "PlantParameters",
    "ThermometerParameters",
    "camera_from_emva",
    "compose",
    "dumps",
    "find",
    "load",
    "save",
]
