"""The file: whole or refused, the same bytes for the same content, and whose it is."""

import dataclasses
import errno
import os
import time
from datetime import UTC, datetime, timedelta

import h5py
import numpy as np
import openopu
import pytest
from openopu.calibration import (
    Calibration,
    CalibrationFileError,
    CalibrationMismatch,
    CalibrationStale,
    Quantity,
    load,
)
from openopu.calibration.file import identity
from openopu.plants import DMD, PlantFileError, save
from openopu.plants.optics import differences, fingerprint, optics_of
from openopu.url import DeviceUrl

from .conftest import URL


def test_what_is_saved_is_what_is_loaded(made, tmp_path):
    path = tmp_path / "c.h5"
    made.calibration.save(path)
    found = load(path)
    assert found.sha256 == made.calibration.sha256
    assert found.content() == path.read_bytes()
    assert found.crop == (8, 4, 16, 16)
    for group, quantities in made.calibration.groups.items():
        for name, quantity in quantities.items():
            np.testing.assert_array_equal(found.groups[group][name].values, quantity.values)
            assert found.groups[group][name].values.shape == quantity.values.shape
    with h5py.File(path) as file:
        file.visititems(lambda name, it: None if isinstance(it, h5py.Group) else it.attrs["unit"])
        assert file["dark/mean"].attrs["unit"] == "DN"
        assert file.attrs["laser_power"] == 2048


def test_the_bytes_do_not_depend_on_when_they_are_written(made):
    first = made.calibration.content()
    time.sleep(1.1)
    assert made.calibration.content() == first
    assert made.calibration.replace(created="2026-01-01T00:00:00+00:00").content() != first


