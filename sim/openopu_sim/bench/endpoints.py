"""Where hosts reach the simulated device: a virtual serial port and a TCP port, both at once, one host at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import sys
import termios
import time
import tty
from abc import ABC, abstractmethod
from pathlib import Path

CHUNK = 1 << 16
BACKLOG_BYTES = 1 << 22
"""Bytes that may wait for a host that does not read; beyond, the simulation waits for it."""
READS_BEHIND = 256
"""Chunks that a host may have sent before it hung up."""
PARTIAL_S = 0.05
"""Silence after which the bytes of an unfinished packet are handed over."""

# Baud rates outside the table of POSIX: struct termios2 (Linux, asm-generic/termbits.h), 44 bytes, of which
# the third word holds the control flags and the last two the speeds.
_TCGETS2, _TCSETS2 = 0x802C542A, 0x402C542B
_TERMIOS2 = struct.Struct("<4I20s2I")
_CBAUD, _BOTHER = 0o010017, 0o010000


class HostGone(Exception):
    """The host hung up."""


class Door(ABC):
    """What the bench asks of the outside."""

    attached = False
    """A host is there."""

    @abstractmethod
    def poll(self, timeout_s: float | None) -> bool:
        """Take in what has come; wait for the first byte at most so long (None: for ever).

        Returns False when the bench shall end.
        """

    @abstractmethod
    def take(self, everything: bool, limit: int) -> bytes:
        """Bytes for the device: whole packets, or ``everything``; trailing parts after a silence."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Bytes for the host."""

    def baud(self) -> int | None:
        """Baud rate that the host has set, where there is one."""
        return None

    def next_partial_s(self) -> float | None:
        """Seconds until the trailing part of a packet is due; None: there is none."""
        return None

    def close(self) -> None:  # noqa: B027
        """End it."""


