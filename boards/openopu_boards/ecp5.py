"""What boards with an ECP5 have in common: their clocks, and the pins of what is wired to every one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Module
from amaranth.lib import io
from openopu_rtl.protocol import Link

from . import pll
from .board import Board, Clocks, Line, lines
from .link import DOMAINS

LVCMOS = {"IO_TYPE": "LVCMOS33"}
UP = LVCMOS | {"PULLMODE": "UP"}
DOWN = LVCMOS | {"PULLMODE": "DOWN"}
_WEAK = DOWN | {"DRIVE": "4"}
_TOLERANCE = 0.005
"""Of the pixel clock, CTA-861."""


@dataclass(frozen=True, kw_only=True)
class Ecp5Board(Board):
    oscillator: str
    """Resource of amaranth-boards."""
    oscillator_hz: int

    def add_clocks(self, m: Module, platform: Any) -> Clocks:
        """The system's PLL, one or two for the panel, and one behind the system's for USB."""
        m.domains.sync = ClockDomain()
        m.domains.slm = ClockDomain()
        m.domains.slm_x5 = ClockDomain(reset_less=True)
        m.submodules.oscillator = buffer = io.Buffer("i", platform.request(self.oscillator, dir="-"))
        system = pll.find(self.oscillator_hz, [self.clock_hz])
        (sync,), locked = system.add_to(m, "pll_sync", buffer.i)
        source, pixels = buffer.i, [5 * self.pixel_clock_hz, self.pixel_clock_hz]
        try:
            video = pll.find(self.oscillator_hz, pixels, _TOLERANCE)
        except pll.PllError:
            first, video = pll.chain(self.oscillator_hz, pixels)
            (source,), _ = first.add_to(m, "pll_between", buffer.i)
        (fast, slow), slm_locked = video.add_to(m, "pll_slm", source)
        m.d.comb += [ClockSignal("sync").eq(sync), ClockSignal("slm").eq(slow), ClockSignal("slm_x5").eq(fast)]
        locked = locked & slm_locked
        link_hz: dict[str, float] = {}
        if self.link is Link.USB:
            usb = pll.find(system.output_hz[0], [int(hz) for hz in DOMAINS[Link.USB].values()])
            clocks, usb_locked = usb.add_to(m, "pll_usb", sync)
            for name, clock, hz in zip(DOMAINS[Link.USB], clocks, usb.output_hz, strict=True):
                m.domains += ClockDomain(name)
                m.d.comb += ClockSignal(name).eq(clock)
                link_hz[name] = float(hz)
            locked = locked & usb_locked
        return Clocks(float(system.output_hz[0]), float(video.output_hz[1]), locked, link_hz)


def ft231x(rx: str, tx: str) -> tuple[Line, ...]:
    """A UART behind an FT231X on the board."""
    return (
        Line("link_rx", rx, "i", None, tuple(UP.items()), "FT231X TXD, on the board"),
        Line("link_tx", tx, "o", None, tuple(LVCMOS.items()), "FT231X RXD, on the board"),
    )


def camera(
    connector: tuple[str, int], clock_hz: int, *, clk: str, fval: str, lval: str, pixel: str, trigger: str
) -> tuple[Line, ...]:
    """A parallel camera."""
    return lines(
        connector,
        DOWN,
        (
            ("cam_clk", clk, "i", "camera's pixel clock", clock_hz),
            ("cam_fval", fval, "i", "frame valid"),
            ("cam_lval", lval, "i", "line valid"),
            ("cam_pixel", pixel, "i", "pixel; of a camera with more bits the upper eight"),
        ),
    ) + lines(connector, DOWN | {"DRIVE": "8"}, (("cam_trigger", trigger, "o", "high while the camera exposes"),))


def sensor_bus(connector: tuple[str, int], *, scl: str, sda: str) -> tuple[Line, ...]:
    return lines(
        connector,
        UP,
        (
            ("i2c_scl", scl, "od", "sensor's SCL; with 2.2 kOhm to 3.3 V"),
            ("i2c_sda", sda, "od", "sensor's SDA; with 2.2 kOhm to 3.3 V"),
        ),
    )


def laser(connector: tuple[str, int], *, enable: str, dac: str, bias: str, closed: str) -> tuple[Line, ...]:
    """Laser and interlock; ``dac``, ``bias``: CS#, SCK and SDI of one MCP4921 each."""
    rows = [("laser_enable", enable, "o", "high: light; 10 kOhm to ground keeps it low while there is no gateware")]
    for name, pins, what in (("dac", dac, "power"), ("bias", bias, "bias")):
        rows += [
            (f"{name}_{line}", pin, "o", f"MCP4921, laser {what}")
            for line, pin in zip(("cs_n", "sck", "sdi"), pins.split(), strict=True)
        ]
    closed_loop = lines(connector, DOWN, (("interlock_closed", closed, "i", "3.3 V through the closed loop"),))
    return lines(connector, _WEAK, rows) + closed_loop
