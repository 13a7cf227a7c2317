"""Every effect of the plant at once: twin and RTL give the same integers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from openopu import cli
from openopu.plants import DMD, PHASE, PlantParameters, save

GEOMETRY = "n=64&m=64"


def with_everything(base: PlantParameters, **modulator: float) -> PlantParameters:
    """A plant with every effect that a panel of this kind can have, all of them strong."""
    return PlantParameters(
        dataclasses.replace(base.laser, relative_noise_rms=0.02, drift_per_exposure=1e-4, coherence=0.9),
        dataclasses.replace(
            base.modulator, fill_factor=0.92, crosstalk=0.1, settle_s=4e-6, warm_up_rad=0.3, warm_up_exposures=100.0,
            **modulator,
        ),
        dataclasses.replace(base.medium, grain_px=1.5, drift_rad_per_exposure=1e-3, vibration_rad_rms=0.05),
        dataclasses.replace(
            base.camera, prnu_rms=0.02, dsnu_e_rms=20.0, hot_pixel_share=0.01, hot_pixel_e_per_s=5e7,
            dead_pixel_share=0.01,
        ),
        dataclasses.replace(base.photodiode, offset_dn=12.0, bandwidth_hz=1e6),
        base.thermometer,
    )  # fmt: skip


PLANTS = {
    "binary": with_everything(DMD, off_amplitude=0.05),
    "phase": with_everything(PHASE, levels=64, phase_max_rad=5.0, gamma=1.4, flicker_rad_rms=0.1),
}


@pytest.mark.parametrize("kind", list(PLANTS))
def test_identity(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "plant.toml", PLANTS[kind])
    settings = f"{GEOMETRY}&plant={tmp_path}/plant.toml"
    words = ["compare", "--json", "--projections", "20", "--device-a", f"twin:?{settings}"]
    words += ["--device-b", f"rtl:verilator?{settings}&link=bytes"]
    code = cli.main(words)
    report = json.loads(capsys.readouterr().out)
    assert code == 0, report
    assert report["mismatches"] == 0
