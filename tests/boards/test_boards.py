"""Boards: their pins, their clocks, and the gateware on them."""

import collections
import dataclasses
import json

import pytest
from openopu import cli
from openopu.lock import LOCK_FILE, try_lock
from openopu_boards import pll, report, tools
from openopu_boards.board import MODULES, board
from openopu_boards.build import NAME, TimingMissed, _clocks, judge
from openopu_boards.top import BoardTop
from openopu_rtl.protocol import Geometry
from openopu_rtl.protocol.boards import BOARD_NUMBERS, BOARDS, board_name

ALL = sorted(MODULES)
TOLERANCE = 0.005
"""Of a pixel clock, CTA-861."""


@pytest.fixture(params=ALL)
def each(request):
    return board(request.param)


@pytest.fixture(params=[(name, kind.key) for name in ALL for kind in board(name).links], ids="-".join)
def with_each_link(request):
    return board(*request.param)


def small(of):
    """The board with gateware that elaborates soon."""
    g = Geometry.fitting(64, 64, panel_kind=of.geometry.panel_kind)
    return dataclasses.replace(of, geometry=g)


def test_numbers_and_names():
    assert {board(name).number for name in ALL} == {n for n in BOARDS if n >= 16}
    assert len(BOARD_NUMBERS) == len(BOARDS)
    assert [board_name(n) for n in (0, 1, 16, 99)] == ["simulation", "twin", "ulx3s", "99"]


def pins_of(of):
    """Every pin of the FPGA that the board's lines take, by line, and those of the clock and the DVI connector."""
    platform = of.platform()
    taken = {}
    for line in of.wired:
        port = platform.request(line.port, dir="-")
        for bit in port.io.metadata:
            taken.setdefault(bit.name, []).append(line.port)
    if of.dvi:
        connector = platform.request("hdmi", dir="-")
        for port in (connector.clk, connector.d):
            for bit in (*port.p.metadata, *port.n.metadata):
                taken.setdefault(bit.name, []).append("dvi")
    return taken


def test_no_pin_is_taken_twice(with_each_link):
    assert not {pin: lines for pin, lines in pins_of(with_each_link).items() if len(lines) > 1}


def test_every_line_says_what_it_is(with_each_link):
    each = with_each_link
    assert not [line.port for line in each.wired if not line.doc]
    assert max(collections.Counter(line.port for line in each.wired).values()) == 1
    assert each.line("cam_clk").clock_hz == each.camera_clock_hz
    # Nothing shines before there is gateware, nor while a wire is off.
    for name in ("laser_enable", "interlock_closed"):
        pull = dict(each.line(name).attributes).get("PULLMODE")
        assert each.family != "ecp5" or pull == "DOWN"


def test_the_gateware_elaborates(each):
    top = BoardTop(small(each))
    each.platform().prepare(top, NAME, emit_src=False)
    assert top.clocks.sync_hz == each.clock_hz
    assert abs(top.clocks.slm_deviation(each.pixel_clock_hz)) <= TOLERANCE


def test_geometry_of_the_full_board():
    g = board("ulx3s").geometry
    assert g.modes >= 4096
    assert g.outputs >= 4096
    assert board("ulx3s").clock_hz >= 100_000_000
    assert board("ulx3s").camera_clock_hz < board("ulx3s").clock_hz


def test_a_board_that_leaves_an_input_open_is_refused():
    lacking = small(board("ulx3s"))
    lacking = dataclasses.replace(lacking, lines=tuple(x for x in lacking.lines if x.port != "interlock_closed"))
    with pytest.raises(ValueError, match="`interlock_closed` has no line"):
        BoardTop(lacking)
    stray = dataclasses.replace(lacking.lines[0], port="nothing")
    with pytest.raises(ValueError, match="nothing"):
        BoardTop(dataclasses.replace(board("ulx3s"), lines=(*board("ulx3s").lines, stray)))


@pytest.mark.parametrize(
    ("source", "wanted", "tolerance"),
    [
        (25_000_000, [100_000_000], 0),
        (25_000_000, [200_000_000, 40_000_000], TOLERANCE),
        (50_000_000, [125_875_000, 25_175_000], TOLERANCE),
        (12_000_000, [48_000_000, 24_000_000, 12_000_000], 0),
    ],
)
def test_pll_stays_within_its_limits(source, wanted, tolerance):
    found = pll.find(source, wanted, tolerance)
    for made, hz in zip(found.output_hz, wanted, strict=True):
        assert abs(made / hz - 1) <= tolerance
        assert pll.OUTPUT_HZ[0] <= made <= pll.OUTPUT_HZ[1]
    assert pll.VCO_HZ[0] <= found.vco_hz <= pll.VCO_HZ[1]
    assert source / found.input_divider >= pll.PHASE_DETECTOR_HZ[0]
    # The loop locks: what comes back to the phase detector is what goes in.
    assert found.vco_hz / found.feedback_output_divider / found.feedback_divider == source / found.input_divider


def test_pll_says_what_it_cannot_make():
    with pytest.raises(pll.PllError, match="at best"):
        pll.find(25_000_000, [371_250_000, 74_250_000], TOLERANCE)
    first, second = pll.chain(25_000_000, [371_250_000, 74_250_000])
    assert first.output_hz[0] == second.input_hz
    assert second.output_hz == (371_250_000, 74_250_000)
    for source, wanted in ((1_000_000, [10_000_000]), (25_000_000, [900_000_000]), (25_000_000, [])):
        with pytest.raises(pll.PllError):
            pll.find(source, wanted)


