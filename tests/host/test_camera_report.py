"""A camera alone: figures of a known sensor are found again, and what is no measurement is refused."""

import dataclasses
import json

import numpy as np
import pytest
from openopu import cli
from openopu.cameras import Camera
from openopu.characterise.camera import measure
from openopu.fit.estimate import FitError
from openopu.plants import load
from openopu.plants.devices import CAMERAS
from openopu_sim.plant.camera import Camera as Sensor
from openopu_sim.plant.camera import FixedPattern

IMX255 = dataclasses.replace(CAMERAS["imx255"].parameters, hot_pixel_share=0.0, dead_pixel_share=0.0)
ELECTRONS_PER_US = 40.0


class Simulated(Camera):
    """The plant's sensor behind the camera contract, under even light that fluctuates by 1 %."""

    identity, pixel_format, bits, shape, exposure_bounds_us = "simulated IMX255", "Mono12", 12, (96, 128), (1.0, 1e7)

    def __init__(self, **changes):
        parameters = dataclasses.replace(IMX255, **changes)
        self._sensor = Sensor(parameters, self.bits, FixedPattern.draw(parameters, 96 * 128, 3))
        self._stream = np.random.Generator(np.random.Philox(11))
        self.exposure_us = 1.0

    def _grab(self, n, exposure_us):
        self.exposure_us = round(exposure_us)
        light = ELECTRONS_PER_US * self.exposure_us * (1 + 0.01 * self._stream.standard_normal((n, 1)))
        electrons = np.repeat(light, 96 * 128, axis=1).astype(np.float32)
        self._sensor.collect(electrons, self.exposure_us * 1e-6)
        self._sensor.digitise(electrons, [self._stream] * n)
        return electrons.astype(np.uint16).reshape(n, *self.shape)

    def close(self):
        pass


def test_figures_of_a_known_sensor():
    found = measure(Simulated())
    k = 4095 * (1 - IMX255.black_level_share) / IMX255.full_well_e
    assert found.gain.value == pytest.approx(k, rel=0.02)
    assert found.full_well.value == pytest.approx(IMX255.full_well_e, rel=0.02)
    # Darkness is the shortest exposure, here with 40 electrons of light.
    assert found.read_noise.value**2 == pytest.approx(IMX255.read_noise_e**2 + ELECTRONS_PER_US, rel=0.06)
    assert found.prnu.value == pytest.approx(IMX255.prnu_rms, rel=0.05)
    assert found.linearity.value < 0.03


def test_a_camera_without_noise_or_light_is_refused():
    class Still(Simulated):
        def _grab(self, n, exposure_us):
            self.exposure_us = exposure_us
            return np.full((n, *self.shape), min(4095, round(41 + exposure_us)), np.uint16)

    with pytest.raises(FitError, match="noise does not grow"):
        measure(Still())
    with pytest.raises(FitError, match="do not follow the exposure"):
        measure(Simulated(quantum_efficiency=0.65, dead_pixel_share=1.0))


def test_the_command_on_pylons_emulator(monkeypatch, capsys, tmp_path):
    """Its frames do not depend on the exposure: the command says so, and how to go on."""
    monkeypatch.setenv("PYLON_CAMEMU", "1")
    words = ["characterise", "--camera", "pylon:?pixel_format=Mono8&width=64&height=64"]
    assert cli.main([*words, "--out", str(tmp_path), "--json"]) == 1
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["error"], said["where"]) == ("FitError", "Basler Emulation 0815-0000")
    assert "frames do not follow the exposure" in said["what"]
    assert "an emulated camera has none" in said["next_step"]


def test_the_command_writes_report_and_plant(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("openopu.characterise.camera.open_camera", lambda _: Simulated())
    assert cli.main(["characterise", "--camera", "pylon:", "--out", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert load(tmp_path / "plant.toml").camera.full_well_e == said["estimates"]["full_well"]["value"]
    assert {"report.html", "report.pdf", "report.json", "plant.toml"} <= {f.name for f in tmp_path.iterdir()}
