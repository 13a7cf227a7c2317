"""An opened device: its link, what it is set to, its laser and its state."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from openopu_rtl.protocol import REGISTERS, Kind, Record
from openopu_rtl.protocol.packets import RECORD_FLAGS
from openopu_rtl.protocol.registers import STATUS_BITS, TRIP_CAUSES

from . import laser, levels
from .device import Device
from .errors import LaserDark, whole
from .pipeline import EXPOSURE_IDS, Setup
from .reconnect import Reconnect
from .session import Identity, Session, check_geometry
from .settings import Settings
from .worker import Worker

T = TypeVar("T")

KEEP_ALIVE_SHARE = 0.25
"""Of the heartbeat's limit: the longest silence of a host that thinks."""


class OpenedDevice:
    """An opened device, without what it computes: :class:`openopu.Opu` adds that.

    Attributes
    ----------
    device : Device
    identity : Identity
    geometry : Geometry
        ``geometry.modes`` inputs n, ``geometry.outputs`` outputs m.
    gateware : str
        Hashes of the gateware's declaration and sources.
    """

    def __init__(self, device: Device, *, arm: bool, exposure_base: int, allow_dark: bool) -> None:
        self.device = device
        self.allow_dark = allow_dark
        self._lock = threading.RLock()
        self._closed = False
        self._session = Session(device)
        try:
            base = whole(exposure_base, "exposure_base")
            self._session.flush()
            self.identity: Identity = self._session.identify()
            self.geometry = self.identity.geometry
            self.gateware = self.identity.gateware
            check_geometry(device.url, self.identity)
            self._session.write(laser_disarm=0)
            self._session.wait_idle()
            self._settings = Settings.default(self.geometry, **device.registers)
            self._written: Settings | None = None
            """What the device surely holds: other than the settings where a caller stopped waiting for their write."""
            self._level_table = levels.identity()
            self._restore()
            self._session.write(counters_clear=0)
        except BaseException:
            device.transport.close()
            raise
        self._next = base % EXPOSURE_IDS
        self._worker = Worker(self._session)
        self._reconnect = Reconnect(self._session, self.identity, self._restore, lambda: self._worker.abandoned)
        self._worker.reconnect = self._reconnect
        self._armed_at = 0
        try:
            self._set_keep_alive()
            if arm or device.arms_itself:
                self.arm()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is not None:
            self.abandon()
        self.close()

    def abandon(self) -> None:
        """Fail all projections at once, those under way and later ones, of a device that is to be closed."""
        self._worker.abandon()

    @property
    def abandoned(self) -> bool:
        return self._worker.abandoned

    def _restore(self) -> None:
        """Write every setting to an idle device, which may have just got its power."""
        self._session.write(plant_source=self.device.plant_source)
        self._settings.write(self._session, self.geometry, None)
        self._written = self._settings
        self._session.write_window("level_table", self._level_table)

    def close(self) -> None:
        """Disarm the laser and close the link; called by the ``with`` block. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            with contextlib.suppress(Exception):  # a lost link cannot be disarmed: the heartbeat does that
                self._worker.call(self._farewell)
            self._worker.stop()
        finally:
            self.device.transport.close()

    def _farewell(self) -> None:
        self._worker.reconnect = None
        self._session.write(laser_disarm=0)

    # Settings

    @property
    def realtime(self) -> bool:
        """False where every clock of the device is computed, so that a second of it takes long."""
        return self._session.realtime

    @property
    def settings(self) -> Settings:
        """What the device is configured for."""
        return self._settings

    @property
    def exposure_next(self) -> int:
        """ID of the next exposure: checkpoint it, and pass it as ``exposure_base`` to resume."""
        return self._next

    @exposure_next.setter
    def exposure_next(self, value: int) -> None:
        with self._lock:
            self._next = whole(value, "exposure_next") % EXPOSURE_IDS

    @property
    def level_table(self) -> NDArray[np.uint8]:
        """What the panel is sent for each level of a program, (256,) uint8; a copy."""
        return self._level_table.copy()

    def set_level_table(self, source: ArrayLike | str | os.PathLike[str]) -> None:
        """Set :attr:`level_table`, such as a display's gamma correction. Waits for the projections under way.

        ``source``: 256 levels, or a file of them (:func:`openopu.levels.level_table`). It lasts until the device is
        closed: opening one sets the identity, so that no run depends on the one before.

        Raises
        ------
        UsageError
            No level table; the device keeps the one it has.
        """
        table = levels.level_table(source)
        with self._lock:
            self._worker.call(lambda: self._session.write_window("level_table", table), idle=True)
            self._level_table = table

    def apply(self, settings: Settings) -> None:
        """Write settings that were made elsewhere; :meth:`openopu.Opu.configure` makes them from arguments."""
        settings.check(self.geometry, self.identity.monitor_cycles)
        setup = self._setup(settings)
        if not self.realtime:
            # A device whose clock stands still while the host thinks gets no keep-alive, which would make its
            # counters depend on the host's speed; so the heartbeat must outlast what is in flight.
            rows = max(1, self.geometry.store_bytes // setup.row_bytes)
            need = round(4 * rows * setup.row_seconds * self.identity.clock_hz)
            heartbeat = max(settings.registers["heartbeat_cycles"], REGISTERS["heartbeat_cycles"].reset, need)
            heartbeat = min(heartbeat, (1 << 32) - 1)
            settings = settings.replace(registers={**settings.registers, "heartbeat_cycles": heartbeat})

        def write() -> None:
            known, self._written = self._written, None
            settings.write(self._session, self.geometry, known)
            self._written = settings

        before = self._settings
        self._worker.call(write, idle=True)
        self._settings = settings
        if before.registers["heartbeat_cycles"] != settings.registers["heartbeat_cycles"]:
            self._set_keep_alive()

    def _setup(self, settings: Settings) -> Setup:
        # The device leaves twice the jitter between a readout and the end of the next exposure.
        readout_cycles = settings.registers["camera_readout_cycles"] + 2 * settings.registers["camera_jitter_cycles"]
        return Setup(
            settings.program,
            settings.format(self.geometry),
            self.geometry,
            self.identity.clock_hz,
            settings.registers["frame_timeout_cycles"],
            readout_cycles,
            settings.registers["panel_timeout_cycles"],
            self.device.rows_per_packet,
        )

    @contextlib.contextmanager
    def using(self, settings: Settings, exposure_base: int | None = None) -> Iterator[None]:
        """Other settings within a ``with`` block; with ``exposure_base``, other exposure IDs too."""
        with self._lock:
            before, next_before = self._settings, self._next
            self.apply(settings)
            if exposure_base is not None:
                self._next = exposure_base % EXPOSURE_IDS
            try:
                yield
            finally:
                if not self.abandoned:  # else the device is busy, and closed next
                    self.apply(before)
                if exposure_base is not None:
                    self._next = next_before

    # Laser

    def arm(self) -> None:
        """Arm the laser, in two steps. Raises :class:`LaserDark` where the device does not arm now, and says why."""
        self._worker.call(lambda: laser.arm(self._session))
        self._armed_at = self.reconnected

    def disarm(self) -> None:
        """Switch the laser off."""
        self._worker.call(lambda: self._session.write(laser_disarm=0))

    def check_light(self, record: Record) -> None:
        """Raise :class:`LaserDark` if a row was exposed with the laser off, unless that is allowed."""
        if self.allow_dark:
            return
        dark = np.flatnonzero(record.head["flags"] >> RECORD_FLAGS["laser_on"] & 1 == 0)
        if len(dark):
            raise self._dark(f"the laser was off in {len(dark)} of {len(record.head)} projections")

    def _dark(self, what: str) -> LaserDark:
        why, step = laser.why_dark(self.status(), self.reconnected != self._armed_at)
        return LaserDark("; ".join([what, *why]), str(self.device.url), step)

    # State and link

    def registers(self, names: Sequence[str]) -> dict[str, int]:
        """Values of registers by name, read once everything under way has ended."""
        return self._worker.call(lambda: self._session.read(*names))

    def status(self) -> dict[str, int | bool]:
        """Bits of the status register by name, causes of the last trip (``trip_...``), exposure_next and readings."""
        values = self.registers([r.name for r in REGISTERS.values() if r.kind is Kind.STATUS])
        out: dict[str, int | bool] = {n: bool(values["status"] >> b & 1) for n, b in STATUS_BITS.items()}
        out |= {f"trip_{n}": bool(values["trip_cause"] >> b & 1) for n, b in TRIP_CAUSES.items()}
        return out | {n: values[n] for n in ("exposure_next", "monitor", "temperature")}

    def counters(self, *, timing: bool = True) -> dict[str, int]:
        """Event counters and, with ``timing``, cycle counters, since the device was opened or they were cleared."""
        kinds = (Kind.EVENT, Kind.TIMING) if timing else (Kind.EVENT,)
        return self.registers([r.name for r in REGISTERS.values() if r.kind in kinds])

    def clear_counters(self) -> None:
        """Set event and cycle counters to zero."""
        self._worker.call(lambda: self._session.write(counters_clear=0), idle=True)

    @property
    def repeated(self) -> int:
        """Times that packets had to be repeated because of damage, loss or a fault."""
        return self._worker.pipeline.repeated

    def on_link(self, action: Callable[[Session], T]) -> T:
        """``action(session)`` in the link's thread, after the projections before it."""
        return self._worker.call(lambda: action(self._session))

    @property
    def reconnected(self) -> int:
        """Times that the device went away and came back. Each time the laser is left off: call :meth:`arm`."""
        return self._reconnect.count

    def set_baud(self, baud: int) -> None:
        """Change the rate of a serial line on both ends."""
        self._worker.call(lambda: self._session.set_baud(baud, self.identity.clock_hz))

    def _set_keep_alive(self) -> None:
        cycles = self._settings.registers["heartbeat_cycles"]
        share = KEEP_ALIVE_SHARE * cycles / self.identity.clock_hz
        self._worker.call(lambda: self._worker.keep_alive(share if self.realtime else None))
