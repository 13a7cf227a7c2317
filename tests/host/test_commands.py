"""The command line, and the commands compare and doctor."""

import argparse
import json
import signal
import subprocess
import sys
import time

import numpy as np
import openopu
import pytest
from loopback import LoopbackDevice, LoopbackTransport
from openopu import cli, compare, doctor, session
from openopu import opu as opu_module
from openopu.device import Device
from openopu.errors import PortNotFound
from openopu.url import DeviceUrl
from openopu_rtl.protocol import Code, Geometry

SMALL = Geometry.fitting(modes=64, outputs=64)


@pytest.fixture
def ends(monkeypatch):
    """`loop:NAME` opens a loop-back device; ``change`` may alter it as it is opened."""
    made = {"change": lambda _name, _end: None, "urls": []}

    def open_loop(url):
        parsed = DeviceUrl.parse(url)
        end = LoopbackDevice(SMALL)
        made["change"](parsed.rest, end)
        made["urls"].append(str(parsed))
        return Device(parsed, str(parsed), LoopbackTransport(end), arms_itself=True, realtime=False)

    monkeypatch.setattr(opu_module, "open_device", open_loop)
    monkeypatch.setattr(doctor, "open_device", open_loop)
    return made


def result_of(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def run_compare(capsys, *more):
    code = cli.main(["compare", "--device-a", "twin:a", "--device-b", "twin:b", "--json", *more])
    return code, result_of(capsys)


def test_equal_devices_compare_equal(ends, capsys):
    code, result = run_compare(capsys, "--projections", "150", "--seed", "3")
    assert (code, result["ok"], result["projections"], result["mismatches"]) == (0, True, 150, 0)
    assert set(result["trials"]) == set(compare.KINDS_OF_TRIAL)
    assert result["results_saturated"] > 0
    assert result["dark"] < 50
    assert ends["urls"] == ["twin:a?noise=on", "twin:b?noise=on", "twin:a?noise=off", "twin:b?noise=off"]


def test_same_seed_draws_the_same_trials():
    base = openopu.settings.Settings.default(SMALL)
    for seed in range(30):
        a, b = (compare.draw(np.random.default_rng(seed), base, SMALL, 500, 5, seed) for _ in range(2))
        assert a.kind == b.kind
        assert a.settings.program == b.settings.program
        np.testing.assert_array_equal(a.planes, b.planes)
        a.settings.check(SMALL)


def test_one_wrong_integer_is_found(ends, capsys):
    def change(name, end):
        if name == "b":
            end.transmission[:, 3] += 0.5

    ends["change"] = change
    code, result = run_compare(capsys, "--projections", "40")
    assert code == 1
    assert result["mismatches"] > 0
    first = result["first_difference"]
    assert first["field"] in ("values", "saturated")
    assert first["a"] != first["b"]


def test_one_wrong_counter_is_found(ends, capsys):
    def change(name, end):
        if name == "b":
            project = end.project
            end.project = lambda payload: (end.count("frames_extra"), project(payload))[1]

    ends["change"] = change
    code, result = run_compare(capsys, "--projections", "10")
    assert code == 1
    assert result["first_difference"]["field"] == "frames_extra"


def test_other_geometries_are_refused(ends, capsys):
    def change(name, end):
        if name == "b":
            end.__init__(Geometry.fitting(modes=64, outputs=256))

    ends["change"] = change
    assert cli.main(["compare", "--device-a", "twin:a", "--device-b", "twin:b"]) == 2
    assert "geometry" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--projections", "0"], ["--seed", "-1"], ["--device-a", "none"]])
def test_compare_refuses_bad_arguments(words, capsys):
    assert cli.main(["compare", *words]) == 2
    assert capsys.readouterr().err.startswith("openopu: ")


def examine(capsys, url="twin:x"):
    code = cli.main(["doctor", "--device", url, "--json"])
    return code, result_of(capsys)


def test_doctor_says_what_a_healthy_device_is(ends, capsys):
    code, result = examine(capsys)
    assert code == 0
    assert (result["n"], result["m"], result["ok"], result["warnings"]) == (64, 64, True, [])
    assert result["gateware"].endswith("00001234")
    assert result["latency_us"] > 0


def test_doctor_names_an_open_interlock(ends, capsys):
    def change(_name, end):
        end.set("status", 0)

    ends["change"] = change
    code, result = examine(capsys)
    assert (code, result["ok"]) == (1, False)
    assert "interlock" in json.dumps(result)
    assert "emergency stop" in json.dumps(result)


@pytest.mark.parametrize("register", ["magic", "protocol_hash"])
def test_doctor_names_another_gateware(ends, capsys, register):
    ends["change"] = lambda _name, end: end.set(register, 5)
    code, result = examine(capsys)
    assert (code, result["stage"]) == (1, "identity")
    assert result["next_step"]


def test_doctor_names_a_failing_projection(ends, capsys):
    def change(_name, end):
        end.fail = {0: [Code.FRAME_MISSING] * 9}

    ends["change"] = change
    code, result = examine(capsys)
    assert code == 1
    assert "FRAME_MISSING" in result["cause"]
    assert "trigger" in result["next_step"]


def test_doctor_finds_the_rate_that_answers(monkeypatch):
    """A device that answers at 1 Mbaud only, and garbage at other rates."""
    monkeypatch.setattr(session, "MARGIN_S", 0.05)
    monkeypatch.setattr(session, "BRIEF_S", 0.02)

    class Wrong(LoopbackTransport):
        def write(self, data):
            self.inbox.append((bytes(b ^ 0x5A for b in data), 0))

    def open_at(url):
        parsed = DeviceUrl.parse(url)
        baud = parsed.get_int("baud", 12_000_000)
        if baud > 10_000_000 and "baud" in parsed.parameters:
            raise PortNotFound("the adapter cannot")
        kind = LoopbackTransport if baud == 1_000_000 else Wrong
        return Device(parsed, "line", kind(LoopbackDevice(SMALL)), realtime=False)

    monkeypatch.setattr(doctor, "open_device", open_at)
    result = doctor.run(argparse.Namespace(device="serial:/dev/ttyX"))
    assert (result["ok"], result["stage"], result["answers_at_baud"]) == (False, "baud", 1_000_000)
    assert "serial:/dev/ttyX?baud=1000000" in result["next_step"]


def test_doctor_without_a_device_lists_what_there_is(capsys):
    assert cli.main(["doctor", "--json"]) == 0
    assert {"serial", "socket", "twin", "rtl"} <= set(result_of(capsys)["schemes"])


def test_doctor_names_a_missing_port(capsys):
    code, result = examine(capsys, "serial:/dev/no-such-port")
    assert (code, result["stage"], result["error"]) == (1, "open", "PortNotFound")


def test_doctor_names_the_file(capsys):
    assert cli.main(["doctor", "--device", "twin:?plant=none.toml", "--json"]) == 1
    assert "none.toml" in result_of(capsys)["where"]


def test_every_command_has_help():
    for name in ("compare", "doctor", "train"):
        out = subprocess.run([sys.executable, "-m", "openopu.cli", name, "--help"], capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        assert "--json" in out.stdout
        assert "--debug" in out.stdout


def test_wrong_usage_is_code_2(capsys):
    for words in ([], ["fly"], ["compare", "--no-such"]):
        assert cli.main(words) == 2
        assert capsys.readouterr().err.startswith("openopu: ")


def test_traceback_only_on_request(capsys):
    assert cli.main(["compare", "--device-a", "none"]) == 2
    plain = capsys.readouterr().err
    assert len(plain.splitlines()) == 1
    cli.main(["compare", "--device-a", "none", "--debug"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "--device-a", "none"],
        ["compare", "--no-such"],
        ["train", "--seed", "1.5"],
        ["train", "--out", "", "--epochs", "1"],
        ["train", "--device", "twin:?n=17"],
        ["train", "--device", "twin:anything"],
        ["train", "--device", "socket://localhost:99999"],
        ["train", "--threads", "100000"],
        ["train", "--feedback", "backprop", "--hidden", "9999999,9999999"],
        ["demo", "--data", "digits", "--epochs", "0"],
        ["demo", "--data", "digits", "--replay-steps", "0"],
        ["demo", "--data", "digits", "--replay", "none:"],
        [],
    ],
)
def test_json_also_of_failures(words, capsys):
    assert cli.main([*words, "--json"]) == 2
    result = result_of(capsys)
    assert result["ok"] is False
    assert result["what"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ZeroDivisionError("x"), 1, "defect"),
        (MemoryError("x"), 1, "memory"),
        (OSError("x"), 1, "x"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_no_traceback_whatever_happens(error, code, said, capsys, monkeypatch):
    def fail(_args):
        raise error

    monkeypatch.setattr(doctor, "run", fail)
    assert cli.main(["doctor", "--json"]) == code
    out = capsys.readouterr()
    assert said in out.err
    assert "Traceback" not in out.err
    assert json.loads(out.out)["ok"] is False


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_within_a_finaliser_is_not_lost(number, code):
    """Python drops what a finaliser raises."""
    text = f"""
import signal, sys, time
from openopu import cli, doctor
class Ends:
    def __del__(self):
        signal.raise_signal(signal.{number})
def run(args):
    Ends()
    time.sleep(10)
    return {{"heard": "nothing"}}
doctor.run = run
sys.exit(cli.main(["doctor", "--device", "twin:"]))
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert time.monotonic() - began < 9
    assert (done.stderr.count("\n"), done.stdout) == (1, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_says_how_to_go_on(tmp_path, number, code):
    words = ["train", "--hidden", "8", "--device", "twin:?n=64&m=64", "--epochs", "10000", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "openopu.cli", *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "checkpoint.npz").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert json.loads(out.splitlines()[-1])["error"] == "Interrupted"
    assert "--resume" in err
    assert "Traceback" not in err
