"""The laser as the host sees it: arming in two steps, and why it is dark."""

from __future__ import annotations

from collections.abc import Mapping

from openopu_rtl.protocol import PROTOCOL_HASH, TRIPS, Code
from openopu_rtl.protocol.registers import STATUS_BITS, TRIP_CAUSES

from .errors import DeviceRefused, LaserDark
from .session import Session, sentence

ARM_TRIES = 3
"""Times that both steps are taken. On a damaged line a step may be repeated, or the window be over."""
REFUSALS = (Code.INTERLOCK_OPEN, Code.ARM_ORDER, Code.ARM_WINDOW, Code.ARM_FAULT, Code.PLANT_SIMULATED)
"""Codes of a device that does not arm now."""


def arm(session: Session) -> None:
    """Take both steps of arming. Raises :class:`LaserDark` where the device does not arm now."""
    for left in reversed(range(ARM_TRIES)):
        try:
            session.write(laser_unlock=PROTOCOL_HASH)
            session.write(laser_arm=PROTOCOL_HASH)
            return
        except DeviceRefused as error:
            if error.code in (Code.ARM_ORDER, Code.ARM_WINDOW):
                # The second step is refused when its answer was lost and it was sent again: then all is well.
                if session.read("status")["status"] >> STATUS_BITS["armed"] & 1:
                    return
                if left:
                    continue
            if error.code in REFUSALS:
                raise LaserDark(error.what, error.where, error.next_step) from error
            raise


def causes(trip_cause: int) -> list[str]:
    """Names of the causes in the register ``trip_cause``."""
    return [name for name, bit in TRIP_CAUSES.items() if trip_cause >> bit & 1]


def why_dark(status: Mapping[str, int | bool], reconnected: bool = False) -> tuple[list[str], str]:
    """Causes in words, and the next step, for a laser that is off.

    ``status`` is :meth:`openopu.Opu.status`; ``reconnected``: the device went away since it was armed last.
    """
    tripped = [TRIPS[name] for name in TRIP_CAUSES if status[f"trip_{name}"]]
    what = [f"it tripped: {cause.what}" for cause in tripped]
    if not status["interlock_closed"]:
        what.append("the interlock loop is open")
        return what, "Close the interlock loop (door, key switch, emergency stop), then call `arm()`"
    if tripped:
        return what, sentence("; ".join(dict.fromkeys(cause.next_step for cause in tripped))) + ". Then call `arm()`"
    if reconnected and not status["armed"]:
        what.append("the device was unplugged and came back, which leaves the laser off")
        return what, "Look that all is well, call `arm()`, and send these rows again"
    return what, "Pass `--arm` (or `arm=True`), or open with `allow_dark=True` for measurements in the dark"
