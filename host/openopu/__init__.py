"""The host library of the open optical processing unit.

>>> import openopu
>>> with openopu.open("twin:") as opu:  # doctest: +SKIP
...     opu.configure(components=10, outputs=768)
...     y = opu.project(errors)
"""

from .device import Device, Transport
from .encoding import Encoding
from .errors import (
    DeviceError,
    DeviceRefused,
    DeviceSilent,
    IdentityMismatch,
    LaserDark,
    LinkGarbled,
    LinkLost,
    OpenopuError,
    PortBusy,
    PortDenied,
    PortNotFound,
    ProjectionFailed,
    UrlError,
    UsageError,
)
from .measure import ExposureReport
from .opu import Opu, open
from .panel import Panel
from .pending import Pending
from .schemes import Scheme
from .url import DeviceUrl

__all__ = [
    "Device",
    "DeviceError",
    "DeviceRefused",
    "DeviceSilent",
    "DeviceUrl",
    "Encoding",
    "ExposureReport",
    "IdentityMismatch",
    "LaserDark",
    "LinkGarbled",
    "LinkLost",
    "OpenopuError",
    "Opu",
    "Panel",
    "Pending",
    "PortBusy",
    "PortDenied",
    "PortNotFound",
    "ProjectionFailed",
    "Scheme",
    "Transport",
    "UrlError",
    "UsageError",
    "open",
]
