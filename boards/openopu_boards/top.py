"""The gateware on a board: :class:`~openopu_rtl.opu.Opu` behind the board's link, clocks and pins."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In
from openopu_rtl.dvi import CLOCK_LANE, LANES, DviOutput, DviSerialiser
from openopu_rtl.opu import Opu
from openopu_rtl.top import build_id

from .board import Board, Clocks
from .link import DOMAINS, PINS, add_link

INNER = ("link_i", "link_o", "link_kind", "link_reset", "uart_divisor", "exposure_id", "exposure_active", "idle")
"""Ports of the gateware that are no pins, but the link's inside or for a bench that watches."""
_HOPS = 3
"""Registers on the way from the serialiser to the pins: at five times the pixel clock a signal gets not far in one."""
_TOP_LINES = ("cam_clk", "slm_clk")
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
        lines = {line.port for line in board.lines if line.direction != "od"}
        drains = {f"{line.port}_{end}" for line in board.lines if line.direction == "od" for end in ("i", "oe")}
        lines |= drains
        inputs = {name for name, member in ports.items() if member.flow is In}
        if bare := inputs - lines - panel - set(board.unconnected):
            raise self._refuse(f"the gateware's input `{min(bare)}` has no line")
        if strays := lines - ports.keys() - set(_TOP_LINES):
            raise self._refuse(f"lines without a port: {sorted(strays)}")
        link = {line.port: (line.direction, line.width) for line in board.links[board.link]}
        if link != {name: (way, 8 if name == "link_data" else 1) for name, way in PINS[board.link].items()}:
            raise self._refuse(f"its lines do not make a link of the kind `{board.link.key}`")
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
        domains = ("sync", "slm", "cam", *DOMAINS[board.link])
        m.submodules += [ResetSynchronizer(~clocks.locked, domain=name) for name in domains]

        m.submodules.opu = opu
        add_link(m, platform, board.link, opu, f"openopu-{board.name}")

        for name in (line.port for line in board.lines if line.direction == "od"):
            m.submodules[name] = drain = io.Buffer("io", platform.request(name, dir="-"))
            pull, level = getattr(opu, f"{name}_oe"), getattr(opu, f"{name}_i")
            m.d.comb += [drain.o.eq(0), drain.oe.eq(pull), level.eq(drain.i)]

        for name, member in self._ports.items():
            if (line := board.line(name)) is None:
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
