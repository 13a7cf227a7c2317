"""The 0-0-1-1 test: does every frame belong to the pattern that it is counted for?

Dark, dark, bright, bright: only this order comes back as 0-0-1-1. A camera that lost its first trigger, or whose
frames come one exposure late or early, gives 1-0-0-1 or 0-1-1-0, which no counter of frames notices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from openopu_rtl.protocol import Program

from ..errors import ProjectionFailed
from ..measure import plain_shot
from ..settings import lossless

if TYPE_CHECKING:
    from ..opu import Opu

SEQUENCE = (0, 0, 1, 1)
ROUNDS = 4
"""Times that the sequence is shown without a pause: what came before shows in the first frame only."""
CONTRAST_MIN = 0.2
"""Of the bright level over the dark one, relative to the bright one, below which nothing can be said."""


@dataclass(frozen=True)
class PairingReport:
    """What :func:`check_pairing` found."""

    ok: bool
    seen: str
    """A digit for each exposure: 1 where its frame was bright."""
    frames_behind: int | None
    """Exposures by which the frames lag; negative: they are ahead. None: no such shift explains them."""
    dark: float
    bright: float
    """Mean of an output, DN."""
    found: str
    next_step: str = ""


def check_pairing(opu: Opu) -> PairingReport:
    """Show dark and bright patterns in turn, each exposed once, and see which frames are bright.

    The laser must be armed; exposure and settling are those of the configured program.
    """
    usual = opu.settings.program.shots[0]
    shot = plain_shot(opu, level_anchor=usual.level_off, level_border=usual.level_off)
    program = Program((shot,))
    shown = np.array(SEQUENCE * ROUNDS)
    bits, shift = lossless(program, opu.geometry)
    selection = np.arange(opu.geometry.outputs)
    settings = opu.settings.replace(program=program, selection=selection, bits=bits, shift=shift, banks=1, raw=False)
    planes = np.repeat(shown[:, None, None], opu.geometry.modes, axis=2)
    try:
        with opu.using(settings):
            values = opu.project_raw(planes).values
    except ProjectionFailed as error:
        return PairingReport(False, "", None, 0.0, 0.0, error.what, error.next_step)
    return judge(shown, values.mean(axis=1) * 2.0**shift)


def judge(shown: np.ndarray, levels: np.ndarray) -> PairingReport:
    """The report for what was ``shown`` (exposures,) and the mean ``levels`` that came back."""
    low, high = float(levels.min()), float(levels.max())
    if high <= 0 or high - low < CONTRAST_MIN * high:
        return PairingReport(
            False, "", None, low, high,
            f"dark and bright patterns give the same frames ({low:.1f} and {high:.1f} DN)",
            "Arm the laser, check the light's way, and set the exposure (`expose_to`)",
        )  # fmt: skip
    seen = (levels > (low + high) / 2).astype(int)
    text = "-".join(map(str, seen[: len(SEQUENCE)]))
    # What was before the first exposure, or comes after the last, is not known.
    shifts = [k for k in (0, 1, -1, 2) if np.array_equal(_inside(seen, k), _inside(shown, -k))]
    behind = shifts[0] if shifts else None
    figures = ("".join(map(str, seen)), behind, low, high)
    if behind == 0:
        return PairingReport(True, *figures, f"frames come back as {text}")
    if behind is None:
        return PairingReport(
            False, *figures, f"frames come back as {text} and so on, in no order that a shift explains",
            "Check that the panel shows each pattern for a whole exposure (`settle_cycles`, `frames`), and the trigger",
        )  # fmt: skip
    where = "behind" if behind > 0 else "ahead of"
    return PairingReport(
        False, *figures, f"frames come back as {text}: {abs(behind)} exposure(s) {where} their patterns",
        "Put the camera into its external trigger mode, without frame buffering; if it was not ready for the first "
        "trigger, reset it and open the device again",
    )  # fmt: skip


def _inside(values: np.ndarray, drop: int) -> np.ndarray:
    """``values`` without the first ``drop`` (negative: the last) of them."""
    return values[drop:] if drop >= 0 else values[:drop]
