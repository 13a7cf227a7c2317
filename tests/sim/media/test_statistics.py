"""The yardsticks themselves, on samples drawn from what they measure and from something else."""

from __future__ import annotations

import numpy as np
import pytest
from openopu_sim.plant.media import statistics


def gaussian(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def test_distances_know_their_distribution(rng):
    entries = gaussian(rng, 200, 300)
    bound = statistics.ks_bound(entries.size)
    assert statistics.normal_distance(entries.real) < bound
    assert statistics.rayleigh_distance(entries) < bound
    assert statistics.exponential_distance(np.abs(entries) ** 2) < bound
    assert statistics.kurtosis(entries) == pytest.approx(2.0, abs=0.08)
    phases = np.exp(1j * np.angle(entries))
    assert statistics.kurtosis(phases) == pytest.approx(1.0)
    for wrong in (phases, entries * (1 + 0.5 * (np.arange(300) % 2))):
        assert statistics.normal_distance(wrong.real) > bound
        assert statistics.rayleigh_distance(wrong) > bound
    assert statistics.ks_bound(10_000) == pytest.approx(0.0195, abs=1e-4)
    assert statistics.distance(np.array([0.5]), np.array([0.5])) == 0.5


def test_spectra_of_gaussian_matrices_and_of_blocks_of_unitary_ones(rng):
    n, m, whole = 150, 250, 500
    unitary, _ = np.linalg.qr(gaussian(rng, whole, whole))
    for entries, share in ((gaussian(rng, m, n), 0.0), (unitary[:m, :n], m / whole), (unitary[:m, whole - m :], 0.5)):
        values = statistics.spectrum(entries)
        ratio = entries.shape[1] / m
        # At both hard edges the sample's own mean, by which it is divided, counts.
        bound = 0.03 if ratio * share == 0.5 else 0.015
        assert statistics.distance(values, statistics.unitary_block(values, ratio, share)) < bound
        assert values.var() == pytest.approx(ratio * (1 - share), rel=0.05)
        if share:
            assert statistics.distance(values, statistics.marchenko_pastur(values, ratio)) > 0.05
    with pytest.raises(ValueError, match="must not be more"):
        statistics.unitary_block(values, 1.0, 0.6)


def test_grain_of_filtered_noise(rng):
    noise = gaussian(rng, 40, 64, 64)
    assert statistics.grain(noise) == pytest.approx(1.0, rel=0.02)
    # The mean of two neighbours: mu is 1, 1/2 on both sides, so the area is (1 + 2/4) along one axis.
    assert statistics.grain(noise[:, 1:] + noise[:, :-1]) == pytest.approx(1.5**0.5, rel=0.02)


def test_memory_effect_of_one_speckle_that_moves(rng):
    speckle = np.abs(gaussian(rng, 64, 80)) ** 2
    moving = np.stack([speckle[:, i : i + 64] for i in range(4)])
    np.testing.assert_allclose(statistics.memory_effect(moving), 1.0)
    assert np.abs(statistics.memory_effect(moving[[0, 0, 0]])[1:]).max() < 0.1


def test_kernel_is_the_mean_over_gaussian_media(rng):
    x, other = rng.standard_normal((2, 20))
    entries = gaussian(rng, 20, 200_000) / 2**0.5
    for y in (other, x, other - x):
        products = np.abs(x @ entries) ** 2 * np.abs(y @ entries) ** 2
        assert products.mean() == pytest.approx(statistics.kernel(x, y), abs=4 * products.std() / 200_000**0.5)
