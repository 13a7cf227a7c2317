"""Phase against level of a phase panel, by interference of two of its regions, and the table that makes it linear.

The anchor shows one level after another, while the modes stay at level 0. At every output the two fields interfere:

    I(level) = a + b cos(phase(level)) + c sin(phase(level)),

with other a, b, c at each output. So all frames lie on a plane around their mean, on an ellipse, which many outputs
make nearly a circle; the angle on it is the phase. Without an anchor, the upper half of the modes takes its part.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program

from ..errors import UsageError, whole
from ..levels import ENTRIES
from ..measure import plain_shot
from ..opu import Opu
from ..panel import TURN
from .errors import NotApplicable
from .file import Group, Quantity
from .frames import ONE
from .settle import exposure_of, longest_wait
from .shots import all_outputs

STEPS = 64
"""Levels at which frames are taken."""
FEWEST_STEPS = 8
REPEATS = 1
"""Of two frames each."""
NOISES = 5.0
"""Times the noise that a frame's change must exceed to count."""
TWO_STATES = 0.1
"""Second over first axis of the frames' cloud below which it is a line: the panel has two states, or a short range."""
SHORTEST_RAD = 2.0
"""Phase range from which on an ellipse can be told from a piece of it."""


@dataclass(frozen=True)
class Curve:
    """Phase at some levels, from that of the lowest level on, rising."""

    levels: NDArray[np.int64]
    phase: NDArray[np.float64]
    """rad."""
    residual: float
    """Rms distance of the frames from the circle, over its radius: the phase's error in rad."""


def levels(opu: Opu, steps: int = STEPS, repeats: int = REPEATS) -> Group:
    """Measure phase(level), with the device's identity level table, and make the table to linear phase.

    Returns
    -------
    level, phase : (steps,) and rad, from the phase of level 0 on
    uncertainty : rad, of each phase
    table : (256,) for :meth:`openopu.Opu.set_level_table`; then phase(level) = 2 pi level / 256, up to ``span``
    span : rad, the panel's whole range, at most 2 pi 255/256

    Raises
    ------
    NotApplicable
        The frames do not change with the level, or on a line only: the panel has two states, as a binary one has.
    """
    whole(steps, "steps", FEWEST_STEPS, ENTRIES)
    whole(repeats, "repeats", 1)
    chosen = np.unique(np.round(np.linspace(0, ENTRIES - 1, steps)).astype(np.int64))
    frames, noise = _frames(opu, chosen, repeats)
    curve = fit(frames, chosen, noise, str(opu.device.url))
    table, span = table_of(curve)
    return {
        "level": Quantity(chosen.astype(np.int32), ONE),
        "phase": Quantity(curve.phase, "rad"),
        "uncertainty": Quantity(np.array(curve.residual), "rad"),
        "table": Quantity(table, ONE),
        "span": Quantity(np.array(span), "rad"),
    }


def _frames(opu: Opu, chosen: NDArray[np.int64], repeats: int) -> tuple[NDArray[np.float64], float]:
    """(levels, outputs) mean intensity of the outputs, DN, and the standard error of one."""
    if not np.array_equal(opu.level_table, np.arange(ENTRIES)):
        raise UsageError("a level table is set already", "levels", "Measure right after opening the device")
    g = opu.geometry
    half = np.arange(g.modes) < g.modes // 2
    bits = half if not g.anchor_pixels else np.zeros(g.modes, bool)
    # How long the panel takes is not known yet: the first exposure of a row waits for long, the one after it need not.
    wait = longest_wait(opu, exposure_of(opu)) or plain_shot(opu).settle_cycles
    found, within = [], 0.0
    for level in chosen.tolist():
        shown = {"level_anchor": level} if g.anchor_pixels else {"level_on": level}
        shot = plain_shot(opu, **({"level_on": 0, "level_off": 0, "level_anchor": 0, "level_border": 0} | shown))
        program = Program((dataclasses.replace(shot, settle_cycles=wait), dataclasses.replace(shot, bank=1)))
        settings = all_outputs(opu, program, banks=2)
        with opu.using(settings):
            values = opu.project_raw(np.repeat(bits[None, None, :], repeats + 1, axis=0)).values.astype(np.int64)
        looks = values.reshape(repeats + 1, -1, 2)[1:]  # the first may still see the level before
        found.append(looks.mean(axis=(0, 2)) * 2.0**settings.shift)
        within += float(looks.var(axis=(0, 2), ddof=1).mean()) * 4.0**settings.shift / (2 * repeats)
    return np.array(found), float(np.sqrt(within / len(chosen)))


