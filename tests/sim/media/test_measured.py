"""Media from calibration files, and the choice of a medium by a plant file's fields."""

from __future__ import annotations

import tracemalloc
from dataclasses import asdict, replace

import h5py
import numpy as np
import pytest
from openopu import cli
from openopu.calibration import Calibration
from openopu.calibration.errors import CalibrationFileError, CalibrationMismatch
from openopu.calibration.file import Quantity
from openopu.errors import UsageError
from openopu.plants import DMD, PHASE, save
from openopu.url import DeviceUrl
from openopu_rtl.protocol import Geometry
from openopu_sim.options import geometry_of
from openopu_sim.plant import Illumination, Plant
from openopu_sim.plant.cells import Cells
from openopu_sim.plant.media import (
    Cascade,
    Counter,
    Dense,
    Diffuser,
    DiffuserMedium,
    Measured,
    make,
    memory,
    memory_needed,
    refuse_too_large,
)

GEOMETRY = Geometry.fitting(64, 64)
CELLS = Cells(GEOMETRY)
PIXELS = GEOMETRY.crop_width * GEOMETRY.crop_height


def table(kind="dense", file="", **fields):
    return replace(DMD.medium, kind=kind, file=file, **fields)


def write(path, matrix, unit="DN**0.5", names=("real", "imag")):
    with h5py.File(path, "w") as file:
        for name in names:
            data = file.create_dataset(f"matrix/{name}", data=getattr(matrix, name))
            if unit is not None:
                data.attrs["unit"] = unit
    return str(path)


def matrix_of(rng, rows, columns):
    return rng.standard_normal((rows, columns)) + 1j * rng.standard_normal((rows, columns))


def test_measured_entries_are_those_of_the_file(tmp_path, rng):
    matrix = matrix_of(rng, PIXELS, 64)
    medium = make(GEOMETRY, CELLS, table("measured", write(tmp_path / "c.h5", matrix)), 1)
    assert isinstance(medium, Measured)
    entries = medium.columns(0, 64)
    scale = np.abs(entries.real).max() / np.abs(matrix.real).max()
    assert max(np.abs(entries.real).max(), np.abs(entries.imag).max()) == 2047
    np.testing.assert_allclose(entries.T / scale, matrix, atol=1.5 / scale)
    assert medium.power == pytest.approx(np.mean(np.abs(entries) ** 2))
    # Nothing else was measured: other cells and pixels are dark.
    assert not medium.real[64:].any()
    assert not medium.imag[:, PIXELS:].any()
    weights = rng.integers(0, 10, (3, 64)).astype(np.float32)
    np.testing.assert_array_equal(medium.products(weights)[1], weights @ entries.imag)


def test_outputs_spread_over_their_pixels(tmp_path, rng):
    g = GEOMETRY
    assert g.bin > 1
    matrix = matrix_of(rng, g.outputs, CELLS.count)
    medium = Measured(g, CELLS, write(tmp_path / "c.h5", matrix), 12)
    entries = medium.columns(0, CELLS.count).reshape(-1, g.outputs_y, g.bin, g.outputs_x, g.bin)
    np.testing.assert_array_equal(entries, np.broadcast_to(entries[:, :, :1, :, :1], entries.shape))
    correlation = np.corrcoef(entries[:, :, 0, :, 0].reshape(CELLS.count, -1).T.ravel().real, matrix.real.ravel())
    assert correlation[0, 1] > 0.99999


def test_entries_lose_bits_where_sums_would_not_be_exact(tmp_path, rng):
    geometry = replace(
        GEOMETRY, macropixel=16, slm_width=40 * 16, slm_height=8 * 16, signal_x=0, signal_y=0,
        anchor_x=300, anchor_y=0, anchor_width=24, anchor_height=40,
    )  # fmt: skip
    cells = Cells(geometry)
    matrix = np.ones((PIXELS, cells.count)) * (1 + 0.25j)
    medium = Measured(geometry, cells, write(tmp_path / "c.h5", matrix), 12)
    assert medium.bits == 8
    assert 256 * np.abs(medium.real).sum(axis=0).max() < 1 << 24
    turned = medium.turned()
    assert 256 * max(np.abs(p).sum(axis=0).max() for p in (turned.real, turned.imag)) < 1 << 24


