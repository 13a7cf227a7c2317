"""The cascade: against its formula in double precision, deterministic whoever asks, and its statistics."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from openopu.errors import UsageError
from openopu_rtl.protocol import Geometry
from openopu_sim.plant.cells import Cells
from openopu_sim.plant.media import Cascade, Diffuser, DiffuserMedium, diffuser, statistics

GEOMETRY = Geometry(
    slm_width=41, slm_height=37, modes_x=8, modes_y=8, macropixel=3, signal_x=5, signal_y=7,
    anchor_x=31, anchor_y=3, anchor_width=7, anchor_height=30,
    camera_width=29, camera_height=23, crop_x=5, crop_y=4, crop_width=18, crop_height=15, bin=3, pixel_bits=10,
    raw_rows=9,
)  # fmt: skip


def formula(cascade: Cascade, amplitudes: np.ndarray) -> np.ndarray:
    """The cascade, with every grid whole and in double precision."""
    field = np.zeros(cascade.grid, dtype=np.complex128)
    field[: cascade.inputs[0], : cascade.inputs[1]] = amplitudes
    for i, (mask, axes) in enumerate(zip(cascade.masks, cascade.lenses, strict=True)):
        # Where light that matters meets no mask the light goes on as it is, but for a pupil, which stops it.
        whole = np.zeros(cascade.grid) if i + 1 == len(cascade.masks) else np.ones(cascade.grid, dtype=np.complex128)
        whole = whole.astype(np.complex128)
        whole[: mask.shape[0], : mask.shape[1]] = mask
        field = np.fft.fftn(field * whole, axes=axes)
    return field[: cascade.outputs[0], : cascade.outputs[1]]


@pytest.mark.parametrize(
    ("layers", "oversampling", "grain_px"), [(1, 1.0, 1.0), (1, 3.0, 2.0), (2, 2.0, 1.0), (2, 3.0, 2.5), (4, 1.3, 1.0)]
)
def test_cascade_is_its_formula(layers, oversampling, grain_px, rng):
    cascade = Cascade((7, 9), (11, 6), diffuser.medium_grid((7, 9), (11, 6), oversampling), 5, layers, grain_px)
    assert cascade.grid[0] * cascade.grid[1] >= oversampling * 66
    grid = cascade.buffer()
    for _ in range(3):
        # Whatever a grid holds is overwritten.
        grid[:] = np.nan
        amplitudes = (rng.standard_normal((7, 9)) + 1j * rng.standard_normal((7, 9))).astype(np.complex64)
        want = formula(cascade, amplitudes)
        np.testing.assert_allclose(cascade.propagate(amplitudes, grid), want, atol=2e-6 * np.abs(want).max())


def test_masks_have_four_phases_and_streams_of_their_own():
    cascade = Cascade((64, 64), (64, 64), (128, 128), 5, 2)
    turned = Cascade((64, 64), (64, 64), (128, 128), 5, 2, turn=True)
    masks = [m.ravel()[:4096].copy() for c in (cascade, turned) for m in c.masks]
    for mask in masks:
        mask /= np.abs(mask)
        np.round(mask, 3, out=mask)
        assert set(mask.tolist()) == {1, 1j, -1, -1j}
    overlap = np.abs(np.conj(masks) @ np.transpose(masks)) / 4096 - np.eye(8)
    assert np.abs(overlap).max() < 0.08, "seed 5"
    again = Cascade((64, 64), (64, 64), (128, 128), 5, 2)
    np.testing.assert_array_equal(again.masks[2], cascade.masks[2])
    # A seed is a medium: these bits do not change.
    assert (
        "".join(str(int(v)) for v in (np.angle(masks[0][:24]) / (np.pi / 2)).round() % 4) == "032333211033003320233031"
    )


@pytest.mark.parametrize("small", [True, False], ids=["vectors in threads", "threads in the transform"])
def test_bits_depend_on_nobody(small, rng, monkeypatch):
    """The same vector: alone, in a batch, at another place, as bits or reals or complex numbers, by 1 or 3 threads."""
    n, m = 700, 3000
    if not small:
        monkeypatch.setattr(diffuser, "SMALL_GRID", 1)
    bits = rng.integers(0, 2, (5, n))
    want = Diffuser(n, m, 3).project(bits)
    assert want.dtype == np.float32
    assert want.shape == (5, m)
    for threads in (1, 2, 3):
        monkeypatch.setattr(diffuser, "THREADS", threads)
        some = Diffuser(n, m, 3)
        for kind in (bool, np.uint8, np.float32, np.float64, np.complex64):
            np.testing.assert_array_equal(some.project(bits.astype(kind)), want)
        np.testing.assert_array_equal(some.project(bits[::-1]), want[::-1])
        np.testing.assert_array_equal(some.project(bits[3:4]), want[3:4])
        fields = some.field(bits)
        np.testing.assert_allclose(np.abs(fields) ** 2, want, rtol=1e-5, atol=1e-6)
    out = np.empty((5, m), dtype=np.float32)
    assert Diffuser(n, m, 3).project(bits, out) is out
    np.testing.assert_array_equal(out, want)


def test_projection_is_linear_and_follows_its_seed(rng):
    d = Diffuser(50, 1001, 3)
    x = rng.standard_normal((2, 50)).astype(np.float32)
    np.testing.assert_allclose(d.field(2 * x[:1] - 1j * x[1:]), 2 * d.field(x[:1]) - 1j * d.field(x[1:]), atol=1e-4)
    other = Diffuser(50, 1001, 4).field(x)
    assert abs(np.vdot(other[0], d.field(x)[0])) < 0.15 * np.linalg.norm(other[0]) ** 2


def test_medium_is_its_cascade_over_cells_and_pixels(rng):
    cells = Cells(GEOMETRY)
    medium = DiffuserMedium(GEOMETRY, cells, 3, 2, 2.0, 1.5)
    amplitudes = rng.integers(0, 10, cells.count).astype(np.float32)
    raster = np.zeros(cells.count)
    raster[cells.order] = amplitudes
    want = formula(medium.cascade, raster.reshape(cells.shape)).ravel()[medium.pixel_order]
    whole, crop = medium.field(amplitudes, crop=False), medium.field(amplitudes)
    np.testing.assert_allclose(whole, want, atol=1e-6 * np.abs(want).max())
    np.testing.assert_array_equal(crop, whole[: medium.crop_pixels])
    np.testing.assert_array_equal(medium.field(amplitudes.astype(np.complex64)), crop)
    columns = medium.columns(0, cells.count, crop=False)
    np.testing.assert_allclose(amplitudes @ columns, want, atol=1e-5 * np.abs(want).max())
    assert np.mean(np.abs(columns) ** 2) == pytest.approx(medium.power, rel=0.03)
    turned = medium.turned().columns(0, cells.count, crop=False)
    assert abs(np.vdot(turned, columns)) / np.vdot(columns, columns).real < 5 / columns.size**0.5


@pytest.mark.parametrize("seed", [1, 2])
def test_two_layers_give_independent_gaussian_entries(seed):
    """Entries, intensities and spectrum at a confidence of 99.9 % each; with a thin diffuser the entries repeat."""
    n, m = 200, 500
    d = Diffuser(n, m, seed, 2, 4.0)
    entries = d.field(np.eye(n, dtype=np.float32)).T
    bound = statistics.ks_bound(entries.size)
    assert statistics.normal_distance(entries.real) < bound, f"seed {seed}"
    assert statistics.normal_distance(entries.imag) < bound, f"seed {seed}"
    assert statistics.exponential_distance(np.abs(entries) ** 2) < bound, f"seed {seed}"
    assert statistics.kurtosis(entries) == pytest.approx(2.0, abs=4 * (20 / entries.size) ** 0.5), f"seed {seed}"
    values = statistics.spectrum(entries)
    share = m / (d.cascade.grid[0] * d.cascade.grid[1])
    assert statistics.distance(values, statistics.unitary_block(values, n / m, share)) < 0.02, f"seed {seed}"
    assert values.var() == pytest.approx(n / m * (1 - share), rel=0.05), f"seed {seed}"
    thin = Diffuser(n, m, seed, 1, 4.0).field(np.eye(n, dtype=np.float32)).T
    assert statistics.exponential_distance(np.abs(thin) ** 2) > bound, f"seed {seed}"


def test_memory_effect_is_on_with_one_layer_and_off_with_two():
    speckles = {}
    for layers in (1, 2):
        speckles[layers] = np.abs(Cascade((8, 8), (128, 128), (256, 256), 5, layers).entries(0, 6)) ** 2
    np.testing.assert_allclose(statistics.memory_effect(speckles[1]), 1.0, atol=1e-4)
    assert np.abs(statistics.memory_effect(speckles[2])[1:]).max() < 4 / 128


@pytest.mark.parametrize("grain_px", [1.0, 1.5, 3.0])
def test_pupil_sets_the_grain(grain_px):
    fields = Cascade((8, 8), (128, 128), (256, 256), 5, 2, grain_px).entries(0, 64)
    assert statistics.grain(fields) == pytest.approx(grain_px, rel=0.03), "seed 5"
    assert np.mean(np.abs(fields) ** 2) == pytest.approx(1.0, rel=0.03)


def test_kernel_is_the_closed_form(rng):
    """Mean of the products over 40,000 outputs within 4 standard errors, for vectors of several overlaps."""
    n, m = 300, 40_000
    x = rng.standard_normal(n)
    d = Diffuser(n, m, 9, 2, 2.0)
    for overlap in (0.0, 0.5, 1.0):
        y = overlap * x + (1 - overlap) * rng.standard_normal(n)
        a, b = d.project(np.stack([x, y]))
        products = a.astype(np.float64) * b
        error = products.std() / m**0.5
        assert products.mean() == pytest.approx(statistics.kernel(x, y), abs=4 * error)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"layers": 0}, "layers = 0 is out of range"),
        ({"layers": 33}, "layers = 33"),
        ({"oversampling": 0.5}, r"oversampling = 0\.5"),
        ({"oversampling": float("nan")}, "oversampling = nan"),
        ({"grain_px": 0.5}, r"grain_px = 0\.5"),
        ({"grain_px": 1e9}, r"grain_px = 1000000000\.0"),
        ({"n": 0}, r"n: 0 is out of range\. Take 1 to"),
        ({"n": 1.5}, r"n: 1\.5 is no integer"),
        ({"m": "a"}, "m: 'a' is no integer"),
        ({"m": 10**400}, "m: .* is out of range"),
        ({"layers": 1.5}, r"layers: 1\.5 is no integer"),
        ({"layers": None}, "layers: None is no integer"),
        ({"oversampling": "a"}, r"oversampling: oversampling = 'a' is no number"),
        ({"oversampling": 2j}, r"oversampling = 2j is no number"),
        ({"grain_px": None}, "grain_px = None is no number"),
        ({"seed": -1}, "seed: -1 is out of range"),
        ({"seed": 2**64}, f"seed: {2**64} is out of range"),
        ({"seed": None}, "seed: None is no integer"),
        ({"seed": "a"}, "seed: 'a' is no integer"),
        ({"seed": 1.5}, r"seed: 1\.5 is no integer"),
        ({"m": 10**12}, r"GiB.*Take less oversampling"),
    ],
)
def test_what_cannot_be_made_is_refused(kwargs, message):
    with pytest.raises(UsageError, match=message):
        Diffuser(**{"n": 10, "m": 20, **kwargs})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones(10), r"shape \(10,\).*Give \(batch, 10\)"),
        (np.ones((2, 11)), r"shape \(2, 11\)"),
        (np.full((1, 10), "a"), "of type"),
        (np.full((1, 10), np.nan), "NaN.*Give finite numbers"),
        (np.full((1, 10), -np.inf, np.float32), "infinity"),
        (np.full((1, 10), complex(0, np.nan)), "NaN"),
        (np.full((1, 10), 1e39), "beyond single precision"),
    ],
)
def test_wrong_inputs_are_refused(x, message):
    d = Diffuser(10, 20)
    for call in (d.project, d.field):
        with pytest.raises(UsageError, match=message):
            call(x)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies_are_the_same_diffuser(copied, rng):
    d = Diffuser(10, 20, np.uint64(2**64 - 1), 3, 3, np.float32(1.5))
    x = rng.standard_normal((3, 10))
    np.testing.assert_array_equal(copied(d).project(x), d.project(x))