def test_a_file_that_cannot_be_trusted_is_refused(made, tmp_path):
    path = tmp_path / "c.h5"
    made.calibration.save(path)
    whole = path.read_bytes()
    with h5py.File(path, "a") as file:
        file["matrix/effective"][3, 5] += 1
    with pytest.raises(CalibrationFileError, match="hash differs"):
        load(path)
    for share in (0, 0.01, 0.3, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(CalibrationFileError, match="damaged"):
            load(path)
    rng = np.random.default_rng(5)
    refused = 0
    for at in rng.integers(0, len(whole), 200).tolist():
        content = bytearray(whole)
        content[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            assert load(path).sha256 == made.calibration.sha256  # what HDF5 does not use does not matter
        except CalibrationFileError:
            refused += 1
    assert refused > 100
    path.write_bytes(b"not at all HDF5")
    with pytest.raises(CalibrationFileError, match="no calibration"):
        load(path)
    with pytest.raises(CalibrationFileError, match="No such file"):
        load(tmp_path / "none.h5")
    with pytest.raises(CalibrationFileError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [("openopu-calibration/99", "version 99"), ("another", "no calibration of openopu"), (7, "no calibration")],
)
def test_foreign_and_newer_files_are_refused(made, tmp_path, text, match):
    path = tmp_path / "c.h5"
    made.calibration.save(path)
    with h5py.File(path, "a") as file:
        file.attrs["format"] = text
    with pytest.raises(CalibrationFileError, match=match):
        load(path)


def test_the_hash_covers_units_attributes_and_names(made):
    c = made.calibration
    dark = {**c.groups["dark"], "mean": Quantity(c.dark, "e-")}
    others = [
        c.replace(groups={**c.groups, "dark": dark}),
        c.replace(exposure_cycles=c.exposure_cycles + 1),
        c.replace(device={**c.device, "board": "ulx3s"}),
        c.replace(groups={("black" if k == "dark" else k): v for k, v in c.groups.items()}),
    ]
    assert len({c.sha256, *(o.sha256 for o in others)}) == 5


def test_a_full_disk_leaves_the_old_file(made, tmp_path, monkeypatch):
    path = tmp_path / "c.h5"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CalibrationFileError, match="no space left"):
        made.calibration.save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["c.h5"]
    with pytest.raises(CalibrationFileError, match="cannot be written"):
        made.calibration.save(tmp_path / "no" / "c.h5")


def test_it_holds_for_its_device_only(made, opu):
    c = made.calibration
    c.check(opu)
    with pytest.raises(CalibrationMismatch, match=r"gateware '0-0' \(now "):
        c.replace(device={**c.device, "gateware": "0-0"}).check(opu)
    with pytest.raises(CalibrationMismatch, match="crop_x 9"):
        c.replace(geometry={**c.geometry, "crop_x": 9}).check(opu)
    with openopu.open(f"{URL}&seed=2") as other, pytest.raises(CalibrationMismatch, match="optics"):
        c.check(other)
    with openopu.open(f"{URL}&plant=dmd&seed=0x1") as same:  # defaults, written out
        c.check(same)
    with openopu.open("twin:?n=64&m=256") as other, pytest.raises(CalibrationMismatch, match="outputs 64"):
        c.check(other)
    with openopu.open(f"{URL}&noise_seed=7") as same:  # noise is never the same on a bench
        c.check(same)


def test_it_holds_for_the_plants_values_wherever_they_come_from(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("A.toml", DMD)
    for name in ("A.toml", "./A.toml", str(tmp_path / "A.toml")):
        with openopu.open(f"{URL}&plant={name}") as same:
            made.calibration.check(same)
            there = made.calibration.replace(device=identity(same))
            assert there.device["optics"]["plant"]["name"] == "A.toml"
    save("A.toml", dataclasses.replace(DMD, laser=dataclasses.replace(DMD.laser, power_w=0.05)))
    there.check(same)  # it was opened before
    with openopu.open(f"{URL}&plant=A.toml&seed=3") as edited:
        with pytest.raises(CalibrationMismatch, match=r": A\.toml there, A\.toml \(changed\) here, seed: 1 there, 3"):
            there.check(edited)
        with pytest.raises(CalibrationMismatch, match=r"other optics: plant: dmd there, A\.toml here"):
            made.calibration.check(edited)


def test_a_plant_is_also_the_content_of_its_mediums_file(tmp_path):
    path = tmp_path / "matrix.h5"
    plant = dataclasses.replace(DMD, medium=dataclasses.replace(DMD.medium, kind="measured", file=str(path)))
    path.write_bytes(b"one")
    first = fingerprint(plant)
    moved = path.rename(tmp_path / "moved.h5")
    other = dataclasses.replace(plant, medium=dataclasses.replace(plant.medium, file=str(moved)))
    assert fingerprint(other) == first
    moved.write_bytes(b"two")
    assert fingerprint(other) != first
    with pytest.raises(PlantFileError, match="medium's file cannot be read"):
        fingerprint(plant)


@pytest.mark.parametrize(
    ("url", "simulated", "optics"),
    [
        ("serial:/dev/tty", False, {}),
        ("serial:/dev/tty?plant=chip", False, {"frames": "chip"}),
        ("twin:?plant=chip&seed=4", True, {"frames": "chip"}),
    ],
)
def test_optics_without_a_plant(url, simulated, optics):
    assert optics_of(DeviceUrl.parse(url), simulated) == optics


def test_optics_on_the_host_are_those_of_their_keys():
    plain, other = (
        optics_of(DeviceUrl.parse(f"serial:/dev/tty?plant=host{keys}"), False)
        for keys in ("", "&optics=lcos imx249&noise=off")
    )
    assert plain == optics_of(DeviceUrl.parse("rtl:?plant=host&optics=dmd&seed=1"), False)
    assert differences(plain, other) == ["plant: dmd there, lcos+imx249 here"]
    assert differences({}, {"frames": "chip"}) == ["frames: none there, chip here"]


def test_it_grows_old_by_the_clock_and_in_exposures(made, opu):
    then = datetime.now(UTC) - timedelta(hours=5)
    c = made.calibration.replace(created=then.isoformat())
    c.check(opu, max_age_s=6 * 3600)
    with pytest.raises(CalibrationStale, match=r"5\.0 hours ago"):
        c.check(opu, max_age_s=4 * 3600)
    opu.exposure_next = 1001
    c.check(opu, max_exposures=1001)
    with pytest.raises(CalibrationStale, match="1001 exposures"):
        c.check(opu, max_exposures=1000)
    opu.exposure_next = -5 % (1 << 32)  # before it
    c.check(opu, max_exposures=5)


def test_what_is_not_there_is_named(made):
    bare = Calibration({}, made.calibration.geometry, 0, 0, 1, {"dark": made.calibration.groups["dark"]})
    with pytest.raises(CalibrationFileError, match=r"holds no matrix/effective.*dark/mean"):
        _ = bare.matrix
