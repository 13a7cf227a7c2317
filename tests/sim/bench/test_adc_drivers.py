"""The gateware's ADC drivers, as Verilog, before the bench's models of their parts, which check the timing."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.back import verilog
from openopu_rtl.spi import Max11125, Mcp3201

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
    assert len(run(tmp_path, "driver", "adc_test", sources, f"-DLATE={late}", module="cocotb_adc")) == 1
