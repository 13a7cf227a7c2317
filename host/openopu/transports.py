"""Byte links over real ports: serial lines and TCP sockets, both through pyserial."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import sys
import time
from collections.abc import Callable

import serial
from openopu_rtl.protocol.registers import PLANT_SOURCES

from .device import COMMON_KEYS, Device, Transport
from .errors import DeviceError, LinkLost, PortBusy, PortDenied, PortNotFound, UrlError
from .injection import PLANT_KEYS, inject, plant_source
from .url import DeviceUrl
from .usb import Lister, path_of, ports, serial_number_of, usb_number

DEFAULT_BAUD = 12_000_000
"""Rate of the simulated gateware after reset: 48 MHz over the divisor 4. Boards have that of their adapter."""
HIGHEST_BAUD = 50_000_000
READ_BYTES = 1 << 16
RECONNECT_S = 30
REOPEN_POLL_S = 0.1
WRITE_TIMEOUT_S = 10.0
"""A device that takes no byte for so long is gone: its receive buffer drains at line rate."""


class SerialTransport(Transport):
    """A pyserial port. Reads while it writes, so that two full buffers cannot block each other.

    Parameters
    ----------
    port
        The opened port.
    name
        Where it is, for messages.
    connect
        Finds and opens the port again, for :meth:`reopen`; None: it cannot be.
    """

    def __init__(
        self, port: serial.SerialBase, name: str, connect: Callable[[], serial.SerialBase] | None = None
    ) -> None:
        self._name = name
        self._connect = connect
        self._closed = False
        self._take_over(port)

    def _take_over(self, port: serial.SerialBase) -> None:
        self._port = port
        self._received = bytearray()
        # Windows ports have no descriptor to wait on: there pyserial waits, and its drivers buffer.
        self._fd: int | None = port.fileno() if os.name == "posix" else None

    def reopen(self, timeout_s: float) -> None:
        if self._connect is None:
            return super().reopen(timeout_s)
        with contextlib.suppress(OSError, serial.SerialException):
            self._port.close()
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._take_over(self._connect())
                return
            except (DeviceError, UrlError) as error:
                # A port that has just come may still belong to root, or be probed by another program.
                if time.monotonic() > deadline:
                    raise LinkLost(
                        f"the link was lost, and the device did not come back in time ({error.what})",
                        self._name,
                        "Plug it in and open it again",
                    ) from error
            time.sleep(REOPEN_POLL_S)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            if self._fd is None:
                self._port.write(data)
                return
            last = time.monotonic()
            while view:
                readable, writable, _ = select.select([self._fd], [self._fd], [], WRITE_TIMEOUT_S)
                if readable:
                    self._take()
                if writable:
                    try:
                        view = view[os.write(self._fd, view) :]
                        last = time.monotonic()
                    except BlockingIOError:
                        time.sleep(0.0005)  # a pty may say it is writable and still be full
                if time.monotonic() - last > WRITE_TIMEOUT_S:
                    raise LinkLost(
                        f"the device took no byte for {WRITE_TIMEOUT_S:g} s",
                        self._name,
                        "Check the cable and flow control, reset the board",
                    )
        except (OSError, serial.SerialException, ValueError) as error:
            raise self._lost(error) from error

    def read(self, timeout_s: float) -> bytes:
        try:
            if self._fd is None:
                self._port.timeout = max(timeout_s, 0.0)
                head: bytes = self._port.read(1)
                return head + self._port.read(self._port.in_waiting) if head else b""
            if not self._received and select.select([self._fd], [], [], max(timeout_s, 0.0))[0]:
                self._take()
        except (OSError, serial.SerialException, ValueError) as error:
            raise self._lost(error) from error
        data = bytes(self._received)
        self._received.clear()
        return data

    def _take(self) -> None:
        assert self._fd is not None
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise OSError(errno.EIO, "end of file")
        self._received += data

    def _lost(self, error: Exception) -> LinkLost:
        return LinkLost(
            f"the link was lost ({error})", self._name, "Plug the device in again (or restart the simulator) and reopen"
        )

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError, serial.SerialException):
                self._port.close()

    def set_baud(self, baud: int) -> None:
        try:
            self._port.baudrate = baud
        except (OSError, serial.SerialException, ValueError) as error:
            raise UrlError(
                f"the port cannot run at {baud} baud ({error})", self._name, "Take a rate that the adapter supports"
            ) from error


def open_serial(url: DeviceUrl, lister: Lister = ports) -> Device:
    """Open ``serial:PORT?baud=``, ``serial:usb=SERIAL_NUMBER`` or ``socket://HOST:PORT``.

    A device that is unplugged is found again by its USB serial number, or else at the same path, for ``reconnect_s``
    seconds. The laser is never armed without the user's word. With ``plant=chip`` or ``plant=host`` the device works
    without optics; see :mod:`openopu.injection`.
    """
    is_socket = url.scheme == "socket"
    known = (*COMMON_KEYS, *PLANT_KEYS, "reconnect_s")
    url.refuse_unknown(known if is_socket else (*known, "baud"))
    reconnect_s = url.get_int("reconnect_s", RECONNECT_S, 0, 86400)
    source = plant_source(url)
    baud = url.get_int("baud", DEFAULT_BAUD, 300, HIGHEST_BAUD)
    if not url.rest:
        raise UrlError("no port is given", str(url), "Write for example `serial:/dev/ttyUSB0`; `openopu doctor` lists")
    if is_socket and not re.fullmatch(r"//[^/?]+:\d{1,5}/?", url.rest):
        raise UrlError("this is no socket URL", str(url), "Write socket://HOST:PORT")
    if is_socket and int(url.rest.rstrip("/").rpartition(":")[2]) > 65535:
        raise UrlError("there is no such TCP port", str(url), "Take 1 to 65535")
    number = None if is_socket else usb_number(url.rest)
    if number == "":
        raise UrlError("no serial number is given", str(url), "Write serial:usb=SERIAL_NUMBER; `openopu doctor` lists")
    if number is None and not is_socket:
        number = serial_number_of(url.rest, lister)

    def connect() -> serial.SerialBase:
        path = url.rest if number is None else path_of(number, lister)
        if path is None:
            raise PortNotFound(
                f"no USB device with serial number {number} is there, or it has several ports",
                str(url),
                _present(lister),
            )
        try:
            if is_socket:
                return serial.serial_for_url(f"socket:{path}")
            return serial.Serial(path, baud, exclusive=True, write_timeout=WRITE_TIMEOUT_S)
        except (OSError, serial.SerialException, ValueError) as error:
            raise explain(error, url, path, lister) from error

    transport = SerialTransport(connect(), str(url), connect)
    name = f"{url.scheme} {url.rest}"
    device = Device(url, name, transport, reconnect_s=reconnect_s, plant_source=PLANT_SOURCES[source])
    return inject(device) if source == "host" else device


def explain(error: Exception, url: DeviceUrl, path: str, lister: Lister = ports) -> DeviceError | UrlError:
    """The cause behind a port at ``path`` that does not open."""
    where, text = str(url), str(error)
    code = getattr(error, "errno", None) or next(
        (n for n in (errno.ENOENT, errno.EACCES, errno.EBUSY, errno.EAGAIN) if f"[Errno {n}]" in text), None
    )
    if url.scheme == "socket":
        return PortNotFound(
            f"nothing answers there ({text})",
            where,
            "Start the server (`openopu cosim` prints its URL), check the port",
        )
    if code == errno.ENOENT or "FileNotFoundError" in text:
        return PortNotFound("there is no such port", where, _present(lister))
    if code in (errno.EACCES, errno.EPERM):
        help_ = "Join the group that owns it: `sudo usermod -aG dialout $USER`, then log in again"
        if sys.platform == "win32":
            return PortBusy("another program holds the port", where, "Close that program")
        return PortDenied("no permission to open the port", where, help_)
    if code in (errno.EBUSY, errno.EAGAIN) or "lock" in text:
        return PortBusy("another program holds the port", where, f"Close it; `fuser {path}` says which program it is")
    if isinstance(error, ValueError):
        return UrlError(f"the port refuses its settings ({text})", where, "Take a baud rate that the adapter supports")
    return DeviceError(f"the port cannot be opened ({text})", where, "Check that it is a serial port")


def _present(lister: Lister) -> str:
    """Next step for who named a port that is not there."""
    names = [str(port) for port in lister()]
    return f"Ports present: {', '.join(names)}" if names else "No serial port is present: plug the board in"