def test_turned_is_another_medium_of_the_same_power(tmp_path, rng):
    medium = Measured(GEOMETRY, CELLS, write(tmp_path / "c.h5", matrix_of(rng, PIXELS, 64)), 12, seed=3)
    a, b = medium.columns(0, CELLS.count), medium.turned().columns(0, CELLS.count)
    np.testing.assert_allclose((np.abs(a) ** 2).sum(axis=0), (np.abs(b) ** 2).sum(axis=0), rtol=1e-5)
    assert not b[64:].any()
    # The speckle of single modes is another one, too.
    assert abs(np.corrcoef(np.abs(a[:64]).ravel(), np.abs(b[:64]).ravel())[0, 1]) < 5 / (64 * PIXELS) ** 0.5
    assert abs(np.vdot(a, b)) / np.vdot(a, a).real < 5 / (64 * PIXELS) ** 0.5
    np.testing.assert_array_equal(b, medium.turned().columns(0, CELLS.count))
    # Also where the file's entries are alike, each turns by itself, to any of four phases.
    alike = Measured(GEOMETRY, CELLS, write(tmp_path / "a.h5", np.full((PIXELS, 64), 1 + 0.5j)), 12, seed=3)
    turns = np.round(alike.turned().columns(0, 64) / alike.columns(0, 64), 6)
    assert set(turns.ravel().tolist()) == {1, 1j, -1, -1j}
    assert abs(turns.mean()) < 5 / turns.size**0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, m: write(p, m, names=("real",)), "no dataset matrix/imag"),
        (lambda p, m: write(p, m, unit=None), "without a unit"),
        (lambda p, m: write(p, m[0]), r"shape \(64,\)"),
        (lambda p, m: write(p, m[:, :63]), r"\(256, 63\).*64 modes or 168 cells.*geometry of the calibration"),
        (lambda p, m: write(p, m[:7]), r"\(7, 64\).*256 pixels of the crop or 64 outputs"),
        (lambda p, m: write(p, m * np.nan), "NaN"),
        (lambda p, m: write(p, m * 0), "every entry of the matrix is zero"),
        (lambda p, m: p.write_text("no HDF5"), "cannot be read"),
        (lambda p, m: p.write_bytes(p.with_name("good.h5").read_bytes()[:5000]), "cannot be read"),
        (lambda p, m: None, "cannot be read"),
    ],
    ids=["part", "unit", "shape", "modes", "rows", "nan", "zero", "foreign", "truncated", "missing"],
)
def test_files_that_cannot_be_used(change, message, tmp_path, rng):
    matrix = matrix_of(rng, PIXELS, 64)
    write(tmp_path / "good.h5", matrix)
    change(tmp_path / "c.h5", matrix)
    with pytest.raises(UsageError, match=message) as error:
        Measured(GEOMETRY, CELLS, tmp_path / "c.h5", 12)
    assert error.value.where == str(tmp_path / "c.h5")
    assert "openopu calibrate" in error.value.next_step


def calibration_of(matrix, geometry):
    groups = {"matrix": {name: Quantity(getattr(matrix, name).astype(np.float32), "DN") for name in ("real", "imag")}}
    return Calibration({}, asdict(geometry), 0, 2048, 1000, groups)