class Ports(Door):
    """A pty and a listening socket.

    While no host is there, the bench itself holds the pty's host side open, so that its settings (raw,
    the default rate) last; it lets go with a host's first byte, so that the host's leaving shows.

    Parameters
    ----------
    baud : rate that the pty starts with, bit/s.
    watch_stdin : end when standard input does: whoever started the bench has gone.
    """

    def __init__(self, baud: int, watch_stdin: bool = True) -> None:
        self._default_baud = baud
        self._master, self._slave = os.openpty()
        self.path = os.ttyname(self._slave)
        self._reset_line()
        os.set_blocking(self._master, False)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.setblocking(False)
        self.url = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self._connection: socket.socket | None = None
        self._on_pty = False
        self._stdin = sys.stdin.fileno() if watch_stdin else -1
        self._stop = False
        self._arrived = bytearray()
        self._last_arrival = 0.0
        self._backlog = bytearray()

    # -- the line ------------------------------------------------------------------------------------------

    def _reset_line(self) -> None:
        tty.setraw(self._slave)
        speeds = bytearray(_TERMIOS2.size)
        fcntl.ioctl(self._slave, _TCGETS2, speeds)
        i, o, c, local, rest, _, _ = _TERMIOS2.unpack(speeds)
        settings = _TERMIOS2.pack(i, o, (c & ~_CBAUD) | _BOTHER, local, rest, self._default_baud, self._default_baud)
        fcntl.ioctl(self._slave, _TCSETS2, settings)
        # Only what the host that left did not read: the next one may have opened and written already.
        termios.tcflush(self._slave, termios.TCIFLUSH)

    def baud(self) -> int | None:
        if not self._on_pty:
            return self._default_baud
        speeds = bytearray(_TERMIOS2.size)
        fcntl.ioctl(self._master, _TCGETS2, speeds)  # on Linux the master answers with the slave's settings
        return int(_TERMIOS2.unpack(speeds)[6])

    # -- both ways ------------------------------------------------------------------------------------------

    def poll(self, timeout_s: float | None) -> bool:
        poller = select.poll()
        writing = select.POLLOUT if self._backlog else 0
        if self._connection:
            poller.register(self._connection, select.POLLIN | writing)
        else:
            poller.register(self._master, select.POLLIN | (writing if self._on_pty else 0))
        poller.register(self._listener, select.POLLIN)
        if self._stdin >= 0:
            poller.register(self._stdin, select.POLLIN)
        for descriptor, events in poller.poll(None if timeout_s is None else timeout_s * 1000):
            if descriptor == self._stdin:
                self._stop = self._stop or not os.read(self._stdin, CHUNK)
            elif descriptor == self._listener.fileno():
                self._accept()
            elif descriptor == self._master:
                self._pty_event(events)
            elif self._connection and descriptor == self._connection.fileno():
                self._socket_event(events)
        return not self._stop

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        self._notice_leaving()
        if self.attached:
            connection.close()  # one host at a time; the other sees a closed connection
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection, self.attached = connection, True

    def _notice_leaving(self) -> None:
        """Take what the host has sent, up to its hanging up: a host that comes back at once is no second one."""
        for _ in range(READS_BEHIND):
            descriptor = self._connection or self._master
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            events = poller.poll(0)
            if not self.attached or not events:
                return
            (self._socket_event if self._connection else self._pty_event)(events[0][1])

    def _socket_event(self, events: int) -> None:
        assert self._connection
        try:
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                data = self._connection.recv(CHUNK)
                if not data:
                    raise ConnectionResetError
                self._arrive(data)
            if self._backlog and events & select.POLLOUT:
                del self._backlog[: self._connection.send(self._backlog)]
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()

    def _pty_event(self, events: int) -> None:
        try:
            if events & select.POLLIN:
                self._arrive(os.read(self._master, CHUNK))
                if not self._on_pty:
                    self._on_pty = self.attached = True
                    os.close(self._slave)
            elif events & (select.POLLHUP | select.POLLERR):
                self._hang_up()
                return
            if self._backlog and events & select.POLLOUT:
                del self._backlog[: os.write(self._master, self._backlog)]
        except BlockingIOError:
            pass
        except OSError:  # EIO: nobody has the host's side open any more
            self._hang_up()

    def _hang_up(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None
        elif self._on_pty:
            self._on_pty = False
            self._slave = os.open(self.path, os.O_RDWR | os.O_NOCTTY)
            self._reset_line()
        self.attached = False
        self._backlog.clear()

    def _arrive(self, data: bytes) -> None:
        self._arrived += data
        self._last_arrival = time.monotonic()

    # -- the device's side ------------------------------------------------------------------------------------

    def next_partial_s(self) -> float | None:
        if not self._arrived:
            return None
        return max(0.0, self._last_arrival + PARTIAL_S - time.monotonic())

    def take(self, everything: bool, limit: int) -> bytes:
        whole = self._arrived.rfind(0) + 1
        if everything or self.next_partial_s() == 0.0:
            whole = len(self._arrived)
        data = bytes(self._arrived[: min(whole, limit)])
        del self._arrived[: len(data)]
        return data

    def send(self, data: bytes) -> None:
        if not self.attached:
            return  # a line without a listener
        self._backlog += data
        with contextlib.suppress(BlockingIOError):
            try:
                if self._connection:
                    del self._backlog[: self._connection.send(self._backlog)]
                else:
                    del self._backlog[: os.write(self._master, self._backlog)]
            except BlockingIOError:
                raise
            except OSError:
                self._hang_up()
        while len(self._backlog) > BACKLOG_BYTES and self.poll(None):
            pass

    def close(self) -> None:
        """Wait a moment for the host to take what was sent, then close."""
        deadline = time.monotonic() + 1.0
        while self._backlog and self.attached and time.monotonic() < deadline:
            self.poll(0.05)
        for close in (self._listener.close, self._connection.close if self._connection else lambda: None):
            close()


class Replay(Door):
    """Canned packets in place of a host, ``window`` of them unanswered at a time.

    Ends the bench when every packet has been answered; ``answers`` is then all that came back.

    Parameters
    ----------
    path : file of encoded packets, each with its delimiter.
    """

    WINDOW = 4

    def __init__(self, path: Path) -> None:
        self._packets = [p + b"\0" for p in path.read_bytes().split(b"\0")[:-1]]
        self._sent = 0
        self._answered = 0
        self.answers = bytearray()
        self.attached = True

    def poll(self, timeout_s: float | None) -> bool:
        return self._answered < len(self._packets)

    def take(self, everything: bool, limit: int) -> bytes:
        end = min(len(self._packets), self._answered + self.WINDOW)
        data = b"".join(self._packets[self._sent : end])
        self._sent = end
        return data

    def send(self, data: bytes) -> None:
        self.answers += data
        self._answered += data.count(0)
