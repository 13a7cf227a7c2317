"""The PLL of an ECP5: dividers within the part's limits, and its instance."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth.hdl import Const, Instance, Module, Signal

INPUT_HZ = (8_000_000, 400_000_000)
PHASE_DETECTOR_HZ = (10_000_000, 400_000_000)
VCO_HZ = (400_000_000, 800_000_000)
OUTPUT_HZ = (3_125_000, 400_000_000)
"""Lattice FPGA-DS-02012, sysCLOCK PLL timing. The phase detector's lower limit is from memory; public calculators
go down to 3.125 MHz, which this keeps away from."""
DIVIDER_MAX = 128
OUTPUTS = ("CLKOP", "CLKOS", "CLKOS2")
"""The fourth, CLKOS3, is the feedback, so that it may have a divider of its own."""


class PllError(ValueError):
    """These frequencies cannot be made."""


@dataclass(frozen=True)
class Pll:
    """Dividers. ``outputs`` are those of the VCO for each clock."""

    input_hz: Fraction
    input_divider: int
    feedback_divider: int
    feedback_output_divider: int
    outputs: tuple[int, ...]

    @property
    def vco_hz(self) -> Fraction:
        return self.input_hz / self.input_divider * self.feedback_divider * self.feedback_output_divider

    @property
    def output_hz(self) -> tuple[Fraction, ...]:
        return tuple(self.vco_hz / divider for divider in self.outputs)

    def add_to(self, m: Module, name: str, clock: Any) -> tuple[list[Signal], Signal]:
        """Put the PLL into ``m`` as submodule ``name``, fed by ``clock``; returns its clocks and its lock."""
        clocks = [Signal(name=f"{name}_{output.lower()}") for output in OUTPUTS[: len(self.outputs)]]
        feedback, locked = Signal(name=f"{name}_feedback"), Signal(name=f"{name}_locked")
        ports: dict[str, object] = {}
        for output, divider, signal in zip(OUTPUTS, self.outputs, clocks, strict=False):
            ports |= {f"p_{output}_ENABLE": "ENABLED", f"p_{output}_DIV": divider, f"o_{output}": signal}
            # The phase at which an output falls in with the others: one VCO period less than its divider.
            ports |= {f"p_{output}_CPHASE": divider - 1, f"p_{output}_FPHASE": 0}
        m.submodules[name] = Instance(
            "EHXPLLL",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC",
            p_OUTDIVIDER_MUXD="DIVD",
            p_FEEDBK_PATH="CLKOS3",
            p_CLKI_DIV=self.input_divider,
            p_CLKFB_DIV=self.feedback_divider,
            p_CLKOS3_ENABLE="ENABLED",
            p_CLKOS3_DIV=self.feedback_output_divider,
            p_CLKOS3_CPHASE=self.feedback_output_divider - 1,
            p_CLKOS3_FPHASE=0,
            i_CLKI=clock,
            i_CLKFB=feedback,
            o_CLKOS3=feedback,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(0),
            i_PHASESTEP=Const(0),
            i_PHASELOADREG=Const(0),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_LOCK=locked,
            **ports,
        )
        return clocks, locked


def _within(value: Fraction, limits: tuple[int, int]) -> bool:
    return limits[0] <= value <= limits[1]


def find(input_hz: Fraction | int, wanted_hz: Sequence[int], tolerance: float = 0.0) -> Pll:
    """Dividers that make all of ``wanted_hz``, exactly in their ratios, the first of them nearest to what it should be.

    Raises :class:`PllError` where the deviation exceeds ``tolerance`` (a fraction).
    """
    source = Fraction(input_hz)
    if not _within(source, INPUT_HZ) or not 1 <= len(wanted_hz) <= len(OUTPUTS):
        raise PllError(f"{float(source) / 1e6:g} MHz into {len(wanted_hz)} clocks: out of the part's range")
    best: tuple[Fraction, Fraction, Pll] | None = None
    for first in range(1, DIVIDER_MAX + 1):
        dividers = [Fraction(wanted_hz[0] * first, hz) for hz in wanted_hz]
        vco = Fraction(wanted_hz[0] * first)
        if any(d.denominator != 1 or not 1 <= d <= DIVIDER_MAX for d in dividers) or not _within(vco, VCO_HZ):
            continue
        if any(not _within(vco / d, OUTPUT_HZ) for d in dividers):
            continue
        for input_divider in itertools.count(1):
            detector = source / input_divider
            if detector < PHASE_DETECTOR_HZ[0]:
                break
            factor = round(vco / detector)
            for output_divider in range(2, DIVIDER_MAX + 1):
                if factor % output_divider or not 1 <= factor // output_divider <= 80:
                    continue
                outputs = tuple(int(d) for d in dividers)
                pll = Pll(source, input_divider, factor // output_divider, output_divider, outputs)
                if not _within(pll.vco_hz, VCO_HZ) or not _within(pll.vco_hz / output_divider, OUTPUT_HZ):
                    continue
                # Least deviation first, then the fastest phase detector, for the least jitter.
                score = (abs(pll.output_hz[0] / wanted_hz[0] - 1), -detector, pll)
                if best is None or score[:2] < best[:2]:
                    best = score
    if best is None or best[0] > tolerance:
        nearest = "nothing" if best is None else f"{float(best[2].output_hz[0]) / 1e6:.6g} MHz at best"
        raise PllError(f"{wanted_hz[0] / 1e6:g} MHz from {float(source) / 1e6:g} MHz: {nearest}")
    return best[2]


def chain(input_hz: int, wanted_hz: Sequence[int]) -> tuple[Pll, Pll]:
    """Two PLLs, one behind the other, that make ``wanted_hz`` exactly. Raises :class:`PllError`."""
    for divider in range(1, DIVIDER_MAX + 1):
        for vco_mhz in range(800, 399, -1):
            between = Fraction(vco_mhz * 1_000_000, divider)
            if not _within(between, (PHASE_DETECTOR_HZ[0], OUTPUT_HZ[1])) or between.denominator != 1:
                continue
            try:
                return find(input_hz, [int(between)]), find(between, wanted_hz)
            except PllError:
                continue
    raise PllError(f"{wanted_hz[0] / 1e6:g} MHz from {input_hz / 1e6:g} MHz: not by two PLLs either")