def test_a_calibration_of_ours_must_be_whole_and_of_this_geometry(tmp_path, rng):
    path = tmp_path / "c.h5"
    calibration_of(matrix_of(rng, GEOMETRY.outputs, 64), GEOMETRY).save(path)
    medium = Measured(GEOMETRY, CELLS, path, 12)
    assert medium.columns(0, 64).any()
    # Fields that the optics does not see may differ.
    Measured(replace(GEOMETRY, shot_depth=32), CELLS, path, 12)
    moved = replace(GEOMETRY, crop_x=GEOMETRY.crop_x - 1)
    with pytest.raises(CalibrationMismatch, match=f"crop_x {GEOMETRY.crop_x}.*geometry of the calibration"):
        Measured(moved, Cells(moved), path, 12)
    with h5py.File(path, "r+") as file:
        file["matrix/real"][3, 4] += 1
    with pytest.raises(CalibrationFileError, match="its hash differs"):
        Measured(GEOMETRY, CELLS, path, 12)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "`matrix` was not measured"),
        ({"matrix": "effective"}, "cannot step the phase, as of a DMD"),
        ({"matrix": "effective", "levels": "span"}, "cannot step the phase to 3/2 pi"),
    ],
)
def test_a_calibration_without_complex_matrix_names_the_panel_that_has_one(tmp_path, groups, message):
    path = tmp_path / "c.h5"
    held = {group: {name: Quantity(np.ones((64, 64), np.float32), "DN")} for group, name in groups.items()}
    Calibration({}, asdict(GEOMETRY), 0, 2048, 1000, held).save(path)
    with pytest.raises(UsageError, match=f"no complex matrix: .*{message}.* phase panel .*3/2 pi.* lcos2pi"):
        Measured(GEOMETRY, CELLS, path, 12)


def test_phase_stepping_gives_back_what_was_measured(tmp_path, rng):
    """Of a medium whose stepped matrix is known: pairs around anchor and border, and the rows' brightness."""
    g = Geometry(
        slm_width=96, slm_height=64, macropixel=2, modes_x=32, modes_y=32, signal_x=0, signal_y=0,
        anchor_x=70, anchor_y=0, anchor_width=20, anchor_height=60,
        camera_width=24, camera_height=20, crop_x=2, crop_y=2, crop_width=20, crop_height=16, bin=1, raw_rows=20,
    )  # fmt: skip
    cells = Cells(g)
    others = cells.sums(1 - cells.mask("modes"))[None]
    dense = Dense(g, cells, 5, 12)
    signs = rng.choice([-4.0, 4.0], (20, g.modes)).astype(np.float32)

    def field(medium, weights):
        real, imag = medium.products(weights.astype(np.float32))
        return (real + 1j * imag) / medium.power**0.5

    reference = field(dense, others)
    entries = dense.columns(0, g.modes).T / dense.power**0.5
    calibration_of(-4 * reference.conj().T * entries * 100, g).save(tmp_path / "c.h5")
    measured = Measured(g, cells, tmp_path / "c.h5", 12)
    found = field(measured, others)
    want, got = (
        np.abs(r + field(m, signs)) ** 2 - np.abs(r - field(m, signs)) ** 2
        for m, r in ((dense, reference), (measured, found))
    )
    assert np.corrcoef(want.ravel(), got.ravel())[0, 1] > 0.9999
    assert np.mean(np.abs(found) ** 2) == pytest.approx((others**2).sum(), rel=0.1)
    np.testing.assert_allclose(np.abs(found) / np.abs(reference), np.mean(np.abs(found) / np.abs(reference)), rtol=0.15)
    turned = field(measured.turned(), others)
    np.testing.assert_allclose(np.abs(turned), np.abs(found), rtol=1e-5)
    assert abs(np.vdot(turned, found)) < 5 * np.linalg.norm(found) ** 2 / found.size**0.5
    spread = np.abs(field(measured, signs)) ** 2 / np.abs(field(dense, signs)) ** 2
    assert np.percentile(spread, [5, 95]) / np.median(spread) == pytest.approx([1, 1], abs=0.25)


