"""One calibration of a device: its measurements in order, each on those before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from ..errors import LaserDark, UsageError
from ..measure import TARGET_FILL, ExposureReport, calibrating, plain_shot
from ..opu import Opu
from . import frames, levels, monitor, region, response, settle
from .errors import CalibrationFailed, NotApplicable
from .file import Calibration, Group, identity, show_phases

GROUPS = ("levels", "settle", "dark", "flat", "bad", "scale", "alignment", "monitor", "matrix")
"""In the order in which they are measured."""
NEEDS: dict[str, tuple[str, ...]] = {
    "flat": ("dark",),
    "bad": ("dark", "flat"),
    "alignment": ("dark", "flat", "bad", "scale"),
}


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    frames: int = frames.FRAMES
    """Dark frames, and patterns of the flat field."""
    repeats: int = response.REPEATS
    """Of each pattern of the basis of the matrix."""
    patterns: int = response.SCALE_PATTERNS
    """Sign vectors of the rows' scale."""
    levels: int = levels.STEPS
    """Levels of the phase curve."""
    long_dark_cycles: int | None = None
    """Exposure of the long dark frames; None: see :func:`openopu.calibration.frames.dark`."""


QUICK = Effort(frames=12, patterns=16, levels=16, long_dark_cycles=4096)
"""Enough to try the procedure; about a fifth of the exposures."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """A calibration, and what to say of it."""

    calibration: Calibration
    exposure: ExposureReport
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a group is missing that was not asked for by name, or ``complex matrix`` beside the effective one."""


def planned(only: Sequence[str] = ()) -> list[str]:
    """Groups to measure, in order: those named and what they need; all where none is. Raises :class:`UsageError`."""
    if unknown := [n for n in only if n not in GROUPS]:
        raise UsageError(f"there is no calibration `{unknown[0]}`", "only", f"Take some of: {', '.join(GROUPS)}")
    wanted = {*(only or GROUPS)}
    wanted |= {need for name in wanted for need in NEEDS.get(name, ())}
    return [n for n in GROUPS if n in wanted]


def calibrate(
    opu: Opu,
    only: Sequence[str] = (),
    *,
    fill: float = TARGET_FILL,
    effort: Effort = Effort(),
    dated: bool = True,
    progress: Progress = lambda name: None,
) -> Outcome:
    """Set the exposure to a mean pixel of ``fill``, then measure. The device keeps exposure and, if made, level table.

    Parameters
    ----------
    only : names of :data:`GROUPS`; what they need is measured, too; none: all that the panel has
    effort : how much is measured
    dated : keep the time of day; without, equal measurements are equal files
    progress : called with each group's name before it is measured

    Raises
    ------
    CalibrationFailed
        The frames are dark, saturated, still or unsteady; nothing is kept.
    UsageError
        Unknown names, or what this device cannot do.
    """
    names = planned(only)
    base = opu.exposure_next
    progress("exposure")
    report = _expose(opu, fill)
    found: dict[str, Group] = {}
    left_out: dict[str, str] = {}
    with calibrating(opu):
        for name in names:
            progress(name)
            try:
                found[name] = _measure(opu, name, found, effort)
            except NotApplicable as error:
                if name in only:
                    raise
                left_out[name] = error.what
                continue
            if name == "settle" and (cycles := int(found[name]["cycles"].values)) > plain_shot(opu).settle_cycles:
                opu.set_exposure(opu.exposure_cycles, settle_cycles=cycles)
                report = _expose(opu, fill)
            if name == "levels":
                show_phases(opu, found[name]["table"].values)
                report = _expose(opu, fill)
        if "matrix" in found and "levels" not in found:
            why = left_out.get("levels")
            left_out["complex matrix"] = (
                f"the panel cannot step the phase ({why})" if why else "`levels` was not measured: name it, too"
            )
        elif "matrix" in found:
            try:
                found["matrix"] = {**found["matrix"], **response.stepped_matrix(opu, found["levels"], effort.repeats)}
            except NotApplicable as error:
                left_out["complex matrix"] = error.what
        calibration = Calibration(
            device=identity(opu),
            geometry={k: int(v) for k, v in dataclasses.asdict(opu.geometry).items()},
            exposure_next=base,
            laser_power=opu.settings.registers["laser_power"],
            exposure_cycles=opu.exposure_cycles,
            groups=found,
            created=datetime.now(UTC).isoformat(timespec="seconds") if dated else "",
        )
        if "monitor" in found:
            _refuse_unstable(opu, calibration)  # at the end of the measurements, by the clock of the exposures, too
    return Outcome(calibration, report, left_out)


