"""Exact media: dense and counter are one matrix, and every field of theirs is an exact integer."""

from __future__ import annotations

import dataclasses
import hashlib
import tracemalloc

import numpy as np
import pytest
from openopu.errors import UsageError
from openopu_rtl.protocol import Geometry
from openopu_sim.plant.cells import Cells
from openopu_sim.plant.media import Counter, Dense, dense, entries, statistics
from openopu_sim.plant.media.entries import Entries, entries_of, grain_kernel

SMALL = Geometry.fitting(64, 64)
# Signal and anchor stand askew to the cells' grid, the panel cuts cells at every edge.
ASKEW = Geometry(
    slm_width=41, slm_height=37, modes_x=8, modes_y=8, macropixel=3, signal_x=5, signal_y=7,
    anchor_x=31, anchor_y=3, anchor_width=7, anchor_height=30,
    camera_width=29, camera_height=23, crop_x=5, crop_y=4, crop_width=18, crop_height=15, bin=3, pixel_bits=10,
    raw_rows=9,
)  # fmt: skip


def weights_of(rng, geometry, rows, cells):
    return rng.integers(-(geometry.macropixel**2), geometry.macropixel**2 + 1, (rows, cells)).astype(np.float32)


@pytest.mark.parametrize("grain_px", [1.0, 1.7])
@pytest.mark.parametrize("geometry", [SMALL, ASKEW], ids=["aligned", "askew"])
def test_counter_is_dense_bit_for_bit(geometry, grain_px, rng, monkeypatch):
    # Blocks of a few cells, so that the sums of several are in it.
    monkeypatch.setattr(entries, "BLOCK", 5_000)
    cells = Cells(geometry)
    dense, counter = (cls(geometry, cells, 3, 12, grain_px) for cls in (Dense, Counter))
    assert (dense.bits, dense.power) == (counter.bits, counter.power)
    for some in (geometry.modes, cells.count):
        weights = weights_of(rng, geometry, 3, some)
        for crop in (True, False):
            for a, b in zip(dense.products(weights, crop), counter.products(weights, crop), strict=True):
                np.testing.assert_array_equal(a, b)
            pixels = dense.crop_pixels if crop else dense.pixels
            exact = weights.astype(np.int64) @ dense.real[:some, :pixels].astype(np.int64)
            np.testing.assert_array_equal(dense.products(weights, crop)[0].astype(np.int64), exact)
    np.testing.assert_array_equal(counter.columns(7, 9).imag, dense.imag[7:9, : dense.crop_pixels])
    out = np.empty((2, 3, dense.crop_pixels), dtype=np.float32)
    assert counter.products(weights, out=(out[0], out[1]))[0] is not None
    np.testing.assert_array_equal(out[1], dense.products(weights)[1])


def test_the_integers_of_a_seed_do_not_change():
    """A seed is a medium: whoever has recorded one keeps it."""
    dense = Dense(SMALL, Cells(SMALL), 1, 12)
    digest = hashlib.sha256(dense.real.astype("<i2").tobytes() + dense.imag.astype("<i2").tobytes()).hexdigest()
    assert digest.startswith("1bc8d6d48070fec5")


def test_a_seed_and_its_turn_are_independent():
    cells = Cells(SMALL)
    media = [Dense(SMALL, cells, 3, 12), Dense(SMALL, cells, 4, 12), Dense(SMALL, cells, 3, 12).turned()]
    parts = [part.ravel() / part.std() for m in media for part in (m.real, m.imag)]
    correlations = np.corrcoef(parts) - np.eye(6)
    assert np.abs(correlations).max() < 5 / parts[0].size ** 0.5
    counter = Counter(SMALL, cells, 3, 12).turned()
    np.testing.assert_array_equal(counter.columns(0, 3).real, media[2].real[:3, : counter.crop_pixels])


