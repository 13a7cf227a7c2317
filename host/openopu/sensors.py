"""Camera sensors as data: registers, sequences, limits and timing of two global-shutter sensors.

Each fact has a source; ``unconfirmed`` marks what was not found in a public data sheet or driver. Sources:

- DS-024: onsemi MT9V024/D rev. 8, the MT9V034's automotive twin (same registers and timing)
- DS-032, DS-022: onsemi MT9V032 and MT9V022 data sheets, of the same family
- L: Linux, ``drivers/media/i2c/mt9v032.c``, which drives the MT9V034 too
- OMV: OpenMV's MT9V0XX driver, which drives the MT9V034 too
- DS-135: onsemi AR0135AT data sheet rev. 2. DS-134: AR0134CS data sheet rev. 2016, its predecessor with the same
  register map. DS-130: AR0130 data sheet, of the same family
- EYE: eyeSight's Linux driver for the AR0135 (2018). ARD: ArduCAM's settings of the AR0135 with external trigger
- Z: Zabel's driver for the AR0134
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from openopu_rtl.protocol import Geometry

from .errors import UsageError

UNCONFIRMED = "unconfirmed: "
"""Begins the source of a fact that was not found in public documents."""


@dataclass(frozen=True)
class Register:
    address: int
    source: str


@dataclass(frozen=True)
class Write:
    """One step of a sequence. ``value`` is a number, or the name of one of :meth:`Sensor.values`."""

    register: str
    value: int | str
    source: str
    verify: bool = True
    """Reads back what was written; False for registers that clear themselves."""
    wait_s: float = 0.0
    """To wait afterwards."""

    @property
    def confirmed(self) -> bool:
        return not self.source.startswith(UNCONFIRMED)


@dataclass(frozen=True)
class Sensor:
    """Lengths in pixels, rows or pixel clocks.

    Exposure: both sensors take its length from a register, in rows, and only its start from the trigger pin. The
    device's trigger is high for a shot's ``exposure_cycles``, and the pattern stands as long; so the register is set
    to the rows that fit into it (:meth:`exposure_rows`).
    """

    name: str
    title: str
    i2c_addresses: tuple[int, ...]
    """7 bits; the first one is that of the address pins tied low."""
    i2c_source: str
    wide_register: bool
    wide_value: bool
    id_register: int
    id_value: int
    id_source: str
    width: int
    height: int
    column_first: int
    row_first: int
    pixel_bits: int
    """Of the parallel port. Connect its upper pins where the geometry has fewer."""
    input_clock_hz: float
    """Clock that the sensor is given, by default."""
    pixel_clock_ratio: float
    """Of the pixel clock to the input clock, with the sequence's settings."""
    pixel_clock_hz_max: float
    clock_source: str
    row_clocks_min: int
    row_blank_min: int
    row_source: str
    frame_blank_rows: int
    exposure_rows_max: int
    exposure_source: str
    gain_unit: int
    """Value of the gain register for a gain of 1."""
    gain_max: float
    gain_source: str
    test_pattern: int
    polarity: Mapping[str, str]
    """What a level or an edge means, by pin."""
    registers: Mapping[str, Register]
    sequence: tuple[Write, ...]

    def row_clocks(self, width: int) -> int:
        """Pixel clocks of a row, blanking included."""
        return max(self.row_clocks_min, width + self.row_blank_min)

    def row_s(self, width: int, pixel_clock_hz: float) -> float:
        """Time of a row, which is the unit of the exposure."""
        return self.row_clocks(width) / pixel_clock_hz

    def readout_s(self, width: int, height: int, pixel_clock_hz: float) -> float:
        """Time of a readout, first to last row and the blank rows: (rows + blanking) x row time."""
        return (height + self.frame_blank_rows) * self.row_s(width, pixel_clock_hz)

    def exposure_rows(self, exposure_s: float, width: int, pixel_clock_hz: float) -> int:
        """Whole rows that fit into ``exposure_s``. Raises :class:`UsageError` if none does, or too many."""
        row = self.row_s(width, pixel_clock_hz)
        rows = math.floor(exposure_s / row + 1e-9)
        if not 1 <= rows <= self.exposure_rows_max:
            raise UsageError(
                f"an exposure of {exposure_s * 1e6:.1f} us is {exposure_s / row:.2f} rows of the {self.name}",
                "exposure",
                f"Take {row * 1e6:.1f} us to {self.exposure_rows_max * row * 1e3:.0f} ms",
            )
        return rows

    def check(self, geometry: Geometry) -> None:
        """Raise :class:`UsageError` where the device's geometry does not fit the sensor."""
        if geometry.camera_width > self.width or geometry.camera_height > self.height:
            raise UsageError(
                f"frames of {geometry.camera_width} x {geometry.camera_height} exceed the {self.name}'s "
                f"{self.width} x {self.height}",
                "geometry",
                "Build the gateware for a smaller sensor region",
            )
        if geometry.pixel_bits > self.pixel_bits:
            raise UsageError(
                f"the gateware takes {geometry.pixel_bits} bits, the {self.name} gives {self.pixel_bits}",
                "geometry",
                f"Build it with pixel_bits={self.pixel_bits} or fewer",
            )

    def values(self, geometry: Geometry, *, rows: int, gain: float, test_pattern: bool) -> dict[str, int]:
        """What the names in :attr:`sequence` stand for; the window is centred. Raises :class:`UsageError`."""
        self.check(geometry)
        if not 1 <= gain <= self.gain_max:
            raise UsageError(f"a gain of {gain:g} is out of range", "gain", f"Take 1 to {self.gain_max:g}")
        width, height = geometry.camera_width, geometry.camera_height
        # Even starts keep a colour sensor's pattern; on a monochrome one they cost nothing.
        x = self.column_first + (self.width - width) // 4 * 2
        y = self.row_first + (self.height - height) // 4 * 2
        row = self.row_clocks(width)
        return {
            "width": width,
            "height": height,
            "x_start": x,
            "y_start": y,
            "x_end": x + width - 1,
            "y_end": y + height - 1,
            "row_clocks": row,
            "row_blank": row - width,
            "frame_rows": height + self.frame_blank_rows,
            "exposure_rows": rows,
            "gain": round(gain * self.gain_unit),
            "test_pattern": self.test_pattern if test_pattern else 0,
        }


