"""The gateware's SPI drivers, as Verilog: before the bench's models of their parts, which check the timing, and before
a public model of the other end."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.back import verilog
from openopu_rtl.spi import Max11125, Mcp3201, Mcp4921

from .test_models import HDL, run

CLOCK_HZ = 48_000_000
PARTS = {
    "mcp3201": """
    wire first, second, broken0, broken1;
    openopu_mcp3201 a (.clk(clk), .value(photodiode), .cs_n(cs_n[0]), .sck(sck), .dout(first), .broken(broken0));
    openopu_mcp3201 b (.clk(clk), .value(thermometer), .cs_n(cs_n[1]), .sck(sck), .dout(second), .broken(broken1));
    assign dout = first && second, broken = broken0 || broken1;
""",
    "max11125": """
    openopu_max11125 #(.LATE(`LATE)) a (
        .clk(clk), .values({36'd0, thermometer, 24'd0, photodiode, 12'd0}), .cs_n(cs_n[0]), .sck(sck), .din(sdi),
        .dout(dout), .config_word(), .broken(broken)
    );
""",
}
TOP = """
`timescale 1ps / 1ps
module adc_test (
    input clk, input rst, input start, input channel, input [11:0] photodiode, input [11:0] thermometer,
    output done, output [11:0] value, output broken
);
    wire [1:0] cs_n;
    wire sck, sdi, dout, busy;
    driver driver (
        .clk(clk), .rst(rst), .start(start), .channel(channel), .done(done), .value(value), .busy(busy),
        .cs_n(cs_n), .sck(sck), .sdi(sdi), .dout(dout)
    );
%s
endmodule
"""


@pytest.mark.parametrize(("part", "late"), [("mcp3201", 0), ("max11125", 0), ("max11125", 1)])
def test_driver_reads_its_part(tmp_path: Path, part: str, late: int) -> None:
    driver = Mcp3201(CLOCK_HZ) if part == "mcp3201" else Max11125(CLOCK_HZ, inputs=(1, 4))
    netlist, wrapper = tmp_path / "driver.v", tmp_path / "wrapper.v"
    netlist.write_text(verilog.convert(driver, name="driver", emit_src=False))
    wrapper.write_text(TOP % PARTS[part])
    sources = [netlist, HDL / f"{part}.v", wrapper]
    assert len(run(tmp_path, "cocotb_adc", "driver", "adc_test", sources, f"-DLATE={late}")) == 1


DAC_TOP = """
`timescale 1ps / 1ps
module dac_test (
    input clk, input rst, input [11:0] code, output cs_n, output sck, output [3:0] io,
    input [3:0] io_out, input [3:0] io_oe
);
    wire sdi, settled;
    driver driver (.clk(clk), .rst(rst), .code(code), .cs_n(cs_n), .sck(sck), .sdi(sdi), .settled(settled));
    assign io = {2'b00, sdi, 1'b0};
endmodule
"""
ADC_TOP = """
`timescale 1ps / 1ps
module adc_test (
    input clk, input rst, input start, output done, output [11:0] value, output cs_n, output sck, output [3:0] io,
    input [3:0] io_out, input [3:0] io_oe
);
    wire [1:0] cs;
    wire sdi, busy;
    driver driver (
        .clk(clk), .rst(rst), .start(start), .channel(1'b0), .done(done), .value(value), .busy(busy), .cs_n(cs),
        .sck(sck), .sdi(sdi), .dout(io_out[0])
    );
    assign io = 0, cs_n = cs[0];
endmodule
"""


@pytest.mark.parametrize("kind", ["dac", "adc"])
def test_public_model_agrees(tmp_path: Path, kind: str) -> None:
    """cocotbext-qspi receives the DAC's words, and sends those that the ADC's driver receives."""
    driver = Mcp4921(CLOCK_HZ) if kind == "dac" else Mcp3201(CLOCK_HZ)
    netlist, wrapper = tmp_path / "driver.v", tmp_path / "wrapper.v"
    netlist.write_text(verilog.convert(driver, name="driver", emit_src=False))
    wrapper.write_text(DAC_TOP if kind == "dac" else ADC_TOP)
    assert len(run(tmp_path, "cocotb_spi", kind, f"{kind}_test", [netlist, wrapper])) == 1
