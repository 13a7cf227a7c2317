"""The estimators against frames made by NumPy from the physics, whose parameters are known."""

import numpy as np
import pytest
from bench import Bench
from openopu.fit import Estimate, FitError
from openopu.fit.contrast import speckle
from openopu.fit.dark import black_and_read_noise, dark_sigma
from openopu.fit.drift import fluctuations
from openopu.fit.offsets import Looks, covariance, reading
from openopu.fit.record import Burst
from openopu.fit.rounding import rounded_variance, true_variance
from openopu.fit.settling import fit_sweep, unsettled
from openopu.fit.transfer import photon_transfer

DIM, FLAT = (10, 30, 80), (125, 250, 500, 1000, 1700)


def recorded(bench, frames=24):
    fields = bench.fields()
    dark = [bench.burst(fields, 2 * frames, 10, power=0.0) for _ in range(2)]
    dim = [bench.burst(fields, frames, c) for c in DIM for _ in range(2)]
    return dark, dim, [bench.burst(fields, frames, c) for c in FLAT for _ in range(2)]


def of_other_patterns(bench, frames=24):
    return [bench.burst(fields, frames, c) for fields in (bench.fields(), bench.fields(), bench.fields()) for c in FLAT]


def camera_of(bench, frames=24):
    dark, dim, flat = recorded(bench, frames)
    other = of_other_patterns(bench, frames)
    full = (1 << bench.bits) - 1
    black = float(dark[0].frames.mean())
    for _ in range(3):
        transfer = photon_transfer([*flat, *other], black, full, dark_sigma(dark[0]))
        found = black_and_read_noise(dark, dim, flat, transfer.gain, full, black)
        black = found.black.value
    return transfer, found


@pytest.mark.parametrize(
    "bench",
    [
        Bench(),
        Bench(gain=0.38, read_noise=2.9, black=41, laser_noise=0.0, vibration=0.006),
        # All of the read noise lies within one step of the ADC, and the black level anywhere between two.
        Bench(gain=0.0236, read_noise=2.9, black=2.55, bits=8, working_e=1270, laser_noise=0.01, pixels=2000),
        Bench(gain=0.03, read_noise=6.0, black=4.1, bits=8, working_e=1000, pixels=2000),
        # Offsets that no single reading shows, and one that some do.
        Bench(gain=0.0377, read_noise=3.3, dsnu=1.0, black=5.3, bits=8, working_e=1000, pixels=4000),
        Bench(gain=0.08, read_noise=4.2, dsnu=1.7, black=12.9, bits=10, working_e=1500),
        Bench(dsnu=1.5),
    ],
    ids=["12 bit", "quiet, vibrating", "8 bit, quiet", "8 bit", "8 bit, DSNU", "10 bit, DSNU", "12 bit, DSNU"],
)
def test_camera(bench):
    transfer, found = camera_of(bench)
    assert transfer.gain.value == pytest.approx(bench.gain, rel=0.03)
    assert abs(transfer.gain.value - bench.gain) < 4 * transfer.gain.error
    assert found.read_noise.value == pytest.approx(bench.read_noise, rel=0.05)
    assert found.black.value == pytest.approx(bench.black, abs=0.02)
    if bench.dsnu:
        assert found.dsnu.value == pytest.approx(bench.dsnu, rel=0.1)
    else:
        assert not found.dsnu.resolved
    assert transfer.chi2 < (3 if bench.vibration else 2)
    assert transfer.exponent.value == pytest.approx(1, abs=0.02)
    if bench.vibration:
        assert transfer.motion.value == pytest.approx(bench.vibration, rel=0.15)
    else:
        assert not transfer.motion.resolved


def test_rounding():
    rng = np.random.default_rng(0)
    for sigma in (0.05, 0.15, 0.3, 0.6, 2.0):
        mean = rng.random(400_000)
        a, b = (np.rint(mean + sigma * rng.standard_normal(mean.size)) for _ in range(2))
        measured = ((a - b) ** 2).mean() / 2
        assert rounded_variance(sigma**2) == pytest.approx(measured, rel=0.02)
        assert true_variance(measured) == pytest.approx(sigma**2, rel=0.04)


def test_offsets_within_a_step():
    rng = np.random.default_rng(5)
    level, d, s = np.linspace(7.0, 8.0, 9), 0.15, 0.2
    offsets = d * rng.standard_normal((400_000, 1))
    first, second = (np.rint(level + offsets + s * rng.standard_normal((400_000, 9))) for _ in range(2))
    total = np.full(9, s * s + d * d)
    mean, variance = reading(level, np.sqrt(total))
    np.testing.assert_allclose(mean, first.mean(axis=0), atol=0.003)
    np.testing.assert_allclose(variance, first.var(axis=0), atol=0.003)
    looks = Looks(first.mean(axis=0), second.mean(axis=0), 1, level, total, np.zeros(9))
    products = ((first - first.mean(axis=0)) * (second - second.mean(axis=0))).mean(axis=0)
    np.testing.assert_allclose(covariance(looks, d * d), products, atol=0.002)


