"""Calibrations: what is measured of a device, its file, and whether it still holds."""

from .errors import (
    CalibrationFailed,
    CalibrationFileError,
    CalibrationMismatch,
    CalibrationStale,
    MediumDrifted,
)
from .file import Calibration, Group, Quantity, identity, load

__all__ = [
    "Calibration",
    "CalibrationFailed",
    "CalibrationFileError",
    "CalibrationMismatch",
    "CalibrationStale",
    "Group",
    "MediumDrifted",
    "Quantity",
    "identity",
    "load",
]
