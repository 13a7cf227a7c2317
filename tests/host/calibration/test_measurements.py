"""Each measurement against the optics that is known, and what cannot be calibrated."""

import dataclasses
import json

import numpy as np
import openopu
import pytest
from openopu import UsageError, cli
from openopu.calibration import CalibrationFailed, Quantity, frames, levels, load, monitor, region, response, settle
from openopu.calibration.calibrate import QUICK, calibrate, planned
from openopu.measure import CALIBRATION_EXPOSURES, calibrating, hadamard_order, hadamard_rows
from openopu.plants import DMD, save
from openopu_rtl.protocol import Shot

from .conftest import URL


def exact(opu, exposure_cycles):
    return opu.device.exact_matrix(Shot(exposure_cycles=exposure_cycles))


def test_the_matrix_is_that_of_the_medium_within_its_uncertainty(made, opu):
    c = made.calibration
    assert c.matrix.shape == (64, 64) == c.matrix_uncertainty.shape
    wanted = exact(opu, c.exposure_cycles)
    assert np.corrcoef(c.matrix.ravel(), wanted.ravel())[0, 1] > 0.995
    # Of a normal deviate, the median size is 0.674 standard errors; a few outputs clip, which is no noise.
    error = np.abs(c.matrix - wanted) / c.matrix_uncertainty
    assert np.median(error) == pytest.approx(0.674, abs=0.1)


def test_noise_free_matrix_has_no_uncertainty():
    with openopu.open(f"{URL}&noise=off") as opu:
        opu.expose_to()
        assert not response.matrix(opu)["uncertainty"].values.any()


def test_rows_scale(made, opu):
    wanted = np.sqrt(np.mean(exact(opu, made.calibration.exposure_cycles) ** 2, axis=1))
    ratio = made.calibration.row_scale / wanted
    assert np.mean(ratio) == pytest.approx(1, abs=0.1)
    assert np.std(ratio) < 0.35  # 16 patterns: 1/sqrt(2 x 16) = 18 %


def test_noise_does_not_raise_the_scale(tmp_path):
    save(tmp_path / "noisy.toml", dataclasses.replace(DMD, camera=dataclasses.replace(DMD.camera, read_noise_e=400.0)))
    with openopu.open(f"{URL}&plant={tmp_path}/noisy.toml") as opu:
        opu.set_exposure(300)
        found = response.scale(opu, 256)
        wanted = np.sqrt(np.mean(exact(opu, 300) ** 2, axis=1))
    assert np.median(found["noise"].values) > 8 * np.median(wanted)  # of one projection of 64 signs
    assert np.sqrt(np.mean(found["row"].values ** 2) / np.mean(wanted**2)) == pytest.approx(1, abs=0.15)


def test_dark_frame_and_flat_field(made, opu):
    c = made.calibration
    assert c.dark.shape == c.flat.shape == (24, 32)
    assert c.dark.mean() == pytest.approx(2.55, abs=0.4)  # 1 % black level
    crop = c.flat[4:20, 8:24]
    assert crop.mean() / 255 == pytest.approx(0.12, abs=0.02)
    # Shot noise: variance grows with the mean by the gain, 255 x 0.99 / 10,700 DN per electron.
    slope = np.polyfit(c.flat.ravel(), c.get("flat/variance").ravel(), 1)[0]
    assert slope == pytest.approx(255 * 0.99 / 10_700, rel=0.3)
    assert not c.bad_pixels.any()


def test_hot_and_dead_pixels_are_found_and_left_out(made, opu):
    g = {name: dict(group) for name, group in made.calibration.groups.items()}
    hot, dead = made.calibration.dark.copy(), made.calibration.get("flat/modulation").copy()
    hot[10, 9], dead[5, 20] = 60, 0.0  # sensor row and column; the crop begins at row 4, column 8
    g["dark"]["long_mean"], g["flat"]["modulation"] = Quantity(hot, "DN"), Quantity(dead, "DN")
    found = frames.bad(opu, g["dark"], g["flat"])
    assert np.argwhere(found["hot"].values).tolist() == [[10, 9]]
    assert np.argwhere(found["dead"].values).tolist() == [[5, 20]]
    selection = region.select(opu, g["flat"], found, g["scale"])["selection"].values
    assert sorted(set(range(64)) - set(selection.tolist())) == [0 * 8 + 6, 3 * 8 + 0]  # two by two pixels each


