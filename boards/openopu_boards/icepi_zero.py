"""Icepi Zero (ECP5-25F): the small board. DVI out, a parallel camera and the laser on its 40-pin header."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Module
from amaranth.lib import io
from amaranth_boards.icepi_zero import IcepiZero1_3Platform
from openopu_rtl.protocol.geometry import PRESETS
from openopu_rtl.protocol.video import VIDEO_MODES

from . import pll
from .board import Board, Clocks, Line, lines

_INPUT_HZ = 50_000_000
_MODE = VIDEO_MODES["vga"]
_TOLERANCE = 0.005
"""Of the pixel clock, CTA-861."""
_LVCMOS = {"IO_TYPE": "LVCMOS33"}
_GPIO = ("gpio", 0)


class IcepiZero(Board):
    def platform(self) -> Any:
        platform = IcepiZero1_3Platform()
        platform.add_resources([line.resource() for line in self.lines])
        return platform

    def add_clocks(self, m: Module, platform: Any) -> Clocks:
        m.domains.sync = ClockDomain()
        m.domains.slm = ClockDomain()
        m.domains.slm_x5 = ClockDomain(reset_less=True)
        system = pll.find(_INPUT_HZ, [self.clock_hz])
        video = pll.find(_INPUT_HZ, [5 * self.pixel_clock_hz, self.pixel_clock_hz], _TOLERANCE)
        m.submodules.clk50 = buffer = io.Buffer("i", platform.request("clk50", dir="-"))
        (sync,), sync_locked = system.add_to(m, "pll_sync", buffer.i)
        (fast, slow), slm_locked = video.add_to(m, "pll_slm", buffer.i)
        m.d.comb += [ClockSignal("sync").eq(sync), ClockSignal("slm").eq(slow), ClockSignal("slm_x5").eq(fast)]
        return Clocks(float(system.output_hz[0]), float(video.output_hz[1]), sync_locked & slm_locked)


BOARD = IcepiZero(
    name="icepi_zero",
    title="Icepi Zero with ECP5-25F",
    part="LFE5U-25F-6BG256C",
    family="ecp5",
    idcode=0x0111_1043,
    loader="icepi-zero",
    geometry=PRESETS[_MODE.name],
    clock_hz=75_000_000,
    mode=_MODE,
    camera_clock_hz=50_000_000,
    dvi=True,
    unconnected=("cam_dval",),
    lines=(
        Line("link_rx", "K16", "i", None, (("IO_TYPE", "LVCMOS33"), ("PULLMODE", "UP")), "FT231X TXD, on the board"),
        Line("link_tx", "K15", "o", None, tuple(_LVCMOS.items()), "FT231X RXD, on the board"),
        *lines(
            _GPIO,
            {"IO_TYPE": "LVCMOS33", "PULLMODE": "DOWN"},
            (
                ("cam_clk", "9", "i", "camera's pixel clock", 50_000_000),
                ("cam_fval", "10", "i", "frame valid"),
                ("cam_lval", "11", "i", "line valid"),
                ("cam_pixel", "12 13 14 15 16 17 18 19", "i", "pixel; of a camera with more bits the upper eight"),
                ("interlock_closed", "20", "i", "3.3 V through the closed loop"),
                ("adc_dout", "7", "i", "MCP3201, photodiode and thermometer"),
            ),
        ),
        *lines(
            _GPIO,
            _LVCMOS | {"PULLMODE": "UP"},
            (
                ("i2c_sda", "2", "io", "sensor's SDA; with 2.2 kOhm to 3.3 V"),
                ("i2c_scl", "3", "io", "sensor's SCL; with 2.2 kOhm to 3.3 V"),
            ),
        ),
        *lines(
            _GPIO,
            _LVCMOS | {"DRIVE": "4", "PULLMODE": "DOWN"},
            (
                ("laser_enable", "21", "o", "high: light; 10 kOhm to ground keeps it low while there is no gateware"),
                ("cam_trigger", "22", "o", "high while the camera exposes"),
                ("dac_cs_n", "23", "o", "MCP4921, laser power"),
                ("dac_sck", "24", "o", "MCP4921, laser power"),
                ("dac_sdi", "25", "o", "MCP4921, laser power"),
                ("bias_cs_n", "26", "o", "MCP4921, laser bias"),
                ("bias_sck", "27", "o", "MCP4921, laser bias"),
                ("bias_sdi", "8", "o", "MCP4921, laser bias"),
                ("adc_cs_n", "4 5", "o", "MCP3201, photodiode and thermometer"),
                ("adc_sck", "6", "o", "MCP3201, photodiode and thermometer"),
            ),
        ),
    ),
    sources=("pins: amaranth-boards", "PLL: Lattice FPGA-DS-02012, sysCLOCK PLL timing"),
)
