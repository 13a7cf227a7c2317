"""Icepi Zero (ECP5-25F): the small board. DVI out, a parallel camera and the laser on its 40-pin header.

Its only link is the UART: both PLLs of the part are taken, so that none is left for USB.
"""

from __future__ import annotations

from amaranth_boards.icepi_zero import IcepiZero1_3Platform
from openopu_rtl.protocol import Link
from openopu_rtl.protocol.geometry import PRESETS
from openopu_rtl.protocol.video import VIDEO_MODES

from .board import lines
from .ecp5 import DOWN, Ecp5Board, camera, ft231x, laser, sensor_bus

_MODE = VIDEO_MODES["vga"]
_GPIO = ("gpio", 0)

BOARD = Ecp5Board(
    name="icepi_zero",
    title="Icepi Zero with ECP5-25F",
    part="LFE5U-25F-6BG256C",
    family="ecp5",
    idcode=0x0111_1043,
    loader="icepi-zero",
    vendor=IcepiZero1_3Platform,
    geometry=PRESETS[_MODE.name],
    oscillator="clk50",
    oscillator_hz=50_000_000,
    clock_hz=75_000_000,
    mode=_MODE,
    camera_clock_hz=50_000_000,
    dvi=True,
    unconnected=("cam_dval",),
    links={Link.UART: ft231x(rx="K16", tx="K15")},
    lines=(
        *camera(_GPIO, 50_000_000, clk="9", fval="10", lval="11", pixel="12 13 14 15 16 17 18 19", trigger="22"),
        *sensor_bus(_GPIO, scl="3", sda="2"),
        *laser(_GPIO, enable="21", dac="23 24 25", bias="26 27 8", closed="20"),
        *lines(
            _GPIO,
            DOWN | {"DRIVE": "4"},
            (
                ("adc_cs_n", "4 5", "o", "MCP3201, photodiode and thermometer"),
                ("adc_sck", "6", "o", "MCP3201, photodiode and thermometer"),
            ),
        ),
        *lines(_GPIO, DOWN, (("adc_dout", "7", "i", "MCP3201, photodiode and thermometer"),)),
    ),
    sources=("pins: amaranth-boards", "PLL: Lattice FPGA-DS-02012, sysCLOCK PLL timing"),
)
