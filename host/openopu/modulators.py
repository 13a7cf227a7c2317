"""Timing profiles of modulators, as data: how long after a pattern was sent the light may be used.

A figure without a public source is no default here: it is a parameter that must be given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from openopu_rtl.protocol import Geometry, PanelKind
from openopu_rtl.protocol.geometry import PRESETS

from .errors import UsageError

LONGEST_CYCLES = (1 << 32) - 1
"""Longest settle time of a shot."""
LCOS_SETTLE_S = 1 / 32
"""A parallel-aligned nematic LCOS reaches 32 Hz for extreme changes of phase, about 130 Hz for small ones
(Oton et al., Dynamic calibration for improving the speed of a parallel-aligned liquid-crystal-on-silicon display,
Applied Optics 2009, abstract)."""


@dataclass(frozen=True)
class Modulator:
    """One modulator, as its driver electronics show patterns."""

    name: str
    panel_kind: PanelKind
    preset: str
    """Named geometry (``PRESETS``) whose panel it is."""
    frames: int
    """Video frames in which a pattern is sent before it counts as shown."""
    latency_s: float
    """From the end of the last of them until the panel begins to change."""
    settle_s: float
    """From then on until the pattern stands."""
    dark_s: float
    """Dark time that the device inserts after each pattern."""
    trigger_output: str
    """What its trigger output marks, in words; ``none`` where it has none."""
    source: str
    """Of the figures."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(f"there is no geometry `{self.preset}`", self.name, f"Take one of: {', '.join(PRESETS)}")
        if not 1 <= self.frames <= 255:
            raise UsageError(f"frames = {self.frames} is out of range", self.name, "Take 1 to 255")
        for name in ("latency_s", "settle_s", "dark_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} = {value} is no time", self.name, "Give seconds, 0 or more")

    @property
    def geometry(self) -> Geometry:
        """The machine that its preset describes."""
        return PRESETS[self.preset]

    def shot_fields(self, clock_hz: int) -> dict[str, int]:
        """Fields of a :class:`openopu_rtl.protocol.Shot` that this modulator sets, for a system clock of ``clock_hz``.

        >>> from openopu_rtl.protocol.shots import complement
        >>> slm = lcos("svga", latency_s=0.0, trigger_output="none")
        >>> complement(2, **slm.shot_fields(48_000_000)).shots[0].settle_cycles
        1500000
        """
        cycles = math.ceil((self.latency_s + self.settle_s) * clock_hz)
        if cycles > LONGEST_CYCLES:
            raise UsageError(
                f"latency and settle time are {cycles} cycles of {clock_hz} Hz",
                self.name,
                f"A shot waits at most {LONGEST_CYCLES}",
            )
        return {"frames": self.frames, "settle_cycles": cycles}

    def check(self, geometry: Geometry) -> None:
        """Raise :class:`UsageError` where a device's geometry is not made for this modulator."""
        wanted = self.geometry
        kind = PanelKind(geometry.panel_kind)
        if kind != self.panel_kind:
            raise UsageError(
                f"the device drives a panel of kind {kind.name}, this is one of {self.panel_kind.name}",
                self.name,
                f"Use gateware built for the geometry `{self.preset}`",
            )
        if (geometry.slm_width, geometry.slm_height) != (wanted.slm_width, wanted.slm_height):
            raise UsageError(
                f"the device sends {geometry.slm_width} x {geometry.slm_height} pixels, "
                f"this has {wanted.slm_width} x {wanted.slm_height}",
                self.name,
                f"Use gateware built for the geometry `{self.preset}`",
            )


def continuous_shot_s(modulator: Modulator, exposure_s: float, frame_s: float) -> float:
    """Time of a shot on continuous video with ``frame_s`` a frame, readout and link permitting.

    The pattern is sent ``frames`` times, stands after latency and settle time, and is exposed; the next one begins
    with the vertical sync that follows.
    """
    waits = modulator.latency_s + modulator.settle_s + exposure_s
    return (modulator.frames + math.ceil(waits / frame_s)) * frame_s


def lcos(
    preset: str,
    *,
    latency_s: float,
    trigger_output: str,
    frames: int = 2,
    settle_s: float = LCOS_SETTLE_S,
    name: str = "nematic LCOS on DVI",
) -> Modulator:
    """A nematic LCOS that takes DVI and updates by rows, without a dark time.

    Parameters
    ----------
    preset
        ``vga``, ``svga`` or ``hd720``.
    latency_s, trigger_output
        Of the driver: they are in no public data sheet that we found, and differ by frames. Measure the latency with
        ``openopu selftest``'s settle sweep, or a photodiode.
    frames
        2: in the first one rows change one after the other, in the second all hold the new level.
    settle_s
        Worst case by default; small phase steps need a quarter of it.

    Raises
    ------
    UsageError
        A preset that is not for displays, or a value out of range.
    """
    modulator = Modulator(
        name,
        PanelKind.VIDEO_CONTINUOUS,
        preset,
        frames,
        latency_s,
        settle_s,
        0.0,
        trigger_output,
        "settle time: Oton et al., Applied Optics 2009 (abstract); frames: follow from the update by rows",
    )
    if modulator.geometry.panel_kind != PanelKind.VIDEO_CONTINUOUS:
        raise UsageError(f"geometry `{preset}` is not for continuous video", name, "Take vga, svga or hd720")
    return modulator
