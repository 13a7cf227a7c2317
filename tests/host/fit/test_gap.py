"""Whiteness and comparison, on arrays whose answer is known."""

import numpy as np
import pytest
from openopu import UsageError
from openopu.characterise.gap import compare
from openopu.characterise.loss import MEASURED, NoisyFeedback, expected_loss
from openopu.characterise.whiteness import chi2_tail, whiteness

RNG = np.random.default_rng(5)
SHAPE = (16, 16)


def test_white_noise_is_white():
    found = [whiteness(RNG.standard_normal((200, 256)), SHAPE) for _ in range(10)]
    assert sum(w.white for w in found) >= 8
    assert np.mean([w.ljung_box for w in found]) == pytest.approx(1, abs=0.03)


def test_what_is_not_white_is_found():
    noise = RNG.standard_normal((200, 256))
    slow = noise.copy()
    for i in range(1, 200):
        slow[i] += 0.1 * slow[i - 1]
    assert whiteness(slow, SHAPE).time_p < 1e-4
    drift = noise + 0.3 * np.linspace(-1, 1, 200)[:, None] * RNG.standard_normal(256)
    assert whiteness(drift, SHAPE).time_p < 1e-4
    blurred = noise.reshape(200, *SHAPE)
    blurred = (blurred + 0.05 * np.roll(blurred, 1, axis=2)).reshape(200, 256)
    assert whiteness(blurred, SHAPE).space_p < 1e-4


def test_chi2_tail():
    assert chi2_tail(100, 100) == pytest.approx(0.4812, abs=1e-3)
    assert chi2_tail(129.56, 100) == pytest.approx(0.025, abs=5e-4)


def test_compare():
    predicted = RNG.standard_normal((300, 256)) * 50
    common = RNG.exponential(size=256) * 100
    light = 0.02 * RNG.standard_normal((300, 1))
    sigma = np.linspace(1, 3, 256)
    device = 1.03 * predicted + light * common + sigma * RNG.standard_normal((300, 256))
    along = np.broadcast_to(common, (300, 1, 256))
    found = compare(device, predicted, common=along, sigma=sigma, shape=SHAPE)
    assert found.slope == pytest.approx(1.03, abs=5 * found.slope_error)
    assert found.chi2 > 1.5  # the slope is wrong
    right = compare(device, 1.03 * predicted, common=along, sigma=sigma, shape=SHAPE)
    assert right.chi2 == pytest.approx(1, abs=0.03)  # the light's common mode does not count
    assert right.whiteness.white
    # The angle that so much noise makes, for a cosine of 1 / sqrt(1 + noise**2).
    assert found.angle_degrees == pytest.approx(np.degrees(np.arctan(found.noise)), rel=0.1)
    offset = compare(device + 5, predicted, common=along, sigma=sigma, shape=SHAPE)
    assert offset.offset == pytest.approx(5 / 50, rel=0.1)
    with pytest.raises(UsageError, match="variance"):
        compare(np.zeros_like(device), predicted, common=along)
    with pytest.raises(UsageError, match="cannot compare"):
        compare(device[:5], predicted[:5], common=along)


def test_noise_of_the_feedback_is_what_was_asked_for():
    matrix = RNG.standard_normal((64, 10))
    errors = RNG.standard_normal((500, 10)).astype(np.float32)
    outputs = []
    for noise in (0.0, 0.5):
        feedback, out = NoisyFeedback(matrix, (64,), noise), np.empty((500, 64), np.float32)
        feedback.submit(errors, (1, 2))
        feedback.collect(errors, 2.0, out)
        outputs.append(out)
    rest = outputs[1] - outputs[0]
    assert rest.std() / outputs[0].std() == pytest.approx(0.5, rel=0.05)


def test_expected_loss():
    assert [expected_loss(x, seeds=0).interpolated for x, _ in MEASURED] == pytest.approx([y for _, y in MEASURED])
    assert not any(expected_loss(x, seeds=0).extrapolated for x, _ in MEASURED)
    beyond, drowned = expected_loss(1.0, seeds=0), expected_loss(12.0, seeds=0)
    assert MEASURED[-1][1] < beyond.interpolated < drowned.interpolated == 90  # ten classes: guessed
    assert beyond.extrapolated
    assert "guess" in drowned.basis
    trained = expected_loss(0.0, seeds=2, hidden=(32,), epochs=2)
    assert (trained.trained, trained.trained_error) == (0, 0)