def test_a_calibration_of_a_twin_is_a_medium_like_its_own(tmp_path):
    """All the way: measured through the twin's noise, and the effective matrix of both compared."""
    keys = "n=16&m=16&bin=1"
    stepping = replace(PHASE, modulator=replace(PHASE.modulator, phase_max_rad=6.2, levels=256))
    save(tmp_path / "stepping.toml", stepping)
    url = f"twin:?{keys}&plant={tmp_path}/stepping.toml"
    assert cli.main(["calibrate", "--device", url, "--out", str(tmp_path / "c.h5"), "--quick"]) == 0
    again = replace(PHASE, medium=replace(PHASE.medium, kind="measured", file=str(tmp_path / "c.h5")))
    geometry = geometry_of(DeviceUrl.parse(url))
    shot = Illumination(0, 255, 0, 0, 0, 1000)
    want, got = (Plant(geometry, parameters).effective_matrix(shot, 2048) for parameters in (PHASE, again))
    assert np.corrcoef(want.ravel(), got.ravel())[0, 1] > 0.99


def test_kinds():
    made = {kind: make(GEOMETRY, CELLS, table(kind), 5) for kind in ("dense", "counter", "diffuser")}
    assert [type(medium) for medium in made.values()] == [Dense, Counter, DiffuserMedium]
    assert made["diffuser"].cascade.grid[0] * made["diffuser"].cascade.grid[1] >= 2 * made["diffuser"].pixels
    for medium in made.values():
        # The power that each claims is that of its entries.
        entries = medium.columns(0, CELLS.count, crop=False)
        assert np.mean(np.abs(entries) ** 2) == pytest.approx(medium.power, rel=0.03)
    np.testing.assert_array_equal(made["dense"].columns(3, 5), made["counter"].columns(3, 5))
    assert make(GEOMETRY, CELLS, table(grain_px=2.0), 5).columns(0, 1).shape == (1, PIXELS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "glass"}, "kind = 'glass' is not known.*dense, counter, diffuser, measured"),
        ({"file": "x.h5"}, "kind = 'dense' with file = 'x.h5'"),
        ({"kind": "measured"}, "kind = 'measured' with file = ''"),
        ({"grain_px": 0.5}, "grain_px = 0.5"),
        ({"kind": "diffuser", "layers": 0}, "layers = 0"),
        ({"kind": "diffuser", "oversampling": 0.0}, "oversampling = 0"),
    ],
)
def test_tables_that_make_no_medium(fields, message):
    with pytest.raises(UsageError, match=message):
        make(GEOMETRY, CELLS, table(**fields), 1)


def test_memory_is_estimated_and_refused(monkeypatch):
    """Before anything is allocated; a dense medium that does not fit names those that do."""
    large = Geometry.fitting(16_384, 16_384)
    cells = (large.slm_width // large.macropixel) * (large.slm_height // large.macropixel)
    assert memory_needed(large, table()) > 8 * cells * large.camera_pixels
    assert memory_needed(large, table("counter")) < memory_needed(large, table()) / 300
    assert memory_needed(large, table("diffuser")) < memory_needed(large, table()) / 500
    monkeypatch.setattr(memory, "MEMORY_SHARE", 1e-9)
    for kind, step in (("dense", "kind = counter"), ("counter", "Take fewer"), ("diffuser", "less oversampling")):
        with pytest.raises(UsageError, match=rf"a {kind} medium .*GiB.*{step}"):
            refuse_too_large(large, table(kind))
        with pytest.raises(UsageError, match="GiB"):
            make(large, CELLS, table(kind), 1)
        turning = replace(DMD, medium=table(kind, drift_rad_per_exposure=1e-3))
        with pytest.raises(UsageError, match=rf"a {kind} medium .*turns into.*GiB.*{step}.*no drift"):
            Plant(large, turning)


def test_estimate_of_a_diffuser_covers_what_it_takes():
    n, m = 90_000, 160_000
    tracemalloc.start()
    d = Diffuser(n, m, 1, 4, 3.0)
    d.project(np.ones((1, n), dtype=bool))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    needed = Cascade.memory_needed(d.cascade.inputs, d.cascade.outputs, d.cascade.grid, 4)
    assert needed / 1.5 < peak < 1.1 * needed
