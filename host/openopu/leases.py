"""Opened devices that several objects of a process share, such as estimators and their clones.

A port can be opened once. Whoever needs a device takes a lease of its URL and gives it back; the device is opened with
the first lease and closed with the last.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from . import opu as opus
from .errors import DeviceError
from .opu import Opu


class _Shared:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.holders = 0
        self.opu: Opu | None = None

    def close(self) -> None:
        opu, self.opu = self.opu, None
        if opu is not None:
            opu.close()


_shared: dict[tuple[int, str], _Shared] = {}
_guard = threading.Lock()


class Lease:
    """A claim on the device behind ``url``. Nothing is opened before :meth:`use`.

    Parameters
    ----------
    url
        Of the device. Leases of the same text share it.
    """

    def __init__(self, url: str) -> None:
        self._key = (os.getpid(), url)
        self._released = False
        with _guard:
            shared = _shared.setdefault(self._key, _Shared())
            shared.holders += 1

    @property
    def inherited(self) -> bool:
        """Whether it was taken before this process was forked: the device belongs to the parent."""
        return self._key[0] != os.getpid()

    @contextlib.contextmanager
    def use(self, *, arm: bool = False) -> Iterator[Opu]:
        """The opened device, for this thread alone while the ``with`` block lasts.

        Where the device fails, or the block is interrupted, it is closed, so that the next use opens it anew.
        """
        shared = _shared[self._key]
        with shared.lock:
            if shared.opu is None:
                shared.opu = opus.open(self._key[1], arm=arm)
            elif arm and not shared.opu.status()["armed"]:
                shared.opu.arm()
            try:
                yield shared.opu
            except BaseException as error:
                if isinstance(error, DeviceError) or not isinstance(error, Exception):
                    if shared.opu is not None:
                        shared.opu.abandon()
                    shared.close()
                raise

    def release(self) -> None:
        """Give the lease back; the last one closes the device. May be called twice."""
        with _guard:
            if self._released:
                return
            self._released = True
            shared = _shared[self._key]
            shared.holders -= 1
            if shared.holders:
                return
            del _shared[self._key]
        if not self.inherited:
            shared.close()