def test_laser_photodiode_and_medium():
    bench = Bench(laser_noise=0.004, drift=6e-5, pixels=2048)
    found = fluctuations(bench.series(10, 6, 24), 4 * bench.black)
    assert found.laser_noise.value == pytest.approx(0.004, rel=0.06)
    assert found.laser_noise_photodiode.value == pytest.approx(0.004, rel=0.06)
    assert found.photodiode_noise.value == pytest.approx(1.5, rel=0.08)
    assert found.medium_drift.value == pytest.approx(6e-5, rel=0.05)
    assert abs(found.medium_drift.value - 6e-5) < 4 * found.medium_drift.error
    assert not found.laser_drift.resolved


def test_a_still_medium_and_a_quiet_laser_are_not_seen():
    found = fluctuations(Bench(laser_noise=0.0, pixels=2048).series(6, 4, 16), 4 * 49)
    assert not found.laser_noise.resolved
    assert not found.medium_drift.resolved


def test_settling():
    rng = np.random.default_rng(3)
    old, new = (rng.standard_normal((2, 800)) @ np.diag(np.ones(800)) for _ in range(2))
    old, new = old[0] + 1j * old[1], new[0] + 1j * new[1]
    settle = np.arange(0, 800, 50)
    eps = unsettled(settle, 1000, 190.0)[:, None]
    # The definition of the share, not the same formula: the mean of the decay over the exposure.
    t = np.linspace(0, 1000, 100_001)
    np.testing.assert_allclose(eps[2, 0], np.exp(-(t + settle[2]) / 190.0).mean(), rtol=1e-3)
    frames = 400 * np.abs((1 - eps) * new + eps * old) ** 2
    laser = 1 + 0.03 * rng.standard_normal(len(settle))
    settled = 400 * np.abs(new) ** 2
    noise = 2.0
    difference = frames * laser[:, None] - settled + noise * rng.standard_normal(frames.shape)
    found = fit_sweep(
        difference, settled, 400 * np.abs(old) ** 2 - settled, np.full(800, noise**2), settle, 1000, 48_000_000
    )
    assert found.tau.value * 48e6 == pytest.approx(190, rel=0.02)
    still = noise * rng.standard_normal(frames.shape)
    at_once = fit_sweep(still, settled, settled[::-1] - settled, np.full(800, noise**2), settle, 1000, 48_000_000)
    assert not at_once.tau.resolved


def test_speckle_of_two_grains_a_pixel():
    bench = Bench(pixels=64 * 64)
    single = speckle(bench.burst(bench.fields(), 16, 1000), (64, 64), bench.black)
    assert single.contrast.value == pytest.approx(1, abs=4 * single.contrast.error)
    assert single.grain_px.value == pytest.approx(1, abs=0.1)
    a, b = (bench.burst(bench.fields(), 16, 1000).frames for _ in range(2))
    double = speckle(Burst((a + b) / 2, 1000, np.zeros(16)), (64, 64), bench.black)
    assert double.contrast.value == pytest.approx(0.5**0.5, abs=4 * double.contrast.error)


def test_bad_frames():
    bench = Bench(pixels=600)
    dark, dim, flat = recorded(bench)
    with pytest.raises(FitError, match="too few"):
        photon_transfer([Burst(b.frames[:4], b.exposure_cycles, b.monitors[:4]) for b in flat], 49, 4095, 1.4)
    still = [Burst(np.repeat(b.frames[:1], 24, axis=0), b.exposure_cycles, b.monitors) for b in flat]
    with pytest.raises(FitError, match="no noise"):
        photon_transfer(still, 49, 4095, 1.4)
    with pytest.raises(FitError, match="full scale"):
        photon_transfer([Burst(np.full_like(b.frames, 4095), b.exposure_cycles, b.monitors) for b in flat], 49, 4095, 1)
    cut = [Burst(np.zeros_like(b.frames), b.exposure_cycles, b.monitors) for b in dark]
    with pytest.raises(FitError, match="black level"):
        black_and_read_noise(cut, dim, flat, Estimate(0.27, 0.01, "DN/e-"), 4095)
    with pytest.raises(FitError, match="32 exposures are too few"):
        fluctuations(bench.series(2, 2, 8), 196)
    with pytest.raises(FitError, match="2 rounds are too few"):
        fluctuations(bench.series(2, 4, 8), 196)
