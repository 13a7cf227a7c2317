"""Makes docs/camera.md from the sensors' data."""

from __future__ import annotations

from openopu import sensors
from openopu.sensors import CAMERA_LINK_BASE, SENSORS, Sensor, camera_link_pins

FRAMES = ((640, 480), (256, 256), (80, 72))
"""Frames whose readout the page gives."""


def table(head: list[str], rows: list[list[object]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in row) + " |" for row in cells) + "\n"


def _sensor(s: Sensor) -> str:
    width = 4 if s.wide_register else 2
    clock = s.input_clock_hz * s.pixel_clock_ratio
    facts: list[list[object]] = [
        ["I2C address (7 bit)", ", ".join(f"{a:#04x}" for a in s.i2c_addresses), s.i2c_source],
        ["registers, values", f"{16 if s.wide_register else 8} bit, {16 if s.wide_value else 8} bit", "as its drivers"],
        ["identity", f"{s.id_register:#0{width + 2}x} reads {s.id_value:#06x}", s.id_source],
        ["array, bits", f"{s.width} x {s.height}, {s.pixel_bits} bits", s.title],
        ["input clock, pixel clock", f"{s.input_clock_hz / 1e6:g} MHz, {clock / 1e6:g} MHz", s.clock_source],
        ["pixel clock, at most", f"{s.pixel_clock_hz_max / 1e6:g} MHz", s.clock_source],
        ["row", f"at least {s.row_clocks_min} clocks, {s.row_blank_min} of them blank", s.row_source],
        ["exposure", f"1 to {s.exposure_rows_max} rows, by register", s.exposure_source],
        ["gain", f"1 to {s.gain_max:g}, unit {s.gain_unit}", s.gain_source],
        *[[f"pin {pin}", meaning, ""] for pin, meaning in s.polarity.items()],
    ]
    steps: list[list[object]] = [
        [
            w.register,
            f"{s.registers[w.register].address:#0{width + 2}x}",
            f"`{w.value}`" if isinstance(w.value, str) else f"{w.value:#06x}",
            w.source,
        ]
        for w in s.sequence
    ]
    times: list[list[object]] = [
        [f"{x} x {y}", s.row_clocks(x), f"{s.row_s(x, clock) * 1e6:.1f} us", f"{s.readout_s(x, y, clock) * 1e3:.2f} ms"]
        for x, y in FRAMES
    ]
    return f"""### {s.title}

{table(["", "", "source"], facts)}
Its sequence, in order; names are computed from the geometry, the exposure and the gain:

{table(["register", "address", "value", "source"], steps)}
Readout, (rows + {s.frame_blank_rows} blank rows) x row:

{table(["frame", "clocks of a row", "row", "readout"], times)}"""


def text() -> str:
    """The whole page."""
    link = [[name, f"RxOUT{pin}"] for name, pin in sorted(CAMERA_LINK_BASE.items(), key=lambda item: item[1])]
    bits = [[depth, ", ".join(f"{i}: {pin}" for i, pin in enumerate(camera_link_pins(depth)))] for depth in (8, 10, 12)]
    return f"""# Cameras

Made by `make docs` from `host/openopu/sensors.py`. Facts come from public data sheets and drivers, named there;
what is marked *unconfirmed* was not found in one: check it against the maker's documents before you rely on it.

## The port

`cam_fval`, `cam_lval`, `cam_dval` and `cam_pixel` are sampled at the rising edge of the camera's pixel clock, which is
a clock input of its own, below 0.98 of the system clock. A pixel is taken where all three are high; tie `cam_dval`
high where a sensor has none. `cam_trigger` is high for a shot's exposure.

Every frame is whole or flagged. Its lines and pixels are counted; a frame that is short, long, cut, or has LVAL outside
FVAL is `FRAME_GEOMETRY`. It must begin after its exposure has ended (else `FRAME_EXTRA`), and end as long after it as
the frame before did, but for 1/256 of the readout, 8 cycles and `camera_jitter_cycles` (else `FRAME_EARLY`,
`FRAME_LATE` or `FRAME_MISSING`). Pixels lost between the clocks are `CAMERA_OVERFLOW`. Except for the last one, each
ends every projection under way; then no exposure begins until the camera has been silent for `frame_timeout_cycles`.

A frame sent twice shows by the one after it, also where it came in the very moment in which that was due: a projection
is kept until the frame after its last has begun on time, or none has begun for the camera's delay and an eighth of a
readout. So that it shows, an exposure ends 1/64 of a readout, 32 cycles and twice the jitter after the readout before
it at the soonest.

What cannot be told by the pins: a frame that is whole, comes on time, and is another exposure's, because the camera
runs freely, keeps a frame back, or puts one in the place of another. `openopu selftest` looks for a shift that stays
(the 0-0-1-1 test). And an exposure's end is seen some 4 cycles late, so a frame that begins so much too soon counts as
punctual.

## Sensors

`openopu sensor --device URL --name NAME [--exposure-us US]` reads the identity, writes the sequence, reads every
register back, and sets the exposure of the shots. `twin:` and `rtl:` have a model of a sensor there: its identity and
a memory of registers, nothing more (`?sensor=mt9v034`, `ar0135`, `mt9v032`, `none`, `stuck`).

Both sensors take only the *start* of an exposure from the trigger; its length is a register, in rows. The command
takes the rows that fit, and makes every shot's `exposure_cycles` as long, so that the pattern stands and the frame
comes after the trigger has fallen. Shots of another exposure need the command again.

Sources:

{(sensors.__doc__ or "").split("Sources:", 1)[1].strip()}

{chr(10).join(_sensor(s) for s in SENSORS.values())}
## Camera Link base

A 28-bit Channel Link receiver of the DS90CR288A class gives the same port; its clock output is the pixel clock. The
camera's configuration goes by its own serial line, not by I2C. One tap of 8, 10 or 12 bits:

{table(["bits", "RxOUT pin of each bit of `cam_pixel`"], bits)}
All signals:

{table(["signal", "pin"], link)}
Source: Camera Link 1.1, bit assignment of the base configuration, as printed in the handbooks of Euresys (Grablink
Base) and Basler (A500k).
"""
