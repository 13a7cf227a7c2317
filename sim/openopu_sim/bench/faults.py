"""Faults of camera, cable and interlock that the bench can inject, each at a given exposure, or at every one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from openopu.errors import UsageError
from openopu_rtl.protocol import Geometry

_NO_LINE = 0xFFFF

KINDS: dict[str, tuple[str, int]] = {
    "drop": ("the camera sends no frame", 0),
    "extra": ("the camera sends the frame twice, ARGUMENT camera clocks more than usual between them", 0),
    "short_line": ("line ARGUMENT lacks its last pixel", 5),
    "long_line": ("line ARGUMENT has a pixel too many", 5),
    "missing_line": ("the frame lacks its last ARGUMENT lines", 1),
    "extra_line": ("the frame has ARGUMENT lines too many", 1),
    "cut": ("FVAL falls after ARGUMENT pixels of the frame", 100),
    "glitch": ("FVAL is low for a clock before line ARGUMENT", 5),
    "noise": ("LVAL is high for ARGUMENT clocks before the frame", 3),
    "pauses": ("DVAL is low in ARGUMENT of 256 clocks of each line: no fault, if the frame is not late", 2),
    "jitter": ("the gaps between lines are up to ARGUMENT clocks longer, a power of two", 1024),
    "late": ("the frame comes ARGUMENT camera clocks later", 100_000),
    "clock_stop": ("in mid-frame the camera's clock stops for ARGUMENT system clocks", 100_000),
    "interlock": ("the interlock opens as the exposure ends, for ARGUMENT exposures", 1),
    "link_break": (
        "as the exposure ends the serial line is low, or PWREN# high where the link is a FIFO, for ARGUMENT exposures",
        1,
    ),
}
"""What each kind does, and its argument where none is given."""


@dataclass(frozen=True)
class Play:
    """How the camera model plays one frame; the fields are those of ``hdl/camera.v``."""

    play_times: int
    play_delay: int
    play_lines: int
    odd_line: int = _NO_LINE
    odd_line_pixels: int = 0
    play_gap: int = 0
    cut_line: int = _NO_LINE
    cut_pixels: int = 0
    glitch_line: int = _NO_LINE
    noise_clocks: int = 0
    dval_pauses: int = 0
    gap_jitter: int = 0
    stop_after: int = 0
    stop_cycles: int = 0


@dataclass(frozen=True)
class Fault:
    exposure: int | None
    """ID of the exposure whose frame is hit; None: every one, as a cable or a setting that is wrong for good does."""
    kind: str
    argument: int

    def play(self, usual: Play, geometry: Geometry) -> Play:
        """How the frame of this exposure is played instead of ``usual``."""
        values = dict(usual.__dict__)
        match self.kind:
            case "drop":
                values["play_times"] = 0
            case "extra":
                values["play_times"] = 2
                values["play_gap"] = self.argument
            case "cut":
                values["cut_line"], values["cut_pixels"] = divmod(self.argument, geometry.camera_width)
            case "glitch":
                values["glitch_line"] = self.argument
            case "noise":
                values["noise_clocks"] = self.argument
            case "pauses":
                values["dval_pauses"] = min(self.argument, 255)
            case "jitter":
                values["gap_jitter"] = self.argument
            case "short_line" | "long_line":
                values["odd_line"] = self.argument
                values["odd_line_pixels"] = geometry.camera_width + (1 if self.kind == "long_line" else -1)
            case "missing_line":
                values["play_lines"] = max(1, geometry.camera_height - self.argument)
            case "extra_line":
                values["play_lines"] = geometry.camera_height + self.argument
            case "late":
                values["play_delay"] += self.argument
            case "clock_stop":
                # About half a frame after the exposure; clocks of camera and system differ little.
                values["stop_after"] = geometry.camera_width * geometry.camera_height // 2
                values["stop_cycles"] = self.argument
        return Play(**values)


class Faults:
    """A schedule of faults: ``exposure:kind[:argument]``, separated by commas, IDs decimal or 0x..., or ``*``."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._by_exposure = {f.exposure: f for f in faults}
        self._always = self._by_exposure.pop(None, None)

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read a schedule. Raises :class:`openopu.errors.UsageError`."""
        faults = [_parse_one(part) for part in text.split(",") if part]
        for exposure, count in Counter(fault.exposure for fault in faults).items():
            if count > 1:
                name = "*" if exposure is None else exposure
                raise UsageError(f"exposure `{name}` has {count} faults", "fault", "Give each one, and `*` one")
        return cls(faults)

    def at(self, exposure: int) -> Fault | None:
        """The fault of this exposure; one of its own happens once, so the exposure repeated is whole."""
        return self._by_exposure.pop(exposure, self._always)


def _parse_one(part: str) -> Fault:
    try:
        exposure, kind, *rest = part.split(":")
        default = KINDS[kind][1]
        argument = int(rest[0], 0) if rest else default
        if len(rest) > 1 or argument < 0 or argument >= 1 << 31:
            raise ValueError
        return Fault(None if exposure == "*" else int(exposure, 0), kind, argument)
    except (ValueError, KeyError):
        known = "; ".join(f"{name}: {what} ({default})" for name, (what, default) in KINDS.items())
        raise UsageError(
            f"`{part}` is no fault", "fault", f"Write EXPOSURE:KIND[:ARGUMENT] (`*`: every one), with a kind of {known}"
        ) from None
