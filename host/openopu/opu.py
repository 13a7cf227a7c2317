"""The optical processing unit as Python sees it: open, configure, project."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from openopu_rtl.protocol import Program, Record, Shot
from openopu_rtl.protocol.shots import complement

from . import layout as layouts
from . import measure, sensor_setup
from .device import Device, open_device
from .encoding import Encoding, Key, array_of, check_errors, check_planes
from .errors import UsageError, whole
from .measure import ExposureReport
from .opened import OpenedDevice
from .pending import Pending
from .pipeline import Job
from .sensor_setup import SensorReport
from .settings import Settings, linear_weight, lossless, selection_of
from .url import DeviceUrl

MOST_CYCLES = (1 << 32) - 1
"""Longest exposure of the shot table."""
LARGEST_ERROR = 1e28
"""Times the largest sum of a device, this is still a float32."""


class Opu(OpenedDevice):
    """An opened device that projects. Make one with :func:`openopu.open`; use it in a ``with`` block."""

    def __init__(self, device: Device, *, arm: bool = False, exposure_base: int = 0, allow_dark: bool = False) -> None:
        super().__init__(device, arm=arm, exposure_base=exposure_base, allow_dark=allow_dark)
        self._encoding = Encoding()
        self._layout = layouts.balanced(self.geometry.modes, self.geometry.modes)
        self._exposure_cycles = self._settings.program.shots[0].exposure_cycles

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
        shot = Shot(exposure_cycles=whole(cycles, "exposure_cycles", 1, MOST_CYCLES))
        frame: NDArray[np.uint16] = measure.capture(self, bits[None], shot)[0]
        return frame

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

    def configure_sensor(self, name: str, **settings: Any) -> SensorReport:
        """Configure the camera's sensor over I2C; see :func:`openopu.sensor_setup.configure` for the settings."""
        return sensor_setup.configure(self, name, **settings)


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
