"""What can be wrong with a calibration."""

from __future__ import annotations

from ..errors import DeviceError, UsageError


class CalibrationFileError(UsageError):
    """A file that cannot be read or written, is damaged, or is no calibration."""


class CalibrationMismatch(UsageError):
    """The calibration belongs to another device, geometry or optics, or the camera's region has moved."""


class CalibrationStale(UsageError):
    """The calibration is too old, by the clock or in exposures."""


class CalibrationFailed(DeviceError):
    """What the device shows makes no calibration: dark, saturated, unstable, or still."""


class NotApplicable(CalibrationFailed):
    """This panel has nothing of the kind to measure."""


class MediumDrifted(DeviceError):
    """The monitor's patterns give frames that are too unlike those of the calibration: the run stops.

    Attributes
    ----------
    correlation : float
        With the calibration's reference, noise taken out.
    """

    def __init__(self, what: str, where: str, next_step: str, correlation: float) -> None:
        super().__init__(what, where, next_step)
        self.correlation = correlation
