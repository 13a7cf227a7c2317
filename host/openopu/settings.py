"""What a device is configured for, and the register writes that configure it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from openopu_rtl.protocol import REGISTERS, Format, Geometry, PanelKind, Program
from openopu_rtl.protocol.registers import RESULT_BITS, WEIGHT_FRACTION_BITS, WEIGHT_MAX
from openopu_rtl.protocol.shots import complement

from .encoding import array_of
from .errors import UsageError
from .larger import larger_twin
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
    "laser_bias",
    "monitor_reference",
    "monitor_limit",
)
"""Setting registers that :meth:`openopu.Opu.configure` takes by name; the others follow from its arguments."""

DEFAULT_LASER_POWER = 2048
"""Code of the laser's power DAC: half of its range."""

LEVELS = ("level_on", "level_off", "level_anchor", "level_border")
"""Fields of a shot that say how bright, or of what phase, each region of the panel is."""
LIGHT = (*LEVELS, "exposure_cycles")
"""Fields that say what a plane's frame is, once the panel has settled."""
SHOWN = ("frames", *LEVELS, "settle_cycles", "exposure_cycles")
"""All fields that say what light comes, apart from the plane; in the order in which calibration files keep them."""


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
    normalise: bool = False
    """Weight each frame by ``monitor_reference`` over its photodiode reading."""
    monitors: bool = False
    """Return the photodiode reading of every shot."""
    registers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def default(cls, geometry: Geometry, **registers: int) -> Settings:
        """All outputs through the ternary complement program, lossless; ``registers`` replace tunable ones."""
        program = complement(2)
        bits, shift = lossless(program, geometry)
        values = {n: REGISTERS[n].reset for n in TUNABLE} | {"laser_power": DEFAULT_LASER_POWER} | registers
        return cls(program, np.arange(geometry.outputs), bits, shift, registers=values)

    def replace(self, **changes: Any) -> Settings:
        return dataclasses.replace(self, **changes)

    def format(self, geometry: Geometry) -> Format:
        """How the integers of one record are packed."""
        monitors = len(self.program) if self.monitors else 0
        if self.raw:
            return Format(geometry.raw_rows * geometry.camera_width, 16, raw=True, monitors=monitors)
        return Format(len(self.selection) * self.banks, self.bits, monitors=monitors)

    def check(self, geometry: Geometry, monitor_cycles: int = 0) -> None:
        """Raise :class:`UsageError` for what the device of this geometry cannot do.

        ``monitor_cycles`` is how long it takes to read the photodiode.
        """
        shortest = min(s.exposure_cycles for s in self.program)
        if self.normalise and shortest <= monitor_cycles:
            raise UsageError(
                f"an exposure of {shortest} cycles is too short to be normalised: the photodiode's reading takes "
                f"{monitor_cycles}",
                "normalise",
                f"Expose for at least {monitor_cycles + 1} cycles, at a lower `laser_power`, or leave `normalise` out",
            )
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
                f"Take at most {geometry.outputs}{larger_twin(outputs=len(self.selection))}",
            )
        if len(self.selection) and not (self.selection.min() >= 0 and self.selection.max() < geometry.outputs):
            raise UsageError("an output does not exist", "outputs", f"Take 0 to {geometry.outputs - 1}")
        check_bits(self.bits)
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
        if geometry.panel_kind == PanelKind.PACKED_PLANES:
            self._check_slots(session.read("cycles_slm_slot")["cycles_slm_slot"])
        words = self.program.words()
        if before is None or not np.array_equal(words, before.program.words()):
            session.write_window("shot_table", words)
        if before is None or not np.array_equal(self.selection, before.selection):
            session.write_window("selection", self.selection)
        session.write(**changed)

    def _check_slots(self, shown: int) -> None:
        """Raise :class:`UsageError` for a shot that takes longer than the panel shows it; 0: that is not known."""
        for i, shot in enumerate(self.program):
            cycles = shot.settle_cycles + shot.exposure_cycles
            if shown and cycles >= shown:
                raise UsageError(
                    f"shot {i} takes {cycles} cycles to settle and expose, but the panel shows a pattern for {shown}",
                    "program",
                    "Shorten settle_cycles or exposure_cycles, or set the panel to show patterns longer",
                )

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
            "result_monitors": int(self.monitors),
            "normalise": int(self.normalise),
            **self.registers,
        }


def largest_sum(program: Program, geometry: Geometry, banks: int = 1, normalise: bool = False) -> int:
    """The largest sum, of either sign, that ``program`` can make of an output: all its frames at full scale."""
    pixel = ((1 << geometry.pixel_bits) - 1) * geometry.bin**2
    if normalise:
        pixel = (pixel * WEIGHT_MAX + (1 << WEIGHT_FRACTION_BITS - 1)) >> WEIGHT_FRACTION_BITS
    largest = 0
    for bank in range(banks):
        for negative in (False, True):
            weight = sum(1 << s.shift for s in program if s.bank == bank and s.negative == negative)
            largest = max(largest, weight * pixel)
    return largest


def check_bits(bits: int) -> None:
    """Raise :class:`UsageError` where results cannot have so many bits."""
    if bits not in RESULT_BITS:
        raise UsageError(f"results cannot have {bits} bits", "bits", f"Take one of {RESULT_BITS}")


def lossless(
    program: Program, geometry: Geometry, bits: int | None = None, banks: int = 1, normalise: bool = False
) -> tuple[int, int]:
    """Return the fewest (bits, result_shift) with which no result of ``program`` can saturate.

    With ``bits`` given, only the shift is chosen. Frames that are normalised may weigh nearly twice as much.
    """
    largest = largest_sum(program, geometry, banks, normalise)
    if bits is not None:
        check_bits(bits)
    choices = RESULT_BITS if bits is None else (bits,)
    for candidate in choices:
        if largest < 1 << (candidate - 1):
            return candidate, 0
    width = choices[-1]
    # One more than the plain difference of widths where rounding up would reach the limit.
    shift = next(s for s in range(32) if (largest + (1 << s >> 1)) >> s < 1 << (width - 1))
    return width, shift


def selection_of(outputs: int | ArrayLike | None, available: int) -> NDArray[np.intp]:
    """Indices of the outputs to return: all, the first so many, or those named. Raises :class:`UsageError`."""
    if outputs is None:
        return np.arange(available)
    chosen = array_of(outputs, "outputs")
    if chosen.dtype.kind not in "iu" or chosen.ndim > 1:
        raise UsageError("expected a count or a list of indices", "outputs")
    if chosen.ndim == 0 and chosen > available:
        raise UsageError(
            f"{chosen} outputs exceed the device's {available}",
            "outputs",
            f"Take at most {available}{larger_twin(outputs=int(chosen))}",
        )
    return np.arange(int(chosen)) if chosen.ndim == 0 else chosen.astype(np.intp)


def plane_weights(program: Program) -> NDArray[np.float64] | None:
    """Weights w, (planes,), with which ``program`` computes ``A @ (sum of w_p s_p)``, or None where it does not.

    True where every plane p is shown with total weight w_p, its complement with -w_p, all with the same
    levels and exposure, in bank 0.
    """
    first = program.shots[0]
    weights = np.zeros((program.planes, 2))
    for s in program:
        if s.bank or any(getattr(s, n) != getattr(first, n) for n in LIGHT):
            return None
        weights[s.plane, int(s.invert)] += (-1 if s.negative else 1) << s.shift
    return weights[:, 0] if (weights[:, 0] == -weights[:, 1]).all() and weights[:, 0].all() else None