MT9V034 = Sensor(
    name="mt9v034",
    title="onsemi MT9V034, 752 x 480, 6 um, global shutter",
    i2c_addresses=(0x48, 0x4C, 0x58, 0x5C),
    i2c_source="DS-024 table 6: 0x90, 0x98, 0xB0, 0xB8 with the direction bit",
    wide_register=False,
    wide_value=True,
    id_register=0x00,
    id_value=0x1324,
    id_source="L; OMV",
    width=752,
    height=480,
    column_first=1,
    row_first=4,
    pixel_bits=10,
    input_clock_hz=26.6e6,
    pixel_clock_ratio=1.0,
    pixel_clock_hz_max=27e6,
    clock_source="DS-024 table 1 (27 MHz, 27 Mp/s); default of L",
    row_clocks_min=704,
    row_blank_min=61,
    row_source="DS-024 table 5, note 4 (OMV and L: 690)",
    frame_blank_rows=45,
    exposure_rows_max=32765,
    exposure_source="L (total shutter width); row time R0x04 + R0x05: DS-024; overhead below one row: DS-022",
    gain_unit=16,
    gain_max=4.0,
    gain_source="L: analog gain 16 to 64",
    test_pattern=1 << 13 | 1 << 11,
    polarity={
        "FRAME_VALID": "high in a frame (DS-024)",
        "LINE_VALID": "high for valid pixels (DS-024)",
        "PIXCLK": "latch data at its rising edge; R0x72 bit 4 inverts it (DS-032, L)",
        "EXPOSURE": UNCONFIRMED + "a rising edge starts an exposure in snapshot mode",
    },
    registers={
        "chip_version": Register(0x00, "L"),
        "column_start": Register(0x01, "L"),
        "row_start": Register(0x02, "L"),
        "window_height": Register(0x03, "L"),
        "window_width": Register(0x04, "L"),
        "horizontal_blanking": Register(0x05, "L"),
        "vertical_blanking": Register(0x06, "L"),
        "chip_control": Register(0x07, "L"),
        "total_shutter_width": Register(0x0B, "L"),
        "reset": Register(0x0C, "L"),
        "read_mode": Register(0x0D, "L"),
        "pixel_operation_mode": Register(0x0F, "L"),
        "adc_companding": Register(0x1C, "OMV"),
        "analog_gain": Register(0x35, "L"),
        "row_noise_correction": Register(0x70, "L"),
        "pixel_clock": Register(0x72, "L"),
        "test_pattern": Register(0x7F, "L"),
        "aec_agc_enable": Register(0xAF, "L"),
        "fine_shutter_width": Register(0xD5, "OMV"),
    },
    sequence=(
        Write("reset", 1, "L: soft reset", verify=False, wait_s=0.001),
        Write("reset", 0, "L", verify=False, wait_s=0.001),
        Write("aec_agc_enable", 0, "L: automatic exposure and gain off"),
        Write("row_noise_correction", 0, "L: it would add to dark rows"),
        Write("adc_companding", 0x0202, "OMV: linear"),
        Write("pixel_operation_mode", 0, "L, OMV: linear, monochrome"),
        Write("read_mode", 0x0300, UNCONFIRMED + "no binning or flip (L: bits 0 to 7); bits 8, 9 as after reset"),
        Write("column_start", "x_start", "L: 1 to 752"),
        Write("row_start", "y_start", "L: 4 to 482"),
        Write("window_width", "width", "L"),
        Write("window_height", "height", "L"),
        Write("horizontal_blanking", "row_blank", "L, DS-024: at least 61"),
        Write("vertical_blanking", 45, "L: default"),
        Write("total_shutter_width", "exposure_rows", "L: in rows"),
        Write("fine_shutter_width", 0, "OMV"),
        Write("analog_gain", "gain", "L"),
        Write("pixel_clock", 0, "L: not inverted"),
        Write("test_pattern", "test_pattern", "L: bit 13 enables, bits 12:11 = 1: vertical grey ramp"),
        Write("chip_control", 0x0198, "OMV: snapshot mode (bits 4:3 = 3), parallel output (7), bit 8 as in L"),
    ),
)

