"""The drift monitor, alone and in a training; and what a training does with a calibration."""

import dataclasses
import json
import logging

import numpy as np
import openopu
import pytest
from openopu import UsageError, cli
from openopu.calibration import Calibration, CalibrationMismatch, MediumDrifted, Quantity, load
from openopu.calibration.calibrate import QUICK, calibrate
from openopu.calibration.monitor import Monitor, reference
from openopu.measure import calibrating
from openopu.plants import DMD, save

from .conftest import URL

DRIFT = 2e-5
"""rad per exposure: the effective matrix's correlation falls to 0.96 after 10,000 exposures."""


@pytest.fixture
def drifting(tmp_path):
    medium = dataclasses.replace(DMD.medium, drift_rad_per_exposure=DRIFT)
    save(tmp_path / "plant.toml", dataclasses.replace(DMD, medium=medium))
    return f"{URL}&plant={tmp_path}/plant.toml"


def with_group(calibration, group, **arrays):
    changed = {**calibration.groups[group], **{n: Quantity(a, "DN") for n, a in arrays.items()}}
    return calibration.replace(groups={**calibration.groups, group: changed})


def test_a_stable_medium_has_correlation_one(made, opu):
    made.calibration.apply(opu)
    monitor = Monitor(opu, made.calibration)
    looks = []
    for exposure in (0, 1_000_000, 200_000_000):
        opu.exposure_next = exposure
        looks.append(monitor.verify())
    assert [x.exposure for x in monitor.history] == [0, 1_000_000, 200_000_000]
    assert all(abs(x.correlation - 1) < 0.002 and abs(x.gain - 1) < 0.01 for x in looks)


def test_noise_is_taken_out(opu):
    opu.set_exposure(60)
    made = calibrate_dimly(opu)
    assert made.get("monitor/reliability") < 0.95
    looks = []
    for exposure in range(0, 8000, 1000):
        opu.exposure_next = exposure
        looks.append(Monitor(opu, made).look().correlation)
    assert np.mean(looks) == pytest.approx(1, abs=0.01)


def calibrate_dimly(opu):
    """A monitor's reference at the exposure that is set."""
    with calibrating(opu):
        group = reference(opu)
    return Calibration({}, {}, 0, 0, 60, {"monitor": group})


def test_it_measures_how_far_a_medium_has_turned(drifting, caplog):
    with openopu.open(drifting) as opu:
        made = calibrate(opu, ["monitor", "alignment"], effort=QUICK).calibration
        monitor = Monitor(opu, made, every=10)
        for exposure in (0, 5_000, 9_000, 12_000, 15_000):
            opu.exposure_next = exposure
            found = monitor.look()
            # Both r and T turn: the matrix's correlation is the square of the field's.
            assert found.correlation == pytest.approx(np.cos(DRIFT * exposure) ** 2, abs=0.025)
        caplog.set_level(logging.WARNING)
        monitor.history.clear()
        assert monitor.due(9) is None
        opu.exposure_next = 12_000
        assert monitor.due(10).correlation < 0.96
        assert "has changed since the calibration" in caplog.text
        assert monitor.due(19) is None
        caplog.clear()
        monitor.due(20)
        assert not caplog.text  # said once
        opu.exposure_next = 20_000
        with pytest.raises(MediumDrifted, match=r"below 0\.9.*--exposure-base 20000") as stopped:
            monitor.due(30)
        assert 0.8 < stopped.value.correlation < 0.9
        with pytest.raises(CalibrationMismatch, match="the medium is not that"):
            monitor.verify()


def test_the_light_does_not_matter_but_is_told(made, opu):
    made.calibration.apply(opu)
    opu.configure(laser_power=1536)
    found = Monitor(opu, made.calibration).look()
    assert found.correlation > 0.99
    assert found.gain == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(("power", "times"), [(512, "0.25"), (4095, "2")])
def test_other_light_is_warned_of_once(made, opu, caplog, power, times):
    made.calibration.apply(opu)
    monitor = Monitor(opu, made.calibration)
    monitor.verify()
    opu.configure(laser_power=1536)
    monitor.verify()
    assert not caplog.records
    opu.configure(laser_power=power)
    for _ in range(2):
        assert monitor.verify().light == pytest.approx(float(times), rel=0.15)  # some pixels clip
    (warning,) = [r.getMessage() for r in caplog.records]
    assert "times that of the calibration" in warning


def test_a_moved_camera_is_told_from_another_medium(made, opu):
    c = made.calibration
    c.apply(opu)
    other = np.random.default_rng(0).normal(size=c.get("monitor/reference").shape)
    frame = np.roll(c.get("alignment/reference"), (-2, 4), (0, 1))
    moved = with_group(with_group(c, "monitor", reference=other), "alignment", reference=frame)
    with pytest.raises(CalibrationMismatch, match="moved by -4 pixels to the right and 2 down"):
        Monitor(opu, moved).verify()
    with pytest.raises(CalibrationMismatch, match="the medium is not that"):
        Monitor(opu, with_group(c, "monitor", reference=other)).verify()


