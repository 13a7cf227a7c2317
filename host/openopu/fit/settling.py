"""How fast the panel settles: frames of a pattern that follows another, against the time given to settle.

While the field goes from E_old to E_new with the time constant tau, a frame sees ``(1 - eps) E_new + eps E_old`` with
eps the mean of ``exp(-t / tau)`` over the exposure, so that its difference from the settled frame is

    eps (1 - eps) a + eps**2 (I_old - I_new),   a = 2 Re(conj(E_new) E_old) - 2 I_new

where a, one number for each output, and tau are fitted to the whole sweep. The laser's noise changes all of a frame
alike, so the settled frame itself is projected out of every difference.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program, Shot

from openopu import Opu
from openopu.measure import LASER_OFF, permitted_dark
from openopu.settings import lossless

from .estimate import Estimate
from .record import random_patterns

Reals = NDArray[np.floating]

SWEEP = 16
"""Settle times of one sweep."""


@dataclass(frozen=True)
class Settling:
    tau: Estimate
    """s; zero, with an upper limit as error, where the panel settles at once."""
    settle_cycles: NDArray[np.int64]
    error: Reals
    """Mean square difference from the settled frame over the mean square of that frame, noise taken out, at each."""
    fitted: Reals
    """The model's, at each."""


def unsettled(settle_cycles: Reals, exposure_cycles: int, tau_cycles: float) -> Reals:
    """Share of the old field that an exposure sees on average."""
    if tau_cycles <= 0:
        return np.zeros_like(np.asarray(settle_cycles, dtype=np.float64))
    share = tau_cycles / exposure_cycles * -np.expm1(-exposure_cycles / tau_cycles)
    return np.asarray(np.exp(-np.asarray(settle_cycles, dtype=np.float64) / tau_cycles) * share)


def settling(opu: Opu, shot: Shot, repeats: int = 64, longest_s: float = 0.02) -> Settling:
    """Sweep ``settle_cycles``, coarsely to ``longest_s``, then about the time constant found."""
    clock = opu.identity.clock_hz
    # At half of the exposure hardly a pixel clips. The few of fully exposed speckle that do, the brightest, cost 2 %.
    shot = dataclasses.replace(shot, exposure_cycles=max(1, shot.exposure_cycles // 2))
    coarse = np.unique(np.geomspace(1, longest_s * clock, SWEEP).round().astype(np.int64))
    coarse = np.concatenate([[0], coarse])
    found = fit_sweep(*_sweep(opu, shot, coarse, repeats), coarse, shot.exposure_cycles, clock)
    if not found.tau.resolved:
        return found
    tau = found.tau.value * clock
    fine = np.unique(np.linspace(0, max(4 * tau, 8), SWEEP).round().astype(np.int64))
    return fit_sweep(*_sweep(opu, shot, fine, repeats), fine, shot.exposure_cycles, clock)


def _sweep(opu: Opu, shot: Shot, settle: NDArray[np.int64], repeats: int) -> tuple[Reals, Reals, Reals, Reals]:
    """Differences (settle times, outputs) of a pattern's frame, after its complement, from the same pattern's settled
    one right after it; the settled frame (black level taken out); the complement's difference from it; and the variance
    of a difference (outputs), the light's common mode taken out."""
    g = opu.geometry
    new = random_patterns(g.modes, 1, 2)[0]
    planes = np.broadcast_to(np.stack([~new, new, np.zeros_like(new)]), (repeats, 3, g.modes))
    long = int(max(settle.max(), shot.settle_cycles))

    def record(*shots: Shot, dark: bool = False) -> Reals:
        program = Program(shots, 3)
        bits, shift = lossless(program, g)
        settings = opu.settings.replace(program=program, bits=bits, shift=shift, banks=1, normalise=False)
        if dark:
            settings = settings.replace(registers={**settings.registers, **LASER_OFF})
        with opu.using(settings), permitted_dark(opu):
            values = opu.project_raw(planes).values
        return values.astype(np.float64) * 2.0**shift

    def at(plane: int, settle_cycles: int = long, **fields: Any) -> Shot:
        return dataclasses.replace(shot, plane=plane, settle_cycles=settle_cycles, **fields)

    # The first shot's frame goes to the bank that is not returned.
    before = at(0, bank=1)
    sweep = [record(before, at(1, int(s)), at(1, negative=True)) for s in settle]
    settled = record(before, at(1, bank=1), at(1)).mean(axis=0) - record(at(2), dark=True).mean(axis=0)
    between = record(before, at(0), at(1, bank=1), at(1, negative=True)).mean(axis=0)
    variance = _without(sweep[-1], settled).var(axis=0, ddof=1) / repeats
    return np.stack([values.mean(axis=0) for values in sweep]), settled, between, variance


def _without(x: Reals, settled: Reals) -> Reals:
    """``x`` (..., outputs) less what it has of the settled frame (outputs,)."""
    return x - np.multiply.outer(x @ settled, settled) / float(settled @ settled)


def fit_sweep(
    difference: Reals, settled: Reals, between: Reals, variance: Reals, settle: NDArray[np.int64],
    exposure_cycles: int, clock: float,
) -> Settling:  # fmt: skip
    """Fit tau. ``difference`` (settle times, outputs): of a frame from the ``settled`` one; ``between`` (outputs): of
    the old pattern's frame from it; ``variance`` (outputs): of a difference, the light's common mode taken out."""
    # One weight for all: the variance of a few repeats is too uncertain to weigh an output by.
    weight = np.full(len(settled), 1 / max(float(np.median(variance)), 1e-9))
    difference, between = _without(difference, settled), _without(between, settled)
    outputs = len(settled)
    noise = float(variance @ weight)
    unexplained = difference**2 @ weight - noise
    scale = float(((settled - settled.mean()) ** 2) @ weight)
    share = np.maximum(unexplained, 0) / scale
    spread = np.sqrt(2 * outputs) * noise / outputs

    def chi2(tau: float) -> tuple[float, Reals]:
        eps = unsettled(settle.astype(np.float64), exposure_cycles, tau)
        base, known = eps * (1 - eps), np.outer(eps**2, between)
        norm = float(base @ base)
        a = base @ (difference - known) / norm if norm > 0 else np.zeros(outputs)
        rest = difference - known - np.outer(base, a)
        return float((rest**2 @ weight).sum()), a

    if unexplained[0] < 5 * spread:
        limit = max(float(settle[1]) if len(settle) > 1 else 1.0, 1.0)
        return Settling(Estimate(0.0, limit / clock, "s"), settle, share, np.zeros(len(settle)))
    grid = np.geomspace(0.05, 20 * max(float(settle.max()), 1.0), 160)
    values = np.array([chi2(t)[0] for t in grid])
    best = int(values.argmin())
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    for _ in range(60):  # golden section
        first, second = low + 0.382 * (high - low), low + 0.618 * (high - low)
        low, high = (low, second) if chi2(first)[0] < chi2(second)[0] else (first, high)
    tau = (low + high) / 2
    least, a = chi2(tau)
    step = 0.02 * tau
    curvature = (chi2(tau + step)[0] + chi2(tau - step)[0] - 2 * least) / step**2
    freedom = max(difference.size - outputs - 1, 1)
    error = np.sqrt(2 / max(curvature, 1e-30) * max(least / freedom, 1.0))
    eps = unsettled(settle.astype(np.float64), exposure_cycles, tau)
    model = np.outer(eps * (1 - eps), a) + np.outer(eps**2, between)
    return Settling(Estimate(tau / clock, float(error) / clock, "s"), settle, share, (model**2 @ weight) / scale)