AR0135 = Sensor(
    name="ar0135",
    title="onsemi AR0135, 1280 x 960, 3.75 um, global shutter",
    i2c_addresses=(0x10, 0x18),
    i2c_source="EYE; ARD (0x20 with the direction bit). " + UNCONFIRMED + "0x18 with SADDR high",
    wide_register=True,
    wide_value=True,
    id_register=0x3000,
    id_value=0x0554,
    id_source="EYE",
    width=1280,
    height=960,
    column_first=0,
    row_first=0,
    pixel_bits=12,
    input_clock_hz=27e6,
    pixel_clock_ratio=44 / (2 * 1 * 16),
    pixel_clock_hz_max=74.25e6,
    clock_source="EYE (27 MHz); PLL formula and divider 16: ARD; 74.25 MHz: DS-130 table 5, DS-135 (720p60)",
    row_clocks_min=1388,
    row_blank_min=108,
    row_source="ARD: 1388 with R0x30B0 bit 10 (short line); DS-130: 1390 and blanking of 110",
    frame_blank_rows=30,
    exposure_rows_max=0xFFFF,
    exposure_source="EYE: R0x3012 in rows; DS-130: less a conversion overhead of 410 pixel clocks",
    gain_unit=32,
    gain_max=7.0,
    gain_source=UNCONFIRMED + "R0x305E global digital gain, 5 fractional bits",
    test_pattern=2,
    polarity={
        "FRAME_VALID": "high in a frame (DS-135)",
        "LINE_VALID": "high for valid pixels (DS-135)",
        "PIXCLK": UNCONFIRMED + "latch data at its falling edge",
        "TRIGGER": "high for 3 clocks while FRAME_VALID is low starts a frame; level sensitive (data sheet of the "
        "MT9M034, of the same family)",
    },
    registers={
        "model_id": Register(0x3000, "EYE"),
        "y_addr_start": Register(0x3002, "ARD, Z"),
        "x_addr_start": Register(0x3004, "ARD, Z"),
        "y_addr_end": Register(0x3006, "ARD, Z"),
        "x_addr_end": Register(0x3008, "ARD, Z"),
        "frame_length_lines": Register(0x300A, "ARD, Z"),
        "line_length_pck": Register(0x300C, "ARD, Z"),
        "coarse_integration_time": Register(0x3012, "EYE, ARD, Z"),
        "fine_integration_time": Register(0x3014, "ARD, Z"),
        "reset": Register(0x301A, "EYE, ARD, Z"),
        "row_speed": Register(0x3028, "EYE, ARD"),
        "vt_pix_clk_div": Register(0x302A, "EYE, ARD"),
        "vt_sys_clk_div": Register(0x302C, "EYE, ARD"),
        "pre_pll_clk_div": Register(0x302E, "EYE, ARD"),
        "pll_multiplier": Register(0x3030, "EYE, ARD"),
        "digital_binning": Register(0x3032, "ARD"),
        "read_mode": Register(0x3040, "EYE, ARD"),
        "global_gain": Register(0x305E, "EYE, ARD, Z"),
        "embedded_data": Register(0x3064, "EYE, ARD, Z"),
        "test_pattern": Register(0x3070, "EYE"),
        "x_odd_inc": Register(0x30A2, "EYE"),
        "y_odd_inc": Register(0x30A6, "EYE, ARD"),
        "digital_test": Register(0x30B0, "EYE, ARD, Z"),
        "ae_control": Register(0x3100, "EYE, ARD, Z"),
    },
    sequence=(
        Write("reset", 0x00D9, "EYE: bit 0 resets", verify=False, wait_s=0.2),
        Write("row_speed", 0x0010, "EYE, ARD"),
        Write("pre_pll_clk_div", 2, "ARD: N"),
        Write("pll_multiplier", 44, UNCONFIRMED + "M: 594 MHz from 27 MHz, by ARD's formula"),
        Write("vt_sys_clk_div", 1, "ARD: P1"),
        Write("vt_pix_clk_div", 16, "ARD: P2; 37.125 MHz from 27 MHz", wait_s=0.1),
        Write("digital_binning", 0, "ARD"),
        Write("digital_test", 0x0480, "ARD: short lines, monochrome"),
        Write("embedded_data", 0x1802, "EYE: no rows of embedded data or statistics, which would be extra lines"),
        Write("y_addr_start", "y_start", "ARD"),
        Write("x_addr_start", "x_start", "ARD"),
        Write("y_addr_end", "y_end", "ARD"),
        Write("x_addr_end", "x_end", "ARD"),
        Write("frame_length_lines", "frame_rows", "ARD: rows + 30"),
        Write("line_length_pck", "row_clocks", "ARD"),
        Write("coarse_integration_time", "exposure_rows", "EYE, ARD: in rows"),
        Write("fine_integration_time", 0, "Z"),
        Write("x_odd_inc", 1, "EYE"),
        Write("y_odd_inc", 1, "EYE, ARD"),
        Write("read_mode", 0, "EYE"),
        Write("ae_control", 0, "ARD: automatic exposure off"),
        Write("global_gain", "gain", UNCONFIRMED + "0x20 is a gain of 1"),
        Write("test_pattern", "test_pattern", "EYE: 2 is the colour bars"),
        Write("reset", 0x1990, "ARD: external trigger: no streaming, trigger input and parallel port on"),
    ),
)

