"""The gateware as a netlist: the simulation's top level and its Verilog."""

from __future__ import annotations

import hashlib
from pathlib import Path

from amaranth import Cat, ClockDomain, ClockSignal, Module, ResetSignal, Shape
from amaranth._toolchain.yosys import find_yosys
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from .ft245 import Ft245Async
from .ft245_sync import Ft245Sync
from .linkport import serve
from .opu import Opu
from .panel import panel_pins
from .protocol.ft245 import FT232H
from .protocol.geometry import Geometry
from .protocol.links import Link
from .shapes import LINK
from .spi import Mcp3201
from .uart import UartPort

SIMULATION_CLOCK_HZ = 48_000_000
"""System clock of the simulation: UART rates up to 12 Mbaud, those of USB bridges such as FT232H."""
SIMULATION_ADC = Mcp3201
"""Driver of the simulation's ADC."""


def build_id() -> int:
    """First 32 bits of the SHA-256 of the gateware's sources: the register ``build``."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return int.from_bytes(digest.digest()[:4], "big")


VIDEO_PINS = {"slm_de": 1, "slm_hsync": 1, "slm_vsync": 1, "slm_level": 8}


class SimulationTop(wiring.Component):
    """:class:`Opu` behind every kind of link that the bench plays; the static pin ``link`` chooses, a :class:`Link`.

    Clocks are pins: ``clk`` with ``rst``, ``slm_clk``, ``cam_clk``, and ``ft_clk``, which runs for ``Link.FT245SYNC``
    only; the reset reaches all of them.

    The pins are the same for every kind of panel: beside those of video, which are low where the panel has none,
    ``slm_bus`` holds whatever else goes to the panel, first pin lowest, and ``slm_return`` is what comes
    from it.
    """

    def __init__(self, geometry: Geometry, clock_hz: int = SIMULATION_CLOCK_HZ):
        self.geometry = geometry
        self.opu = Opu(geometry, clock_hz=clock_hz, build=build_id(), adc=SIMULATION_ADC)
        pins = {
            name: member
            for name, member in self.opu.signature.members.items()
            if not name.startswith(("link_", "slm_")) and name != "uart_divisor"
        }
        panel = panel_pins(geometry)
        self._bus = [name for name, member in panel.items() if name not in VIDEO_PINS and member.flow is Out]
        self._returns = [name for name, member in panel.items() if member.flow is In]
        self._video = [name for name in panel if name in VIDEO_PINS]
        bus_bits = sum(Shape.cast(panel[name].shape).width for name in self._bus)
        super().__init__(
            {
                "clk": In(1),
                "rst": In(1),
                "slm_clk": In(1),
                "cam_clk": In(1),
                "ft_clk": In(1),
                "link": In(LINK),
                "uart_rx": In(1),
                "uart_tx": Out(1, init=1),
                "ft_rxf_n": In(1),
                "ft_txe_n": In(1),
                "ft_data_i": In(8),
                "ft_pwren_n": In(1),
                "ft_rd_n": Out(1, init=1),
                "ft_wr_n": Out(1, init=1),
                "ft_oe_n": Out(1, init=1),
                "ft_data_o": Out(8),
                "ft_data_oe": Out(1),
                "bypass_rx_payload": In(8),
                "bypass_rx_valid": In(1),
                "bypass_rx_ready": Out(1),
                "bypass_tx_payload": Out(8),
                "bypass_tx_valid": Out(1),
                "bypass_tx_ready": In(1),
                **{name: Out(width) for name, width in VIDEO_PINS.items()},
                "slm_bus": Out(max(1, bus_bits)),
                "slm_return": In(1),
                **pins,
            }
        )
        self._pins = pins

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain()
        m.domains.slm = ClockDomain()
        m.domains.cam = ClockDomain()
        m.domains.ft = ClockDomain()
        m.d.comb += [
            ClockSignal("sync").eq(self.clk),
            ResetSignal("sync").eq(self.rst),
            ClockSignal("slm").eq(self.slm_clk),
            ClockSignal("cam").eq(self.cam_clk),
            ClockSignal("ft").eq(self.ft_clk),
        ]
        m.submodules += [
            ResetSynchronizer(self.rst, domain="slm"),
            ResetSynchronizer(self.rst, domain="cam"),
            ResetSynchronizer(self.rst, domain="ft"),
        ]
        m.submodules.opu = opu = self.opu
        m.submodules.uart = uart = UartPort()
        m.submodules.ft245 = ft245 = Ft245Async(FT232H, opu.clock_hz)
        m.submodules.ft245_sync = ft245_sync = Ft245Sync()
        for name, member in self._pins.items():
            inner, outer = getattr(opu, name), getattr(self, name)
            if name == "idle":
                continue
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        m.d.comb += self.slm_bus.eq(Cat(getattr(opu, name) for name in self._bus))
        for name in self._video:
            m.d.comb += getattr(self, name).eq(getattr(opu, name))
        for name in self._returns:
            m.d.comb += getattr(opu, name).eq(self.slm_return)
        m.d.comb += [
            opu.link_kind.eq(self.link),
            uart.divisor.eq(opu.uart_divisor),
            uart.rx.eq(self.uart_rx),
            self.uart_tx.eq(uart.tx),
        ]
        with m.Switch(self.link):
            with m.Case(Link.UART):
                serve(m, uart, opu)
            with m.Case(Link.BYTES):
                m.d.comb += [
                    opu.link_i.payload.eq(self.bypass_rx_payload),
                    opu.link_i.valid.eq(self.bypass_rx_valid),
                    self.bypass_rx_ready.eq(opu.link_i.ready),
                    self.bypass_tx_payload.eq(opu.link_o.payload),
                    self.bypass_tx_valid.eq(opu.link_o.valid),
                    opu.link_o.ready.eq(self.bypass_tx_ready),
                ]
            for kind, port in ((Link.FT245, ft245), (Link.FT245SYNC, ft245_sync)):
                with m.Case(kind):
                    serve(m, port, opu)
                    m.d.comb += [
                        port.rxf_n.eq(self.ft_rxf_n),
                        port.txe_n.eq(self.ft_txe_n),
                        port.data_i.eq(self.ft_data_i),
                        port.pwren_n.eq(self.ft_pwren_n),
                        self.ft_rd_n.eq(port.rd_n),
                        self.ft_wr_n.eq(port.wr_n),
                        self.ft_data_o.eq(port.data_o),
                        self.ft_data_oe.eq(port.data_oe),
                    ]
        m.d.comb += self.ft_oe_n.eq(ft245_sync.oe_n)
        # Nothing on the wire either.
        m.d.comb += self.idle.eq(opu.idle & ~uart.busy & ~ft245.busy & ~ft245_sync.busy)
        return m


def simulation_verilog(geometry: Geometry, clock_hz: int = SIMULATION_CLOCK_HZ) -> str:
    """Verilog of module ``openopu_sim_top`` for Verilator and Icarus alike.

    Written through RTLIL and without the pass ``proc``: case statements stay case statements, which
    both simulators run faster than the multiplexers that it makes of them (measured: Verilator 2 x,
    Icarus 1.3 x). Icarus must read it with ``-g2005``: by its newer rules ``always @*`` blocks with
    constant inputs stay X (amaranth-lang/amaranth#1629).
    """
    text = rtlil.convert(SimulationTop(geometry, clock_hz), name="openopu_sim_top", emit_src=False)
    script = f"read_rtlil <<rtlil\n{text}\nrtlil\nmemory_collect\nopt_clean\nwrite_verilog -noattr\n"
    return find_yosys(lambda version: version >= (0, 40)).run(["-q", "-"], script, ignore_warnings=True)
