"""Commands that fail: one line before anything is measured, and no half file after."""

import contextlib
import re
import resource
import signal
import subprocess
import sys

import numpy as np
import openopu
import pytest
from openopu import UsageError, calibration, cli, recording
from openopu.calibration import Calibration, CalibrationFileError, Quantity
from openopu.device import open_device
from openopu.errors import OpenopuError
from openopu.plants import DMD, PlantFileError, dumps, load, save
from openopu.recording import RecordingError, RecordingFileError

URL = "twin:?n=64&m=64"


@contextlib.contextmanager
def small_disk(size: int):
    """No file may grow beyond ``size`` bytes: to a program, a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_plant_file_stands_where_the_disk_is_full(tmp_path):
    path = tmp_path / "plant.toml"
    save(path, DMD)
    with small_disk(1000), pytest.raises(PlantFileError, match="no space left"):
        save(path, DMD)
    assert load(path) == DMD
    assert list(tmp_path.iterdir()) == [path]


def record_frames(path, count=40):
    with openopu.open(f"{URL}&record={path}") as opu:
        for _ in range(count):
            opu.capture()


@pytest.mark.parametrize("size", [10, 20_000])
def test_a_recording_leaves_nothing_where_the_disk_is_full(tmp_path, size):
    with small_disk(size), pytest.raises(RecordingError, match="no space left"):
        record_frames(tmp_path / "run.rec")
    assert list(tmp_path.iterdir()) == []


DYING = """
import os, resource, signal, sys
from openopu.calibration import load
from openopu.recording import Recorder

what, moment, path = sys.argv[1:]
if moment == "write":  # the system ends who writes beyond the limit, in the midst of it
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
else:
    setattr(os, moment, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
if what == "calibration":
    load(path).replace(exposure_next=1).save(path)
else:
    recorder = Recorder(path, {})
    recorder.add(os.urandom(20_000), b"answer")
    recorder.finish()
"""
"""Dies while it writes, before that is on the disk, or before it has its name."""


def written_by_one_that_dies(what, moment, path):
    done = subprocess.run([sys.executable, "-c", DYING, what, moment, str(path)], capture_output=True, check=False)
    assert -done.returncode in (signal.SIGKILL, signal.SIGXFSZ), done.stderr.decode()
    (part,) = [p for p in path.parent.iterdir() if p != path]
    assert part.stat().st_size > 0  # it died on the way
    return part


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_kill_leaves_the_old_calibration(tmp_path, moment):
    path = tmp_path / "bench.h5"
    geometry = {"crop_x": 0, "crop_y": 0, "crop_width": 8, "crop_height": 8}
    old = Calibration({}, geometry, 0, 0, 1, {"dark": {"mean": Quantity(np.arange(1000.0), "DN")}})
    old.save(path)
    part = written_by_one_that_dies("calibration", moment, path)
    assert path.read_bytes() == old.content()
    if moment == "write":
        with pytest.raises(CalibrationFileError, match="damaged"):
            calibration.load(part)
    old.replace(exposure_next=2).save(path)
    assert calibration.load(path).exposure_next == 2
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_kill_leaves_no_recording(tmp_path, moment):
    path = tmp_path / "session.rec"
    part = written_by_one_that_dies("recording", moment, path)
    assert not path.exists()
    if moment == "write":
        with pytest.raises(RecordingFileError, match="cut short"):
            recording.load(part)
    with contextlib.closing(open_device(f"{URL}&record={path}").transport):
        pass
    assert recording.load(path)[1] == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_comparison_leaves_nothing_where_the_disk_is_full(capsys, tmp_path):
    with small_disk(100):
        assert cli.main(["gap", "--device", URL, "--rows", "32", "--seeds", "0", "--out", str(tmp_path)]) == 1
    assert re.search(r"gap\.json: it cannot be written: no space left", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (f"gap --device {URL} --seeds -1", "seeds: -1 is out of range"),
        (f"calibrate --device {URL} --out OUT --exposure-base -5", "--exposure-base: -5 is out of range"),
        (f"calibrate --device {URL} --out OUT --exposure-base 4294967296", "--exposure-base: 4294967296 is out"),
        (f"train --device {URL} --hidden 32 --calibration none.h5 --max-age nan", "--max-age: nan is no age"),
        (f"train --device {URL} --hidden 32 --bits 3", "--bits: the encoding ternary has no bits"),
        (f"characterise --device {URL} --out OUT --calibration none.h5", "none.h5: the calibration cannot be read"),
        ("characterise --device nothing: --out OUT", "nothing:: no device scheme"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(capsys, tmp_path, command, what):
    out = tmp_path / "out"
    assert cli.main([str(out) if word == "OUT" else word for word in command.split()]) == 2
    captured = capsys.readouterr()
    assert what in captured.err
    assert captured.out == ""
    assert not out.exists() or list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("power_w", "1" + "0" * 400, "too large"),
        ("power_w", "1e300", "out of range"),
        ("full_well_e", "1e-300", "out of range"),
        ("read_noise_e", "1e30", "out of range"),
    ],
)
def test_a_plant_beyond_physics_is_refused(tmp_path, field, value, what):
    path = tmp_path / "plant.toml"
    path.write_text(re.sub(rf"(?m)^{field} = .*$", f"{field} = {value}", dumps(DMD)))
    with pytest.raises(PlantFileError, match=what):
        load(path)


def test_a_medium_that_cannot_be_read_is_said_in_one_line(tmp_path):
    plant = re.sub(r'kind = "dense"\n(.*)\nfile = ""', rf'kind = "measured"\n\1\nfile = "{tmp_path}"', dumps(DMD))
    (tmp_path / "plant.toml").write_text(plant)
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\)") as caught:
        openopu.open(f"{URL}&plant={tmp_path}/plant.toml")
    assert isinstance(caught.value, OpenopuError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", [{"fill": "a"}, {"fill": None}, {"threshold": None}, {"threshold": [1, 2]}])
def test_settings_of_features_that_are_no_numbers_are_named(setting):
    from openopu.sklearn import OpticalRandomFeatures

    with pytest.raises(UsageError, match=next(iter(setting))):
        OpticalRandomFeatures(16, device=URL, **setting).fit([[0.0, 1.0], [1.0, 0.0]])


def test_a_recording_does_not_take_the_place_of_another(tmp_path):
    path = tmp_path / "session.rec"
    path.write_bytes(b"an older one")
    with pytest.raises(RecordingError, match="there is a file of that name"):
        openopu.open(f"twin:?n=16&m=16&record={path}")
    assert path.read_bytes() == b"an older one"


def test_a_plant_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "plant.toml"
    path.write_text(dumps(DMD), encoding="utf-8-sig")
    assert load(path) == DMD


@pytest.mark.parametrize(
    "words", [["--max-age", "3"], ["--max-exposures", "9"], ["--monitor-warn", "0.9"], ["--monitor-stop", "0.8"]]
)
def test_limits_of_a_calibration_that_is_not_given(words, capsys):
    assert cli.main(["train", "--data", "digits", "--hidden", "8", "--device", "twin:?n=16&m=16", *words]) == 2
    assert f"{words[0]}: there is nothing to compare with" in capsys.readouterr().err


def test_a_calibration_is_no_recording(tmp_path, capsys):
    path = tmp_path / "both"
    assert cli.main(["calibrate", "--device", f"twin:?n=16&m=16&record={path}", "--out", str(path)]) == 2
    assert "the recording has the same name" in capsys.readouterr().err
    assert not path.exists()