SENSORS: dict[str, Sensor] = {s.name: s for s in (MT9V034, AR0135)}
"""Sensors by name."""

CAMERA_LINK_BASE: dict[str, int] = {
    **{f"A{i}": pin for i, pin in enumerate((0, 1, 2, 3, 4, 6, 27, 5))},
    **{f"B{i}": pin for i, pin in enumerate((7, 8, 9, 12, 13, 14, 10, 11))},
    **{f"C{i}": pin for i, pin in enumerate((15, 18, 19, 20, 21, 22, 16, 17))},
    "LVAL": 24,
    "FVAL": 25,
    "DVAL": 26,
    "SPARE": 23,
}
"""RxOUT pin of a DS90CR288A (28-bit Channel Link receiver) for each signal of Camera Link base
(Camera Link 1.1, bit assignment of the base configuration, as Euresys' and Basler's handbooks print it)."""


def camera_link_pins(pixel_bits: int) -> list[int]:
    """RxOUT pins of one pixel's bits, least significant first: port A, then the low half of port B.

    Raises :class:`UsageError` for depths that base does not carry on one tap of these ports.
    """
    if pixel_bits not in (8, 10, 12):
        raise UsageError(f"{pixel_bits} bits are none of Camera Link base's", "pixel_bits", "Take 8, 10 or 12")
    return [CAMERA_LINK_BASE[f"{'AB'[i // 8]}{i % 8}"] for i in range(pixel_bits)]


def sensor_named(name: str) -> Sensor:
    """The sensor of this name. Raises :class:`UsageError`."""
    if name not in SENSORS:
        raise UsageError(f"there is no sensor `{name}`", "sensor", f"Known: {', '.join(SENSORS)}")
    return SENSORS[name]
