"""The optical processing unit as Python sees it: open, configure, project."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from openopu_rtl.protocol import PanelKind, Program, Record

from . import measure, schemes, sensor_setup
from .device import Device, open_device
from .encoding import Encoding, Key, array_of, check_errors, check_planes
from .errors import UsageError, whole
from .layout import Layout
from .measure import ExposureReport
from .opened import OpenedDevice
from .panel import Panel
from .pending import Decoder, Pending
from .pipeline import Job
from .plants import ModulatorKind
from .schemes import LinearScheme, Scheme
from .schemes.matrix import matrix
from .sensor_setup import SensorReport
from .settings import Settings, lossless, selection_of
from .url import DeviceUrl

MOST_CYCLES = (1 << 32) - 1
"""Longest exposure, and longest settling, of the shot table."""
MOST_FRAMES = 255
LARGEST_ERROR = 1e28
"""Times the largest sum of a device, this is still a float32."""


class Opu(OpenedDevice):
    """An opened device that projects. Make one with :func:`openopu.open`; use it in a ``with`` block."""

    def __init__(self, device: Device, *, arm: bool = False, exposure_base: int = 0, allow_dark: bool = False) -> None:
        super().__init__(device, arm=arm, exposure_base=exposure_base, allow_dark=allow_dark)
        self._scheme: Scheme = schemes.Complement()
        self._reference: NDArray[Any] | None = None
        self._referred: Any = None
        """What the reference was measured under."""
        self._layout = self._scheme.layout(self.geometry.modes, self.geometry.modes)
        first = self._settings.program.shots[0]
        self._timing: dict[str, int] = {n: getattr(first, n) for n in ("exposure_cycles", "settle_cycles", "frames")}
        """Of the shots of programs that :meth:`configure` makes."""

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def scheme(self) -> Scheme:
        """How vectors become shots, and their frames results; see :mod:`openopu.schemes`."""
        return self._scheme

    @property
    def panel(self) -> Panel | None:
        """What the panel makes of a program's levels, level table included; None: of unknown kind.

        Simulations know it. Of a bench it can be set, before :meth:`configure`, to what its bare panel does, such as a
        measured curve.
        """
        known = self.device.panel
        if known is None and self.geometry.panel_kind in (PanelKind.PACKED_PLANES, PanelKind.ROW_BUS):
            known = Panel(ModulatorKind.BINARY)
        return known and known.through(self._level_table)

    @panel.setter
    def panel(self, panel: Panel | None) -> None:
        if not isinstance(panel, Panel | None):
            raise UsageError(f"{panel!r} is none", "panel", "Give an openopu Panel")
        self.device.panel = panel

    @property
    def encoding(self) -> Encoding:
        """How vectors become planes. Raises :class:`UsageError` where the scheme takes bits as they are."""
        if not isinstance(self._scheme, LinearScheme):
            raise UsageError(f"the scheme {self._scheme.name} takes bits as they are", "encoding")
        return self._scheme.encoding

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
        return self._timing["exposure_cycles"]

    def configure(
        self,
        program: Program | None = None,
        *,
        scheme: str | Scheme | None = None,
        encoding: Encoding | None = None,
        components: int | None = None,
        outputs: int | ArrayLike | None = None,
        bits: int | None = None,
        shift: int | None = None,
        banks: int | None = None,
        layout_seed: int = 0,
        exposure_cycles: int | None = None,
        settle_cycles: int | None = None,
        frames: int | None = None,
        normalise: bool | None = None,
        monitors: bool | None = None,
        **registers: int,
    ) -> None:
        """Set what the following projections do. Waits for those under way.

        Parameters
        ----------
        program
            Other shots than the scheme's, which only have to compute the same for :meth:`project`; None: the
            scheme's, at :attr:`exposure_cycles`.
        scheme
            How vectors become shots, and frames results: a name or an object of :mod:`openopu.schemes`; None: that
            which is recommended for the panel (`complement`, of a phase panel `phase`).
        encoding
            How vectors become planes; None: the scheme's own, by default stochastic ternary.
        components
            Length of the vectors, spread over all modes by balanced replication; None: one for each mode.
        outputs
            How many outputs to return, or which (indices); None: all.
        bits, shift
            Bits of the returned integers (8, 12, 16) and their division by 2**shift; None: the fewest bits,
            and the smallest shift, with which nothing can saturate.
        banks
            Accumulator banks to return; None: as many as the scheme reads.
        layout_seed
            Of the layout's permutation.
        exposure_cycles
            Exposure of every shot, kept for later programs; None: as calibrated, or as ``program`` says.
        settle_cycles, frames
            Time for the panel to settle, and video frames in which it is sent a pattern, of every shot, kept for later
            programs; see :meth:`openopu.modulators.Modulator.shot_fields`. None: as before, or as ``program`` says.
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
        for name, value, kind in (("encoding", encoding, Encoding), ("program", program, Program)):
            if not isinstance(value, kind | None):
                raise UsageError(f"{value!r} is none", name, f"Give an openopu {kind.__name__}")
        panel = self.panel
        new_scheme = schemes.make(scheme, encoding, panel)
        given = {
            name: whole(value, name, low, high)
            for name, value, low, high in (
                ("exposure_cycles", exposure_cycles, 1, MOST_CYCLES),
                ("settle_cycles", settle_cycles, 0, MOST_CYCLES),
                ("frames", frames, 1, MOST_FRAMES),
            )
            if value is not None
        }
        timing = {**self._timing, **given}
        if program is None:
            new_scheme.check(self.geometry, panel)
            program = new_scheme.program(panel, **timing)
        elif given:
            program = program.replace(**given)
        banks = new_scheme.banks if banks is None else banks
        count = self.geometry.modes if components is None else whole(components, "components")
        layout = new_scheme.layout(count, self.geometry.modes, whole(layout_seed, "layout_seed", 0))
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
            self._scheme, self._layout, self._timing = new_scheme, layout, timing

    # Projections

    def project(self, errors: ArrayLike, key: Key | None = None) -> NDArray[Any]:
        """Project a batch of vectors: ``errors @ matrix().T``, up to encoding and noise, where the scheme is linear.

        Parameters
        ----------
        errors
            (rows, components), finite.
        key
            Names the draws of a stochastic encoding, such as (seed, epoch, step); None: the next exposure's ID.

        Returns
        -------
        (rows, outputs) in the scheme's unit (DN, summed over an output's pixels) for one unit of the vectors: float32,
        of the scheme ``stepping`` complex64.
        """
        return self.submit(errors, key).result()

    def submit(self, errors: ArrayLike, key: Key | None = None) -> Pending:
        """Start :meth:`project` and return at once; the transfers overlap with the caller's arithmetic.

        Batches end in the order in which they were submitted.
        """
        e = check_errors(errors, self.components)
        if e.size and max(e.max(), -e.min()) > LARGEST_ERROR:
            raise UsageError(f"the errors reach beyond {LARGEST_ERROR:g}", "errors", "Divide them by a scale")
        with self._lock:
            weight = self._scheme.weight(self._settings.program)
            if weight is None or self._settings.banks < self._scheme.banks:
                raise UsageError(
                    f"the configured program does not compute the scheme {self._scheme.name} of vectors of "
                    f"{self._scheme.planes} planes",
                    "project",
                    "Use `configure()` without a program, or `project_raw`",
                )
            reference = self.reference
            encoded = self._scheme.encode(e, (0, self._next) if key is None else key)
            future = self._submit(self._layout.expand(encoded.planes))
            decoder = Decoder(self._scheme, encoded, 2.0**self._settings.shift / weight, reference,
                              len(self._settings.selection), self._settings.banks)  # fmt: skip
        return Pending(self, future, decoder)

    @property
    def reference(self) -> NDArray[Any] | None:
        """What the scheme had to measure, (outputs,) in DN: the anchor's intensity, or the black level. None: nothing.

        Measured by the first projection, or here, and again after settings that it depends on were changed. It can be
        set, as to go on with a run.
        """
        with self._lock:
            if self._referred != (under := self._reference_depends_on()):
                self._reference = self._scheme.measure(self)
                self._referred = under
            return self._reference

    @reference.setter
    def reference(self, values: ArrayLike) -> None:
        with self._lock:
            array, outputs = array_of(values, "reference"), len(self._settings.selection)
            if array.shape != (outputs,) or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
                raise UsageError(f"expected ({outputs},) finite numbers, got {array.dtype} {array.shape}", "reference")
            self._reference, self._referred = array.astype(np.float64), self._reference_depends_on()

    def measure_reference(self) -> NDArray[Any] | None:
        """Measure :attr:`reference` anew, as after the medium or the laser has drifted; returns it."""
        self._referred = None
        return self.reference

    def _reference_depends_on(self) -> Any:
        s = self._settings
        light = (s.normalise, s.registers["laser_power"], s.registers["monitor_reference"])
        return (self._scheme, s.program, s.selection.tobytes(), light, self._level_table.tobytes())

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

        ``pattern`` is (modes,) bits; None: all on. Levels, settle time and video frames are those of the configured
        program's first shot. Sensors with more rows than a readout holds are read in several exposures, of the same ID.
        """
        bits = np.ones(self.geometry.modes) if pattern is None else array_of(pattern, "pattern")
        cycles = self.exposure_cycles if exposure_cycles is None else exposure_cycles
        if bits.shape != (self.geometry.modes,):
            raise UsageError(f"expected ({self.geometry.modes},), got {bits.shape}", "pattern", "One bit for each mode")
        shot = measure.plain_shot(self, exposure_cycles=whole(cycles, "exposure_cycles", 1, MOST_CYCLES))
        frame: NDArray[np.uint16] = measure.capture(self, bits[None], shot)[0]
        return frame

    def matrix(self, *, measured: bool = False, repeats: int = 1) -> NDArray[Any]:
        """The effective matrix G, (outputs, components) in the scheme's unit for one unit of error: ``errors @ G.T``.

        Exact where the device knows its medium, else (or with ``measured``) measured with
        sign vectors of a Hadamard basis, ``repeats`` times, with the exposure and layout that are configured.
        Raises :class:`UsageError` where the scheme, or the program, is not linear.
        """
        return matrix(self, measured, repeats)

    def expose_to(self, target_fill: float = measure.TARGET_FILL) -> ExposureReport:
        """Set the exposure so that the mean pixel of the crop, above black, is ``target_fill`` of full scale.

        Deterministic: the patterns and their exposure IDs are always the same. Warns of clipped and dark frames.
        """
        report = measure.expose_to(self, target_fill)
        self.set_exposure(report.exposure_cycles)
        return report

    def set_exposure(self, cycles: int, *, settle_cycles: int | None = None, **registers: int) -> None:
        """Exposure of every shot, and of later programs; with it further settings by name. All others stay.

        ``settle_cycles``: of every shot too.
        """
        whole(cycles, "exposure_cycles", 1, MOST_CYCLES)
        times = {"exposure_cycles": cycles}
        if settle_cycles is not None:
            times["settle_cycles"] = whole(settle_cycles, "settle_cycles", 0, MOST_CYCLES)
        with self._lock:
            program = self._settings.program.replace(**times)
            self.apply(self._settings.replace(program=program, registers={**self._settings.registers, **registers}))
            self._timing = {**self._timing, **times}

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
        self._referred = None  # black level and gain are others
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
