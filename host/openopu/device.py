"""The device contract: what a scheme of device URLs has to offer, and the registry of schemes.

A package adds a scheme with an entry point in the group ``openopu.devices`` that names a factory
``(url: DeviceUrl) -> Device``. The factory opens the byte link and refuses keys that it does not know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Shot
from openopu_rtl.protocol.registers import PLANT_SOURCES

from .errors import DeviceError, LinkLost, UrlError
from .panel import Panel
from .plants.optics import Optics, optics_of
from .url import DeviceUrl

DEVICES_GROUP = "openopu.devices"

RECORD_KEY = "record"
"""Key of any URL: a file for :mod:`openopu.recording`."""
COMMON_KEYS = ("n", "m")
"""Keys that every scheme accepts: modes and outputs; :func:`openopu.open` checks them against what the device is."""


class Transport(ABC):
    """A byte link to a device. One thread uses it at a time."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send all of ``data``. Raises :class:`openopu.errors.LinkLost` when the link is gone.

        The host never has more bytes of patterns unanswered than the device's pattern store holds, so
        a device that stops reading for longer than its own processing takes is an error.
        """

    @abstractmethod
    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived, at least one byte; ``b""`` when nothing came within ``timeout_s`` seconds."""

    @abstractmethod
    def close(self) -> None:
        """End the link. May be called twice."""

    def reopen(self, timeout_s: float) -> None:
        """Open the lost link anew once the device is there again; :class:`openopu.errors.LinkLost` after ``timeout_s``.

        Whatever was under way in either direction may be lost.
        """
        raise LinkLost("this link cannot be opened again", "", "Open the device anew")

    def set_baud(self, baud: int) -> None:  # noqa: B027
        """Change the line's rate in bits per second; nothing to do where there is no line."""


@dataclass
class Device:
    """An opened device: a link, and what is known about it beside the link."""

    url: DeviceUrl
    name: str
    """What it is, for people: ``twin``, ``rtl:verilator``, ``serial /dev/ttyUSB0``."""
    transport: Transport
    arms_itself: bool = False
    """True where there is no real laser: it is armed without the user's word."""
    plant_source: int = PLANT_SOURCES["camera"]
    """Where its frames shall come from; see the register of this name."""
    realtime: bool = True
    """True where the device's clock runs on while the host thinks, so that the heartbeat must be kept alive."""
    time_factor: float = 1.0
    """Wall seconds that one second of the device's clock takes at most; time-outs are stretched by it."""
    reconnect_s: float = 0.0
    """How long to look for the device after its link was lost; 0: not at all."""
    rows_per_packet: int | None = None
    """Most projections in one packet; None: as many as fill it."""
    registers: Mapping[str, int] = field(default_factory=dict)
    """Values of setting registers that suit it better than those after reset."""
    exact_matrix: Callable[[Shot], NDArray[np.floating]] | None = None
    """Where the medium is known: (outputs, modes) matrix A in DN, for the shot's levels and exposure and the present
    laser power, so that the noiseless, unquantised difference of the two frames of a complement pair showing
    ``s`` in {-1, +1} is ``A @ s``."""
    panel: Panel | None = None
    """What its panel makes of levels, where that is known."""
    optics: Optics = field(default_factory=dict)
    """Where it is not real, what it is; empty: :func:`open_device` takes what the URL says."""


DeviceFactory = Callable[[DeviceUrl], Device]


def schemes() -> dict[str, EntryPoint]:
    """Installed schemes by name."""
    return {e.name: e for e in entry_points(group=DEVICES_GROUP)}


def known_scheme(url: str | DeviceUrl) -> DeviceUrl:
    """``url``, parsed. Raises :class:`UrlError` if it cannot be read, or nothing installed knows its scheme."""
    parsed, known = DeviceUrl.parse(url), schemes()
    if parsed.scheme not in known:
        raise UrlError(
            f"no device scheme `{parsed.scheme}:` is installed", str(url), f"Known: {', '.join(sorted(known))}"
        )
    return parsed


def open_device(url: str | DeviceUrl) -> Device:
    """Open the device behind ``url``; with ``record=FILE`` in it, all that it is asked and answers goes there, too.

    Raises
    ------
    UrlError
        The URL cannot be read, or nothing installed knows its scheme.
    DeviceError
        The device cannot be reached.
    """
    parsed = known_scheme(url)
    record_to = parsed.parameters.get(RECORD_KEY)
    parsed = parsed.with_parameters(**{RECORD_KEY: None})
    try:
        factory: DeviceFactory = schemes()[parsed.scheme].load()
    except ImportError as error:
        raise DeviceError(
            f"`{parsed.scheme}:` needs a package that is not installed ({error})",
            str(url),
            "Install the extra that brings it, for example `pip install 'openopu[sim]'`",
        ) from error
    device = factory(parsed)
    if not device.optics:
        # At once: a plant file may be edited while the device is open.
        try:
            device = replace(device, optics=optics_of(parsed, simulated=device.arms_itself))
        except BaseException:
            device.transport.close()
            raise
    if record_to is None:
        return device
    from .recording import record  # it builds on devices

    return replace(device, transport=record(device, record_to))
