"""Errors of the library: each says what happened, where, and what to do next."""

from __future__ import annotations

import operator
from typing import Any


class OpenopuError(Exception):
    """Base of all errors that the library raises on purpose.

    Parameters
    ----------
    what
        What happened, one clause, no full stop.
    where
        Where: a device URL, a port, a file, an argument.
    next_step
        What the reader should do about it.
    """

    def __init__(self, what: str, where: str = "", next_step: str = "") -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        super().__init__(what, where, next_step)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.next_step}" if self.next_step else text


class UsageError(OpenopuError, ValueError):
    """An argument, setting or array that cannot be used: wrong shape, NaN, out of range."""


def whole(value: Any, name: str, low: int | None = None, high: int | None = None) -> int:
    """``value`` as an int. Raises :class:`UsageError` for what is no integer, or not from ``low`` to ``high``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{value!r} is no integer", name, "Give a whole number") from None
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = f"{low} to {high}" if high is not None else f"at least {low}"
        raise UsageError(f"{number} is out of range", name, f"Take {bounds}")
    return number


class UrlError(UsageError):
    """A device URL that cannot be read, or holds an unknown scheme, key or value."""


class Interrupted(OpenopuError):
    """The user stopped a command."""


class DeviceError(OpenopuError):
    """Something is wrong with the device or on the way to it."""


class PortNotFound(DeviceError):
    """There is no such port."""


class PortDenied(DeviceError):
    """The user may not open the port."""


class PortBusy(DeviceError):
    """Another program holds the port."""


class LinkLost(DeviceError):
    """The port went away: unplugged, or the simulator ended."""


class DeviceSilent(DeviceError):
    """Nothing came back in time."""


class LinkGarbled(DeviceError):
    """Bytes came back, but no valid packet: wrong baud rate, or another device."""


class IdentityMismatch(DeviceError):
    """The device is no openopu, or its gateware's declaration is another than the host's."""


class DeviceRefused(DeviceError):
    """The device answered with an error code that sending again cannot cure.

    Attributes
    ----------
    code : int
        See :class:`openopu_rtl.protocol.Code`.
    """

    def __init__(self, what: str, where: str = "", next_step: str = "", code: int = 0) -> None:
        super().__init__(what, where, next_step)
        self.code = code


class ProjectionFailed(DeviceRefused):
    """A projection ended with a status other than OK, also when repeated."""


class SensorError(DeviceError):
    """The camera's sensor cannot be configured."""


class SensorSilent(SensorError):
    """No sensor answers at the I2C address."""


class SensorRefused(SensorError):
    """The sensor did not acknowledge a register or value."""


class SensorBusStuck(SensorError):
    """A line of the sensor's I2C stays low, or another master uses it."""


class SensorMismatch(SensorError):
    """The sensor is another than was named, or a register does not hold what was written."""


class LaserDark(DeviceError):
    """The laser was off during a projection that needs light, or could not be armed."""
