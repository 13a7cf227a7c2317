"""Geometry of one machine: panel, macropixels, sensor, crop, and the depths of its memories.

It is configuration of the gateware, fixed when it is built, and every field can be read back from
the device as an identity register of the same name.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass

from .video import VIDEO_MODES, VideoMode


class GeometryError(ValueError):
    """A geometry that cannot be built; the message names the field and the bound."""


def _near_square(count: int, what: str) -> tuple[int, int]:
    """Return (columns, rows) with ``columns * rows == count`` and columns >= rows, nearest to square."""
    if count < 1:
        raise GeometryError(f"{what} must be at least 1, not {count}")
    rows = next(r for r in range(int(count**0.5), 0, -1) if count % r == 0)
    if count // rows > 8 * rows:
        raise GeometryError(
            f"{what} = {count} has no factors near its square root; take for example {int(count**0.5) ** 2}"
        )
    return count // rows, rows


class PanelKind(enum.IntEnum):
    """How patterns reach the panel."""

    VIDEO_ON_DEMAND = 0
    """A video frame is sent for a pattern, else nothing; the panel shows it at the vertical sync (global reset)."""
    VIDEO_CONTINUOUS = 1
    """Video that never pauses, for displays: a frame brings the next pattern or repeats the one before."""
    PACKED_PLANES = 2
    """Video whose frames carry a bit plane in each bit of a pixel."""
    ROW_BUS = 3
    """A bus that writes the panel's rows by address."""


MIRROR_SETTLE_CLOCKS = 800
"""Clocks of a row bus at 100 MHz, the quickest that we build for, in which mirrors settle: 8 us (DLPC410)."""


