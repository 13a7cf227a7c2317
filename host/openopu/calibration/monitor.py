"""Is the medium still that of the calibration? Reference patterns, interleaved in a run."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Shot

from ..errors import UsageError, whole
from ..measure import calibrating, plain_shot
from ..opu import Opu
from . import likeness, region
from .errors import CalibrationFailed, CalibrationMismatch, MediumDrifted
from .file import AGAIN, Calibration, Group, Quantity
from .frames import DN, ONE, random_patterns
from .shots import all_outputs, kept, kept_shot, pair

log = logging.getLogger("openopu")

PATTERNS = 4
REPEATS = 4
WARN, STOP = 0.96, 0.9
"""Correlations at which a run is warned, and stopped. A scattering medium in a laboratory keeps 0.88 to 0.99 over an
hour, and 0.96 is where others discard (comediaLKB, passive-nonlinear notebook)."""
LIGHT = (0.7, 1.4)
"""Light over that of the calibration, outside of which a run is warned: noise grows, or pixels begin to clip (at twice
and a half of the usual fill 3 % do)."""
RELIABLE = 0.5
"""Correlation of two projections of one pattern below which a monitor says nothing."""


def reference(opu: Opu, patterns: int = PATTERNS, repeats: int = REPEATS) -> Group:
    """Projections of random sign vectors, complement pairs, to compare later ones with.

    Returns
    -------
    reference : (patterns, outputs) mean projection, DN
    reliability : correlation of one projection with another of the same pattern
    repeats : from which the mean is
    shot : frames, levels and times, as in ``openopu.settings.SHOWN``

    Raises :class:`CalibrationFailed` where projections of one pattern differ too much.
    """
    shot = plain_shot(opu)
    values = _project(opu, shot, patterns, repeats)
    one = likeness.reliability(values.swapaxes(0, 1), likeness.cosine)
    if not one > RELIABLE:
        raise CalibrationFailed(
            f"two projections of one pattern correlate by {one:.3f} only",
            str(opu.device.url),
            "Raise the exposure (`--fill`), or look for vibration and a laser that is unsteady",
        )
    return {
        "reference": Quantity((values.sum(axis=1) / repeats).astype(np.float32), DN),
        "reliability": Quantity(np.array(one), ONE),
        "repeats": Quantity(np.array(repeats), ONE),
        "shot": kept(shot),
    }


def _project(opu: Opu, shot: Shot, patterns: int, repeats: int) -> NDArray[np.int64]:
    """(patterns, repeats, outputs) DN."""
    settings = all_outputs(opu, pair(shot)).replace(monitors=False)
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
    """Light now over light then, times the correlation."""

    @property
    def light(self) -> float:
        """Light now over light then; NaN where nothing correlates."""
        return self.gain / self.correlation if self.correlation > 0 else float("nan")


@dataclass
class Monitor:
    """Compares a device with a calibration: once by :meth:`look`, or in a run by :meth:`due`.

    The reference patterns are exposed beside the run's own exposures, whose IDs and integers stay what they are
    without a monitor.

    Parameters
    ----------
    opu, calibration : of which :meth:`Calibration.check` found nothing wrong, and :meth:`Calibration.apply` set
    every : projections between two looks; 0: none but those that are asked for
    warn, stop : correlations at which a warning is logged, and :class:`MediumDrifted` raised
    """

    opu: Opu
    calibration: Calibration
    every: int = 0
    warn: float = WARN
    stop: float = STOP
    seen: int = 0
    """Projections at the last look."""
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
        # Not the configured program's, which may be of any scheme.
        self._shot = kept_shot(self.calibration.get("monitor/shot"))
        # Correlation that nothing but noise leaves (Spearman, Brown): one look, and a mean of several.
        self._noise = float(np.sqrt(one * repeats * one / (1 + (repeats - 1) * one)))
        self._warned = self._warned_light = False

    def look(self) -> Look:
        """Expose the reference patterns once, without judging what comes."""
        with calibrating(self.opu):
            now = _project(self.opu, self._shot, len(self._reference), 1)[:, 0]
        flat = self._reference.reshape(-1)
        found = Look(
            self.opu.exposure_next,
            likeness.cosine(now, self._reference) / self._noise,
            float(now.reshape(-1) @ flat / (flat @ flat)),
        )
        self.history.append(found)
        return found

    def due(self, projections: int) -> Look | None:
        """Look where ``every`` projections were made since the last time, ``projections`` in all.

        Raises :class:`MediumDrifted` below the threshold ``stop``.
        """
        if not self.every or projections - self.seen < self.every:
            return None
        self.seen = projections
        return self.judge(self.look())

    def judge(self, found: Look) -> Look:
        """``found``, logged where it is below ``warn`` or in other light.

        Raises :class:`MediumDrifted` where it is below ``stop``.
        """
        where = str(self.opu.device.url)
        text = (
            f"the medium has changed since the calibration: correlation {found.correlation:.3f} at exposure "
            f"{found.exposure}"
        )
        if found.correlation < self.stop:
            raise MediumDrifted(
                f"{text}, below {self.stop}",
                where,
                "Let the optics come to rest, calibrate again (a simulation with --exposure-base "
                f"{found.exposure}), and continue with the new file",
                found.correlation,
            )
        if found.correlation < self.warn and not self._warned:
            log.warning("%s: %s, below %s", where, text, self.warn)
        self._warned = found.correlation < self.warn
        other_light = not LIGHT[0] <= found.light <= LIGHT[1]
        if other_light and not self._warned_light:
            log.warning(
                "%s: the light is %.3g times that of the calibration (exposure %d): check the laser, or calibrate",
                where,
                found.light,
                found.exposure,
            )
        self._warned_light = other_light
        return found

    def verify(self) -> Look:
        """Look once, before a run begins.

        Raises
        ------
        CalibrationMismatch
            The camera's region has moved (by how many pixels), or the medium is another.
        """
        found = self.look()
        if found.correlation >= self.stop:
            return self.judge(found)
        opu, calibration = self.opu, self.calibration
        if "alignment" in calibration.groups:
            with calibrating(opu):
                shift = region.shift_of(calibration.get("alignment/reference"), region.look(opu, self._shot))
            if shift.moved:
                raise CalibrationMismatch(
                    f"the camera's region has moved by {shift.x} pixels to the right and {shift.y} down since the "
                    f"calibration (correlation {shift.correlation:.2f} there, {shift.unmoved:.2f} here)",
                    str(opu.device.url),
                    f"Move the camera back, or: {AGAIN}",
                )
        raise CalibrationMismatch(
            f"the medium is not that of the calibration (correlation {found.correlation:.2f})",
            str(opu.device.url),
            AGAIN,
        )
