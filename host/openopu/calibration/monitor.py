"""Is the medium still that of the calibration? Reference patterns, interleaved in a run."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, whole
from ..measure import calibrating
from ..opu import Opu
from ..settings import Settings
from . import region
from .errors import CalibrationFailed, CalibrationMismatch, MediumDrifted
from .file import AGAIN, Calibration, Group, Quantity
from .frames import DN, ONE, random_patterns
from .response import all_outputs, complement_shots

log = logging.getLogger("openopu")

PATTERNS = 4
REPEATS = 4
WARN, STOP = 0.96, 0.9
"""Correlations at which a run is warned, and stopped. A scattering medium in a laboratory keeps 0.88 to 0.99 over an
hour, and 0.96 is where others discard (comediaLKB, passive-nonlinear notebook)."""
RELIABLE = 0.5
"""Correlation of two projections of one pattern below which a monitor says nothing."""


def reference(opu: Opu, patterns: int = PATTERNS, repeats: int = REPEATS) -> Group:
    """Projections of random sign vectors, complement pairs, to compare later ones with.

    Returns
    -------
    reference : (patterns, outputs) mean projection, DN
    reliability : correlation of one projection with another of the same pattern

    Raises :class:`CalibrationFailed` where projections of one pattern differ too much.
    """
    values = _project(opu, patterns, repeats)
    first, second = values[:, 0::2].sum(axis=1), values[:, 1::2].sum(axis=1)
    halves = likeness(first, second)
    one = halves / (repeats / 2 - (repeats / 2 - 1) * halves)
    if not one > RELIABLE:
        raise CalibrationFailed(
            f"two projections of one pattern correlate by {one:.3f} only",
            str(opu.device.url),
            "Raise the exposure, or look for vibration and a laser that is unsteady",
        )
    return {
        "reference": Quantity((values.sum(axis=1) / repeats).astype(np.float32), DN),
        "reliability": Quantity(np.array(one), ONE),
        "repeats": Quantity(np.array(repeats), ONE),
    }


def likeness(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """Cosine of the angle between all values of two arrays."""
    a, b = np.asarray(a, np.float64).reshape(-1), np.asarray(b, np.float64).reshape(-1)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b / length) if length else 0.0


def _settings(opu: Opu, exposure_cycles: int | None = None, laser_power: int | None = None) -> Settings:
    program = complement_shots(opu)
    if exposure_cycles is not None:
        program = program.replace(exposure_cycles=exposure_cycles)
    settings = all_outputs(opu, program)
    if laser_power is not None:
        settings = settings.replace(registers={**settings.registers, "laser_power": laser_power})
    return settings.replace(monitors=False)


def _project(opu: Opu, patterns: int, repeats: int, settings: Settings | None = None) -> NDArray[np.int64]:
    """(patterns, repeats, outputs) DN."""
    settings = settings or _settings(opu)
    bits = np.repeat(random_patterns(opu, patterns, 5)[:, None, :], repeats, axis=0)
    with opu.using(settings):
        values = opu.project_raw(bits).values.astype(np.int64) << settings.shift
    return values.reshape(patterns, repeats, -1)


@dataclass(frozen=True)
class Look:
    """One look at the medium."""

    exposure: int
    """ID of the run's next exposure."""
    correlation: float
    """With the reference, noise taken out: of the effective matrix now and then."""
    gain: float
    """Light now over light then."""


@dataclass
class Monitor:
    """Compares a device with a calibration: once by :meth:`look`, or in a run by :meth:`due`.

    The reference patterns are exposed beside the run's own exposures, whose IDs and integers stay what they are
    without a monitor.

    Parameters
    ----------
    opu, calibration : of which :meth:`Calibration.check` found nothing wrong
    every : projections between two looks; 0: none but those that are asked for
    warn, stop : correlations at which a warning is logged, and :class:`MediumDrifted` raised
    """

    opu: Opu
    calibration: Calibration
    every: int = 0
    warn: float = WARN
    stop: float = STOP
    history: list[Look] = field(default_factory=list)

    def __post_init__(self) -> None:
        whole(self.every, "monitor_every", 0)
        if not 0 <= self.stop <= self.warn <= 1:
            raise UsageError(
                f"stop {self.stop} and warn {self.warn} are no thresholds", "monitor", "Take 0 <= stop <= warn <= 1"
            )
        self._reference = self.calibration.get("monitor/reference").astype(np.float64)
        one = float(self.calibration.get("monitor/reliability"))
        repeats = int(self.calibration.get("monitor/repeats"))
        # Correlation that nothing but noise leaves (Spearman, Brown): one look, and a mean of several.
        self._noise = float(np.sqrt(one * repeats * one / (1 + (repeats - 1) * one)))
        self._seen = 0
        self._warned = False

    def look(self) -> Look:
        """Expose the reference patterns once, without judging what comes."""
        settings = _settings(self.opu, self.calibration.exposure_cycles, self.calibration.laser_power)
        with calibrating(self.opu):
            now = _project(self.opu, len(self._reference), 1, settings)[:, 0]
        flat = self._reference.reshape(-1)
        found = Look(
            self.opu.exposure_next,
            likeness(now, self._reference) / self._noise,
            float(now.reshape(-1) @ flat / (flat @ flat)),
        )
        self.history.append(found)
        return found

    def due(self, projections: int) -> Look | None:
        """Look where ``every`` projections were made since the last time, ``projections`` in all.

        Raises :class:`MediumDrifted` below the threshold ``stop``.
        """
        if not self.every or projections - self._seen < self.every:
            return None
        self._seen = projections
        return self.judge(self.look())

    def judge(self, found: Look) -> Look:
        """``found``, logged where it is below ``warn``; raises :class:`MediumDrifted` where it is below ``stop``."""
        where = str(self.opu.device.url)
        text = (
            f"the medium has changed since the calibration: correlation {found.correlation:.3f} at exposure "
            f"{found.exposure}"
        )
        if found.correlation < self.stop:
            raise MediumDrifted(
                f"{text}, below {self.stop}",
                where,
                "Let the optics come to rest, calibrate again, and continue with the new file",
                found.correlation,
            )
        if found.correlation < self.warn and not self._warned:
            log.warning("%s: %s, below %s", where, text, self.warn)
        self._warned = found.correlation < self.warn
        return found


def verify(opu: Opu, calibration: Calibration, stop: float = STOP) -> Look | None:
    """Compare the optics with the calibration's reference, exposing a few patterns.

    Raises
    ------
    CalibrationMismatch
        The camera's region has moved (by how many pixels), or the medium is another.
    """
    monitor = Monitor(opu, calibration, stop=stop)
    found = monitor.look()
    if found.correlation >= stop:
        return found
    if "alignment" in calibration.groups and "reference" in calibration.groups["alignment"]:
        settings = _settings(opu, calibration.exposure_cycles, calibration.laser_power)
        with calibrating(opu), opu.using(settings):
            shift = region.shift_of(calibration.get("alignment/reference"), region.look(opu))
        if shift.moved:
            raise CalibrationMismatch(
                f"the camera's region has moved by {shift.x} pixels to the right and {shift.y} down since the "
                f"calibration (correlation {shift.correlation:.2f} there, {shift.unmoved:.2f} here)",
                str(opu.device.url),
                f"Move the camera back, or: {AGAIN}",
            )
    raise CalibrationMismatch(
        f"the medium is not that of the calibration (correlation {found.correlation:.2f})", str(opu.device.url), AGAIN
    )
