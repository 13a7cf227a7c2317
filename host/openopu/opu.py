"""The optical processing unit as Python sees it: open, configure, project."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from openopu_rtl.protocol import REGISTERS, Kind, Program, Record
from openopu_rtl.protocol.packets import RECORD_FLAGS
from openopu_rtl.protocol.registers import STATUS_BITS, TRIP_CAUSES
from openopu_rtl.protocol.shots import complement

from . import laser, levels, measure, sensor_setup
from . import layout as layouts
from .device import Device, open_device
from .encoding import Encoding, Key, array_of, check_errors, check_planes
from .errors import LaserDark, UsageError, whole
from .measure import ExposureReport
from .pending import Pending
from .pipeline import EXPOSURE_IDS, Job, Setup
from .reconnect import Reconnect
from .sensor_setup import SensorReport
from .session import Identity, Session, check_geometry
from .settings import Settings, linear_weight, lossless, selection_of
from .url import DeviceUrl
from .worker import Worker

T = TypeVar("T")

SETTLE_S = 5.0
"""Device seconds that projections of an earlier host may still take when a device is opened."""
MOST_CYCLES = (1 << 32) - 1
"""Longest exposure of the shot table."""
LARGEST_ERROR = 1e28
"""Times the largest sum of a device, this is still a float32."""
KEEP_ALIVE_SHARE = 0.25
"""Of the heartbeat's limit: the longest silence of a host that thinks."""


