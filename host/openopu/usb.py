"""Serial ports and the USB devices behind them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

USB_PREFIX = "usb="
"""Of a port that is named by its USB serial number."""


@dataclass(frozen=True)
class Port:
    """A serial port that is there now."""

    path: str
    """What to open: ``/dev/ttyUSB0``, ``COM3``."""
    serial_number: str | None = None
    """That of the USB device, which stays when it is plugged in elsewhere; None where there is none, or where it does
    not tell which port is meant: a chip with two ports has one."""

    def __str__(self) -> str:
        """The path, and what to write in a device URL to find it wherever it is plugged in."""
        return f"{self.path} (serial:{USB_PREFIX}{self.serial_number})" if self.serial_number else self.path


Lister = Callable[[], Sequence[Port]]
"""Looks which ports are there."""


def ports() -> list[Port]:
    """The serial ports that this machine has."""
    from serial.tools import list_ports

    found = list_ports.comports()
    numbers = Counter(p.serial_number for p in found if p.serial_number)
    alone = {number for number, count in numbers.items() if count == 1}
    present = [Port(str(p.device), p.serial_number if p.serial_number in alone else None) for p in found]
    return sorted(present, key=lambda p: p.path)


def usb_number(rest: str) -> str | None:
    """USB serial number that the rest of a ``serial:`` URL names, or None where it is a path."""
    return rest.removeprefix(USB_PREFIX) if rest.startswith(USB_PREFIX) else None


def path_of(serial_number: str, lister: Lister) -> str | None:
    """Path of the port with this USB serial number, or None."""
    return next((p.path for p in lister() if p.serial_number == serial_number), None)


def serial_number_of(path: str, lister: Lister) -> str | None:
    """USB serial number of the port at ``path``, which may be a link to it, or None."""
    real = os.path.realpath(path)
    return next((p.serial_number for p in lister() if real == os.path.realpath(p.path)), None)


LATENCY_MS_MAX = 2
"""Longest latency timer of an FTDI chip that does not hold up requests."""


def latency_advice(path: str, sysfs: Path = Path("/sys")) -> str | None:
    """What to do about the latency timer of an FTDI chip, or None where it is short, or there is none.

    The chip hands a packet that is not full to the host only when this timer, 16 ms after it was plugged in, runs out.
    """
    name = Path(os.path.realpath(path)).name
    timer = sysfs / "bus" / "usb-serial" / "devices" / name / "latency_timer"
    try:
        milliseconds = int(timer.read_text())
    except (OSError, ValueError):
        return None
    if milliseconds <= LATENCY_MS_MAX:
        return None
    return (
        f"the FTDI chip holds replies back for up to {milliseconds} ms: `echo 1 | sudo tee {timer}` "
        "(a udev rule makes it last: see the bring-up guide)"
    )
