"""What the device itself noticed while a check was made: sending again makes up for many faults, and hides them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from openopu_rtl.protocol import ERRORS, Code

from .. import laser
from ..session import sentence
from .report import Check, Verdict

if TYPE_CHECKING:
    from ..opu import Opu

FAULTS = {
    "frames_missing": Code.FRAME_MISSING,
    "frames_extra": Code.FRAME_EXTRA,
    "frames_early": Code.FRAME_EARLY,
    "frames_late": Code.FRAME_LATE,
    "frames_malformed": Code.FRAME_GEOMETRY,
    "camera_overflows": Code.CAMERA_OVERFLOW,
    "panel_stalls": Code.PANEL_STALLED,
    "panel_underruns": Code.PANEL_UNDERRUN,
}
"""Event counters of which none may count, and the error that explains each."""


def with_faults(check: Check, opu: Opu) -> Check:
    """``check``, failed where the device has counted faults since the counters were cleared."""
    counters = opu.counters(timing=False)
    counted = {name: counters[name] for name in FAULTS if counters[name]}
    if not counted:
        return check
    listed = ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in counted.items())
    found = f"{check.found}, but only on repetition ({listed})"
    if check.verdict is Verdict.FAIL:
        found = f"{check.found} ({listed})"
    # One fault brings others along: a frame that comes late is extra to the next exposure.
    most = max(counted, key=lambda name: counted[name])
    return dataclasses.replace(
        check,
        verdict=Verdict.FAIL,
        found=found,
        next_step=sentence(ERRORS[FAULTS[most]].next_step),
        figures=check.figures | counted,
    )


def with_trip(check: Check, opu: Opu) -> Check:
    """``check``, which names what tripped the laser if that explains why it found no light."""
    status = opu.status()
    now = opu.counters(timing=False)["laser_trips"]
    if not status["tripped"] or not (now or check.verdict is not Verdict.PASS):
        return check
    why, next_step = laser.why_dark(status)
    return dataclasses.replace(
        check,
        verdict=Verdict.FAIL if now else check.verdict,
        found=f"{check.found}; the laser is off: {', '.join(why)}",
        next_step=next_step,
    )
