"""Our DVI output, decoded from its serial lanes by a receiver that others wrote (cocotbext-dvi)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from amaranth import ClockDomain, ClockSignal, Module
from amaranth._toolchain.yosys import find_yosys
from amaranth.back import rtlil
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from openopu_rtl.continuous import ContinuousVideoPort
from openopu_rtl.dvi import CLOCK_LANE, LANES, DviOutput, DviSerialiser
from openopu_rtl.protocol import Geometry, PanelKind

from .cocotb_dvi import BIT_PS, HEIGHT, LINE, LINES, WIDTH
from .test_models import run

MODE = Geometry(
    panel_kind=PanelKind.VIDEO_CONTINUOUS, slm_width=WIDTH, slm_height=HEIGHT, slm_h_front=2, slm_h_sync=3,
    slm_h_back=LINE - WIDTH - 5, slm_v_front=2, slm_v_sync=2, slm_v_back=LINES - HEIGHT - 4,
    macropixel=1, modes_x=8, modes_y=8, signal_x=0, signal_y=0, anchor_width=0, anchor_height=0, anchor_x=0,
)  # fmt: skip


class Source(wiring.Component):
    """A picture, sent for ever: video port, DVI output, serialiser; the pairs of bits are left to the board."""

    def __init__(self, picture: np.ndarray):
        self.picture = picture
        super().__init__(
            {"slm_clk": In(1), "x5_clk": In(1), **{f"pair{lane}": Out(2) for lane in range(LANES)}},
        )

    def elaborate(self, platform):
        m = Module()
        m.domains.slm = ClockDomain(reset_less=True)
        m.domains.slm_x5 = ClockDomain(reset_less=True)
        m.d.comb += [ClockSignal("slm").eq(self.slm_clk), ClockSignal("slm_x5").eq(self.x5_clk)]
        m.submodules.picture = picture = memory.Memory(
            shape=8, depth=self.picture.size, init=self.picture.ravel().tolist()
        )
        read = picture.read_port(domain="comb")
        m.submodules.video = video = ContinuousVideoPort(MODE)
        m.submodules.output = output = DviOutput(hsync_positive=False, vsync_positive=False)
        m.submodules.serialiser = serialiser = DviSerialiser()
        m.d.comb += [video.i.valid.eq(1), video.i.p.level.eq(read.data)]
        with m.If(video.i.ready):
            m.d.slm += read.addr.eq(read.addr + 1)
            with m.If(read.addr == self.picture.size - 1):
                m.d.slm += read.addr.eq(0)
        m.d.comb += [
            output.de.eq(video.de),
            output.hsync.eq(video.hsync),
            output.vsync.eq(video.vsync),
            output.pixel.eq(video.level),
            serialiser.words.eq(output.words),
        ]
        for lane in range(LANES):
            m.d.comb += getattr(self, f"pair{lane}").eq(serialiser.o[lane])
        return m


# The board's part: clocks of a PLL, and DDR outputs.
BOARD = f"""
`timescale 1ps / 1ps
module board (output [2:0] tmds_data_p, output tmds_clk_p);
    reg x5_clk = 0, slm_clk = 0;
    integer count = 0;
    always #{BIT_PS} x5_clk = !x5_clk;
    always @(posedge x5_clk) begin
        count <= count == 4 ? 0 : count + 1;
        slm_clk <= count < 2;
    end
    wire [1:0] pair0, pair1, pair2, pair3;
    source source (.slm_clk(slm_clk), .x5_clk(x5_clk), .pair0(pair0), .pair1(pair1), .pair2(pair2), .pair3(pair3));
    reg [3:0] pins = 0, falling = 0;
    always @(posedge x5_clk) begin
        pins <= {{pair{CLOCK_LANE}[0], pair2[0], pair1[0], pair0[0]}};
        falling <= {{pair{CLOCK_LANE}[1], pair2[1], pair1[1], pair0[1]}};
    end
    always @(negedge x5_clk) pins <= falling;
    assign {{tmds_clk_p, tmds_data_p}} = pins;
endmodule
"""


def test_cocotbext_dvi_decodes_our_lanes(tmp_path: Path) -> None:
    picture = np.random.default_rng(5).permutation(np.arange(WIDTH * HEIGHT) % 256).reshape(HEIGHT, WIDTH)
    grey = np.repeat(picture.astype(np.uint8)[:, :, None], 3, axis=2)
    (tmp_path / "picture.ppm").write_bytes(b"P6 %d %d 255\n" % (WIDTH, HEIGHT) + grey.tobytes())
    text = rtlil.convert(Source(picture), name="source", emit_src=False)
    script = f"read_rtlil <<rtlil\n{text}\nrtlil\nmemory_collect\nopt_clean\nwrite_verilog -noattr\n"
    source, board = tmp_path / "source.v", tmp_path / "board.v"
    source.write_text(find_yosys(lambda version: version >= (0, 40)).run(["-q", "-"], script, ignore_warnings=True))
    board.write_text(BOARD)
    assert len(run(tmp_path, "cocotb_dvi", "dvi", "board", [board, source])) == 1
