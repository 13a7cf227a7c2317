"""How long the modulator takes to show a new pattern, clocked by the gateware."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program, Shot

from ..encoding import generator
from ..measure import CALIBRATION_SEED
from ..opu import Opu
from .errors import CalibrationFailed
from .file import Group, Quantity

STEPS = 12
REPEATS = 4
SETTLED = 0.99
"""Share of the final change of the frame at which a pattern counts as settled."""
LONGEST_S = 0.05
"""Longest wait: longer than the slowest liquid crystal takes (1/32 s, see ``modulators.LCOS_SETTLE_S``)."""
LONGEST_SIMULATED_S = 0.001
"""The same where every clock is computed."""
SLOT_MARGIN_CYCLES = 64
"""Between the longest wait and the end of a pattern that the panel itself ends."""
NOISES = 5.0
"""Standard errors of the change that count as none."""
GRID = 96
"""Time constants that are tried, evenly in their logarithm, before the best is refined."""
REFINEMENTS = 40
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Sweep:
    """Change of the frame after waits that double, as a share of its change after the longest."""

    waits: NDArray[np.int64]
    """(waits,) cycles, ascending."""
    shares: NDArray[np.float64]
    """(waits, repeats)."""

    @property
    def share(self) -> NDArray[np.float64]:
        return np.asarray(self.shares.mean(axis=1))

    @property
    def noise(self) -> float:
        """Standard error of a share; the reference, the last, is as noisy as they are."""
        return float(self.shares.std(axis=1, ddof=1).mean() / np.sqrt(self.shares.shape[1]))

    @property
    def allowed(self) -> float:
        """Change that counts as none."""
        return max(1 - SETTLED, NOISES * self.noise)

    @property
    def settled_cycles(self) -> int:
        """Shortest wait from which on the frame stays; the longest of all where it never does."""
        still = np.abs(1 - self.share) <= self.allowed
        return int(next(w for i, w in enumerate(self.waits) if still[i:].all() or i == len(self.waits) - 1))

    @property
    def restless(self) -> bool:
        """The pattern still changes after the longest wait but one."""
        return self.settled_cycles == int(self.waits[-1])


def exposure_of(opu: Opu) -> int:
    """Cycles of the sweep's exposures: short, so that they see when."""
    return max(1, opu.exposure_cycles // 4)


def longest_wait(opu: Opu, exposure: int) -> int:
    """Cycles of the longest wait; 0: the panel leaves no time to wait in."""
    longest = round((LONGEST_S if opu._session.realtime else LONGEST_SIMULATED_S) * opu.identity.clock_hz)
    if slot := opu.registers(["cycles_slm_slot"])["cycles_slm_slot"]:
        longest = min(longest, slot - exposure - SLOT_MARGIN_CYCLES)
    return longest if longest >= 1 << STEPS // 2 else 0


def sweep(opu: Opu, longest: int, exposure: int, repeats: int = REPEATS) -> Sweep:
    """Switch a random half of the modes from their complement and expose after waits that double.

    Raises :class:`CalibrationFailed` where the frames do not depend on the pattern.
    """
    g = opu.geometry
    bits = generator((CALIBRATION_SEED, 3)).random(g.modes) < 0.5
    waits = np.array(sorted({1, *(longest >> k for k in range(STEPS))}), dtype=np.int64)
    levels = {n: getattr(opu.settings.program.shots[0], n) for n in _LEVELS}
    response = []
    for wait in waits.tolist():
        # The complement first, well settled, so that every mode switches; its frame goes to the other bank.
        before = Shot(invert=True, bank=1, exposure_cycles=exposure, settle_cycles=longest, **levels)
        after = Shot(bank=0, exposure_cycles=exposure, settle_cycles=wait, **levels)
        settings = opu.settings.replace(
            program=Program((before, after)), selection=np.arange(g.outputs), banks=2, bits=16, shift=0
        )
        with opu.using(settings):
            values = opu.project_raw(np.repeat(bits[None, None, :], repeats, axis=0)).values
        response.append((values[:, 0::2] - values[:, 1::2]).astype(np.int64))
    final = response[-1].sum(axis=0)
    power = int(final @ final)
    if not power:
        raise CalibrationFailed(
            "the frames do not depend on the pattern", str(opu.device.url), "Check the light's way and the exposure"
        )
    return Sweep(waits, np.array([(r @ final) * repeats / power for r in response]))


_LEVELS = ("level_on", "level_off", "level_anchor", "level_border")


def settle(opu: Opu, repeats: int = REPEATS) -> Group:
    """Sweep the settling time, and fit the time constant of an exponential approach of the field.

    Returns
    -------
    wait, share : (waits,) s, and change of the frame as a share of its change after the longest wait
    settled : s, after which the frame stays
    time_constant, uncertainty : s; 0: the pattern is there before the shortest wait ends

    Raises :class:`CalibrationFailed` where the frame never comes to rest, or the panel leaves no time to wait in.
    """
    exposure, clock = exposure_of(opu), opu.identity.clock_hz
    longest = longest_wait(opu, exposure)
    if not longest:
        raise CalibrationFailed(
            "the panel shows a pattern too shortly to wait in", str(opu.device.url), "Set it to show patterns longer"
        )
    found = sweep(opu, longest, exposure, repeats)
    if found.restless:
        raise CalibrationFailed(
            f"the pattern still changes after {longest / clock * 1e3:.3g} ms",
            str(opu.device.url),
            "Give the shots more video frames (`frames`), or look for vibration and drift",
        )
    waits = found.waits / clock
    constant, error = time_constant(waits, found.shares, found.allowed)
    return {
        "wait": Quantity(waits, "s"),
        "share": Quantity(found.share, "1"),
        "settled": Quantity(np.array(found.settled_cycles / clock), "s"),
        "time_constant": Quantity(np.array(constant), "s"),
        "uncertainty": Quantity(np.array(error), "s"),
    }


def time_constant(waits: NDArray[np.float64], shares: NDArray[np.float64], allowed: float) -> tuple[float, float]:
    """Time constant of the field's approach, and its standard error, both in units of ``waits``; 0, 0: at once.

    While the field goes from the old to the new one as ``1 - x``, ``x = exp(-wait/time constant)``, the frame's share
    goes as ``c - a x - b x**2``: it is the square of a sum. An exposure's length only changes a and b.
    """
    mean = shares.mean(axis=1)
    if np.abs(mean - mean[-1]).max() <= allowed:
        return 0.0, 0.0
    best = _fit(waits, mean)
    each = np.array([_fit(waits, column) for column in shares.T])
    return best, float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else float("nan")


def _fit(waits: NDArray[np.float64], share: NDArray[np.float64]) -> float:
    def residual(log_constant: float) -> float:
        x = np.exp(-waits / np.exp(log_constant))
        terms = np.stack([np.ones_like(x), x, x * x], axis=1)
        solution = np.linalg.lstsq(terms, share, rcond=None)[0]
        return float(np.sum((terms @ solution - share) ** 2))

    grid = np.linspace(np.log(waits[0] / 4), np.log(waits[-1]), GRID)
    values = [residual(v) for v in grid]
    i = int(np.argmin(values))
    low, high = grid[max(i - 1, 0)], grid[min(i + 1, GRID - 1)]
    for _ in range(REFINEMENTS):  # golden section
        a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, b) if residual(a) < residual(b) else (a, high)
    return float(np.exp((low + high) / 2))
