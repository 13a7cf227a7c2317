"""Standard video modes as data: the timing of a display's input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VideoMode:
    """Widths in pixels, heights in lines; syncs are given as they are on the wire."""

    name: str
    """Of its entry in :data:`VIDEO_MODES` and of the geometry in ``PRESETS``."""
    pixel_clock_hz: int
    width: int
    h_front: int
    h_sync: int
    h_back: int
    height: int
    v_front: int
    v_sync: int
    v_back: int
    hsync_positive: bool
    vsync_positive: bool
    source: str

    @property
    def line_clocks(self) -> int:
        """Pixel clocks of a line, blanking included."""
        return self.width + self.h_front + self.h_sync + self.h_back

    @property
    def frame_lines(self) -> int:
        return self.height + self.v_front + self.v_sync + self.v_back

    @property
    def frame_hz(self) -> float:
        """Frames a second."""
        return self.pixel_clock_hz / (self.line_clocks * self.frame_lines)

    @property
    def geometry_fields(self) -> dict[str, int]:
        """The fields of a :class:`openopu_rtl.protocol.Geometry` that this mode sets."""
        names = ("width", "height", "h_front", "h_sync", "h_back", "v_front", "v_sync", "v_back")
        return {f"slm_{name}": getattr(self, name) for name in names}


VIDEO_MODES: dict[str, VideoMode] = {
    mode.name: mode
    for mode in (
        VideoMode("vga", 25_175_000, 640, 16, 96, 48, 480, 10, 2, 33, False, False, "VESA DMT 0x04, CTA-861 VIC 1"),
        VideoMode("svga", 40_000_000, 800, 40, 128, 88, 600, 1, 4, 23, True, True, "VESA DMT 0x09"),
        VideoMode("hd720", 74_250_000, 1280, 110, 40, 220, 720, 5, 5, 20, True, True, "VESA DMT 0x55, CTA-861 VIC 4"),
    )
}
"""60 Hz modes by name."""