def _expose(opu: Opu, fill: float) -> ExposureReport:
    try:
        report = opu.expose_to(fill)
    except LaserDark as error:
        raise CalibrationFailed(error.what, error.where, error.next_step) from error
    if report.warnings:
        raise CalibrationFailed(
            f"nothing can be calibrated: {report.warnings[0]}", str(opu.device.url), "Then calibrate again"
        )
    return report


def _measure(opu: Opu, name: str, found: dict[str, Group], effort: Effort) -> Group:
    if name == "dark":
        return frames.dark(opu, effort.frames, effort.long_dark_cycles)
    if name == "flat":
        return frames.flat(opu, found["dark"], effort.frames)
    if name == "bad":
        return frames.bad(opu, found["dark"], found["flat"])
    if name == "scale":
        return response.scale(opu, effort.patterns)
    if name == "alignment":
        return {**region.select(opu, found["flat"], found["bad"], found["scale"]), **region.reference(opu)}
    if name == "monitor":
        return monitor.reference(opu)
    if name == "settle":
        return settle.settle(opu)
    if name == "levels":
        return levels.levels(opu, effort.levels)
    return response.matrix(opu, effort.repeats)


def _refuse_unstable(opu: Opu, calibration: Calibration) -> None:
    """Raise :class:`CalibrationFailed` where the medium changed while it was measured."""
    found = monitor.Monitor(opu, calibration).look()
    if found.correlation < monitor.WARN:
        raise CalibrationFailed(
            f"the medium changed meanwhile: correlation {found.correlation:.3f} between beginning and end",
            str(opu.device.url),
            "Let the optics come to rest (warm up, no draught, no steps), then calibrate again",
        )


def summary(outcome: Outcome) -> dict[str, object]:
    """Figures for people, JSON-able; see docs/calibration.md."""
    c = outcome.calibration
    out: dict[str, object] = {
        "exposure_us": outcome.exposure.exposure_us,
        "mean_fill": outcome.exposure.mean_fill,
        "clipped_share": outcome.exposure.clipped_share,
    }
    if "dark" in c.groups:
        out["dark_dn"] = float(np.median(c.dark))
        out["dark_noise_dn"] = float(np.sqrt(np.mean(c.get("dark/variance"))))
    if "bad" in c.groups:
        out["hot_pixels"], out["dead_pixels"] = int(c.get("bad/hot").sum()), int(c.get("bad/dead").sum())
    if "alignment" in c.groups:
        out["outputs_selected"] = len(c.selection)
        out["outputs"] = c.geometry["crop_width"] * c.geometry["crop_height"] // c.geometry["bin"] ** 2
        out["best_crop"] = "{}, {} ({:.2f} times the light of this one)".format(
            *c.get("alignment/best_crop"), float(c.get("alignment/best_gain"))
        )
    if "settle" in c.groups:
        out["settled_us"] = float(c.get("settle/settled")) * 1e6
        out["time_constant_us"] = c.time_constant_s * 1e6
    if "levels" in c.groups:
        out["phase_span_rad"] = float(c.get("levels/span"))
    if "monitor" in c.groups:
        out["monitor_reliability"] = float(c.get("monitor/reliability"))
    if "matrix" in c.groups:
        out["matrix_rms_dn"] = float(np.sqrt(np.mean(c.matrix**2)))
        out["matrix_uncertainty_dn"] = float(np.sqrt(np.mean(c.get("matrix/uncertainty").astype(float) ** 2)))
    return out
