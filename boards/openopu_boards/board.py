"""What a board is: its part, its pins as data, and how its clocks are made."""

from __future__ import annotations

import dataclasses
import importlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from amaranth.build import Attrs, Clock, Pins, Platform, Resource
from amaranth.hdl import Module
from openopu.errors import UsageError
from openopu_rtl.protocol import Geometry, Link
from openopu_rtl.protocol.boards import BOARD_NUMBERS
from openopu_rtl.protocol.video import VideoMode
from openopu_rtl.spi import AdcDriver, Mcp3201

MODULES = {name: f"openopu_boards.{name}" for name in ("ulx3s", "icepi_zero", "arty_a7")}
"""Module of each board; it holds the board as ``BOARD``."""


@dataclass(frozen=True)
class Line:
    """Signals of the outside on pins of the board. The wiring pages are made from these."""

    port: str
    """Port of :class:`openopu_rtl.opu.Opu` of the same name, or one of the board's top (``cam_clk``, ``slm_clk``) or of
    its link (:data:`openopu_boards.link.PINS`)."""
    pins: str
    """Names of the pins, lowest bit first, parted by blanks: of ``connector``, or of the FPGA where there is none."""
    direction: str
    """``i``: into the FPGA; ``o``: out of it; ``io``: both; ``od``: an open drain, for the ports ``NAME_i`` and
    ``NAME_oe``, which pulls the line low."""
    connector: tuple[str, int] | None = None
    """Name and number of the connector as amaranth-boards has it."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Of the pins, in the words of the vendor's tools."""
    doc: str = ""
    clock_hz: int = 0
    """Fastest clock on this pin, where it is one."""

    @property
    def width(self) -> int:
        return len(self.pins.split())

    def resource(self) -> Resource:
        """As amaranth-boards has it, to be requested by the name of the port."""
        direction = "io" if self.direction == "od" else self.direction
        parts: list[Any] = [Pins(self.pins, dir=direction, conn=self.connector)]
        if self.clock_hz:
            parts.append(Clock(self.clock_hz))
        if self.attributes:
            parts.append(Attrs(**dict(self.attributes)))
        return Resource(self.port, 0, *parts)


@dataclass(frozen=True)
class Board:
    """One board and the gateware made for it."""

    name: str
    """In commands, file names and :data:`openopu_rtl.protocol.boards.BOARDS`."""
    title: str
    part: str
    """Of the FPGA, with package and speed."""
    family: str
    """``ecp5`` or ``xilinx``: which tools."""
    idcode: int
    """What the part answers on JTAG, without its revision (bits 31:28)."""
    loader: str
    """Name of the board in openFPGALoader."""
    vendor: Callable[[], Any]
    """The board's platform in amaranth-boards."""
    geometry: Geometry
    clock_hz: int
    """Of the system."""
    mode: VideoMode
    """Of the panel."""
    camera_clock_hz: int
    """Fastest pixel clock of the camera that the timing is checked for."""
    lines: tuple[Line, ...]
    """All but those of the link."""
    links: Mapping[Link, tuple[Line, ...]]
    """Kinds of link that the board has, and the lines of each."""
    link: Link = Link.UART
    """The kind that the gateware is made for."""
    link_clock_hz: Mapping[Link, int] = field(default_factory=dict)
    """``clock_hz`` with those links that do not meet the usual one."""
    unconnected: tuple[str, ...] = ()
    """Inputs of the gateware that have no pin: held at 0."""
    adc: type[AdcDriver] = Mcp3201
    baud: int = 3_000_000
    """Of the UART after reset: the fastest that an FT231X makes."""
    dvi: bool = False
    """True: the panel is behind the board's own DVI connector."""
    plants: tuple[str, ...] = ()
    """Of :data:`openopu_rtl.plant.SIMULATED_PLANTS`, those that are built in."""
    seed: int = 1
    """Of place and route: the one that meets the timing."""
    notes: tuple[str, ...] = ()
    """For who wires it, on the wiring page."""
    sources: tuple[str, ...] = ()
    """Where pins and limits were taken from."""

    @property
    def pixel_clock_hz(self) -> int:
        """Of the panel, as the standard has it."""
        return self.mode.pixel_clock_hz

    @property
    def number(self) -> int:
        """Identity register ``board``."""
        return BOARD_NUMBERS[self.name]

    @property
    def wired(self) -> tuple[Line, ...]:
        """Lines of the gateware: the board's, and those of its link."""
        return self.lines + self.links[self.link]

    def line(self, port: str) -> Line | None:
        return next((line for line in self.wired if line.port == port), None)

    def platform(self) -> Any:
        """A new platform, with a resource for each line."""
        made = self.vendor()
        made.add_resources([line.resource() for line in self.wired])
        return made

    @abstractmethod
    def add_clocks(self, m: Module, platform: Platform) -> Clocks:
        """Make the domains ``sync``, ``slm``, with ``dvi`` ``slm_x5``, and those of USB, where it is the link; the top
        adds ``cam`` and all resets.
        """


@dataclass(frozen=True)
class Clocks:
    """Frequencies that a board's PLLs make, and the signal that says when they do."""

    sync_hz: float
    slm_hz: float
    locked: Any
    link_hz: Mapping[str, float] = field(default_factory=dict)
    """Of the domains that the link needs, where a PLL makes them."""

    def slm_deviation(self, wanted_hz: int) -> float:
        """Of the pixel clock, as a fraction."""
        return self.slm_hz / wanted_hz - 1


def lines(connector: tuple[str, int], attributes: dict[str, str], rows: Sequence[tuple[Any, ...]]) -> tuple[Line, ...]:
    """Lines on one connector: rows of (port, pins, direction, doc), and the clock's frequency where it is one."""
    return tuple(
        Line(port, pins, direction, connector, tuple(attributes.items()), doc, *more)
        for port, pins, direction, doc, *more in rows
    )


def board(name: str, link: str | None = None) -> Board:
    """The board of that name, with a link of the kind ``link`` (:attr:`Link.key`) or its usual one.

    Raises :class:`UsageError`.
    """
    if name not in MODULES:
        raise UsageError(f"no board `{name}`", "--board", f"Known: {', '.join(MODULES)}")
    found = importlib.import_module(MODULES[name]).BOARD
    assert isinstance(found, Board)
    return found if link is None else with_link(found, link)


def with_link(of: Board, name: str) -> Board:
    """The same board with another link. Raises :class:`UsageError`."""
    known = {kind.key: kind for kind in of.links}
    if name not in known:
        raise UsageError(f"{of.name} has no link `{name}`", "--link", f"It has: {', '.join(known)}")
    link = known[name]
    return dataclasses.replace(of, link=link, clock_hz=of.link_clock_hz.get(link, of.clock_hz))


def with_geometry(of: Board, geometry: Geometry) -> Board:
    """The same board with other gateware."""
    return dataclasses.replace(of, geometry=geometry)
