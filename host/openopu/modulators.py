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
    latency_frames: int = 0
    """Whole video frames between a frame and its patterns; the gateware counts them itself."""
    pattern_s: float = math.inf
    """How long one pattern is on show, dark time included; infinite: until the next one replaces it."""
    plane_order: tuple[str, ...] = ()
    """Bit of a video pixel that shows first, second, ...: a colour and its bit. Empty where levels are shown."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(f"there is no geometry `{self.preset}`", self.name, f"Take one of: {', '.join(PRESETS)}")
        if not 1 <= self.frames <= 255:
            raise UsageError(f"frames = {self.frames} is out of range", self.name, "Take 1 to 255")
        for name in ("latency_s", "settle_s", "dark_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} = {value} is no time", self.name, "Give seconds, 0 or more")
        if self.latency_frames < 0:
            raise UsageError(f"latency_frames = {self.latency_frames} is out of range", self.name, "Take 0 or more")
        if not self.pattern_s > self.latency_s + self.settle_s + self.dark_s:
            raise UsageError(
                f"a pattern of {self.pattern_s} s leaves no time beside settling and dark time",
                self.name,
                "Show fewer patterns a frame, or less dark time",
            )

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

    def longest_exposure_cycles(self, clock_hz: int) -> int:
        """Longest exposure of a pattern, in cycles of a system clock of ``clock_hz``.

        The gateware measures what it really is (register ``cycles_slm_slot``) and keeps some 2 % off.
        """
        seconds = self.pattern_s - self.dark_s - self.latency_s - self.settle_s
        return LONGEST_CYCLES if math.isinf(seconds) else min(LONGEST_CYCLES, math.floor(seconds * clock_hz))

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


def dlp4500(*, dark_s: float, settle_s: float, frame_hz: float = 60.0, patterns: int = 24) -> Modulator:
    """A DLP4500 behind a DLPC350 in its pattern mode with patterns from the video port, one bit each.

    Parameters
    ----------
    dark_s, settle_s
        Pattern period less exposure as the DLPC350 is set, and the mirrors' settling. TRIG_OUT_1 frames the exposure.
        Limits of the former (230 us for some settings, shortest exposure 235 us) are from memory, and the latter was
        in no source that we read; 13 us are published for the DLP7000.
    frame_hz, patterns
        Of the video, and in each frame: 24 of 60 Hz are 1,440 patterns/s.

    Raises
    ------
    UsageError
        A value out of range.
    """
    if not 1 <= patterns <= 24 or not frame_hz > 0:
        raise UsageError(
            f"{patterns} patterns at {frame_hz} Hz are none", "DLP4500", "Take 1 to 24, and more than 0 Hz"
        )
    return Modulator(
        "DLP4500 with DLPC350, patterns from video",
        PanelKind.PACKED_PLANES,
        "dlp4500",
        frames=1,
        latency_s=0.0,
        settle_s=settle_s,
        dark_s=dark_s,
        trigger_output="TRIG_OUT_1: high while a pattern is exposed; TRIG_OUT_2: the start of each 24 patterns",
        source="plane order: DLPC350 programmer's guide DLPU010G, table 2-70; one frame of delay, triggers: "
        "LightCrafter 4500 user's guide DLPU011E, section 4.1",
        latency_frames=1,
        pattern_s=1 / (frame_hz * patterns),
        plane_order=tuple(f"{colour}{bit}" for colour in "GRB" for bit in range(8))[:patterns],
    )


def dlp7000() -> Modulator:
    """A DLP7000 behind a DLPC410, all blocks reset at once."""
    return Modulator(
        "DLP7000 with DLPC410, global reset",
        PanelKind.ROW_BUS,
        "dlp7000",
        frames=1,
        latency_s=0.0,
        settle_s=8e-6,
        dark_s=0.0,
        trigger_output="RST_ACTIVE: high for some 4.5 us while mirrors are reset; settling counts from its end",
        source="TI E2E 322935 (4.5 us, then 8 us); 462931 (rows 30.72 us + some 13 us, 43 us in all)",
    )