def test_noise_is_no_defect(opu):
    opu.expose_to()
    dark = frames.dark(opu)
    flat = frames.flat(opu, dark)
    assert not frames.bad(opu, dark, flat)["outputs"].values.any()
    mean, variance = np.full((24, 32), 3, np.float32), np.zeros((24, 32), np.float32)
    mean[10, 9], variance[10, 9] = 3 + 1 / 16, 1 / 16  # one frame of 16 a step higher, where all others are still
    still = {"mean": mean, "variance": variance, "long_mean": mean, "long_variance": variance, "frames": np.array(16)}
    assert not frames.bad(opu, {n: Quantity(v, "DN") for n, v in still.items()}, flat)["hot"].values.any()


def test_a_moved_region_is_measured(made, opu):
    reference = made.calibration.get("alignment/reference")
    frame = np.roll(reference, (3, -2), (0, 1))
    shift = region.shift_of(reference, frame)
    assert (shift.x, shift.y, shift.moved) == (-2, 3, True)
    assert shift.correlation == pytest.approx(1, abs=1e-6)
    assert shift.unmoved < 0.3
    noise = np.random.default_rng(0).normal(size=reference.shape)
    assert not region.shift_of(reference, reference + 20 * noise).moved
    assert not region.shift_of(reference, np.zeros_like(reference)).moved


def sweep_of(constant, noise, at_once=False):
    rng = np.random.default_rng(2)
    waits = np.array([1, *(48_000 >> k for k in range(12))])
    waits.sort()
    x = np.zeros(len(waits)) if at_once else np.exp(-waits / constant)
    final, square, other = rng.normal(size=(3, 1, 4, 1, 64)) * 200
    linear = 0.9 * final + 0.3 * other
    clean = final - linear * x[:, None, None, None] - square * x[:, None, None, None] ** 2
    responses = np.rint(clean + noise * rng.normal(size=(len(waits), 4, 2, 64))).astype(np.int64)
    return settle.Sweep(waits, responses, np.rint(noise * rng.normal(size=responses[0].shape)).astype(np.int64))


@pytest.mark.parametrize("wanted", [100.0, 1000.0, 12_000.0])
def test_time_constant_of_a_slow_panel(wanted):
    found = sweep_of(wanted, 10.0)
    constant, error = settle.time_constant(found)
    assert constant == pytest.approx(wanted, rel=0.05)
    assert error < 0.1 * wanted
    assert found.restless == (wanted == 12_000.0)


def test_a_quick_panel_has_no_time_constant():
    found = sweep_of(1.0, 10.0, at_once=True)
    assert settle.time_constant(found) == (0.0, 0.0)
    assert found.settled_cycles == 1


@pytest.mark.parametrize("settle_s", [0.001, 0.0015, 0.003, 0.0068, 0.03])
def test_a_panel_slower_than_the_first_waits_is_seen_through(tmp_path, settle_s):
    slow = dataclasses.replace(DMD, modulator=dataclasses.replace(DMD.modulator, settle_s=settle_s))
    save(tmp_path / "slow.toml", slow)
    with openopu.open(f"{URL}&plant={tmp_path}/slow.toml") as opu:
        opu.expose_to()
        found = settle.settle(opu)
    assert float(found["time_constant"].values) == pytest.approx(settle_s, rel=0.05)
    assert float(found["settled"].values) > 2 * settle_s


def test_a_slow_phase_panel_of_a_name_is_calibrated():
    """Its levels are measured before anything is known of its settling."""
    with openopu.open(f"{URL}&plant=lcos+imx249") as opu:
        made = calibrate(opu, ["levels", "settle"], effort=QUICK).calibration
    assert made.time_constant_s == pytest.approx(1 / (32 * np.log(100)), rel=0.05)
    assert float(made.get("levels/span")) == pytest.approx(np.pi, abs=0.15)


def test_frames_of_noise_are_not_waited_for(opu, monkeypatch):
    """Where every clock is computed a longer wait may take hours."""
    asked = []
    monkeypatch.setattr(settle, "sweep", lambda opu, longest, *a: (asked.append(longest), sweep_of(1.0, 2000.0))[1])
    opu.expose_to()
    with pytest.raises(CalibrationFailed, match="hardly depend on the pattern"):
        settle.settle(opu)
    assert len(asked) == 1