def reported(slm_x5=400.0):
    names = {"sync": "pll_sync_clkop", "slm": "pll_slm_clkos", "slm_x5": "pll_slm_clkop", "cam": "cam_clk_0__io"}
    wanted = {"sync": 100.0, "slm": 74.25, "slm_x5": 371.25, "cam": 74.25}
    achieved = {"sync": 101.0, "slm": 140.0, "slm_x5": slm_x5, "cam": 150.0}
    return {
        "fmax": {f"$glbnet${net}": {"achieved": achieved[n], "constraint": wanted[n]} for n, net in names.items()},
        "critical_paths": [
            {"from": "<async>", "to": "posedge $glbnet$pll_sync_clkop", "path": [{"delay": 1.5}, {"delay": 2}]}
        ],
    }, {n: 1e6 * mhz for n, mhz in wanted.items()}


def test_every_clock_of_the_report_is_judged():
    found = _clocks(*reported())
    assert all(c["met"] for c in found.values())
    assert found["sync"]["pins_in_ns"] == 3.5
    assert not {"pins_in_ns", "pins_out_ns"} & found["slm"].keys()
    assert not _clocks(*reported(slm_x5=370.0))["slm_x5"]["met"]
    report_, wanted = reported()
    del report_["fmax"]["$glbnet$pll_slm_clkop"]
    with pytest.raises(Exception, match="no clock for `slm_x5`"):
        _clocks(report_, wanted)
    report_, wanted = reported()
    report_["fmax"]["$glbnet$pll_sync_clkop"]["constraint"] = 12.0
    with pytest.raises(Exception, match="constrained to 12"):
        _clocks(report_, wanted)


def test_the_table_keeps_other_boards(tmp_path):
    page = tmp_path / "boards.md"
    page.write_text(f"before\n{report.BEGIN}\n{report.END}\nafter\n")
    about = {"n": 4096, "m": 4096, "link": "uart", "seed": 1, "id": "0123456789", "clocks": _clocks(*reported())}
    about["resources"] = {name: {"used": 1000, "available": 2000} for name in ("LUT", "FF", "BRAM", "DSP")}
    for name in ("ulx3s", "arty_a7", "ulx3s"):
        report.update(page, {"board": name, **about})
    report.update(page, {"board": "ulx3s", **about, "link": "usb"})
    lines = page.read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[4:7]] == ["| arty_a7", "| ulx3s", "| ulx3s, usb"]
    assert (lines[0], lines[-1]) == ("before", "after")
    assert len(lines) == 9


def test_missing_tools_are_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tools.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "")
    before = [tmp_path / "ulx3s" / f"{NAME}-ulx3s{suffix}" for suffix in (".bit", ".json")]
    before[0].parent.mkdir()
    for path in before:
        path.touch()
    assert cli.main(["bitstream", "--board", "ulx3s", "--out", str(tmp_path), "--json"]) == cli.EXIT_FAILURE
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["error"] == "ToolMissing"
    assert "pip install" in said["next_step"]
    assert all(path.exists() for path in before)  # a build that fails leaves the one before


def test_two_builds_do_not_share_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("openopu_boards.build._build", lambda *_: pytest.fail("both were made"))
    work = tmp_path / "ulx3s" / "work"
    work.mkdir(parents=True)
    with open(work.parent / LOCK_FILE, "ab") as file:
        assert try_lock(file)
        assert cli.main(["bitstream", "--board", "ulx3s", "--out", str(tmp_path), "--json"]) == cli.EXIT_USAGE
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "another build" in said["what"]
    assert "--out" in said["next_step"]
    assert work.exists()  # that of the other build


def test_wrong_arguments_of_bitstream(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("no table\n")
    for words in (["--seed", "-1"], ["--tries", "0"], ["--report", str(page)], ["--report", str(tmp_path / "none.md")]):
        assert cli.main(["bitstream", "--board", "ulx3s", "--out", str(tmp_path), *words, "--json"]) == cli.EXIT_USAGE
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["next_step"]


def test_seeds_are_tried_until_one_meets_timing(monkeypatch, tmp_path, capsys):
    tried = []

    def build(of, out, seed):
        tried.append(seed)
        if seed < 9:
            raise TimingMissed("timing is not met: sync 99.0 of 100.00 MHz", of.name, "")
        return {"clocks": {}, "seed": seed}

    monkeypatch.setattr("openopu_boards.commands.bitstream.build", build)
    command = ["bitstream", "--board", "ulx3s", "--out", str(tmp_path), "--seed", "7", "--json"]
    assert cli.main([*command, "--tries", "2"]) == cli.EXIT_FAILURE
    assert cli.main([*command, "--tries", "5"]) == 0
    assert tried == [7, 8, 7, 8, 9]
    assert "seed 7: timing is not met" in capsys.readouterr().err


def test_a_tool_that_fails_and_one_that_hangs(tmp_path):
    with pytest.raises(tools.ToolFailed, match="code 3") as found:
        tools.run(["sh", "-c", "echo no room; exit 3"], tmp_path, 10)
    assert "no room" in found.value.what
    with pytest.raises(tools.ToolFailed, match="did not end"):
        tools.run(["sleep", "5"], tmp_path, 0.1)


def test_timing_that_is_missed_is_an_error():
    with pytest.raises(TimingMissed, match=r"slm_x5 370.0 of 371.25 MHz"):
        judge(board("ulx3s"), *reported(slm_x5=370.0))
