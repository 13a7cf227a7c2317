"""What a device is configured for, and the register writes that configure it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import REGISTERS, Format, Geometry, Program
from openopu_rtl.protocol.registers import RESULT_BITS
from openopu_rtl.protocol.shots import complement

from .errors import UsageError
from .session import Session

TUNABLE = (
    "link_gap_cycles",
    "slm_preload",
    "camera_readout_cycles",
    "camera_jitter_cycles",
    "frame_timeout_cycles",
    "panel_timeout_cycles",
    "heartbeat_cycles",
    "laser_power",
    "monitor_limit",
)
"""Setting registers that :meth:`openopu.Opu.configure` takes by name; the others follow from its arguments."""

DEFAULT_LASER_POWER = 2048
"""Code of the laser's power DAC: half of its range."""


@dataclass(frozen=True)
class Settings:
    """Program, returned outputs and number format, and the tunable registers."""

    program: Program
    selection: NDArray[np.intp]
    bits: int
    shift: int
    banks: int = 1
    raw: bool = False
    raw_first_row: int = 0
    registers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def default(cls, geometry: Geometry) -> Settings:
        """All outputs through the ternary complement program, lossless."""
        program = complement(2)
        bits, shift = lossless(program, geometry)
        registers = {n: REGISTERS[n].reset for n in TUNABLE} | {"laser_power": DEFAULT_LASER_POWER}
        return cls(program, np.arange(geometry.outputs), bits, shift, registers=registers)

    def replace(self, **changes: object) -> Settings:
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def format(self, geometry: Geometry) -> Format:
        """How the integers of one record are packed."""
        if self.raw:
            return Format(geometry.raw_rows * geometry.camera_width, 16, raw=True)
        return Format(len(self.selection) * self.banks, self.bits)

    def check(self, geometry: Geometry) -> None:
        """Raise :class:`UsageError` for what the device of this geometry cannot do."""
        if len(self.program) > geometry.shot_depth:
            raise UsageError(
                f"{len(self.program)} shots exceed the shot table", "program", f"It holds {geometry.shot_depth}"
            )
        if not self.raw and not len(self.selection):
            raise UsageError("no outputs are selected", "outputs", "Select at least one")
        if len(self.selection) > geometry.outputs:
            raise UsageError(
                f"{len(self.selection)} outputs exceed the device's {geometry.outputs}",
                "outputs",
                f"Take at most {geometry.outputs}, or a device with more (`twin:?m={len(self.selection)}`)",
            )
        if len(self.selection) and not (self.selection.min() >= 0 and self.selection.max() < geometry.outputs):
            raise UsageError("an output does not exist", "outputs", f"Take 0 to {geometry.outputs - 1}")
        if self.bits not in RESULT_BITS:
            raise UsageError(f"results cannot have {self.bits} bits", "bits", f"Take one of {RESULT_BITS}")
        if not 0 <= self.shift <= 31:
            raise UsageError(f"{self.shift} is out of range", "shift", "Take 0 to 31")
        if self.banks not in (1, 2):
            raise UsageError(f"there are no {self.banks} banks", "banks", "Take 1 or 2")
        for name in self.registers:
            if name not in TUNABLE:
                raise UsageError(f"`{name}` is no setting", "configure", f"Known: {', '.join(TUNABLE)}")

    def write(self, session: Session, geometry: Geometry, before: Settings | None) -> None:
        """Write what differs from ``before`` (None: everything). The device must be idle."""
        new, old = self._values(geometry), before._values(geometry) if before else {}
        changed = {n: v for n, v in new.items() if old.get(n) != v}
        for name, value in changed.items():
            session.check_register(name, value)
        words = self.program.words()
        if before is None or not np.array_equal(words, before.program.words()):
            session.write_window("shot_table", words)
        if before is None or not np.array_equal(self.selection, before.selection):
            session.write_window("selection", self.selection)
        session.write(**changed)

    def _values(self, geometry: Geometry) -> dict[str, int]:
        return {
            "program_length": len(self.program),
            "planes": self.program.planes,
            "selection_length": len(self.selection),
            "result_format": RESULT_BITS.index(self.bits),
            "result_shift": self.shift,
            "result_banks": self.banks,
            "result_raw": int(self.raw),
            "raw_first_row": self.raw_first_row,
            **self.registers,
        }


def lossless(program: Program, geometry: Geometry, bits: int | None = None, banks: int = 1) -> tuple[int, int]:
    """Return the fewest (bits, result_shift) with which no result of ``program`` can saturate.

    With ``bits`` given, only the shift is chosen.
    """
    pixel = ((1 << geometry.pixel_bits) - 1) * geometry.bin**2
    largest = 0
    for bank in range(banks):
        for negative in (False, True):
            weight = sum(1 << s.shift for s in program if s.bank == bank and s.negative == negative)
            largest = max(largest, weight * pixel)
    choices = RESULT_BITS if bits is None else (bits,)
    for candidate in choices:
        if largest < 1 << (candidate - 1):
            return candidate, 0
    width = choices[-1]
    # One more than the plain difference of widths where rounding up would reach the limit.
    shift = next(s for s in range(32) if (largest + (1 << s >> 1)) >> s < 1 << (width - 1))
    return width, shift


def linear_weight(program: Program) -> int | None:
    """Weight w with which ``program`` computes ``w * A @ (sum of its sign planes)``, or None where it does not.

    True where every plane is shown with total weight w, its complement with -w, all with the same
    levels and exposure, in bank 0.
    """
    first = program.shots[0]
    weights = {(plane, inverted): 0 for plane in range(program.planes) for inverted in (False, True)}
    for s in program:
        levels = ("level_on", "level_off", "level_anchor", "level_border", "exposure_cycles")
        if s.bank or any(getattr(s, n) != getattr(first, n) for n in levels):
            return None
        weights[s.plane, s.invert] += (-1 if s.negative else 1) << s.shift
    weight = weights[0, False]
    fits = all(w == (-weight if inverted else weight) for (_, inverted), w in weights.items())
    return weight if fits and weight else None