def test_a_sweep_waits_for_as_many_video_frames_as_the_program(opu, monkeypatch):
    shown, using = [], opu.using
    monkeypatch.setattr(
        opu, "using", lambda settings, **base: (shown.extend(settings.program), using(settings, **base))[1]
    )
    opu.expose_to()
    opu.configure(frames=3)
    shown.clear()
    settle.sweep(opu, 256, 500)
    assert {shot.frames for shot in shown} == {3}


def interference(phase, outputs, noise, seed=1):
    rng = np.random.default_rng(seed)
    anchor, signal = (rng.normal(size=(2, outputs)) + 1j * rng.normal(size=(2, outputs))) * 5
    frames = np.abs(signal + anchor * np.exp(1j * phase)[:, None]) ** 2
    return frames + noise * rng.normal(size=frames.shape)


@pytest.mark.parametrize(("gamma", "longest"), [(1.3, 2 * np.pi), (0.8, 6.0), (1.8, 7.0), (1.0, 3.5)])
def test_level_table_makes_the_phase_linear(gamma, longest):
    chosen = np.unique(np.round(np.linspace(0, 255, 64)).astype(int))
    true = longest * (np.arange(256) / 255) ** gamma
    curve = levels.fit(interference(true[chosen], 64, 2.0), chosen, 2.0, "test")
    assert np.abs(curve.phase - true[chosen]).max() < 0.05
    table, span = levels.table_of(curve)
    assert span == pytest.approx(min(longest, 2 * np.pi * 255 / 256), abs=0.05)
    steepest, wanted = np.diff(true).max(), 2 * np.pi * np.arange(256) / 256
    assert np.abs(true[table] - np.minimum(wanted, span)).max() < 0.05 + steepest / 2
    exact, _ = levels.table_of(levels.Curve(np.arange(256), true, 0.0))
    assert np.abs(true[exact] - np.minimum(wanted, longest)).max() < steepest / 2 + 1e-9


@pytest.mark.parametrize(
    ("phase", "match"),
    [
        (np.zeros(32), "do not change with the level"),
        (np.where(np.arange(32) < 16, 0, np.pi), "two states"),
        (np.linspace(0, 0.1, 32), "two states"),
    ],
)
def test_panels_without_a_phase_curve_are_refused(phase, match):
    chosen = np.round(np.linspace(0, 255, 32)).astype(int)
    with pytest.raises(CalibrationFailed, match=match):
        levels.fit(interference(phase, 64, 0.5), chosen, 0.5, "test")


def test_a_binary_panel_has_no_phase_curve(made, opu):
    assert "two states" in made.left_out["levels"]
    assert "cannot step the phase (the frames change between two states" in made.left_out["complex matrix"]
    with pytest.raises(CalibrationFailed, match="two states"):
        calibrate(opu, ["levels"], effort=QUICK)


def test_what_shows_nothing_is_refused(opu):
    opu.expose_to()
    dark = frames.dark(opu, 2, 2000)
    opu.set_exposure(60_000)
    with pytest.raises(CalibrationFailed, match="at full scale"):
        frames.flat(opu, dark, 4)
    opu.set_exposure(50)
    with pytest.raises(CalibrationFailed, match="dark"):
        frames.flat(opu, dark, 4)
    opu.configure(laser_power=0)
    with pytest.raises(CalibrationFailed, match="dark"):
        calibrate(opu)
    opu.configure(laser_power=2048, exposure_cycles=5)
    with pytest.raises(CalibrationFailed, match="drowns in noise"):
        response.matrix(opu)
    with pytest.raises(CalibrationFailed, match="correlate"):
        region.reference(opu)
    with pytest.raises(UsageError, match="at least 2"):
        response.matrix(opu, repeats=1)


@pytest.mark.parametrize(("fill", "match"), [(0.6, "pixels clip"), (0.005, "frames are dark")])
def test_an_exposure_that_cannot_be_calibrated_names_the_option(opu, fill, match):
    with pytest.raises(CalibrationFailed, match=f"{match}.*`--fill`"):
        calibrate(opu, ["dark"], fill=fill, effort=QUICK)