def test_bits_are_those_of_the_largest_sum(monkeypatch):
    """Where mean and margin leave it open the entries are drawn, with the same outcome as without a margin."""
    geometry = Geometry()
    cells = Cells(geometry)
    drawn = []
    largest_sum = Entries.largest_sum
    monkeypatch.setattr(Entries, "largest_sum", lambda self: drawn.append(self.bits) or largest_sum(self))
    assert entries_of(geometry, cells, 1, 12, 1.0, False).bits == 12
    assert drawn == [], "12 bits are far from the bound"
    made = entries_of(geometry, cells, 1, 16, 1.0, False)
    assert (made.bits, drawn) == (15, [15])
    assert (1 << 23) < geometry.macropixel**2 * largest_sum(made) < 1 << 24
    dense = Dense(geometry, cells, 1, 16)
    assert largest_sum(made) == max(np.abs(part).sum(axis=0).max() for part in (dense.real, dense.imag))


def test_cells_too_many_for_any_entries_are_refused():
    geometry = dataclasses.replace(
        SMALL, macropixel=200, slm_width=60_000, slm_height=60_000, signal_x=0, signal_y=0, anchor_width=0
    )

    class Many:
        count, order = 90_000, np.arange(90_000)

    with pytest.raises(UsageError, match=r"fewer than 3 bits.*kind = diffuser"):
        entries_of(geometry, Many(), 1, 12, 1.0, False)


@pytest.mark.parametrize("grain_px", [1.5, 2.0, 4.0])
def test_grain_is_the_one_asked_for(grain_px):
    """Within 3 %, and at the power that is claimed."""
    seed = 11
    geometry = dataclasses.replace(
        SMALL, camera_width=64, camera_height=48, crop_x=0, crop_y=0, crop_width=64, crop_height=48, raw_rows=48
    )
    dense = Dense(geometry, Cells(geometry), seed, 12, grain_px)
    assert 2 * dense.real.std() ** 2 == pytest.approx(dense.power, rel=0.03), f"seed {seed}"
    fields = (dense.real + 1j * dense.imag).reshape(-1, 48, 64)
    assert statistics.grain(fields) == pytest.approx(grain_px, rel=0.03), f"seed {seed}"


def test_grain_kernels():
    assert grain_kernel(1.0).tolist() == [1.0]
    for grain in (1.01, 1.5, 64.0):
        taps = grain_kernel(grain).astype(np.float64)
        assert (taps**2).sum() == pytest.approx(1.0, rel=1e-4)
        assert (np.correlate(taps, taps, "full") ** 2).sum() == pytest.approx(grain, rel=1e-3)
    for grain in (0.99, 65.0, float("nan")):
        with pytest.raises(UsageError, match="grain_px"):
            grain_kernel(grain)


def test_grain_does_not_depend_on_the_band(monkeypatch):
    cells = Cells(ASKEW)
    want = Dense(ASKEW, cells, 3, 12, 2.0)
    for module in (entries, dense):
        monkeypatch.setattr(module, "BAND_LINES", 3)
    np.testing.assert_array_equal(Dense(ASKEW, cells, 3, 12, 2.0).real, want.real)


def test_counter_takes_the_same_memory_for_a_larger_matrix(monkeypatch):
    monkeypatch.setattr(entries, "BLOCK", 1 << 16)

    def peak(n):
        geometry = Geometry.fitting(n, 256)
        cells = Cells(geometry)
        counter = Counter(geometry, cells, 1, 12)
        weights = np.ones((1, geometry.modes), dtype=np.float32)
        tracemalloc.start()
        counter.products(weights)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, 8 * cells.count * counter.crop_pixels

    (small, small_matrix), (large, large_matrix) = peak(256), peak(16_384)
    assert large_matrix > 20 * small_matrix
    assert large < small + 1_000_000
    assert large < large_matrix / 10


def test_blocks_hold_every_cell_once(monkeypatch):
    monkeypatch.setattr(entries, "BLOCK", 100)
    cells = Cells(ASKEW)
    seen = [(part, first + i) for part, first, b in Entries(ASKEW, cells, 1, 12, 1.0, False).blocks(range(2, 3))
            for i in range(b.shape[1])]  # fmt: skip
    assert seen == [(part, cell) for part in (0, 1) for cell in range(cells.count)]