def fit(frames: NDArray[np.float64], chosen: NDArray[np.int64], noise: float, where: str) -> Curve:
    """The phases of ``frames`` (levels, outputs), whose values' standard error is ``noise``."""
    centred = frames - frames.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    scatter = noise * np.sqrt(len(frames)) + noise * np.sqrt(frames.shape[1])  # of the largest value of noise alone
    if not sizes[0] > NOISES * scatter:
        raise NotApplicable(
            "the frames do not change with the level",
            where,
            "Only a phase panel with an anchor region needs a level table; check exposure and light",
        )
    if sizes[1] < TWO_STATES * sizes[0]:
        raise NotApplicable(
            "the frames change between two states only",
            where,
            "A binary panel, or one whose phase range is far below 2 pi, needs no level table: leave `levels` out",
        )
    cloud = left[:, :2] * sizes[:2]
    points = _to_circle(cloud, where)
    phase = np.unwrap(np.arctan2(points[:, 1], points[:, 0]))
    if phase[-1] < phase[0]:
        phase = -phase
    phase -= phase[0]
    if phase.max() < SHORTEST_RAD:
        raise NotApplicable(
            f"the phase range is {phase.max():.2f} rad only", where, "Take a panel, or a wavelength, with a range of pi"
        )
    radius = np.hypot(points[:, 0], points[:, 1])
    return Curve(chosen, phase, float(np.sqrt(np.mean((radius - 1) ** 2))))


def _to_circle(cloud: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """Points of an ellipse (points, 2), mapped to the unit circle around 0 by the map that fits best."""
    scale = np.abs(cloud).max()
    x, y = (cloud / scale).T
    # Conic a x^2 + b x y + c y^2 + d x + e y = 1. The origin is inside: it is the mean of the points.
    terms = np.stack([x * x, x * y, y * y, x, y], axis=1)
    a, b, c, d, e = np.linalg.lstsq(terms, np.ones(len(x)), rcond=None)[0]
    form = np.array([[a, b / 2], [b / 2, c]])
    values, axes = np.linalg.eigh(form)
    if not values.min() > 0:
        raise NotApplicable(
            "the frames lie on no ellipse", where, "Raise the exposure (`--fill`); check that it is a phase panel"
        )
    centre = -np.linalg.solve(2 * form, np.array([d, e]))
    size = 1 + centre @ form @ centre
    root = axes @ np.diag(np.sqrt(values / size)) @ axes.T
    return np.asarray((np.stack([x, y], axis=1) - centre) @ root)


def table_of(curve: Curve) -> tuple[NDArray[np.uint8], float]:
    """Level table with which level i has the phase 2 pi i / 256, or the panel's last; and the last phase reached."""
    every = np.arange(ENTRIES)
    # A panel's phase rises with its level; what does not is noise.
    phase = np.maximum.accumulate(np.interp(every, curve.levels, curve.phase))
    wanted = TURN * every / ENTRIES
    above = np.clip(np.searchsorted(phase, wanted), 1, ENTRIES - 1)
    nearer = wanted - phase[above - 1] < phase[above] - wanted
    return np.where(nearer, above - 1, above).astype(np.uint8), min(float(phase[-1]), float(wanted[-1]))
