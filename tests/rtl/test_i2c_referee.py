"""Our I2C master against cocotbext-i2c, a public model of the other end."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from amaranth.back import verilog
from openopu_rtl.i2c import I2cMaster
from openopu_sim.bench.process import cocotb_environment, vvp_command

HERE = Path(__file__).parent

WRAPPER = """
`timescale 1ns / 1ps
module i2c_test (
    input clk, input rst, input start, input read, input [6:0] target, input wide_register, input wide_value,
    input [15:0] register, input [15:0] value, output busy, output [2:0] state, output [15:0] result,
    output scl, output sda, input memory_sda, input memory_scl, input device_sda, input device_scl
);
    wire scl_oe, sda_oe;
    assign scl = !scl_oe & memory_scl & device_scl;
    assign sda = !sda_oe & memory_sda & device_sda;
    i2c_master master (
        .clk(clk), .rst(rst), .start(start), .read(read), .target(target), .wide_register(wide_register),
        .wide_value(wide_value), .register(register), .value(value), .busy(busy), .state(state), .result(result),
        .scl_i(scl), .sda_i(sda), .scl_oe(scl_oe), .sda_oe(sda_oe)
    );
endmodule
"""


def test_public_models_are_read_and_written(tmp_path: Path) -> None:
    wrapper, netlist, program = tmp_path / "wrapper.v", tmp_path / "master.v", tmp_path / "test.vvp"
    wrapper.write_text(WRAPPER)
    master = I2cMaster(8_000_000, stretch_clocks=400)
    netlist.write_text(verilog.convert(master, name="i2c_master", emit_src=False))
    command = ["iverilog", "-g2005", "-s", "i2c_test", "-o", program, wrapper, netlist]
    subprocess.run(list(map(str, command)), check=True, timeout=60)
    environment = cocotb_environment("cocotb_i2c", "i2c_test")
    environment["PYTHONPATH"] += f":{HERE}"
    environment["COCOTB_REWRITE_ASSERTION_FILES"] = "*.py"
    environment["COCOTB_RESULTS_FILE"] = str(tmp_path / "results.xml")
    environment["PYTHONWARNINGS"] = "ignore"  # cocotbext-i2c uses deprecated names of cocotb
    done = subprocess.run(
        vvp_command(program), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    output = done.stdout[-6000:] + done.stderr[-3000:]
    cases = list(ElementTree.parse(tmp_path / "results.xml").iter("testcase"))
    assert [c.get("name") for c in cases] == ["registers_of_both"], output
    assert all(c.find("failure") is None and c.find("error") is None for c in cases), output
