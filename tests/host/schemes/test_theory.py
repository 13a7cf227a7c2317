"""What theory says of the noise of schemes: its limits. That twin and theory agree: tests/docs/test_schemes.py."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from openopu import Encoding, UsageError
from openopu.schemes import Anchor, Complement, Intensity, Phase, Stepping
from openopu.schemes.theory import Light, correlation, inverse_intensity, snr

SIGN = Encoding("sign")


def test_shot_noise_alone_gives_one_per_electron():
    light = Light(500.0)
    assert snr(Complement(SIGN), light) == snr(Intensity(), light) == pytest.approx(500)
    assert snr(Phase(SIGN), light) == snr(Stepping(SIGN), light, reference_share=0.5) == pytest.approx(500)
    assert snr(Phase(SIGN), light, reference_share=0.25) == pytest.approx(0.75 * 500)
    assert snr(Complement(), light, mean_square=0.5) == pytest.approx(500)
    uniform = np.mean(((2 * np.arange(16) - 15) / 15) ** 2)
    assert snr(Complement(Encoding("bits", bits=4)), light, mean_square=uniform) == pytest.approx(500)
    assert correlation(snr(Complement(SIGN), Light(1189.0))) == pytest.approx(0.99958, abs=1e-5)


def test_each_other_noise_costs():
    light = Light(500.0, grains=4)
    base = snr(Complement(SIGN), light)
    for change in ({"read_noise_e": 20.0}, {"step_e": 50.0}, {"relative_noise": 0.02}, {"full_well_e": 2000.0}):
        assert snr(Complement(SIGN), dataclasses.replace(light, **change)) < 0.9 * base
    grainy = Light(500.0, read_noise_e=20.0, step_e=50.0)
    assert snr(Complement(SIGN), grainy) == pytest.approx(500 / (1 + (20**2 + 50**2 / 12) / 500))
    # Power that differs by d within a pair: 1 / (d^2 (K + 1)) where nothing else is.
    bright = dataclasses.replace(light, electrons=1e9, relative_noise=0.01)
    assert snr(Complement(SIGN), bright) == pytest.approx(1e4 / 5, rel=1e-3)


@pytest.mark.parametrize(("grains", "mean"), [(2, 2.0), (4, 4 / 3), (16, 16 / 15)])
def test_inverse_intensities(grains, mean):
    assert inverse_intensity(grains, 0.0) == pytest.approx(mean, rel=1e-3)
    draws = np.random.default_rng(0).gamma(grains, size=400_000) / grains
    assert inverse_intensity(grains, 0.3) == pytest.approx((1 / draws[draws > 0.3]).mean(), rel=0.01)


def test_division_costs_most_where_anchors_are_dark():
    assert snr(Anchor(SIGN, dark=0.0), Light(500.0)) == 0
    light = Light(500.0, grains=4)
    assert 0.8 < snr(Anchor(SIGN), light) / snr(Complement(SIGN), light) < 0.9
    masked = [snr(Anchor(SIGN, dark=d), Light(500.0)) for d in (0.02, 0.1, 0.5)]
    assert masked == sorted(masked)
    with pytest.raises(UsageError, match="share"):
        snr(Phase(), light, reference_share=1.0)
