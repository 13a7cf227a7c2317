"""How long the modulator takes to show a new pattern, clocked by the gateware."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program

from ..measure import plain_shot
from ..opu import Opu
from .errors import CalibrationFailed, NotApplicable
from .file import Group, Quantity
from .frames import random_patterns

STEPS = 12
PATTERNS, REPEATS = 4, 2
"""Random patterns that are switched, and times that each is."""
SETTLED = 0.99
"""Share of the final change of the frame at which a pattern counts as settled."""
LONGEST_S = 0.05
"""Longest wait: longer than the slowest liquid crystal takes (1/32 s, see ``modulators.LCOS_SETTLE_S``)."""
LONGEST_SIMULATED_S = 0.001
"""The same where every clock is computed."""
LONGER, LIMIT_S = 8, 0.5
"""Where the pattern still changes: factor by which the longest wait grows, and where that ends."""
SLOT_MARGIN_CYCLES = 64
"""Between the longest wait and the end of a pattern that the panel itself ends."""
NOISES = 5.0
"""Standard errors of the change that count as none."""
NOISY = 0.05
"""Standard error of a share beyond which a sweep says nothing."""
GRID = 96
"""Time constants that are tried, evenly in their logarithm, before the best is refined."""
REFINEMENTS = 40
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Sweep:
    """Change of the frame after waits that double, as a share of its change after the longest."""

    waits: NDArray[np.int64]
    """(waits,) cycles, ascending."""
    responses: NDArray[np.int64]
    """(waits, patterns, repeats, outputs): difference of the new pattern's frame and the old one's, DN."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """(waits, patterns, repeats)."""
        final = self.responses[-1].sum(axis=1)
        power = (final * final).sum(axis=-1) / self.responses.shape[2]
        return np.asarray((self.responses * final[:, None]).sum(axis=-1) / power[:, None])

    @property
    def share(self) -> NDArray[np.float64]:
        """(waits,) mean over all patterns."""
        return np.asarray(self.shares.mean(axis=(1, 2)))

    @property
    def noise(self) -> float:
        """Standard error of a share; the reference, the last, is as noisy as they are."""
        shares = self.shares
        return float(np.sqrt(shares.var(axis=2, ddof=1).mean() / shares[0].size))

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
    longest = round((LONGEST_S if opu.realtime else LONGEST_SIMULATED_S) * opu.identity.clock_hz)
    if slot := opu.registers(["cycles_slm_slot"])["cycles_slm_slot"]:
        longest = min(longest, slot - exposure - SLOT_MARGIN_CYCLES)
    return longest if longest >= 1 << STEPS // 2 else 0


def sweep(opu: Opu, longest: int, exposure: int, patterns: int = 2) -> Sweep:
    """Switch random patterns from their complements and expose after waits that double.

    Raises :class:`CalibrationFailed` where the frames do not depend on the pattern.
    """
    g = opu.geometry
    bits = np.repeat(random_patterns(opu, patterns, 3)[:, None, :], REPEATS, axis=0)
    waits = np.array(sorted({1, *(longest >> k for k in range(STEPS))}), dtype=np.int64)
    responses = []
    for wait in waits.tolist():
        # The complement first, well settled, so that every mode switches; its frame goes to the other bank.
        before = plain_shot(opu, exposure_cycles=exposure, settle_cycles=longest)
        before = dataclasses.replace(before, invert=True, bank=1)
        after = plain_shot(opu, exposure_cycles=exposure, settle_cycles=wait)
        settings = opu.settings.replace(
            program=Program((before, after)), selection=np.arange(g.outputs), banks=2, bits=16, shift=0
        )
        with opu.using(settings):
            values = opu.project_raw(bits).values.astype(np.int64)
        responses.append((values[:, 0::2] - values[:, 1::2]).reshape(patterns, REPEATS, -1))
    if not np.any(responses[-1], axis=(1, 2)).all():
        raise CalibrationFailed(
            "the frames do not depend on the pattern", str(opu.device.url), "Check the light's way and the exposure"
        )
    return Sweep(waits, np.array(responses))


def settle(opu: Opu, patterns: int = PATTERNS) -> Group:
    """Sweep the settling time, and fit the time constant of an exponential approach of the field.

    Returns
    -------
    wait, share : (waits,) s, and change of the frame as a share of its change after the longest wait
    settled, cycles : s, after which the frame stays; the same in cycles of the clock
    time_constant, uncertainty : s; 0: the pattern is there before the shortest wait ends

    Raises
    ------
    CalibrationFailed
        The frame never comes to rest.
    NotApplicable
        The panel leaves no time to wait in.
    """
    exposure, clock = exposure_of(opu), opu.identity.clock_hz
    longest = longest_wait(opu, exposure)
    if not longest:
        raise NotApplicable(
            "the panel shows a pattern too shortly to wait in", str(opu.device.url), "Set it to show patterns longer"
        )
    found = sweep(opu, longest, exposure, patterns)
    slotted = bool(opu.registers(["cycles_slm_slot"])["cycles_slm_slot"])
    # A slow panel hardly changes within a wait that is too short: that too asks for a longer one.
    while (found.restless or found.noise > NOISY) and longest < LIMIT_S * clock and not slotted:
        longest = min(longest * LONGER, round(LIMIT_S * clock))
        found = sweep(opu, longest, exposure, patterns)
    if found.noise > NOISY:
        raise CalibrationFailed(
            f"the frames hardly depend on the pattern: their change has a noise of {found.noise:.0%}",
            str(opu.device.url),
            "Raise the exposure (`--fill`); of a phase panel, calibrate `levels` too",
        )
    if found.restless:
        raise CalibrationFailed(
            f"the pattern still changes after {longest / clock * 1e3:.3g} ms",
            str(opu.device.url),
            "Give the shots more video frames (`frames`), or look for vibration and drift",
        )
    waits = found.waits / clock
    constant, error = time_constant(found)
    return {
        "wait": Quantity(waits, "s"),
        "share": Quantity(found.share, "1"),
        "settled": Quantity(np.array(found.settled_cycles / clock), "s"),
        "cycles": Quantity(np.array(found.settled_cycles), "cycles"),
        "time_constant": Quantity(np.array(constant / clock), "s"),
        "uncertainty": Quantity(np.array(error / clock), "s"),
    }


def time_constant(found: Sweep) -> tuple[float, float]:
    """Time constant of the field's approach, and its standard error, cycles; 0, 0: at once.

    While the field goes from the old to the new one as ``1 - x``, ``x = exp(-wait/time constant)``, every output's
    frame goes as ``a + b x + c x**2``: it is the square of a sum. An exposure's length only changes b and c.
    """
    share = found.share
    if np.abs(share - share[-1]).max() <= found.allowed:
        return 0.0, 0.0
    waits, responses = found.waits.astype(np.float64), found.responses.mean(axis=2)
    best = _fit(waits, responses.reshape(len(waits), -1))
    each = np.array([_fit(waits, responses[:, i]) for i in range(responses.shape[1])])
    return best, float(each.std(ddof=1) / np.sqrt(len(each)))


def _fit(waits: NDArray[np.float64], curves: NDArray[np.float64]) -> float:
    """The one time constant that fits all ``curves`` (waits, any) best."""

    def residual(log_constant: float) -> float:
        x = np.exp(-waits / np.exp(log_constant))
        base = np.linalg.qr(np.stack([np.ones_like(x), x, x * x], axis=1))[0]
        return float(np.sum((curves - base @ (base.T @ curves)) ** 2))

    grid = np.linspace(np.log(waits[1] / 4), np.log(waits[-1]), GRID)
    values = [residual(v) for v in grid]
    i = int(np.argmin(values))
    low, high = grid[max(i - 1, 0)], grid[min(i + 1, GRID - 1)]
    for _ in range(REFINEMENTS):  # golden section
        a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, b) if residual(a) < residual(b) else (a, high)
    return float(np.exp((low + high) / 2))
