"""The command `openopu selftest` on the RTL: it passes, names a fault and the next step, and ends in order."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from typing import Any

import openopu
import pytest
from openopu import Opu, cli
from openopu.device import open_device
from openopu.selftest import checks, command
from openopu.session import Session
from openopu.url import DeviceUrl
from openopu_rtl.protocol.registers import REGISTERS, STATUS_BITS
from openopu_sim.bench.process import Simulation
from openopu_sim.device import settings_of

SIZE = "n=64&m=64"
"""As in test_rtl.py: one build for both."""
RTL = f"rtl:verilator?{SIZE}&link=bytes"


def selftest(capsys: pytest.CaptureFixture[str], url: str, *only: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and the checks of the report by name."""
    words = ["--only", *only] if only else []
    code = cli.main(["selftest", "--device", url, "--json", *words])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["ok"] == (code == 0)
    return code, {c["name"]: c for c in report["checks"]}


def test_a_bare_board_passes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "TRIALS", 6)
    chosen = [name for name in command.CHECKS if name != "memory"]  # half a minute in simulation
    code, made = selftest(capsys, f"{RTL}&plant=chip&interlock=open", *chosen)
    assert code == 0, made
    assert {name: c["verdict"] for name, c in made.items() if name != "interlock"} == dict.fromkeys(chosen[:-1], "pass")
    assert "without `plant=`" in made["interlock"]["found"]


@pytest.mark.parametrize(
    ("fault", "found", "next_step"),
    [
        ("*:short_line", "failed 3 times: FRAME_GEOMETRY(?!.*only on repetition)", "LVAL"),
        ("1:drop", "whole frames.*only on repetition.*frames missing: 1", "trigger and camera cables"),
        (
            "1:interlock:100",
            "whole frames.*; the laser is off: it tripped: the interlock loop opened",
            "Close the interlock",
        ),
    ],
)
def test_a_fault_is_named(capsys: pytest.CaptureFixture[str], fault: str, found: str, next_step: str) -> None:
    code, made = selftest(capsys, f"{RTL}&fault={fault}", "camera")
    assert code == 1
    assert made["camera"]["verdict"] == "FAIL"
    assert re.search(found, made["camera"]["found"]), made
    assert next_step in made["camera"]["next_step"]


def test_an_interrupt_leaves_the_laser_dark_and_the_settings_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """In mid-check, with exposures in flight."""

    def interrupted(opu: Opu) -> Any:
        assert opu.status()["laser_on"]
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        checks.settle(opu)
        pytest.fail("it was not interrupted")

    monkeypatch.setitem(command.CHECKS, "settle", interrupted)
    with Simulation(settings_of(DeviceUrl.parse(RTL))) as simulation:
        url = DeviceUrl.parse(f"serial:{simulation.port}")
        with openopu.open(url) as opu:
            usual = opu.registers([name for name, r in REGISTERS.items() if r.access == "read and write"])
        words = ["selftest", "--device", str(url), "--arm", "--only", "settle"]
        assert cli.main(words) == cli.EXIT_INTERRUPTED
        device = open_device(url)  # not an Opu, which would disarm it and write every setting
        session = Session(device)
        session.flush()
        status = session.read("status", "trip_cause", "exposure_next", *usual)
        device.transport.close()
    assert not status.pop("status") & (1 << STATUS_BITS["laser_on"] | 1 << STATUS_BITS["armed"])
    assert status.pop("trip_cause") == 0  # it was disarmed, and not by the heartbeat
    assert status.pop("exposure_next") > 0
    assert status == usual


def test_a_panel_that_ends_its_patterns_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Waits that no pattern lasts for are not tried."""
    code, made = selftest(capsys, f"{RTL}&panel_kind=2&slm_clock_hz=3000000", "modulator", "settle")
    assert code == 0, made
    assert max(made["settle"]["figures"]["settle_us"]) < 1466 / 48
