"""Feedback through a device: errors are projected by light, while the host goes on with the next rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Record

from openopu import Opu, Pending, Scheme
from openopu.calibration import Calibration
from openopu.encoding import generator
from openopu.errors import DeviceError, UsageError
from openopu.measure import ExposureReport, calibrating
from openopu.plants.optics import differences
from openopu.schemes import Complement

from .checkpoint import CheckpointError
from .feedback import Array, Key, MatrixFeedback, gains

PROBE_ROWS = 64
"""Random sign vectors from which the size of the device's matrix is measured. The rms of R rows of m outputs is
uncertain by about 1/sqrt(2 R) where all outputs share a row's norm, as they do: 9 % at worst, a tenth of what a
learning rate notices."""
PROBE_KEY = (0x0F3B,)
"""Of those vectors: the same for every run, so that a resumed one can compare."""
SAME_MEDIUM = 0.9
"""Correlation of the probe's feedback now and at the run's beginning below which the medium counts as another.
Another medium has 0, the same one with 35 % noise on both 0.89; the run itself is at 0.99 and more."""
OTHER_PARAMETERS = ("baud", "plant", "optics", "seed")
"""Keys of a device URL that say how it is reached, or that the device's ``optics`` tell by their values."""


def identity(opu: Opu) -> dict[str, Any]:
    """What must be the same when a run is resumed, JSON-able: gateware, geometry, and a simulation's settings."""
    url = opu.device.url
    real = opu.device.exact_matrix is None and not opu.device.arms_itself
    return {
        "scheme": url.scheme,
        "place": "" if real else url.rest,  # a board may come back at another port
        "parameters": {k: v for k, v in sorted(url.parameters.items()) if k not in OTHER_PARAMETERS},
        "gateware": opu.gateware,
        "board": opu.identity.board,
        "modes": opu.geometry.modes,
        "outputs": opu.geometry.outputs,
        "optics": dict(opu.device.optics),
    }


