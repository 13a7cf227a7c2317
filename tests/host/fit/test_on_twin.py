"""Fit, comparison and report on the twin, whose plant the fit does not see."""

import dataclasses
import json

import openopu
import pytest
from openopu import cli, plants
from openopu.characterise.gap import gap
from openopu.errors import LaserDark
from openopu.fit import FitError, Plan, fit

GEOMETRY = "n=16&m=256&bits=12"


def hidden_plant():
    p, replace = plants.DMD, dataclasses.replace
    return replace(
        p,
        laser=replace(p.laser, relative_noise_rms=0.008, drift_per_exposure=-4e-6),
        modulator=replace(p.modulator, settle_s=6e-6),
        medium=replace(p.medium, drift_rad_per_exposure=8e-5),
        camera=replace(p.camera, full_well_e=14_000.0, read_noise_e=6.0, black_level_share=0.013, dsnu_e_rms=2.0),
        photodiode=replace(p.photodiode, noise_rms_dn=1.4, offset_dn=9.0),
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    file = tmp_path_factory.mktemp("bench") / "bench.toml"
    plants.save(file, hidden_plant())
    return file


def test_commands(bench, tmp_path, capsys):
    url = f"twin:?plant={bench}&{GEOMETRY}"
    assert cli.main(["characterise", "--device", url, "--model", url, "--out", str(tmp_path), "--quick", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in page  # self-contained
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert json.loads((tmp_path / "report.json").read_text())["gap"]["correlation"] > 0.99
    assert said["limits"][0]["cause"] == "shot noise"

    # The fitted plant is the hidden one.
    fitted, hidden = plants.load(tmp_path / "plant.toml"), hidden_plant()
    for table, name, tolerance in (
        ("camera", "full_well_e", 0.04), ("camera", "analog_gain", 1e-6), ("camera", "read_noise_e", 0.05),
        ("camera", "black_level_share", 0.01), ("camera", "dsnu_e_rms", 0.15),
        ("laser", "relative_noise_rms", 0.12), ("modulator", "settle_s", 0.05),
        ("medium", "drift_rad_per_exposure", 0.10), ("medium", "throughput", 0.25),
        ("photodiode", "offset_dn", 0.05), ("photodiode", "noise_rms_dn", 0.15), ("photodiode", "full_scale_w", 0.01),
    ):  # fmt: skip
        wanted = getattr(getattr(hidden, table), name)
        assert getattr(getattr(fitted, table), name) == pytest.approx(wanted, rel=tolerance), name
    gain = 4095 * (1 - 0.013) / 14_000
    for name, true in (("gain", gain), ("read_noise", 6.0), ("laser_noise", 0.008), ("medium_drift", 8e-5)):
        found = said["estimates"][name]
        assert abs(found["value"] - true) < 4 * found["error"], name

    # The twin with the true plant: residuals are white, and as large as its noise.
    words = ["gap", "--device", url, "--model", url, "--rows", "128", "--seeds", "0", "--json"]
    assert cli.main([*words, "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["whiteness"]["white"]
    assert found["chi2"] == pytest.approx(1, abs=0.12)
    assert found["slope"] == pytest.approx(1, abs=0.005)
    assert (tmp_path / "gap.png").exists()
    # Another medium is not a model of this one.
    words[4] = url + "&seed=2"
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["correlation"] < 0.3


def test_the_devices_own_matrix_as_its_model():
    """Where nothing clips the residuals are as large as the plant's noise, that of the measured matrix included."""
    with openopu.open("twin:?n=64&m=256&bits=12&bin=1") as opu:
        opu.expose_to(0.05)
        found = gap(opu, None, plants.DMD, rows=256)
    assert found.chi2 == pytest.approx(1, abs=0.08)


def test_a_device_without_light_saturated_or_noiseless():
    with openopu.open(f"twin:?{GEOMETRY}") as opu:
        opu.configure(laser_power=0)
        with pytest.raises(LaserDark, match="as dark as without"):
            fit(opu, Plan.quick())
        opu.configure(laser_power=4095, exposure_cycles=200_000)
        with pytest.raises(FitError, match="saturated"):
            fit(opu, Plan.quick())
    with openopu.open(f"twin:?{GEOMETRY}&noise=off") as opu, pytest.raises(FitError, match="two frames do not differ"):
        fit(opu, Plan.quick())


def test_what_the_commands_refuse(tmp_path, capsys):
    for words, wanted in (
        (["gap", "--device", "twin:?n=16&m=256", "--rows", "3"], "rows: 3 is out of range"),
        (["gap", "--device", "twin:?n=16&m=256", "--model", "twin:?n=16&m=64"], "same geometry"),
        (["characterise", "--device", "twin:?n=16&m=64", "--out", "/proc/none"], "--out"),
        (["characterise", "--device", "twin:", "--base", "nowhere.toml", "--out", str(tmp_path)], "nowhere"),
    ):
        assert cli.main(words) == 2, words
        assert wanted in capsys.readouterr().err