@dataclass(frozen=True)
class Geometry:
    """All lengths in pixels of the panel (``slm_``, ``signal_``, ``anchor_``) or of the sensor.
    On a row bus ``slm_v_back`` counts row cycles after each reset, and the rest of the video timing means nothing.

    The defaults are those of the simulation: n = 256 modes on a 64 x 64 panel, m = 1024 outputs
    from a 64 x 64 crop of an 80 x 72 sensor.
    """

    slm_width: int = 64
    slm_height: int = 64
    slm_h_front: int = 4
    slm_h_sync: int = 4
    slm_h_back: int = 8
    slm_v_front: int = 1
    slm_v_sync: int = 1
    slm_v_back: int = 2
    macropixel: int = 3
    """Panel pixels along each side of the block that shows one mode."""
    modes_x: int = 16
    modes_y: int = 16
    signal_x: int = 1
    signal_y: int = 8
    anchor_x: int = 49
    anchor_y: int = 2
    anchor_width: int = 12
    anchor_height: int = 60
    camera_width: int = 80
    camera_height: int = 72
    crop_x: int = 8
    crop_y: int = 4
    crop_width: int = 64
    crop_height: int = 64
    bin: int = 2
    """Sensor pixels along each side of the block that is summed into one output."""
    pixel_bits: int = 8
    """Bits of a sensor pixel: 8, 10 or 12."""
    shot_depth: int = 64
    """Entries of the shot table."""
    store_bytes: int = 4096
    """Bytes of the pattern store, a power of two."""
    queue_depth: int = 16
    """Packets of projections that may wait, a power of two."""
    raw_rows: int = 72
    """Sensor rows that one raw readout holds (the whole sensor where it fits)."""
    panel_kind: int = 0
    """How patterns reach the panel: a value of :class:`PanelKind`."""
    row_word_bits: int = 64
    """Mirrors that a row bus takes a clock; a row cycle is so many clocks as a row needs."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            low = 0 if field.name.endswith(("_x", "_y")) and not field.name.startswith("modes") else 1
            if field.name in ("anchor_width", "anchor_height", "panel_kind"):
                low = 0
            if not isinstance(value, int) or not low <= value < 1 << 16:
                raise GeometryError(f"{field.name} must be an integer from {low} to 65535, not {value!r}")
        try:
            object.__setattr__(self, "panel_kind", PanelKind(self.panel_kind))
        except ValueError:
            kinds = ", ".join(f"{k.value} ({k.name.lower()})" for k in PanelKind)
            raise GeometryError(f"panel_kind must be one of {kinds}, not {self.panel_kind}") from None
        if self.signal_x + self.signal_width > self.slm_width or self.signal_y + self.signal_height > self.slm_height:
            raise GeometryError(
                f"the signal region ({self.signal_width} x {self.signal_height} at {self.signal_x}, {self.signal_y}) "
                f"leaves the {self.slm_width} x {self.slm_height} panel"
            )
        if self.anchor_x + self.anchor_width > self.slm_width or self.anchor_y + self.anchor_height > self.slm_height:
            raise GeometryError("the anchor region leaves the panel")
        apart = (
            self.anchor_x >= self.signal_x + self.signal_width
            or self.anchor_x + self.anchor_width <= self.signal_x
            or self.anchor_y >= self.signal_y + self.signal_height
            or self.anchor_y + self.anchor_height <= self.signal_y
        )
        if self.anchor_pixels and not apart:
            raise GeometryError("the anchor region overlaps the signal region")
        if self.crop_x + self.crop_width > self.camera_width or self.crop_y + self.crop_height > self.camera_height:
            raise GeometryError("the crop leaves the sensor")
        if self.crop_width % self.bin or self.crop_height % self.bin:
            raise GeometryError(f"the crop must be a whole number of bins of {self.bin} pixels")
        if self.pixel_bits not in (8, 10, 12):
            raise GeometryError(f"pixel_bits must be 8, 10 or 12, not {self.pixel_bits}")
        if self.panel_kind in (PanelKind.PACKED_PLANES, PanelKind.ROW_BUS) and self.modes_x % 8:
            raise GeometryError(f"modes_x = {self.modes_x} must be a multiple of 8 for this kind of panel")
        if self.modes % 8:
            raise GeometryError(f"modes_x * modes_y = {self.modes} must be a multiple of 8")
        for name in ("store_bytes", "queue_depth"):
            if (value := getattr(self, name)) & (value - 1):
                raise GeometryError(f"{name} must be a power of two, not {value}")
        if self.store_bytes < 4 * self.plane_bytes:
            raise GeometryError(f"store_bytes must be at least 4 planes of {self.plane_bytes} bytes")
        if self.raw_rows > self.camera_height:
            raise GeometryError("raw_rows exceeds the sensor's rows")
        if self.shot_depth > 256:
            raise GeometryError("shot_depth must be at most 256")
        if self.outputs > 1 << 15:
            raise GeometryError(f"{self.outputs} outputs exceed the selection's 32,768; take larger bins")

    @property
    def modes(self) -> int:
        """n, the number of input modes."""
        return self.modes_x * self.modes_y

    @property
    def outputs(self) -> int:
        """m, the number of output modes."""
        return self.outputs_x * self.outputs_y

    @property
    def outputs_x(self) -> int:
        return self.crop_width // self.bin

    @property
    def outputs_y(self) -> int:
        return self.crop_height // self.bin

    @property
    def camera_pixels(self) -> int:
        """Pixels of one frame of the sensor."""
        return self.camera_width * self.camera_height

    @property
    def last_output(self) -> int:
        return self.outputs - 1

    @property
    def last_raw_first_row(self) -> int:
        """Largest first row of a raw readout that stays on the sensor."""
        return self.camera_height - self.raw_rows

    @property
    def signal_width(self) -> int:
        return self.modes_x * self.macropixel

    @property
    def signal_height(self) -> int:
        return self.modes_y * self.macropixel

    @property
    def anchor_pixels(self) -> int:
        return self.anchor_width * self.anchor_height

    @property
    def plane_bytes(self) -> int:
        """Bytes of one bit plane, mode 0 in bit 0 of byte 0."""
        return self.modes // 8

    @property
    def panel_shows_levels(self) -> bool:
        """The panel's pins bring a level for each pixel: a simulated plant can read a pattern back from them."""
        return self.panel_kind in (PanelKind.VIDEO_ON_DEMAND, PanelKind.VIDEO_CONTINUOUS)

    @property
    def row_cycle_clocks(self) -> int:
        """Clocks of a row bus for one row."""
        return -(-self.slm_width // self.row_word_bits)

    @property
    def slm_frame_clocks(self) -> int:
        """Panel clocks of one pattern: a video frame, blanking included, or a row bus' cycles but for the reset."""
        if self.panel_kind == PanelKind.ROW_BUS:
            return self.row_cycle_clocks * (self.slm_height + self.slm_v_back)
        return (self.slm_width + self.slm_h_front + self.slm_h_sync + self.slm_h_back) * (
            self.slm_height + self.slm_v_front + self.slm_v_sync + self.slm_v_back
        )

    @property
    def video_mode(self) -> VideoMode:
        """The standard mode whose timing this is. Raises :class:`GeometryError` where there is none."""
        for mode in VIDEO_MODES.values():
            if all(getattr(self, name) == value for name, value in mode.geometry_fields.items()):
                return mode
        raise GeometryError(
            f"no standard video mode has this timing ({self.slm_width} x {self.slm_height}); "
            f"take one of {', '.join(VIDEO_MODES)}, or state pixel clock and sync polarities yourself"
        )

    @classmethod
    def fitting(cls, modes: int = 256, outputs: int = 1024, pixel_bits: int = 8, **fields: int) -> Geometry:
        """The simulation's geometry for ``modes`` inputs and ``outputs`` outputs.

        ``fitting()`` is the default geometry. Further ``fields`` replace those that follow from the
        two counts. Raises :class:`GeometryError` where a count has no factors near its square root.
        """
        mx, my = _near_square(modes, "n")
        ox, oy = _near_square(outputs, "m")
        k = fields.get("macropixel", 3)
        b = fields.get("bin", 2)
        anchor_width = k * max(1, round(mx / 4))
        store = 4096
        while store < min(128 * (modes // 8), 1 << 15):  # 64 ternary vectors, or as many as an address reaches
            store *= 2
        derived = {
            "macropixel": k,
            "modes_x": mx,
            "modes_y": my,
            "slm_width": 1 + k * mx + anchor_width + 3,
            "slm_height": k * my + 16,
            "anchor_x": 1 + k * mx,
            "anchor_y": 2,
            "anchor_width": anchor_width,
            "anchor_height": k * my + 12,
            "crop_width": b * ox,
            "crop_height": b * oy,
            "camera_width": b * ox + 16,
            "camera_height": b * oy + 8,
            "raw_rows": b * oy + 8,
            "bin": b,
            "store_bytes": store,
            "pixel_bits": pixel_bits,
        }
        if fields.get("panel_kind") == PanelKind.ROW_BUS:
            row_clocks = -(-derived["slm_width"] // fields.get("row_word_bits", cls.row_word_bits))
            derived["slm_v_back"] = -(-MIRROR_SETTLE_CLOCKS // row_clocks)
        return cls(**(derived | fields))


PRESETS: dict[str, Geometry] = {
    "sim": Geometry(),
    # Displays.
    "vga": Geometry(
        panel_kind=PanelKind.VIDEO_CONTINUOUS,
        **VIDEO_MODES["vga"].geometry_fields,
        macropixel=12, modes_x=32, modes_y=32, signal_x=16, signal_y=48,
        anchor_x=416, anchor_y=48, anchor_width=208, anchor_height=384,
        camera_width=640, camera_height=480, crop_x=192, crop_y=112, crop_width=256, crop_height=256, bin=8,
        store_bytes=8192, raw_rows=24,
    ),
    "svga": Geometry(
        panel_kind=PanelKind.VIDEO_CONTINUOUS,
        **VIDEO_MODES["svga"].geometry_fields,
        macropixel=8, modes_x=64, modes_y=64, signal_x=16, signal_y=44,
        anchor_x=544, anchor_y=44, anchor_width=240, anchor_height=512,
        camera_width=640, camera_height=528, crop_x=64, crop_y=8, crop_width=512, crop_height=512, bin=8,
        store_bytes=16384, raw_rows=24,
    ),
    # DLP4500-type panel: 912 x 1140 (shape: public driver code of a DLP4500 based machine), 60 Hz at 67.6 MHz.
    # Its planes are those of three frames' shots.
    "dlp4500": Geometry(
        panel_kind=PanelKind.PACKED_PLANES,
        slm_width=912, slm_height=1140, slm_h_front=16, slm_h_sync=16, slm_h_back=32,
        slm_v_front=2, slm_v_sync=4, slm_v_back=8,
        macropixel=12, modes_x=64, modes_y=64, signal_x=8, signal_y=186,
        anchor_x=780, anchor_y=60, anchor_width=120, anchor_height=1020,
        camera_width=640, camera_height=528, crop_x=64, crop_y=8, crop_width=512, crop_height=512, bin=8,
        store_bytes=32768, raw_rows=24,
    ),
    # DLP7000 behind a DLPC410: 1024 x 768. Four words of 256 bits at 100 MHz make a row of 40 ns; 200 of them settle.
    "dlp7000": Geometry(
        panel_kind=PanelKind.ROW_BUS, row_word_bits=256,
        slm_width=1024, slm_height=768, slm_v_back=200,
        macropixel=10, modes_x=64, modes_y=64, signal_x=32, signal_y=64,
        anchor_x=704, anchor_y=64, anchor_width=288, anchor_height=640,
        camera_width=640, camera_height=528, crop_x=64, crop_y=8, crop_width=512, crop_height=512, bin=8,
        store_bytes=16384, raw_rows=24,
    ),
    "hd720": Geometry(
        panel_kind=PanelKind.VIDEO_CONTINUOUS,
        **VIDEO_MODES["hd720"].geometry_fields,
        macropixel=10, modes_x=64, modes_y=64, signal_x=40, signal_y=40,
        anchor_x=720, anchor_y=40, anchor_width=520, anchor_height=640,
        camera_width=640, camera_height=528, crop_x=64, crop_y=8, crop_width=512, crop_height=512, bin=8,
        store_bytes=16384, raw_rows=24,
    ),
}  # fmt: skip
"""Named geometries."""
