"""ULX3S with an ECP5-85F: DVI out, a parallel camera on J1, laser and analog on J2, FT231X as the link."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Module
from amaranth.lib import io
from amaranth_boards.ulx3s import ULX3S_85F_Platform
from openopu_rtl.protocol.geometry import PRESETS
from openopu_rtl.protocol.video import VIDEO_MODES
from openopu_rtl.spi import Max11125

from . import pll
from .board import Board, Clocks, Line, lines

_INPUT_HZ = 25_000_000
_MODE = VIDEO_MODES["hd720"]
_LVCMOS = {"IO_TYPE": "LVCMOS33"}
_J = ("gpio", 0)


class Ulx3s(Board):
    def platform(self) -> Any:
        platform = ULX3S_85F_Platform()
        platform.add_resources([line.resource() for line in self.lines])
        return platform

    def add_clocks(self, m: Module, platform: Any) -> Clocks:
        m.domains.sync = ClockDomain()
        m.domains.slm = ClockDomain()
        m.domains.slm_x5 = ClockDomain(reset_less=True)
        system = pll.find(_INPUT_HZ, [self.clock_hz])
        # 74.25 MHz cannot be made of 25 MHz by one PLL within its limits: 0.67 % off at best, and 0.5 % are allowed.
        first, second = pll.chain(_INPUT_HZ, [5 * self.pixel_clock_hz, self.pixel_clock_hz])
        m.submodules.clk25 = buffer = io.Buffer("i", platform.request("clk25", dir="-"))
        (sync,), sync_locked = system.add_to(m, "pll_sync", buffer.i)
        (between,), _ = first.add_to(m, "pll_between", buffer.i)
        (fast, slow), slm_locked = second.add_to(m, "pll_slm", between)
        m.d.comb += [ClockSignal("sync").eq(sync), ClockSignal("slm").eq(slow), ClockSignal("slm_x5").eq(fast)]
        return Clocks(float(system.output_hz[0]), float(second.output_hz[1]), sync_locked & slm_locked)


BOARD = Ulx3s(
    name="ulx3s",
    title="ULX3S with ECP5-85F",
    part="LFE5U-85F-6BG381C",
    family="ecp5",
    idcode=0x0111_3043,
    loader="ulx3s",
    geometry=PRESETS[_MODE.name],
    clock_hz=100_000_000,
    mode=_MODE,
    camera_clock_hz=74_250_000,
    adc=Max11125,
    dvi=True,
    unconnected=("cam_dval",),
    lines=(
        Line("link_rx", "M1", "i", None, (("IO_TYPE", "LVCMOS33"), ("PULLMODE", "UP")), "FT231X TXD, on the board"),
        Line("link_tx", "L4", "o", None, tuple(_LVCMOS.items()), "FT231X RXD, on the board"),
        *lines(
            _J,
            {"IO_TYPE": "LVCMOS33", "PULLMODE": "DOWN"},
            (
                ("cam_clk", "0+", "i", "camera's pixel clock (a clock pin)", 74_250_000),
                ("cam_fval", "1+", "i", "frame valid"),
                ("cam_lval", "1-", "i", "line valid"),
                ("cam_pixel", "2+ 2- 3+ 3- 4+ 4- 5+ 5-", "i", "pixel; of a camera with more bits the upper eight"),
            ),
        ),
        *lines(
            _J,
            _LVCMOS | {"PULLMODE": "UP"},
            (
                ("i2c_scl", "7+", "io", "sensor's SCL; with 2.2 kOhm to 3.3 V"),
                ("i2c_sda", "7-", "io", "sensor's SDA; with 2.2 kOhm to 3.3 V"),
            ),
        ),
        *lines(
            _J,
            _LVCMOS | {"DRIVE": "8"},
            (("cam_trigger", "6+", "o", "high while the camera exposes"),),
        ),
        *lines(
            _J,
            _LVCMOS | {"DRIVE": "4", "PULLMODE": "DOWN"},
            (
                ("laser_enable", "18+", "o", "high: light; 10 kOhm to ground keeps it low while there is no gateware"),
                ("dac_cs_n", "19+", "o", "MCP4921, laser power"),
                ("dac_sck", "19-", "o", "MCP4921, laser power"),
                ("dac_sdi", "20+", "o", "MCP4921, laser power"),
                ("bias_cs_n", "21+", "o", "MCP4921, laser bias"),
                ("bias_sck", "21-", "o", "MCP4921, laser bias"),
                ("bias_sdi", "22+", "o", "MCP4921, laser bias"),
            ),
        ),
        *lines(
            _J,
            {"IO_TYPE": "LVCMOS33", "PULLMODE": "DOWN"},
            (("interlock_closed", "18-", "i", "3.3 V through the closed loop"),),
        ),
        Line("adc_cs_n", "R17", "o", None, tuple(_LVCMOS.items()), "MAX11125: photodiode on J2 GN14 (AIN0)"),
        Line("adc_sck", "P17", "o", None, tuple(_LVCMOS.items()), "MAX11125: thermometer on J2 GP14 (AIN1)"),
        Line("adc_sdi", "R16", "o", None, tuple(_LVCMOS.items()), "MAX11125 on the board"),
        Line("adc_dout", "U16", "i", None, (("IO_TYPE", "LVCMOS33"), ("PULLMODE", "UP")), "MAX11125 on the board"),
    ),
    sources=(
        "pins: amaranth-boards and the board's constraint file ulx3s_v20.lpf, which names clock pins and ADC inputs",
        "PLL: Lattice FPGA-DS-02012, sysCLOCK PLL timing",
    ),
)