class Opu:
    """An opened device. Make one with :func:`openopu.open`; use it in a ``with`` block.

    Attributes
    ----------
    device : Device
    identity : Identity
    geometry : Geometry
        ``geometry.modes`` inputs n, ``geometry.outputs`` outputs m.
    gateware : str
        Hashes of the gateware's declaration and sources.
    """

    def __init__(self, device: Device, *, arm: bool = False, exposure_base: int = 0, allow_dark: bool = False) -> None:
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
            self._session.wait_idle(SETTLE_S)
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
        self._encoding = Encoding()
        self._layout = layouts.balanced(self.geometry.modes, self.geometry.modes)
        self._exposure_cycles = self._settings.program.shots[0].exposure_cycles
        self._worker = Worker(self._session, lambda: SETTLE_S)
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

    def __enter__(self) -> Opu:
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
    def settings(self) -> Settings:
        """What the device is configured for."""
        return self._settings

    @property
    def layout(self) -> layouts.Layout:
        return self._layout

    @property
    def encoding(self) -> Encoding:
        return self._encoding

    @property
    def components(self) -> int:
        """Length of the vectors that :meth:`project` takes."""
        return self._layout.components

    @property
    def outputs(self) -> NDArray[np.intp]:
        """Indices of the outputs that are returned, in order."""
        return self._settings.selection

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

    @property
    def exposure_cycles(self) -> int:
        """Exposure of the programs that :meth:`configure` makes, in system clock cycles."""
        return self._exposure_cycles

    def configure(
        self,
        program: Program | None = None,
        *,
        components: int | None = None,
        outputs: int | ArrayLike | None = None,
        bits: int | None = None,
        shift: int | None = None,
        banks: int = 1,
        encoding: Encoding | None = None,
        layout_seed: int = 0,
        exposure_cycles: int | None = None,
        normalise: bool | None = None,
        monitors: bool | None = None,
        **registers: int,
    ) -> None:
        """Set what the following projections do. Waits for those under way.

        Parameters
        ----------
        program
            The shots; None: the complement program of the encoding, at :attr:`exposure_cycles`.
        components
            Length of the error vectors, spread over all modes by balanced replication; None: one for each mode.
        outputs
            How many outputs to return, or which (indices); None: all.
        bits, shift
            Bits of the returned integers (8, 12, 16) and their division by 2**shift; None: the fewest bits,
            and the smallest shift, with which nothing can saturate.
        banks
            Accumulator banks to return.
        encoding
            How errors become planes; None: stochastic ternary.
        layout_seed
            Of the layout's permutation.
        exposure_cycles
            Exposure of every shot, kept for later programs; None: as calibrated, or as ``program`` says.
        normalise
            Weight each frame by ``monitor_reference`` over its photodiode reading; None: as before, at first not.
            Set the reference with :meth:`refer_monitor`.
        monitors
            Return the photodiode reading of every shot (``monitors`` of a record); None: as before, at first not.
        registers
            Further settings by their register's name, such as ``laser_power`` (code of the DAC) or
            ``monitor_reference``. Kept until they are set again.

        Raises
        ------
        UsageError
            A value that this device cannot take.
        """
        new_encoding = Encoding() if encoding is None else encoding
        for name, value, kind in (("encoding", new_encoding, Encoding), ("program", program, Program)):
            if not isinstance(value, kind | None):
                raise UsageError(f"{value!r} is none", name, f"Give an openopu {kind.__name__}")
        if exposure_cycles is not None:
            whole(exposure_cycles, "exposure_cycles", 1, MOST_CYCLES)
        cycles = exposure_cycles if exposure_cycles is not None else self._exposure_cycles
        if program is None:
            program = complement(new_encoding.planes, exposure_cycles=cycles)
        elif exposure_cycles is not None:
            program = program.replace(exposure_cycles=exposure_cycles)
        count = self.geometry.modes if components is None else whole(components, "components")
        layout = layouts.balanced(count, self.geometry.modes, whole(layout_seed, "layout_seed", 0))
        for name, number in (("bits", bits), ("shift", shift), ("banks", banks)):
            if number is not None:
                whole(number, name)
        selection = selection_of(outputs, self.geometry.outputs)
        normalise = self._settings.normalise if normalise is None else bool(normalise)
        if bits is None or shift is None:
            width, fitting = lossless(program, self.geometry, bits, banks, normalise)
            bits, shift = width, fitting if shift is None else shift
        settings = Settings(
            program,
            selection,
            bits,
            shift,
            banks,
            normalise=normalise,
            monitors=self._settings.monitors if monitors is None else bool(monitors),
            registers={**self._settings.registers, **registers},
        )
        with self._lock:
            self.apply(settings)
            self._encoding, self._layout, self._exposure_cycles = new_encoding, layout, cycles

    def apply(self, settings: Settings) -> None:
        """Write settings that were made elsewhere; :meth:`configure` makes them from arguments."""
        settings.check(self.geometry, self.identity.monitor_cycles)
        setup = self._setup(settings)
        if not self._session.realtime:
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
        return Setup(
            settings.program,
            settings.format(self.geometry),
            self.geometry,
            self.identity.clock_hz,
            settings.registers["frame_timeout_cycles"],
            settings.registers["camera_readout_cycles"],
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

    # Projections

    def project(self, errors: ArrayLike, key: Key | None = None) -> NDArray[np.float32]:
        """Project a batch of error vectors: ``errors @ matrix().T``, up to encoding and noise.

        Parameters
        ----------
        errors
            (rows, components), finite.
        key
            Names the draws of a stochastic encoding, such as (seed, epoch, step); None: the next exposure's ID.

        Returns
        -------
        (rows, outputs) float32 in DN, summed over an output's pixels, for one unit of the errors.
        """
        return self.submit(errors, key).result()

    def submit(self, errors: ArrayLike, key: Key | None = None) -> Pending:
        """Start :meth:`project` and return at once; the transfers overlap with the caller's arithmetic.

        Batches end in the order in which they were submitted.
        """
        e = check_errors(errors, self.components)
        if e.size and max(e.max(), -e.min()) > LARGEST_ERROR:
            raise UsageError(f"the errors reach beyond {LARGEST_ERROR:g}", "errors", "Divide them by a scale")
        program = self._settings.program
        weight = linear_weight(program)
        if weight is None or program.planes != self._encoding.planes:
            raise UsageError(
                f"the configured program does not multiply vectors of {self._encoding.planes} sign planes",
                "project",
                "Use `configure()` without a program, or `project_raw`",
            )
        with self._lock:
            encoded = self._encoding.encode(e, (0, self._next) if key is None else key)
            future = self._submit(self._layout.expand(encoded.planes))
        factor = 2.0**self._settings.shift / (program.planes * weight)
        return Pending(self, future, encoded, factor, len(self._settings.selection), self._settings.banks)

    def project_raw(self, planes: ArrayLike, program: Program | None = None) -> Record:
        """Run a program on bit planes, and return what the device sends.

        Parameters
        ----------
        planes
            (rows, planes, modes) bits.
        program
            For this call only; None: as configured.

        Returns
        -------
        Record
            ``head`` with exposure ID, status and monitor of each row, ``values`` (rows, integers).

        Raises
        ------
        UsageError
            Wrong shape, or values other than 0 and 1.
        ProjectionFailed
            A row ended with a fault, also when repeated.
        LaserDark
            The laser was off, unless the device was opened with ``allow_dark``.
        """
        if not isinstance(program, Program | None):
            raise UsageError(f"{program!r} is none", "program", "Give an openopu Program")
        bits = check_planes(planes, (program or self._settings.program).planes, self.geometry.modes)
        with self._lock:
            with self.using(self._settings.replace(program=program)) if program else contextlib.nullcontext():
                record = self._submit(bits).result()
        self.check_light(record)
        return record

    def _submit(self, planes: NDArray[np.bool_]) -> Future[Record]:
        job = Job(planes, self._next, self._setup(self._settings))
        self._next = job.exposure(len(planes))
        self._worker.submit(job)
        return job.future

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

    # Measurements

    def capture(self, pattern: ArrayLike | None = None, exposure_cycles: int | None = None) -> NDArray[np.uint16]:
        """One raw camera frame, (camera_height, camera_width) uint16 in DN.

        ``pattern`` is (modes,) bits; None: all on. Sensors with more rows than a readout holds are read
        in several exposures, of the same ID.
        """
        bits = np.ones(self.geometry.modes) if pattern is None else array_of(pattern, "pattern")
        cycles = self._exposure_cycles if exposure_cycles is None else exposure_cycles
        if bits.shape != (self.geometry.modes,):
            raise UsageError(f"expected ({self.geometry.modes},), got {bits.shape}", "pattern", "One bit for each mode")
        return measure.capture(self, bits, whole(cycles, "exposure_cycles", 1, MOST_CYCLES))

    def matrix(self, *, measured: bool = False, repeats: int = 1) -> NDArray[np.float64]:
        """The effective matrix G, (outputs, components) in DN for one unit of error: ``y ~= errors @ G.T``.

        Exact where the device knows its medium, else (or with ``measured``) measured with
        sign vectors of a Hadamard basis, ``repeats`` times, with the exposure and layout that are configured.
        """
        return measure.matrix(self, measured, repeats)

    def expose_to(self, target_fill: float = measure.TARGET_FILL) -> ExposureReport:
        """Set the exposure so that the mean pixel of the crop, above black, is ``target_fill`` of full scale.

        Deterministic: the patterns and their exposure IDs are always the same. Warns of clipped and dark frames.
        """
        report = measure.expose_to(self, target_fill)
        self.set_exposure(report.exposure_cycles)
        return report

    def set_exposure(self, cycles: int, **registers: int) -> None:
        """Exposure of every shot, and of later programs; with it further settings by name. All others stay."""
        whole(cycles, "exposure_cycles", 1, MOST_CYCLES)
        with self._lock:
            program = self._settings.program.replace(exposure_cycles=cycles)
            self.apply(self._settings.replace(program=program, registers={**self._settings.registers, **registers}))
            self._exposure_cycles = cycles

    def refer_monitor(self, projections: int = 16) -> int:
        """Set ``monitor_reference`` to the mean photodiode reading of the configured program's shots; returns it.

        Frames that are normalised then keep their mean. Raises :class:`LaserDark` where there is no light.
        """
        reference = measure.monitor_reference(self, whole(projections, "projections", 1))
        with self._lock:
            registers = {**self._settings.registers, "monitor_reference": reference}
            self.apply(self._settings.replace(registers=registers))
        return reference

    # Laser and state

    def arm(self) -> None:
        """Arm the laser, in two steps. Raises :class:`LaserDark` where the device does not arm now, and says why."""
        self._worker.call(lambda: laser.arm(self._session))
        self._armed_at = self.reconnected

    def disarm(self) -> None:
        """Switch the laser off."""
        self._worker.call(lambda: self._session.write(laser_disarm=0))

    def _set_keep_alive(self) -> None:
        cycles = self._settings.registers["heartbeat_cycles"]
        share = KEEP_ALIVE_SHARE * cycles / self.identity.clock_hz
        self._worker.call(lambda: self._worker.keep_alive(share if self._session.realtime else None))

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

    def configure_sensor(self, name: str, **settings: Any) -> SensorReport:
        """Configure the camera's sensor over I2C; see :func:`openopu.sensor_setup.configure` for the settings."""
        return sensor_setup.configure(self, name, **settings)

    @property
    def reconnected(self) -> int:
        """Times that the device went away and came back. Each time the laser is left off: call :meth:`arm`."""
        return self._reconnect.count

    def set_baud(self, baud: int) -> None:
        """Change the rate of a serial line on both ends."""
        self._worker.call(lambda: self._session.set_baud(baud, self.identity.clock_hz))


def open(url: str | DeviceUrl, *, arm: bool = False, exposure_base: int = 0, allow_dark: bool = False) -> Opu:
    """Open a device.

    Parameters
    ----------
    url
        ``twin:``, ``rtl:verilator``, ``rtl:icarus``, ``serial:PORT?baud=``, ``socket://HOST:PORT``; with keys such as
        ``?n=1024&m=4096``, which are checked against what the device is.
    arm
        Arm the laser of a real device. ``twin:`` and ``rtl:`` arm themselves.
    exposure_base
        ID of the first exposure.
    allow_dark
        Do not raise when the laser is off during a projection.

    Raises
    ------
    UrlError, UsageError
        The URL, or what it asks of the device.
    DeviceError
        The device cannot be reached, or is not one that this library can drive.
    """
    return Opu(open_device(url), arm=arm, exposure_base=exposure_base, allow_dark=allow_dark)
