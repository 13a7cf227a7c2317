"""Calibrations of panels and media with effects, whose parameters are known here and hidden from the measurement."""

import dataclasses

import numpy as np
import openopu
import pytest
from openopu.calibration import CalibrationFailed
from openopu.calibration.calibrate import QUICK, calibrate
from openopu.plants import DMD, PHASE, save
from openopu_sim.plant.camera import FixedPattern

from .conftest import URL


def opened(folder, base, **parts):
    changed = {part: dataclasses.replace(getattr(base, part), **fields) for part, fields in parts.items()}
    save(folder / "plant.toml", dataclasses.replace(base, **changed))
    return openopu.open(f"{URL}&plant={folder}/plant.toml")


@pytest.mark.parametrize("constant", [4e-6, 5e-5, 2e-4, 6.8e-3])
def test_time_constant_within_five_percent(tmp_path, constant):
    with opened(tmp_path, DMD, modulator={"settle_s": constant}) as opu:
        found = calibrate(opu, ["settle"]).calibration
        assert opu.settings.program.shots[0].settle_cycles >= 3 * constant * 48e6  # and is waited for from now on
    assert found.time_constant_s == pytest.approx(constant, rel=0.05)


def test_phase_curve_and_complex_matrix_of_a_phase_panel(tmp_path):
    gamma, longest = 1.4, 6.2
    modulator = {"levels": 256, "phase_max_rad": longest, "gamma": gamma, "flicker_rad_rms": 0.01}
    with opened(tmp_path, PHASE, modulator=modulator) as opu:
        made = calibrate(opu, ["levels", "matrix"])
        c = made.calibration
        assert not made.left_out
        assert opu.settings.program.shots[0].level_on == 128
        np.testing.assert_array_equal(opu.level_table, c.level_table)
    true = longest * (np.arange(256) / 255) ** gamma
    assert np.abs(c.get("levels/phase") - true[c.get("levels/level")]).max() < 0.08
    wanted = np.minimum(2 * np.pi * np.arange(256) / 256, float(c.get("levels/span")))
    assert np.abs(true[c.level_table] - wanted).max() < 0.1
    # The real part and that of the pairs are the same product, but for a factor of 4 to 4: both pairs of phases 0, pi.
    pairs, stepped = c.matrix, c.complex_matrix.real
    assert abs(np.corrcoef(pairs.ravel(), stepped.ravel())[0, 1]) > 0.99
    assert np.abs(np.corrcoef(pairs.ravel(), c.complex_matrix.imag.ravel())[0, 1]) < 0.1


def test_defects_of_the_camera_are_those_that_are_there(tmp_path):
    camera = dataclasses.replace(
        DMD.camera, hot_pixel_share=0.01, hot_pixel_e_per_s=5e7, dead_pixel_share=0.01, prnu_rms=0.01
    )
    with opened(tmp_path, DMD, camera=dataclasses.asdict(camera)) as opu:
        c = calibrate(opu, ["alignment"], effort=QUICK).calibration
    true = FixedPattern.draw(camera, 24 * 32, 1)  # the medium's seed, by default 1
    dead = true.response.reshape(24, 32) == 0
    np.testing.assert_array_equal(c.get("bad/dead") != 0, dead)
    # A dead pixel that is hot, too, shows its charge.
    np.testing.assert_array_equal(c.get("bad/hot") != 0, true.hot.reshape(24, 32) != 0)
    assert min(dead.sum(), true.hot.sum()) > 2
    assert not set(c.selection.tolist()) & set(np.flatnonzero(c.get("bad/outputs")).tolist())


def test_a_medium_that_does_not_rest_is_refused(tmp_path):
    for medium, what in (({"drift_rad_per_exposure": 1e-3}, "changed meanwhile"), ({"vibration_rad_rms": 0.8}, "only")):
        with opened(tmp_path, DMD, medium=medium) as opu, pytest.raises(CalibrationFailed, match=what):
            calibrate(opu, ["alignment", "monitor", "matrix"], effort=QUICK)
