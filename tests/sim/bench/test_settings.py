"""Settings of a run and its faults: what goes in comes out, and what is wrong is refused with the next step."""

from __future__ import annotations

import argparse

import pytest
from openopu.errors import UsageError
from openopu.url import DeviceUrl
from openopu_rtl.protocol import Geometry, Link
from openopu_sim.bench.faults import KINDS, Faults, Play
from openopu_sim.bench.settings import CLOCK_HZ, BenchSettings
from openopu_sim.commands import cosim
from openopu_sim.device import settings_of


def test_settings_survive_as_text() -> None:
    settings = BenchSettings("icarus", Geometry.fitting(64, 64), {"seed": "7"}, link=Link.BYTES, faults="3:drop")
    assert BenchSettings.loads(settings.dumps()) == settings


def test_clocks() -> None:
    halves = BenchSettings(slm_clock_hz=100_000_000).half_periods_ps
    assert halves["slm_half"] == 5000
    assert abs(halves["clk_half"] - 1e12 / CLOCK_HZ / 2) < 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"simulator": "vcs"}, "no simulator"),
        ({"slm_clock_hz": 1}, "out of range"),
        ({"waves": "a.png"}, "fst or .vcd"),
    ],
)
def test_wrong_settings(fields: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BenchSettings(**fields)


@pytest.mark.parametrize("text", ["1", "1:melt", "x:drop", "1:drop:x", "1:late:1:2", "1:late:-1"])
def test_wrong_faults(text: str) -> None:
    with pytest.raises(UsageError, match="is no fault"):
        Faults.parse(text)


@pytest.mark.parametrize("text", ["1:drop,1:extra", "0x1:drop,2:cut,1:drop", "*:pauses,*:jitter"])
def test_an_exposure_has_one_fault(text: str) -> None:
    with pytest.raises(UsageError, match=r"exposure `(1|\*)` has 2 faults"):
        Faults.parse(text)


def test_every_fault_changes_what_is_played() -> None:
    g = Geometry()
    usual = Play(1, 16, g.camera_height)
    faults = Faults.parse(",".join(f"{i}:{kind}" for i, kind in enumerate(KINDS)))
    plays = [fault.play(usual, g) for i in range(len(KINDS)) if (fault := faults.at(i))]
    not_played = ("interlock", "link_break")
    assert [play == usual for play in plays] == [kind in not_played for kind in KINDS]
    assert len(set(map(str, plays))) == len(KINDS) - len(not_played) + 1
    assert faults.at(0) is None  # each happens once


def test_a_fault_of_every_exposure_does_not_go_away() -> None:
    faults = Faults.parse("*:short_line:2,7:drop")
    kinds = [fault.kind for exposure in (0, 0, 7, 7, 1 << 31) if (fault := faults.at(exposure))]
    assert kinds == ["short_line", "short_line", "drop", "short_line", "short_line"]


def test_url_and_command_say_the_same() -> None:
    url = "rtl:icarus?n=64&m=64&seed=3&link=bytes&time=free&fault=1:drop&slm_clock_hz=40000000"
    parser = argparse.ArgumentParser()
    cosim.add_arguments(parser)
    words = "--simulator icarus --n 64 --m 64 --seed 3 --link bytes --free-running --fault 1:drop"
    words += " --set slm_clock_hz=40000000"
    settings = settings_of(cosim.url_of(parser.parse_args(words.split())))
    assert settings == settings_of(DeviceUrl.parse(url))
    assert settings.link is Link.BYTES
    assert settings.free_running
    with pytest.raises(UsageError, match="KEY=VALUE"):
        cosim.url_of(parser.parse_args(["--set", "x"]))
    with pytest.raises(UsageError, match="given twice"):
        cosim.url_of(parser.parse_args(["--n", "64", "--set", "n=128"]))
    with pytest.raises(UsageError, match="no netlist"):
        cosim.run(parser.parse_args(["--set", "netlist=none.v"]))
