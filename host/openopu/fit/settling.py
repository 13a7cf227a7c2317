"""How fast the panel settles: frames of a pattern that follows another, against the time given to settle.

While the field goes from E_old to E_new with the time constant tau, a frame sees ``(1 - eps) E_new + eps E_old`` with
eps the mean of ``exp(-t / tau)`` over the exposure, so that its difference from the settled frame is

    eps (1 - eps) a + eps**2 (I_old - I_new),   a = 2 Re(conj(E_new) E_old) - 2 I_new

where a, one number for each output, and tau are fitted to the whole sweep. The laser's noise changes all of a frame
alike, so the settled frame itself is projected out of every difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program, Shot

from openopu import Opu
from openopu.settings import lossless

from .estimate import Estimate
from .record import random_patterns

Reals = NDArray[np.float64]

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

    def as_json(self) -> dict[str, object]:
        return {"tau": self.tau.as_json(), "settle_cycles": self.settle_cycles.tolist(), "error": self.error.tolist()}


def unsettled(settle_cycles: Reals, exposure_cycles: int, tau_cycles: float) -> Reals:
    """Share of the old field that an exposure sees on average."""
    if tau_cycles <= 0:
        return np.zeros_like(np.asarray(settle_cycles, dtype=np.float64))
    share = tau_cycles / exposure_cycles * -np.expm1(-exposure_cycles / tau_cycles)
    return np.exp(-np.asarray(settle_cycles, dtype=np.float64) / tau_cycles) * share


def settling(opu: Opu, shot: Shot, repeats: int = 64, longest_s: float = 0.02) -> Settling:
    """Sweep ``settle_cycles``, coarsely to ``longest_s``, then about the time constant found."""
    clock = opu.identity.clock_hz
    coarse = np.unique(np.geomspace(1, longest_s * clock, SWEEP).round().astype(np.int64))
    coarse = np.concatenate([[0], coarse])
    first = _sweep(opu, shot, coarse, repeats)
    found = fit_sweep(*first, coarse, shot.exposure_cycles, clock)
    if not found.tau.resolved:
        return found
    tau = found.tau.value * clock
    fine = np.unique(np.linspace(0, max(4 * tau, 8), SWEEP).round().astype(np.int64))
    return fit_sweep(*_sweep(opu, shot, fine, repeats), fine, shot.exposure_cycles, clock)


def _sweep(opu: Opu, shot: Shot, settle: NDArray[np.int64], repeats: int) -> tuple[Reals, Reals, Reals, Reals]:
    """Mean frames (settle times, outputs) of a pattern after its complement, the two settled frames, and the variance
    of a mean (outputs)."""
    g = opu.geometry
    new = random_patterns(g.modes, 1, 2)[0]
    long = int(max(settle.max(), shot.settle_cycles))

    def record(planes: list[NDArray[np.bool_]], settle_cycles: int, count: int) -> Reals:
        # The first shot's frame goes to the bank that is not returned.
        before = Shot(plane=0, bank=1, exposure_cycles=shot.exposure_cycles, settle_cycles=long, frames=shot.frames)
        after = Shot(plane=1, exposure_cycles=shot.exposure_cycles, settle_cycles=settle_cycles, frames=shot.frames)
        program = Program((before, after), 2)
        bits, shift = lossless(program, g)
        settings = opu.settings.replace(program=program, bits=bits, shift=shift, banks=1, normalise=False)
        with opu.using(settings):
            values = opu.project_raw(np.broadcast_to(np.stack(planes), (count, 2, g.modes))).values
        return values.astype(np.float64) * 2.0**shift

    reference = record([new, new], long, 2 * repeats)
    old = record([~new, ~new], long, repeats).mean(axis=0)
    frames = np.stack([record([~new, new], int(s), repeats).mean(axis=0) for s in settle])
    return frames, reference.mean(axis=0), old, reference.var(axis=0, ddof=1) / repeats


def fit_sweep(
    frames: Reals, new: Reals, old: Reals, variance: Reals, settle: NDArray[np.int64], exposure_cycles: int, clock: float
) -> Settling:
    """Fit tau to mean frames (settle times, outputs); ``variance`` (outputs) is that of one of them."""
    weight = 1 / np.maximum(variance, 1e-9)

    def without_common(x: Reals) -> Reals:
        return x - np.outer(x @ (weight * new), new).reshape(x.shape) / float(new @ (weight * new))

    difference, between = without_common(frames - new), without_common(old - new)
    noise = float((variance * weight).sum()) * 1.5  # the settled frame is the mean of twice as many
    unexplained = (difference**2 @ weight) - noise
    scale = float(((new - new.mean()) ** 2) @ weight)
    share = np.maximum(unexplained, 0) / scale
    spread = np.sqrt(2 * len(new)) * 1.5 + 1e-12

    def chi2(tau: float) -> tuple[float, Reals]:
        eps = unsettled(settle.astype(np.float64), exposure_cycles, tau)
        base, known = eps * (1 - eps), np.outer(eps**2, between)
        norm = float(base @ base)
        a = base @ (difference - known) / norm if norm > 0 else np.zeros_like(new)
        rest = difference - known - np.outer(base, a)
        return float((rest**2 @ weight).sum()), a

    if unexplained[0] < 5 * spread:
        limit = max(float(settle[1]) if len(settle) > 1 else 1.0, 1.0)
        return Settling(Estimate(0.0, limit / clock, "s"), settle, share, np.zeros(len(settle)))
    grid = np.geomspace(0.05, 20 * max(float(settle.max()), 1.0), 120)
    values = np.array([chi2(t)[0] for t in grid])
    best = int(values.argmin())
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    for _ in range(60):  # golden section
        a, b = low + 0.382 * (high - low), low + 0.618 * (high - low)
        low, high = (low, b) if chi2(a)[0] < chi2(b)[0] else (a, high)
    tau = (low + high) / 2
    least, slope = chi2(tau)
    step = 0.02 * tau
    curvature = (chi2(tau + step)[0] + chi2(tau - step)[0] - 2 * least) / step**2
    freedom = max(difference.size - len(new) - 1, 1)
    error = np.sqrt(2 / max(curvature, 1e-30) * max(least / freedom, 1.0))
    eps = unsettled(settle.astype(np.float64), exposure_cycles, tau)
    model = np.outer(eps * (1 - eps), slope) + np.outer(eps**2, between)
    return Settling(
        Estimate(tau / clock, float(error) / clock, "s"), settle, share, (model**2 @ weight) / scale
    )
