"""The gateware on a board: :class:`~openopu_rtl.opu.Opu` behind the board's link, clocks and pins."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In
from openopu_rtl.dvi import CLOCK_LANE, LANES, DviOutput, DviSerialiser
from openopu_rtl.opu import Opu
from openopu_rtl.protocol import Link
from openopu_rtl.top import build_id
from openopu_rtl.uart import UartReceiver, UartTransmitter

from .board import Board, Clocks

INNER = ("link_i", "link_o", "link_kind", "link_reset", "uart_divisor", "exposure_id", "exposure_active", "idle")
"""Ports of the gateware that are no pins, but the link's inside or for a bench that watches."""
_HOPS = 2
"""Registers on the way from the serialiser to the pins: at five times the pixel clock a signal gets not far in one."""
_TOP_LINES = ("cam_clk", "slm_clk", "link_rx", "link_tx")
"""Lines that the top itself drives or reads."""


class BoardTop(Elaboratable):  # type: ignore[misc]
    """Connects each port of the gateware with the board's line of the same name.

    Raises ``ValueError`` where a port has no line and is not said to have none, or a line no port.
    """

    def __init__(self, board: Board):
        self.board = board
        self.opu = Opu(
            board.geometry,
            clock_hz=board.clock_hz,
            board=board.number,
            build=build_id(),
            adc=board.adc,
            baud=board.baud,
            plants=board.plants,
        )
        self.clocks: Clocks | None = None
        """Once elaborated."""
        ports = {name: m for name, m in self.opu.signature.members.items() if name not in INNER}
        panel = {name for name in ports if name.startswith("slm_")} if board.dvi else set()
        lines = {line.port for line in board.lines if line.direction != "io"}
        drains = {f"{line.port}_{end}" for line in board.lines if line.direction == "io" for end in ("i", "oe")}
        lines |= drains
        inputs = {name for name, member in ports.items() if member.flow is In}
        if bare := inputs - lines - panel - set(board.unconnected):
            raise self._refuse(f"the gateware's input `{min(bare)}` has no line")
        if strays := lines - ports.keys() - set(_TOP_LINES):
            raise self._refuse(f"lines without a port: {sorted(strays)}")
        self._ports = ports

    def _refuse(self, what: str) -> ValueError:
        """The error for a board that does not fit; of what was made of it and stays unused Amaranth need not warn."""
        for part in (self, self.opu):
            part._MustUse__silence = True
        return ValueError(f"{self.board.name}: {what}")

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        board, opu = self.board, self.opu
        self.clocks = clocks = board.add_clocks(m, platform)
        m.domains.cam = ClockDomain()
        m.submodules.cam_clk = cam_clk = io.Buffer("i", platform.request("cam_clk", dir="-"))
        m.d.comb += ClockSignal("cam").eq(cam_clk.i)
        m.submodules += [ResetSynchronizer(~clocks.locked, domain=name) for name in ("sync", "slm", "cam")]

        m.submodules.opu = opu
        m.submodules.uart_receiver = receiver = UartReceiver()
        m.submodules.uart_transmitter = transmitter = UartTransmitter()
        m.submodules.link_rx = link_rx = io.Buffer("i", platform.request("link_rx", dir="-"))
        m.submodules.link_tx = link_tx = io.Buffer("o", platform.request("link_tx", dir="-"))
        m.d.comb += [
            receiver.divisor.eq(opu.uart_divisor),
            receiver.rx.eq(link_rx.i),
            opu.link_kind.eq(Link.UART),
            opu.link_reset.eq(receiver.line_break),
            transmitter.divisor.eq(opu.uart_divisor),
            link_tx.o.eq(transmitter.tx),
            opu.link_i.payload.eq(receiver.o.payload),
            opu.link_i.valid.eq(receiver.o.valid),
            transmitter.i.payload.eq(opu.link_o.payload),
            transmitter.i.valid.eq(opu.link_o.valid),
            opu.link_o.ready.eq(transmitter.i.ready),
        ]

        for both in board.lines:
            if both.direction == "io":
                m.submodules[both.port] = drain = io.Buffer("io", platform.request(both.port, dir="-"))
                pull, level = getattr(opu, f"{both.port}_oe"), getattr(opu, f"{both.port}_i")
                m.d.comb += [drain.o.eq(0), drain.oe.eq(pull), level.eq(drain.i)]

        for name, member in self._ports.items():
            line = board.line(name)
            if line is None:
                continue
            signal = getattr(opu, name)
            flow = "i" if member.flow is In else "o"
            if line.direction != flow or line.width > len(signal):
                raise ValueError(f"{board.name}: line `{name}` does not fit its port")
            domain = {"cam": "cam", "slm": "slm"}.get(name.split("_")[0]) if name != "cam_trigger" else None
            port = platform.request(name, dir="-")
            if domain is None:
                m.submodules[name] = buffer = io.Buffer(flow, port)
            else:
                # In the pin's own register, so that the pins of a bus are alike.
                m.submodules[name] = buffer = io.FFBuffer(flow, port, **{f"{flow}_domain": domain})
            m.d.comb += signal.eq(buffer.i) if flow == "i" else buffer.o.eq(signal)

        if board.dvi:
            self._add_dvi(m, platform)
        elif board.line("slm_clk"):
            self._forward_clock(m, platform)
        return m

    def _add_dvi(self, m: Module, platform: Any) -> None:
        opu = self.opu
        mode = self.board.mode
        m.submodules.dvi = dvi = DviOutput(hsync_positive=mode.hsync_positive, vsync_positive=mode.vsync_positive)
        m.submodules.serialiser = serialiser = DviSerialiser()  # type: ignore[no-untyped-call]
        m.d.comb += [
            dvi.de.eq(opu.slm_de),
            dvi.hsync.eq(opu.slm_hsync),
            dvi.vsync.eq(opu.slm_vsync),
            dvi.pixel.eq(opu.slm_level),
            serialiser.words.eq(dvi.words),
        ]
        connector = platform.request("hdmi", dir="-")
        for lane in range(LANES):
            port = connector.clk if lane == CLOCK_LANE else connector.d[lane]
            m.submodules[f"lane{lane}"] = buffer = io.DDRBuffer("o", port, o_domain="slm_x5")
            pair = serialiser.o[lane]
            for stage in range(_HOPS):
                hop = Signal(2, name=f"hop{lane}_{stage}")
                m.d.slm_x5 += hop.eq(pair)
                pair = hop
            m.d.comb += [buffer.o[0].eq(pair[0]), buffer.o[1].eq(pair[1])]

    def _forward_clock(self, m: Module, platform: Any) -> None:
        """The panel takes pixels at the rising edge of its clock, half a clock after they changed."""
        m.submodules.slm_clk = buffer = io.DDRBuffer("o", platform.request("slm_clk", dir="-"), o_domain="slm")
        m.d.comb += [buffer.o[0].eq(0), buffer.o[1].eq(1)]
