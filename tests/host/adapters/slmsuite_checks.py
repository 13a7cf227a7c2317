"""slmsuite's own objects and tests on a device: run by `make adapters`, which installs slmsuite first.

No part of `make test`: slmsuite brings OpenCV, 190 MB that want the system's OpenGL library.
"""

import re
from pathlib import Path

import numpy as np
import openopu
import pytest
from openopu.adapters.slmsuite import OpuCamera, OpuSLM
from openopu.errors import UsageError

URL = "twin:?n=64&m=64"


@pytest.fixture
def bench():
    with openopu.open(f"{URL}&noise=off") as opu:
        slm = OpuSLM(opu, pitch_um=22.8, wav_um=0.532)
        yield opu, slm, OpuCamera(opu, slm)


def test_slmsuites_own_tests(bench):
    _, slm, camera = bench
    assert slm.test()
    assert camera.test()


def test_an_image_is_the_devices_frame_of_what_was_written(bench):
    opu, slm, camera = bench
    bits = (np.arange(64).reshape(slm.shape) % 3 == 0).astype(np.uint8)
    np.testing.assert_array_equal(slm.set_phase(bits), bits)
    np.testing.assert_array_equal(slm.bits, bits.ravel())
    assert camera.set_exposure(25e-6) == pytest.approx(25e-6)
    image = camera.get_image()
    assert (image.dtype, image.shape) == (np.uint8, (opu.geometry.camera_height, opu.geometry.camera_width))
    np.testing.assert_array_equal(image, opu.capture(bits.ravel(), 1200))
    slm.set_phase(1 - bits)
    assert (camera.get_image() != image).mean() > 0.5


def test_phases_become_the_nearer_of_two():
    with openopu.open(f"{URL}&plant=phase&noise=off") as opu:
        slm = OpuSLM(opu, pitch_um=8, wav_um=0.532)
        camera = OpuCamera(opu, slm)
        phase = np.random.default_rng(2).random(slm.shape) * 2 * np.pi
        shown = slm.set_phase(phase)
        near_pi = np.abs(phase - np.pi) < np.pi / 2
        np.testing.assert_array_equal(shown, ~near_pi)
        one = camera.get_image()
        slm.set_phase(phase + np.pi)
        other = camera.get_image()
        # Only the panel's other pixels tell a pattern from its opposite.
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.9


def test_auto_exposure_and_focus_through_the_medium(bench):
    """What slmsuite is used for: a loop over its two objects, here one that makes a spot behind the glass."""
    _, slm, camera = bench
    bits = np.ones(slm.shape, np.uint8)
    slm.set_phase(bits)
    camera.autoexpose(set_fraction=0.2, tol=0.2)
    y, x = (n // 2 for n in camera.shape)

    def spot() -> float:
        slm.set_phase(bits)
        return float(camera.get_image()[y, x])

    before = best = spot()
    for row, column in np.ndindex(slm.shape):
        bits[row, column] ^= 1
        now = spot()
        if now < best:
            bits[row, column] ^= 1
        best = max(best, now)
    assert best > 4 * max(before, camera.get_image().mean())


def test_noise_differs_from_image_to_image():
    with openopu.open(URL) as opu:
        slm = OpuSLM(opu, pitch_um=8, wav_um=0.532)
        camera = OpuCamera(opu, slm)
        slm.set_phase(np.ones(slm.shape, np.uint8))
        first, second = camera.get_images(2)
    assert 0 < (first != second).mean() < 1
    assert np.abs(first.astype(int) - second).mean() < 10


def test_another_devices_slm_is_refused(bench):
    _, slm, _ = bench
    with openopu.open(URL) as other, pytest.raises(UsageError, match="another device's"):
        OpuCamera(other, slm)


def test_exposures_out_of_range_are_clipped_with_a_warning(bench):
    _, _, camera = bench
    assert camera.set_exposure(1e9) == pytest.approx((2**32 - 1) / 48e6)
    assert camera.set_exposure(0) == pytest.approx(1 / 48e6)


def test_the_pages_example_runs():
    page = (Path(__file__).parents[3] / "docs" / "adapters.md").read_text()
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", page, flags=re.S) if "OpuSLM" in b)
    names: dict = {"phases": np.linspace(0, 6, 256).reshape(16, 16)}
    exec(compile(block, "adapters.md", "exec"), names)
    assert names["image"].shape == names["camera"].shape
