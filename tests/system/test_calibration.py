"""Every calibration gives the same file through the twin and through the RTL, noise and all."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from openopu import cli
from openopu.calibration import load
from openopu.calibration.calibrate import GROUPS
from openopu.plants import PHASE, PlantParameters, save

GEOMETRY = "n=16&m=16"


def bench(base: PlantParameters, **modulator: float) -> PlantParameters:
    """A panel with effects for all calibrations to see, and an otherwise fair bench."""
    return dataclasses.replace(
        base,
        laser=dataclasses.replace(base.laser, relative_noise_rms=0.005),
        modulator=dataclasses.replace(base.modulator, settle_s=8e-6, **modulator),
        medium=dataclasses.replace(base.medium, drift_rad_per_exposure=1e-5),
        camera=dataclasses.replace(
            base.camera, prnu_rms=0.01, dsnu_e_rms=1.0, hot_pixel_share=0.01, hot_pixel_e_per_s=5e7,
            dead_pixel_share=0.01,
        ),
    )  # fmt: skip


PLANT = bench(PHASE, levels=64, phase_max_rad=6.2, gamma=1.3, flicker_rad_rms=0.01)
"""A phase panel, which has all there is to calibrate."""


def test_twin_and_rtl_give_the_same_file(tmp_path: Path) -> None:
    save(tmp_path / "plant.toml", PLANT)
    files = []
    for name, scheme, keys in (("twin", "twin:", ""), ("rtl", "rtl:verilator", "&link=bytes")):
        files.append(tmp_path / f"{name}.h5")
        url = f"{scheme}?{GEOMETRY}&plant={tmp_path}/plant.toml{keys}"
        words = ["calibrate", "--device", url, "--out", str(files[-1]), "--quick", "--undated", "--json"]
        assert cli.main(words) == 0
    twin, rtl = (file.read_bytes() for file in files)
    assert twin == rtl
    found = load(files[0])
    assert sorted(found.groups) == sorted(GROUPS)
    assert found.time_constant_s == pytest.approx(8e-6, rel=0.2)
    assert found.complex_matrix.shape == (16, 16)
    assert found.bad_pixels.sum() > 2
