"""The self-test finds what it is for, and says so; tests/system runs it on the RTL."""

import json

import numpy as np
import openopu
import pytest
from openopu import cli
from openopu.selftest import checks
from openopu.selftest.report import Verdict, as_text

URL = "twin:?n=64&m=256"


@pytest.fixture
def opu():
    with openopu.open(URL, allow_dark=True) as opened:
        yield opened


def test_all_is_well(capsys):
    assert cli.main(["selftest", "--device", URL, "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["ok"]
    verdicts = {c["name"]: c["verdict"] for c in report["checks"]}
    assert verdicts.pop("interlock") == "left out"  # the twin's heartbeat has no clock
    assert set(verdicts.values()) == {"pass"}


def test_report_for_people(capsys, tmp_path):
    out = tmp_path / "report.txt"
    assert cli.main(["selftest", "--device", URL, "--only", "link", "modulator", "--out", str(out)]) == 0
    text = out.read_text()
    assert text in capsys.readouterr().out
    assert "2 pass, 0 FAIL, 0 left out" in text
    assert "none damaged" in text


def test_settings_are_left_as_they_were(opu):
    opu.configure(components=10, outputs=[5, 3, 9])
    before = opu.settings, opu.exposure_cycles
    for check in (checks.link, checks.modulator, checks.camera, checks.pairing, checks.settle, checks.interlock):
        assert check(opu).verdict is not Verdict.FAIL
    assert (opu.settings, opu.exposure_cycles) == before
    # The selection window, too: noise is keyed by the exposure, so the same one gives the same integers.
    opu.exposure_next = 7
    chosen = opu.project_raw(np.zeros((1, 2, 64))).values[0]
    opu.configure(components=10)
    opu.exposure_next = 7
    assert chosen.tolist() == opu.project_raw(np.zeros((1, 2, 64))).values[0][[5, 3, 9]].tolist()


def test_no_light(opu):
    opu.configure(laser_power=0)
    for check in (checks.camera, checks.pairing, checks.settle):
        found = check(opu)
        assert found.verdict is Verdict.FAIL, found
        assert found.next_step


def test_patterns_name_each_fault():
    patterns = checks.test_patterns(8, 4)
    assert len({p.tobytes() for p in patterns.values()}) == len(patterns)
    assert np.array_equal(patterns["left half"].reshape(4, 8).sum(axis=0), [4] * 4 + [0] * 4)
    assert np.flatnonzero(patterns["last corner"]).tolist() == [31]


def test_unknown_check(capsys):
    assert cli.main(["selftest", "--device", URL, "--only", "ligt"]) == 2
    assert "Take some of: link" in capsys.readouterr().err


def test_text_names_the_next_step():
    text = as_text([checks.failed("link", "3 packets arrived damaged", "Lower the baud rate")])
    assert "FAIL" in text
    assert "-> Lower the baud rate" in text
