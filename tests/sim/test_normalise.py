"""Photodiode readings with each shot, and frames normalised by them, through the host on the twin."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import openopu
import pytest
from openopu.errors import LaserDark, ProjectionFailed, UsageError
from openopu.settings import lossless
from openopu_rtl.protocol import Code, Program, Shot
from openopu_rtl.protocol.shots import complement, intensity
from openopu_sim.plant import DMD, Plant, save

URL = "twin:?n=64&m=64"
NOISE = 0.02
"""Of the laser's intensity: a cheap diode's."""


@pytest.fixture
def noisy_url(tmp_path: Path) -> str:
    path = tmp_path / "noisy.toml"
    save(path, dataclasses.replace(DMD, laser=dataclasses.replace(DMD.laser, relative_noise_rms=NOISE)))
    return f"{URL}&plant={path}"


def test_normalised_frames_spread_less(noisy_url: str) -> None:
    """The same pattern, exposed often: what the laser's noise does to all outputs in common is taken out."""
    rows = 200
    with openopu.open(noisy_url) as opu:
        planes = np.repeat(np.random.default_rng(1).integers(0, 2, (1, 1, opu.geometry.modes)), rows, axis=0)
        opu.configure(intensity(exposure_cycles=2000), bits=16, shift=0, monitors=True)
        black = opu.capture(planes[0, 0], 1).mean() * opu.geometry.bin**2
        reference = opu.refer_monitor(100)
        light, spread, monitors = {}, {}, {}
        for normalise in (False, True):
            opu.configure(intensity(exposure_cycles=2000), bits=16, shift=0, normalise=normalise)
            opu.exposure_next = 5000
            record = opu.project_raw(planes)
            light[normalise] = record.values.mean(axis=1) - black
            spread[normalise] = light[normalise].std() / light[normalise].mean()
            monitors[normalise] = record.monitors
    assert 0.8 * NOISE < spread[False] < 1.2 * NOISE
    assert spread[True] < spread[False] / 5
    assert abs(light[True].mean() / light[False].mean() - 1) < 0.01
    assert (monitors[True] == monitors[False]).all()  # noise belongs to the exposure
    assert monitors[True].shape == (rows, 1)
    assert abs(reference - monitors[True].mean()) < 4 * NOISE * reference / 10
    assert np.corrcoef(light[False], monitors[False][:, 0])[0, 1] > 0.95


def test_readings_are_those_of_their_exposures() -> None:
    program = Program(tuple(Shot(exposure_cycles=c) for c in (20, 900, 1)))
    plant = Plant(openopu.open(URL).geometry)
    with openopu.open(URL) as opu:
        opu.configure(program, monitors=True, laser_power=3000, outputs=5)
        opu.exposure_next = 2**32 - 4
        record = opu.project_raw(np.zeros((4, 1, opu.geometry.modes), bool))
        want = [[plant.monitor_reading((2**32 - 4 + 3 * r + s) % 2**32, 3000) for s in range(3)] for r in range(4)]
        assert record.monitors.tolist() == want
        assert record.head["monitor"].tolist() == [row[-1] for row in want]
        assert opu.status()["temperature"] == plant.temperature_reading()
        # Raw frames have readings too; without `monitors` there are none.
        settings = opu.settings
        with opu.using(settings.replace(raw=True)):
            assert opu.project_raw(np.zeros((1, 1, opu.geometry.modes), bool)).monitors.shape == (1, 3)
        opu.configure(program, monitors=False)
        assert opu.project_raw(np.zeros((1, 1, opu.geometry.modes), bool)).monitors is None
    plant.close()


def test_normalising_is_kept_and_its_numbers_fit() -> None:
    with openopu.open(URL) as opu:
        opu.configure(exposure_cycles=600, normalise=True, monitor_reference=1234)
        assert (opu.settings.bits, opu.settings.shift) == lossless(complement(2), opu.geometry, normalise=True)
        assert lossless(complement(2), opu.geometry, normalise=True) != lossless(complement(2), opu.geometry)
        opu.configure(exposure_cycles=600)
        assert opu.settings.normalise
        assert opu.registers(["normalise", "monitor_reference"]) == {"normalise": 1, "monitor_reference": 1234}
        # The heaviest weight there is, on the brightest frames: nothing saturates.
        opu.configure(intensity(exposure_cycles=600_000), monitor_reference=4095)
        record = opu.project_raw(np.ones((2, 1, opu.geometry.modes), bool))
        assert record.head["saturated"].tolist() == [0, 0]
        assert record.values.max() > ((1 << opu.geometry.pixel_bits) - 1) * opu.geometry.bin**2
        # A raw frame is what the camera saw, however short.
        assert opu.capture(exposure_cycles=1).shape == (opu.geometry.camera_height, opu.geometry.camera_width)


def test_exposures_too_short_to_normalise() -> None:
    with openopu.open(URL) as opu:
        shortest = opu.identity.monitor_cycles + 1
        with pytest.raises(UsageError, match=f"Expose for at least {shortest} cycles"):
            opu.configure(exposure_cycles=shortest - 1, normalise=True)
        assert not opu.settings.normalise
        opu.configure(exposure_cycles=shortest, normalise=True)
        assert opu.project_raw(np.zeros((1, 2, opu.geometry.modes), bool)).ok.all()
        # A host that does not look: the device says it.
        opu._session.write(normalise=1)
        opu.configure(exposure_cycles=shortest, normalise=False)
        opu._session.write(normalise=1)
        opu.configure(exposure_cycles=shortest - 1)
        with pytest.raises(ProjectionFailed, match=r"1 times: MONITOR_LATE.*`monitor_cycles`") as caught:
            opu.project_raw(np.zeros((1, 2, opu.geometry.modes), bool))
        assert caught.value.code == Code.MONITOR_LATE


def test_a_reference_needs_light() -> None:
    with openopu.open(f"{URL}&noise=off") as opu:
        opu.configure(laser_power=0)
        with pytest.raises(LaserDark, match="reads nothing"):
            opu.refer_monitor(1)
        with pytest.raises(UsageError, match="projections"):
            opu.refer_monitor(0)
        assert opu.registers(["monitor_reference"]) == {"monitor_reference": 2048}
