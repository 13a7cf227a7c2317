"""Arty A7-35T: Verilog and constraints for Vivado; resources estimated by yosys.

Its panel is parallel video on Pmods JB and JC; the board has no connector for DVI.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import io
from amaranth_boards.arty_a7 import ArtyA7_35Platform
from openopu_rtl.protocol import Link
from openopu_rtl.protocol.geometry import PRESETS
from openopu_rtl.protocol.video import VIDEO_MODES

from .board import Board, Clocks, Line, lines

_MODE = VIDEO_MODES["svga"]
_LVCMOS = {"IOSTANDARD": "LVCMOS33"}


class ArtyA7(Board):
    def add_clocks(self, m: Module, platform: Any) -> Clocks:
        """One MMCM: 1,000 MHz / 10 for the system, / 25 for 40 MHz of SVGA (DS181: VCO 600 to 1,200 MHz)."""
        m.domains.sync = ClockDomain()
        m.domains.slm = ClockDomain()
        m.submodules.clk100 = buffer = io.Buffer("i", platform.request("clk100", dir="-"))
        sync, slm, feedback, locked = Signal(), Signal(), Signal(), Signal()
        m.submodules.mmcm = Instance(
            "MMCME2_BASE",
            p_CLKIN1_PERIOD=10.0,
            p_CLKFBOUT_MULT_F=10.0,
            p_DIVCLK_DIVIDE=1,
            p_CLKOUT0_DIVIDE_F=10.0,
            p_CLKOUT1_DIVIDE=25,
            i_CLKIN1=buffer.i,
            i_CLKFBIN=feedback,
            o_CLKFBOUT=feedback,
            o_CLKOUT0=sync,
            o_CLKOUT1=slm,
            o_LOCKED=locked,
            i_RST=Const(0),
            i_PWRDWN=Const(0),
        )
        for name, clock in (("sync", sync), ("slm", slm)):
            m.submodules[f"bufg_{name}"] = Instance("BUFG", i_I=clock, o_O=ClockSignal(name))
        return Clocks(100e6, 40e6, locked)


BOARD = ArtyA7(
    name="arty_a7",
    title="Arty A7-35T",
    part="xc7a35ticsg324-1L",
    family="xilinx",
    idcode=0x0362_D093,
    loader="arty_a7_35t",
    vendor=ArtyA7_35Platform,
    geometry=PRESETS[_MODE.name],
    clock_hz=100_000_000,
    mode=_MODE,
    camera_clock_hz=74_250_000,
    unconnected=("cam_dval",),
    links={
        Link.UART: (
            Line("link_rx", "A9", "i", None, tuple(_LVCMOS.items()), "FT2232H, on the board"),
            Line("link_tx", "D10", "o", None, tuple(_LVCMOS.items()), "FT2232H, on the board"),
        )
    },
    lines=(
        *lines(
            ("pmod", 1),
            _LVCMOS,
            (("slm_level", "1 2 3 4 7 8 9 10", "o", "panel, Pmod JB"),),
        ),
        *lines(
            ("pmod", 2),
            _LVCMOS,
            (
                ("slm_clk", "1", "o", "panel's pixel clock, Pmod JC"),
                ("slm_de", "2", "o", "panel, Pmod JC"),
                ("slm_hsync", "3", "o", "panel, Pmod JC"),
                ("slm_vsync", "4", "o", "panel, Pmod JC"),
                ("dac_cs_n", "7", "o", "MCP4921, laser power"),
                ("dac_sck", "8", "o", "MCP4921, laser power"),
                ("dac_sdi", "9", "o", "MCP4921, laser power"),
                ("laser_enable", "10", "o", "high: light; 10 kOhm to ground keeps it low while there is no gateware"),
            ),
        ),
        *lines(
            ("pmod", 0),
            _LVCMOS,
            (
                ("bias_cs_n", "1", "o", "MCP4921, laser bias"),
                ("bias_sck", "2", "o", "MCP4921, laser bias"),
                ("bias_sdi", "3", "o", "MCP4921, laser bias"),
                ("adc_sck", "4", "o", "MCP3201, photodiode and thermometer"),
                ("adc_cs_n", "7 8", "o", "MCP3201, photodiode and thermometer"),
                ("adc_dout", "9", "i", "MCP3201, photodiode and thermometer"),
                ("interlock_closed", "10", "i", "3.3 V through the closed loop"),
            ),
        ),
        *lines(
            ("ck_io", 0),
            _LVCMOS,
            (
                ("cam_clk", "io13", "i", "camera's pixel clock", 74_250_000),
                ("cam_fval", "io12", "i", "frame valid"),
                ("cam_lval", "io11", "i", "line valid"),
                (
                    "cam_pixel",
                    "io0 io1 io2 io3 io4 io5 io6 io7",
                    "i",
                    "pixel; of a wider camera the upper eight bits",
                ),
                ("cam_trigger", "io10", "o", "high while the camera exposes"),
                ("i2c_scl", "io8", "od", "sensor's SCL; with 2.2 kOhm to 3.3 V"),
                ("i2c_sda", "io9", "od", "sensor's SDA; with 2.2 kOhm to 3.3 V"),
            ),
        ),
    ),
    sources=("pins: amaranth-boards", "MMCM: Xilinx DS181, MMCM specifications (from memory)"),
)