def refuse_other_device(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise :class:`CheckpointError` that names in what the device differs from that of the run's beginning."""
    names = sorted((then | now).keys() - {"optics"})
    other = [f"{n} {then.get(n)!r} (now {now.get(n)!r})" for n in names if then.get(n) != now.get(n)]
    other += differences(then.get("optics", {}), now["optics"])
    if other:
        raise CheckpointError(
            f"the run was begun on another device: {', '.join(other)}",
            "--resume",
            "Resume on the device of the beginning, or begin another run in another folder",
        )


def configure(opu: Opu, scheme: Scheme, hidden: Sequence[int], classes: int, calibration: Calibration | None) -> None:
    """An output of ``opu`` for each hidden unit, of a complex scheme one for two units."""
    units = sum(hidden)
    outputs = -(-units // 2) if issubclass(scheme.dtype, np.complexfloating) else units
    opu.configure(scheme=scheme, components=classes, outputs=outputs_of(calibration, outputs))


def signals(results: Array, hidden: Sequence[int]) -> Array:
    """(rows, all hidden units), of (rows, outputs): real and imaginary part of a complex result feed a unit each."""
    if not np.iscomplexobj(results):
        return results
    return np.ascontiguousarray(results).view(results.real.dtype)[:, : sum(hidden)]


def outputs_of(calibration: Calibration | None, count: int) -> int | NDArray[np.intp]:
    """``count`` outputs: of those that a calibration selected, or the first. Raises :class:`UsageError`."""
    if calibration is None or "alignment" not in calibration.groups:
        return count
    selection = calibration.selection
    if len(selection) < count:
        raise UsageError(
            f"{count} hidden units need as many outputs; the calibration found {len(selection)} good ones",
            "--hidden",
            "Take fewer units, a device with more outputs, or better light and a new calibration",
        )
    return selection[:count]


class OpticalFeedback:
    """Direct feedback alignment with the device's matrix, encoding and noise included.

    Call :meth:`prepare` for a new run, or :meth:`restore` for one that goes on.

    Parameters
    ----------
    opu : an opened device; its configuration is this object's from now on
    hidden : units of each hidden layer
    classes : length of an error
    scheme : how errors are projected. Of a complex one, real and imaginary part of an output feed a unit each.
    calibration : of this device, which was applied to it before; its outputs are used
    """

    teaches = streams = True
    propagates = False

    def __init__(
        self, opu: Opu, hidden: Sequence[int], classes: int, scheme: Scheme, calibration: Calibration | None = None
    ) -> None:
        self._opu = opu
        self._hidden = tuple(hidden)
        self._classes = classes
        self._pending: deque[Pending] = deque()
        self.tap: Callable[[Record], None] | None = None
        """Called with the records of every submission, as the device sent them, when they are collected."""
        self._gains: Array = np.zeros(0, np.float32)
        self._entry_rms = 0.0
        self._probe: Array = np.zeros((0, 0), np.float32)
        self._reference: Array | None = None
        """What the scheme measured at the run's beginning, and a resumed one goes on with."""
        self.projections = 0
        self._calibration = calibration
        configure(opu, scheme, self._hidden, classes, calibration)

    def prepare(self, fill: float) -> ExposureReport | None:
        """Set the exposure as calibrated, or to a mean pixel of ``fill`` of full scale; measure the matrix's size."""
        report = None if self._calibration else self._opu.expose_to(fill)
        self._opu.exposure_next = 0
        self._measure_gains()
        return report

    def _measure_gains(self) -> None:
        self._reference = self._opu.reference
        self._probe = self._measure_probe()
        # For signs s the mean square of B s is classes times that of B's entries.
        self._entry_rms = float(np.sqrt(np.mean(np.square(self._probe, dtype=np.float64)) / self._classes))
        if not self._entry_rms > 0:
            raise DeviceError(
                "every projection of the probe is zero",
                str(self._opu.device.url),
                "Look at a frame with `Opu.capture()`: is there speckle on the crop?",
            )
        self._gains = gains(self._hidden, self._entry_rms)

    def _measure_probe(self) -> Array:
        signs = np.where(generator(PROBE_KEY).random((PROBE_ROWS, self._classes)) < 0.5, -1.0, 1.0)
        with calibrating(self._opu):
            return signals(self._opu.project(signs, PROBE_KEY), self._hidden)

    def submit(self, errors: Array, key: Key) -> None:
        pending = self._opu.submit(errors, key)
        self.projections += pending.projections
        self._pending.append(pending)

    def collect(self, errors: Array, scale: float, out: Array) -> None:
        pending = self._pending.popleft()
        if self.tap is not None:
            self.tap(pending.record())
        np.multiply(signals(pending.result(), self._hidden), self._gains, out=out)
        out *= np.float32(scale)

    def state(self) -> dict[str, Any]:
        return {
            "identity": identity(self._opu),
            "exposure_next": self._opu.exposure_next,
            "exposure_cycles": self._opu.exposure_cycles,
            "entry_rms": self._entry_rms,
            "projections": self.projections,
            "calibration": self._calibration.sha256 if self._calibration else None,
        }

    def arrays(self) -> dict[str, Array]:
        return {"probe": self._probe} | ({} if self._reference is None else {"reference": self._reference})

    def restore(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        refuse_other_device(state["identity"], identity(self._opu))
        then, sha256 = state.get("calibration"), self._calibration.sha256 if self._calibration else None
        if then is not None and sha256 is None:
            raise CheckpointError(
                "the run was begun with a calibration", "--resume", "Give it, or a new one, with --calibration FILE"
            )
        self.projections = state["projections"]
        self._opu.exposure_next = state["exposure_next"]
        if then != sha256:  # calibrated anew: the run goes on with the medium of now
            self._measure_gains()
            return
        self._probe = arrays["probe"]
        if self._calibration is None:  # else its monitor knows better
            self._opu.set_exposure(state["exposure_cycles"])
        if "reference" in arrays:
            self._opu.reference = self._reference = arrays["reference"]
        if self._calibration is None:
            self._refuse_other_medium()
        self._entry_rms = state["entry_rms"]
        self._gains = gains(self._hidden, self._entry_rms)

    def _refuse_other_medium(self) -> None:
        now = self._measure_probe()
        correlation = float(np.corrcoef(now.reshape(-1), self._probe.reshape(-1))[0, 1]) if now.std() else 0.0
        if not correlation > SAME_MEDIUM:
            raise CheckpointError(
                f"the device's matrix is another than at the run's beginning (correlation {correlation:.2f})",
                str(self._opu.device.url),
                "Put medium and optics back as they were, or begin another run in another folder",
            )


class IdealFeedback(MatrixFeedback):
    """Exact direct feedback alignment with the matrix that the device has (measured where nobody knows it)."""

    def __init__(
        self, opu: Opu, hidden: Sequence[int], classes: int, scheme: Scheme, calibration: Calibration | None = None
    ) -> None:
        self._opu = opu
        self._hidden = tuple(hidden)
        self._matrix = np.zeros((classes, sum(hidden)), np.float32)
        self._calibration = calibration
        configure(opu, scheme, self._hidden, classes, calibration)

    def prepare(self, fill: float) -> ExposureReport | None:
        """Take the calibration's matrix, read it, or measure it at the calibration's exposure, or one of ``fill``."""
        # It was measured with pairs: real, in DN.
        pairs = isinstance(self._opu.scheme, Complement) and self._opu.scheme.unit == Complement.unit
        if self._calibration and "matrix" in self._calibration.groups and pairs:
            modes = self._calibration.matrix[self._opu.outputs]
            super().__init__(modes @ self._opu.layout.matrix(), self._hidden)
            return None
        measured = self._opu.device.exact_matrix is None and self._calibration is None
        report = self._opu.expose_to(fill) if measured else None
        super().__init__(signals(self._opu.matrix().T, self._hidden).T, self._hidden)
        return report

    def state(self) -> dict[str, Any]:
        return {"identity": identity(self._opu)}

    def arrays(self) -> dict[str, Array]:
        return {"matrix": self._matrix}

    def restore(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        refuse_other_device(state["identity"], identity(self._opu))
        self._matrix = np.ascontiguousarray(arrays["matrix"], np.float32)