def test_thresholds_are_checked(made, opu):
    for warn, stop in ((0.8, 0.9), (1.1, 0.9), (0.9, -0.1)):
        with pytest.raises(UsageError, match="thresholds"):
            Monitor(opu, made.calibration, warn=warn, stop=stop)
    with pytest.raises(UsageError, match="monitor_every"):
        Monitor(opu, made.calibration, every=-1)


# In a training.


def train(capsys, url, *words):
    code = cli.main(["train", "--device", url, "--hidden", "32", "--train-images", "256", "--json", *map(str, words)])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_training_uses_the_calibration_and_the_monitor_leaves_its_integers_alone(made, capsys, tmp_path):
    file = tmp_path / "c.h5"
    made.calibration.save(file)
    words = ("--epochs", 1, "--calibration", file, "--out")
    code, watched = train(capsys, URL, *words, tmp_path / "a", "--monitor-every", 50)
    assert code == 0
    assert len(watched["monitor"]) >= 4
    code, alone = train(capsys, URL, *words, tmp_path / "b")
    assert len(alone["monitor"]) == 1  # before the run
    assert alone["weights_sha256"] == watched["weights_sha256"]
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["calibration"]["sha256"] == made.calibration.sha256
    state = record["results"]
    assert state["monitor"] == watched["monitor"]


def test_a_training_refuses_what_does_not_hold(made, capsys, tmp_path):
    file = tmp_path / "c.h5"
    made.calibration.replace(created="2020-01-01T00:00:00+00:00").save(file)
    for words, what in (
        ((URL,), "days ago"),
        ((f"{URL}&seed=2",), "other optics: seed: 1 there, 2 here"),
        ((URL, "--hidden", "40,40", "--max-age", 1e9), "80 hidden units need as many outputs"),
        ((URL, "--feedback", "backprop", "--max-age", 1e9), "uses no device"),
        ((URL, "--fill", 0.3, "--max-age", 1e9), "the exposure is that of the calibration"),
        ((URL, "--feedback", "ideal", "--monitor-every", 10, "--max-age", 1e9), "projects nothing"),
    ):
        code, said = train(capsys, words[0], "--calibration", file, *words[1:])
        assert (code, said["ok"]) == (2, False)
        assert what in said["what"]
    code, said = train(capsys, URL, "--monitor-every", 5)
    assert (code, said["where"]) == (2, "--monitor-every")


def test_a_drifting_medium_stops_the_run_which_goes_on_after_calibrating_anew(drifting, capsys, tmp_path):
    file, out = tmp_path / "c.h5", tmp_path / "run"
    calibrated = ["calibrate", "--device", drifting, "--out", str(file), "--quick", "--json"]
    assert cli.main([*calibrated, "--only", "alignment", "monitor"]) == 0
    words = ("--epochs", 20, "--calibration", file, "--out", out, "--monitor-every", 200)
    code, said = train(capsys, drifting, *words)
    assert (code, said["error"]) == (1, "MediumDrifted")
    stopped_at = int(said["next_step"].split("--exposure-base ")[1].split(")")[0])
    assert 15_000 < stopped_at < 22_000
    # The checkpoint is that of the stop, and the old calibration does not hold any more.
    code, said = train(capsys, drifting, *words, "--resume")
    assert (code, said["error"]) == (2, "CalibrationMismatch")
    assert cli.main([*calibrated, "--only", "alignment", "monitor", "--exposure-base", str(stopped_at)]) == 0
    assert load(file).exposure_next == stopped_at
    capsys.readouterr()
    code, said = train(capsys, drifting, *words, "--resume")
    assert (code, said["error"]) == (1, "MediumDrifted")  # it drifts on
    again = int(said["next_step"].split("--exposure-base ")[1].split(")")[0])
    assert 15_000 < again - stopped_at < 22_000
    code, said = train(capsys, drifting, "--epochs", 20, "--out", out, "--resume")
    assert code == 1
    assert "begun with a calibration" in said["what"]


def test_ideal_feedback_takes_the_measured_matrix(made, capsys, tmp_path):
    file = tmp_path / "c.h5"
    made.calibration.save(file)
    words = ("--epochs", 1, "--feedback", "ideal")
    code, measured = train(capsys, URL, *words, "--calibration", file)
    assert code == 0
    code, exact = train(capsys, URL, *words)
    assert measured["weights_sha256"] != exact["weights_sha256"]
    assert abs(measured["loss"] - exact["loss"]) < 0.05


@pytest.mark.parametrize("scheme", ["anchor", "intensity"])
def test_it_does_not_depend_on_the_configured_program(made, opu, scheme):
    made.calibration.apply(opu)
    opu.configure(scheme=scheme, components=64 if scheme == "intensity" else 10, outputs=[3, 1])
    opu.set_exposure(made.calibration.exposure_cycles // 2)
    found = Monitor(opu, made.calibration).verify()
    assert (found.correlation, found.gain) == pytest.approx((1, 1), abs=0.01)
