"""Plant files, and the URL keys of geometry and plant."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from openopu.errors import UrlError, UsageError
from openopu.plants import CAMERAS, LASERS, MODULATORS, PHOTODIODE, TABLES, camera_from_emva
from openopu.url import DeviceUrl
from openopu_rtl.protocol import Geometry
from openopu_rtl.protocol.geometry import PRESETS
from openopu_sim.device import open_rtl, settings_of
from openopu_sim.options import geometry_of, optical_model, parameters_of, plant_from_options, plant_of, plant_options
from openopu_sim.plant import DMD, NAMED, PHASE, Plant, PlantFileError, dumps, load, save
from openopu_sim.plant.media import memory


@pytest.mark.parametrize("name", list(NAMED))
def test_a_file_round_trips(tmp_path, name):
    save(tmp_path / "plant.toml", NAMED[name])
    assert load(tmp_path / "plant.toml") == NAMED[name]


def test_every_parameter_has_unit_and_source():
    for table in TABLES.values():
        for f in dataclasses.fields(table):
            assert f.metadata["unit"]
            assert f.metadata["source"]
            assert f.default is dataclasses.MISSING, "an unknown is a required parameter"


def test_a_file_keeps_any_path(tmp_path):
    path = '"quoted" \\ \u00b5m.h5'
    medium = dataclasses.replace(DMD.medium, kind="measured", file=path)
    save(tmp_path / "p.toml", dataclasses.replace(DMD, medium=medium))
    assert load(tmp_path / "p.toml").medium == medium


def test_the_named_camera_is_derived_from_its_figures():
    assert DMD.camera.full_well_e == pytest.approx(10**4.03, rel=0.005)
    assert DMD.camera.full_well_e / DMD.camera.read_noise_e == pytest.approx(10 ** (71.3 / 20), rel=0.02)


@pytest.mark.parametrize("base", [DMD, PHASE])
def test_every_value_within_bounds_can_be_played(base):
    """No overflow, on the longest exposure either."""
    g, played = Geometry.fitting(16, 16, bin=1), 0
    levels = np.arange(g.slm_width * g.slm_height, dtype=np.uint8).reshape(g.slm_height, g.slm_width)
    hot = {"temperature_c": 345.0, "dark_signal_e_per_s": 1e12, "hot_pixel_e_per_s": 1e12, "hot_pixel_share": 1.0}
    changes = [("camera", hot)] + [
        (name, {f.name: f.metadata[end]})
        for name, table in TABLES.items()
        for f in dataclasses.fields(table)
        if "low" in f.metadata
        for end in ("low", "high")
    ]
    for table, values in changes:
        try:
            part = dataclasses.replace(getattr(base, table), **values)
        except PlantFileError:  # an open end, or nothing to this panel
            continue
        plant = Plant(g, dataclasses.replace(base, **{table: part}), seed=1, noise_seed=1, noise=True)
        for cycles in (1, (1 << 32) - 1):
            frame, reading = plant.expose_frame(levels, (1 << 28) - 1, cycles, 4095)
            assert frame.max() <= 255, values
            assert 0 <= reading <= 4095, values
        played += 1
    assert played > 60


def change(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("read_noise_e = 2.9", "", r"\[camera\] lacks read_noise_e.*e-"),
        ("read_noise_e = 2.9", "read_noise = 2.9", r"\[camera\] has no field read_noise\."),
        ("read_noise_e = 2.9", "read_noise_e = -1", r"\[camera\] read_noise_e = -1.0 is out of range.*at least 0"),
        ("read_noise_e = 2.9", "read_noise_e = nan", r"read_noise_e = nan is out of range"),
        ("read_noise_e = 2.9", "read_noise_e = true", r"read_noise_e must be a number, not True"),
        ("read_noise_e = 2.9", 'read_noise_e = "low"', r"read_noise_e must be a number, not 'low'"),
        (
            "\ntemperature_c = 25.0",
            "\ntemperature_c = 1e300",
            r"temperature_c = 1e\+300 is out of range.*at most 1000 deg C",
        ),
        (
            "\ntemperature_c = 25.0",
            "\ntemperature_c = 900",
            r"\[camera\] temperature_c = 900 doubles .* 109 times.*at most 40",
        ),
        (
            "drift_per_exposure = 0.0",
            "drift_per_exposure = 1",
            r"drift_per_exposure = 1.0 is out of range.*at most 0.01",
        ),
        ("full_well_e = 10700.0", "full_well_e = 0", r"full_well_e = 0.0 is out of range.*at least 1"),
        ("entry_bits = 12", "entry_bits = 12.5", r"\[medium\] entry_bits must be an integer"),
        ("entry_bits = 12", "entry_bits = 30", r"entry_bits = 30 is out of range.*at most 16"),
        ('kind = "binary"', 'kind = "grey"', r"\[modulator\] kind = 'grey' is not known.*binary, phase"),
        ("levels = 2\n", "", r"\[modulator\] lacks levels"),
        ("levels = 2\n", "levels = 4\n", r"levels = 4 means nothing to a binary panel.*levels = 2"),
        ('kind = "dense"', 'kind = "fog"', r"kind = 'fog' is not known.*dense, counter, diffuser, measured"),
        ('kind = "dense"', 'kind = "measured"', r"kind = 'measured' with file = ''.*Name a calibration file"),
        ('file = ""', "file = 3", r"file must be a text, not 3"),
        ("grain_px = 1.0", "grain_px = 0.5", r"\[medium\] grain_px = 0.5 is out of range.*at least 1"),
        ("[photodiode]", "[diode]", r"unknown table \[diode\]"),
        ("[laser]", "[laser", r"no TOML"),
    ],
)
def test_errors_name_table_and_field(tmp_path, old, new, message):
    path = tmp_path / "plant.toml"
    path.write_text(change(dumps(DMD), old, new))
    with pytest.raises(PlantFileError, match=message) as caught:
        load(path)
    assert caught.value.where == str(path)
    assert caught.value.next_step


def test_a_missing_table_and_a_missing_file(tmp_path):
    path = tmp_path / "plant.toml"
    path.write_text(dumps(DMD).split("[photodiode]")[0])
    with pytest.raises(PlantFileError, match=r"table \[photodiode\] is missing"):
        load(path)
    with pytest.raises(PlantFileError, match="cannot be read") as caught:
        load(tmp_path / "none.toml")
    assert ", ".join(NAMED) in caught.value.next_step
    with pytest.raises(PlantFileError, match="cannot be written"):
        save(tmp_path / "no" / "plant.toml", DMD)


def test_integers_may_stand_for_numbers(tmp_path):
    path = tmp_path / "plant.toml"
    path.write_text(change(dumps(DMD), "full_well_e = 10700.0", "full_well_e = 10700"))
    assert load(path) == DMD


def url(query: str) -> DeviceUrl:
    return DeviceUrl.parse(f"twin:?{query}" if query else "twin:")


def test_geometry_keys():
    assert geometry_of(url("")) == Geometry()
    g = geometry_of(url("n=64&m=144&bits=12&store_bytes=8192"))
    assert (g.modes, g.outputs, g.pixel_bits, g.store_bytes) == (64, 144, 12, 8192)
    assert geometry_of(url("geometry=dlp4500")) == PRESETS["dlp4500"]
    assert geometry_of(url("geometry=dlp4500&n=4096&bits=10")).pixel_bits == 10


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("n=0", "an integer from 1"),
        ("n=many", "an integer from 1"),
        ("n=262", "no factors near its square root"),
        ("bits=9", "pixel_bits must be 8, 10 or 12"),
        ("geometry=xga", "there is no geometry `xga`.*dlp4500"),
        ("geometry=dlp4500&n=64", "geometry `dlp4500` has n = 4096"),
        ("store_bytes=1000", "power of two"),
        ("bits=8&pixel_bits=8", "Give one of them"),
    ],
)
def test_bad_geometries(query, message):
    with pytest.raises(UrlError, match=message):
        geometry_of(url(query))


@pytest.mark.parametrize(
    "query",
    [
        "n=64&m=64&slm_width=65535&slm_height=65535",
        "n=64&m=64&camera_width=60000&camera_height=60000",
        "n=65536&m=32768",
    ],
)
def test_sizes_that_no_machine_holds_are_refused_at_once(query, monkeypatch):
    def fail(*_):
        raise AssertionError("something was allocated")

    monkeypatch.setattr(memory, "MEMORY_SHARE", 1e-4)
    monkeypatch.setattr("openopu_sim.plant.fields.Cells", fail)
    with pytest.raises(UsageError, match=r"GiB.*Take fewer modes"):
        Plant(geometry_of(url(query)))
    with pytest.raises(UsageError, match=r"GiB.*Take fewer modes"):
        settings_of(DeviceUrl.parse(f"rtl:verilator?{query}"))


def test_files_are_found_from_another_folder(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "medium.h5").touch()
    save(
        tmp_path / "p.toml",
        dataclasses.replace(DMD, medium=dataclasses.replace(DMD.medium, kind="measured", file="medium.h5")),
    )
    monkeypatch.chdir(tmp_path)
    for key, query in (("plant", "plant=p.toml"), ("optics", "plant=host&optics=p.toml")):
        options = plant_options(url(query))
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert load(options[key]).medium.file == str(tmp_path / "medium.h5")
        monkeypatch.chdir(tmp_path)
    for name in ("dmd", "host", "dlp4500+imx255"):
        assert "/" not in plant_options(url(f"plant={name}"))["plant"]


def test_plant_keys(tmp_path):
    assert parameters_of(url("")) == DMD
    assert parameters_of(url("plant=phase")) == PHASE
    save(tmp_path / "p.toml", PHASE)
    assert parameters_of(url(f"plant={tmp_path}/p.toml")) == PHASE
    options = plant_options(url("n=64&m=64&noise=off&seed=0x10&noise_seed=7"))
    plant = plant_from_options(geometry_of(url("n=64&m=64")), options)
    assert not plant.noise
    assert plant.noise_seed == 7
    for bad in ("plant=/none.toml", "noise=maybe", "seed=-1", "noise_seed=x"):
        with pytest.raises(UsageError):
            plant_options(url(bad))


def test_every_value_of_a_named_device_has_a_source():
    for table in (CAMERAS, MODULATORS, LASERS, {"": PHOTODIODE}):
        for device in table.values():
            assert set(device.sources) == {f.name for f in dataclasses.fields(device.parameters)}
            assert all(device.sources.values())


def test_named_parts_make_a_plant(tmp_path):
    for modulator in MODULATORS:
        for camera in CAMERAS:
            plant = parameters_of(url(f"plant={modulator}+{camera}"))
            assert plant.modulator == MODULATORS[modulator].parameters
            assert plant.camera == CAMERAS[camera].parameters
            assert plant.laser == LASERS["opsl"].parameters
    plant = parameters_of(url("plant=lcos%2Bimx249%2Bdiode"))
    assert plant.laser == LASERS["diode"].parameters
    assert plant.medium.throughput < DMD.medium.throughput
    save(tmp_path / "p.toml", plant)
    assert load(tmp_path / "p.toml") == plant
    assert "from memory, unconfirmed" in dumps(parameters_of(url("plant=dlp7000+cmv2000")))
    Plant(Geometry.fitting(16, 16), plant).close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dlp4500+imx", "dlp4500.imx is not known.*cameras: imx249, imx255, cmv2000"),
        ("imx255+dlp4500", "cannot be read"),
        ("dlp4500+imx255+diode+opsl", "is not known"),
        ("dlp4500+imx255+sun", r"Name MODULATOR\+CAMERA or .*lasers: opsl, diode"),
        ("dlp9000", r"cannot be read.*Named plants: dmd, phase, MODULATOR\+CAMERA.*modulators: dlp4500"),
    ],
)
def test_parts_that_are_not_known(name, message):
    with pytest.raises(PlantFileError, match=message):
        parameters_of(url(f"plant={name}"))


@pytest.mark.parametrize("scheme", ["twin", "rtl:verilator"])
def test_a_named_device_is_as_large_as_it_is(scheme):
    for query, message in (
        ("n=64&m=64&slm_width=1024", "panel of 1024 x .* does not fit the 912 x 1140 of the TI DLP4500"),
        ("n=64&m=64&camera_height=2200", "sensor of .* does not fit the 4096 x 2160 of the Sony IMX255"),
    ):
        where = DeviceUrl.parse(f"{scheme}{':' if scheme == 'twin' else ''}?{query}&plant=dlp4500+imx255")
        with pytest.raises(PlantFileError, match=message):
            plant_of(where, geometry_of(where)) if scheme == "twin" else settings_of(where)


def test_a_camera_from_an_emva_data_sheet():
    given = {"quantum_efficiency": 0.6, "dsnu_e_rms": 2.0, "prnu_rms": 0.008, "dark_signal_e_per_s": 5.0}
    camera = camera_from_emva(snr_max_db=40.0, dr_db=70.0, temperature_c=30.0, gain_dn_per_e=0.4, **given)
    assert camera.full_well_e == pytest.approx(10_000)
    assert (camera.read_noise_e**2 + 1 / (12 * 0.4**2)) ** 0.5 + 0.5 == pytest.approx(10_000 / 10**3.5)
    assert {k: getattr(camera, k) for k in given} == given
    assert camera.dark_e_per_s() == 5.0
    # Dark noise that would be negative: the dynamic range is not of this camera.
    for bad in ({"dr_db": 120.0}, {"gain_dn_per_e": 0.01}):
        with pytest.raises(PlantFileError, match=r"leave a dark noise.*one column of the data sheet"):
            camera_from_emva(**{"snr_max_db": 40.0, "dr_db": 70.0, "temperature_c": 30.0, **given, **bad})


def test_a_slow_panel_needs_someone_who_tells_its_time(tmp_path):
    with pytest.raises(UrlError, match=r"does not tell how long a pattern has settled.*settle_s = 0"):
        optical_model(Geometry.fitting(64, 64), {"optics": "lcos+imx255"}, 48_000_000)
    (tmp_path / "n.v").touch()
    with pytest.raises(UrlError, match="a netlist does not tell"):
        open_rtl(DeviceUrl.parse(f"rtl:verilator?n=64&m=64&plant=lcos+imx255&netlist={tmp_path}/n.v"))
