"""The self-test finds what it is for, and says so; tests/system runs it on the RTL."""

import json

import numpy as np
import openopu
import pytest
from openopu import cli
from openopu.selftest import checks, command
from openopu.selftest.counted import with_faults
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
    left_out = {name for name, verdict in verdicts.items() if verdict == "left out"}
    assert left_out == {"interlock", "memory", "datapath"}  # no clock for the heartbeat, light that is a camera's
    assert {v for n, v in verdicts.items() if n not in left_out} == {"pass"}


def test_a_bare_board(capsys):
    """With the gateware's own medium, memory and datapath are compared with the twin; no laser is there."""
    assert cli.main(["selftest", "--device", f"{URL}&plant=chip", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    verdicts = {c["name"]: c["verdict"] for c in report["checks"]}
    assert verdicts.pop("interlock") == "left out"
    assert set(verdicts.values()) == {"pass"}


def test_a_memory_that_forgets_is_found(monkeypatch):
    """The twin to compare with has another selection: as if the board returned the wrong outputs."""
    with openopu.open(f"{URL}&plant=chip") as opened:
        honest = checks._twin_of

        def liar(opu):
            twin = honest(opu)
            apply = twin.apply
            monkeypatch.setattr(twin, "apply", lambda s: apply(s.replace(selection=np.roll(s.selection, 1))))
            return twin

        monkeypatch.setattr(checks, "_twin_of", liar)
        found = checks.memory(opened)
        assert found.verdict is Verdict.FAIL
        assert "differ from the twin's, first in row 0" in found.found


def test_report_for_people(capsys, tmp_path):
    out = tmp_path / "report.txt"
    assert cli.main(["selftest", "--device", URL, "--only", "link", "modulator", "--out", str(out)]) == 0
    text = out.read_text()
    assert text in capsys.readouterr().out
    assert "2 pass, 0 FAIL, 0 left out" in text
    assert "none damaged" in text


def test_a_report_that_cannot_be_written_is_said_before_the_checks(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_make", lambda *_: pytest.fail("a check was made"))
    assert cli.main(["selftest", "--device", URL, "--out", str(tmp_path / "none" / "report.txt")]) == 1
    assert "none/report.txt" in capsys.readouterr().err


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


def test_what_was_made_up_for_by_repeating_is_named(opu, monkeypatch):
    counters = opu.counters(timing=False)
    check = checks.camera(opu)
    assert with_faults(check, opu) is check
    monkeypatch.setattr(opu, "counters", lambda timing: counters | {"frames_late": 3, "frames_extra": 2})
    found = with_faults(check, opu)
    assert found.verdict is Verdict.FAIL
    assert found.found == f"{check.found}, but only on repetition (frames extra: 2, frames late: 3)"
    assert "pixel clock" in found.next_step
    assert (found.figures["frames_late"], found.figures["lit_mean_dn"]) == (3, check.figures["lit_mean_dn"])


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


def test_a_panel_that_cannot_be_read_back(capsys):
    words = ["selftest", "--device", "twin:?n=64&m=64&panel_kind=3", "--only", "memory", "--json"]
    assert cli.main(words) == 0
    check = json.loads(capsys.readouterr().out.splitlines()[-1])["checks"][0]
    assert check["verdict"] == "left out"
    assert "cannot be read back" in check["found"]
