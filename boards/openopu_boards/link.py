"""The board's end of the link: the port of its kind, its pins and its clock domain."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Module
from amaranth.lib import io
from openopu_rtl.ft245 import Ft245Async
from openopu_rtl.ft245_sync import Ft245Sync
from openopu_rtl.linkport import serve
from openopu_rtl.protocol import Link
from openopu_rtl.protocol.ft245 import FT232H
from openopu_rtl.protocol.links import FT245SYNC_HZ
from openopu_rtl.uart import UartPort
from openopu_rtl.usb import UsbSerial

_FIFO = {
    "link_data": "io",
    "link_rxf_n": "i",
    "link_txe_n": "i",
    "link_rd_n": "o",
    "link_wr_n": "o",
    "link_pwren_n": "i",
}
PINS: dict[Link, dict[str, str]] = {
    Link.UART: {"link_rx": "i", "link_tx": "o"},
    Link.FT245: _FIFO,
    Link.FT245SYNC: _FIFO | {"link_oe_n": "o", "link_clk": "i"},
    Link.USB: {"link_d_p": "io", "link_d_n": "io", "link_pullup": "o"},
}
"""Lines of each kind, and their directions as :attr:`~openopu_boards.board.Line.direction` has them."""
DOMAINS: dict[Link, dict[str, float]] = {
    Link.UART: {},
    Link.FT245: {},
    Link.FT245SYNC: {"ft": FT245SYNC_HZ},
    Link.USB: {"usb_io": 48e6, "usb": 12e6},
}
"""Clock domains of each kind beside ``sync``, and their frequencies; the board makes those of USB."""


def add_link(m: Module, platform: Any, kind: Link, opu: Any, serial_number: str) -> None:
    """Put the port of ``kind`` between the board's pins and ``opu``.

    ``platform`` hands out the pins of :data:`PINS` by name; ``serial_number`` is what USB tells the host.
    """
    pins: dict[str, Any] = {}
    for name, direction in PINS[kind].items():
        m.submodules[name] = io.Buffer(direction, platform.request(name, dir="-"))
        pins[name.removeprefix("link_")] = m.submodules[name]
    port: Any
    match kind:
        case Link.UART:
            port = UartPort()
            m.d.comb += [port.divisor.eq(opu.uart_divisor), port.rx.eq(pins["rx"].i), pins["tx"].o.eq(port.tx)]
        case Link.USB:
            port = UsbSerial(opu.clock_hz, serial_number)
            m.d.comb += pins["pullup"].o.eq(port.pullup)
            for line in ("d_p", "d_n"):
                m.d.comb += [
                    getattr(port, f"{line}_i").eq(pins[line].i),
                    pins[line].o.eq(getattr(port, f"{line}_o")),
                    pins[line].oe.eq(port.d_oe),
                ]
        case _:
            port = Ft245Sync() if kind is Link.FT245SYNC else Ft245Async(FT232H, opu.clock_hz)
            m.d.comb += [port.data_i.eq(pins["data"].i), pins["data"].o.eq(port.data_o)]
            m.d.comb += pins["data"].oe.eq(port.data_oe)
            for line in pins.keys() - {"data", "clk"}:
                m.d.comb += (
                    getattr(port, line).eq(pins[line].i)
                    if PINS[kind][f"link_{line}"] == "i"
                    else pins[line].o.eq(getattr(port, line))
                )
    if kind is Link.FT245SYNC:
        m.domains.ft = ClockDomain()
        m.d.comb += ClockSignal("ft").eq(pins["clk"].i)
    m.submodules.link = port
    m.d.comb += opu.link_kind.eq(kind)
    serve(m, port, opu)
