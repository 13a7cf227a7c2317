"""The bench's HDL models, each on its own in Icarus: what they do, and that they see broken laws."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import openopu_sim.bench
import pytest
from openopu_sim.bench.process import cocotb_environment, vvp_command

HERE = Path(__file__).parent
HDL = Path(openopu_sim.bench.__file__).parent / "hdl"

# The panel stores its frame by a task, which only Verilog can call.
PANEL_WRAPPER = """
`timescale 1ps / 1ps
module panel_test #(parameter KIND = 0) (
    input pixel_clk, input de, input hsync, input vsync, input [7:0] level, input exposing, input write_now,
    output [31:0] latched, output [7:0] broken
);
    openopu_panel #(.KIND(KIND), .WIDTH(10), .HEIGHT(6), .H_FRONT(2), .H_SYNC(3), .H_BACK(4),
                    .V_FRONT(1), .V_SYNC(1), .V_BACK(2))
        panel (.pixel_clk(pixel_clk), .de(de), .hsync(hsync), .vsync(vsync), .level(level), .exposing(exposing),
               .latched(latched), .broken(broken));
    always @(posedge write_now) panel.write;
endmodule
"""


def run(folder: Path, module: str, tests: str, top: str, sources: list[Path], *options: str) -> dict[str, bool]:
    """Run those functions of ``module`` whose names begin with ``tests``; outcome by name."""
    first = folder / "timescale.v"
    first.write_text("`timescale 1ps / 1ps\n")
    program = folder / "model.vvp"
    command = ["iverilog", "-g2005", "-s", top, "-o", program, *options, first, *sources]
    subprocess.run(list(map(str, command)), check=True, timeout=60)
    environment = cocotb_environment(module, top)
    environment["PYTHONPATH"] += f":{HERE}"
    environment["COCOTB_TEST_FILTER"] = f"{module}.{tests}"
    environment["COCOTB_REWRITE_ASSERTION_FILES"] = "*.py"
    results = folder / "results.xml"
    environment["COCOTB_RESULTS_FILE"] = str(results)
    environment["PYTHONWARNINGS"] = "ignore"  # public models use deprecated names of cocotb
    done = subprocess.run(
        vvp_command(program), cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert results.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    cases = list(ElementTree.parse(results).iter("testcase"))
    outcomes = {c.get("name", ""): c.find("failure") is None and c.find("error") is None for c in cases}
    failed = [name for name, passed in outcomes.items() if not passed]
    assert not failed, f"{failed}\n{done.stdout[-6000:]}"
    return outcomes


def test_panel(tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper.v"
    wrapper.write_text(PANEL_WRAPPER)
    assert len(run(tmp_path, "cocotb_panel", "panel", "panel_test", [HDL / "panel.v", wrapper])) == 9


def test_panel_of_continuous_video(tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper.v"
    wrapper.write_text(PANEL_WRAPPER)
    assert (
        len(
            run(tmp_path, "cocotb_panel", "continuous", "panel_test", [HDL / "panel.v", wrapper], "-Ppanel_test.KIND=1")
        )
        == 5
    )


MIRRORS_WRAPPER = """
`timescale 1ps / 1ps
module dmd_test (
    input clk, input dvalid, input [3:0] data, input [1:0] row_mode, input [10:0] row_address, input [1:0] block_mode,
    input [3:0] block_address, input exposing, input write_now, output rst_active, output [31:0] latched,
    output [7:0] broken
);
    openopu_dmd #(.WIDTH(10), .HEIGHT(5), .WORD(4), .RST_CLOCKS(6), .SETTLE_CLOCKS(9)) panel (
        .clk(clk), .dvalid(dvalid), .data(data), .row_mode(row_mode), .row_address(row_address),
        .block_mode(block_mode), .block_address(block_address), .rst_active(rst_active), .exposing(exposing),
        .latched(latched), .broken(broken));
    always @(posedge write_now) panel.write;
endmodule
module planes_test (
    input clk, input de, input hsync, input vsync, input [23:0] pixel, input exposing, input write_now,
    output trigger, output [31:0] latched, output [7:0] broken
);
    openopu_packed_panel #(.WIDTH(10), .HEIGHT(6), .H_FRONT(2), .H_SYNC(3), .H_BACK(4), .V_FRONT(1), .V_SYNC(1),
                           .V_BACK(2), .DARK_SHARE(4)) panel (
        .pixel_clk(clk), .de(de), .hsync(hsync), .vsync(vsync), .pixel(pixel), .trigger(trigger),
        .exposing(exposing), .latched(latched), .broken(broken));
    always @(posedge write_now) panel.write;
endmodule
"""


@pytest.mark.parametrize(("top", "tests"), [("dmd", 10), ("planes", 8)])
def test_mirrors(tmp_path: Path, top: str, tests: int) -> None:
    wrapper = tmp_path / "wrapper.v"
    wrapper.write_text(MIRRORS_WRAPPER)
    sources = [HDL / "dmd.v", HDL / "packed_panel.v", wrapper]
    assert len(run(tmp_path, "cocotb_mirrors", top, f"{top}_test", sources)) == tests


def test_camera(tmp_path: Path) -> None:
    options = ("-Popenopu_camera.WIDTH=7", "-Popenopu_camera.HEIGHT=5")
    assert len(run(tmp_path, "cocotb_camera", "camera", "openopu_camera", [HDL / "camera.v"], *options)) == 16


@pytest.mark.parametrize(("part", "top"), [("dac", "openopu_mcp4921"), ("adc", "openopu_mcp3201")])
def test_spi_parts(tmp_path: Path, part: str, top: str) -> None:
    file = HDL / f"{top.removeprefix('openopu_')}.v"
    assert len(run(tmp_path, "cocotb_parts", part, top, [file], f"-P{top}.CLOCK_HZ=50000000")) == 1


@pytest.mark.parametrize("late", [0, 1])
def test_multi_channel_adc(tmp_path: Path, late: int) -> None:
    options = ("-Popenopu_max11125.CLOCK_HZ=50000000", f"-Popenopu_max11125.LATE={late}")
    assert len(run(tmp_path, "cocotb_parts", "maxadc", "openopu_max11125", [HDL / "max11125.v"], *options)) == 2


def test_uart(tmp_path: Path) -> None:
    assert len(run(tmp_path, "cocotb_parts", "uart", "openopu_uart", [HDL / "uart.v"])) == 5