def test_unsteady_light_is_refused(made, opu, monkeypatch):
    flicker = iter(np.tile([0.85, 1.15], 1000))
    capture = frames.capture

    def flickering(*args):
        taken = capture(*args)
        return np.stack([(f * next(flicker)).astype(np.uint16) for f in taken])

    opu.set_exposure(made.calibration.exposure_cycles)
    monkeypatch.setattr(frames, "capture", flickering)
    with pytest.raises(CalibrationFailed, match=r"differs by 2\d\.\d%"):
        frames.flat(opu, made.calibration.groups["dark"], 4)


def test_ambient_light_is_refused(opu, monkeypatch):
    capture = frames.capture
    monkeypatch.setattr(frames, "capture", lambda *a: capture(*a) + np.uint16(200))
    with pytest.raises(CalibrationFailed, match="without laser power"):
        frames.dark(opu, 2, 2000)


def test_names_bring_what_they_need():
    assert planned(["alignment"]) == ["dark", "flat", "bad", "scale", "alignment"]
    assert planned(["matrix"]) == ["matrix"]
    with pytest.raises(UsageError, match="no calibration `colour`"):
        planned(["colour"])


def test_exposures_of_a_calibration_are_beside_those_of_the_run(opu):
    opu.exposure_next = 12_345
    with calibrating(opu):
        assert opu.exposure_next == CALIBRATION_EXPOSURES + 12_345
        opu.project_raw(np.zeros((1, 2, 64)))
        with calibrating(opu):
            assert opu.exposure_next == CALIBRATION_EXPOSURES + 12_345 + 4
    assert opu.exposure_next == 12_345
    opu.exposure_next = (1 << 28) + 7
    with calibrating(opu):
        assert opu.exposure_next == CALIBRATION_EXPOSURES + 7
    made = calibrate(opu, ["monitor"], effort=QUICK)
    assert made.calibration.exposure_next == (1 << 28) + 7 == opu.exposure_next


def test_the_command_writes_one_file_and_says_what_is_in_it(capsys, tmp_path):
    out = tmp_path / "c.h5"
    words = ["calibrate", "--device", URL, "--out", str(out), "--quick", "--json"]
    assert cli.main([*words, "--only", "alignment", "settle"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["groups"] == ["alignment", "bad", "dark", "flat", "scale", "settle"]
    assert said["sha256"] == load(out).sha256
    assert (said["outputs_selected"], said["outputs"]) == (64, 64)
    assert load(out).created
    before = out.read_bytes()
    assert cli.main([*words, "--only", "levels"]) == 1  # refused: the old file stands
    assert "two states" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert cli.main(["calibrate", "--device", URL, "--out", str(out / "c.h5")]) == 2  # a file is no folder
    assert "cannot be written" in capsys.readouterr().err
    assert cli.main(["calibrate", "--device", URL, "--out", str(tmp_path)]) == 2


def test_settings_are_left_as_they_were_but_for_the_exposure(opu):
    opu.configure(components=10, outputs=[5, 3, 9])
    before = opu.settings
    calibrate(opu, effort=QUICK)
    assert opu.settings.selection.tolist() == [5, 3, 9]
    cycles = opu.exposure_cycles
    assert opu.settings.program == before.program.replace(exposure_cycles=cycles)
    registers = {**opu.settings.registers, "heartbeat_cycles": before.registers["heartbeat_cycles"]}
    assert registers == before.registers
    assert opu.exposure_next == 0


def test_monitor_needs_light_that_repeats(opu):
    opu.set_exposure(10)
    with pytest.raises(CalibrationFailed, match="two projections"):
        monitor.reference(opu)


def test_a_matrix_beyond_the_memory_is_left_out_before_it_is_measured(opu, monkeypatch):
    monkeypatch.setattr(response, "shortage", lambda needed: f"{needed} bytes; this machine has none")
    opu.exposure_next = 7
    with pytest.raises(CalibrationFailed, match=r"a matrix of 64 x 64 takes \d+ bytes"):
        response.matrix(opu)
    assert opu.exposure_next == 7
    made = calibrate(opu, effort=QUICK)
    assert "matrix" in made.left_out
    assert "matrix" not in made.calibration.groups


def test_hadamard_rows_are_orthogonal():
    rows = hadamard_rows(0, 16, 16)
    np.testing.assert_array_equal(rows @ rows.T, 16 * np.eye(16))
    np.testing.assert_array_equal(hadamard_rows(5, 9, 11), rows[5:9, :11])
    assert [hadamard_order(n) for n in (1, 2, 3, 64, 65)] == [1, 2, 4, 64, 128]
