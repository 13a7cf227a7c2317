"""pylon's emulated camera through our contract: the package itself, without hardware."""

import numpy as np
import openopu
import pytest
from matplotlib import image as pictures
from openopu.cameras import Camera, CameraError, DeviceCamera, open_camera
from openopu.errors import UrlError, UsageError

SERIAL = "0815-0000"


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setenv("PYLON_CAMEMU", "1")


def test_frames_in_order_as_the_camera_says(tmp_path):
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (5, 48, 64), dtype=np.uint8)
    for i, frame in enumerate(images):
        pictures.imsave(tmp_path / f"{i}.png", np.repeat(frame[:, :, None], 3, axis=2))
    with open_camera(f"pylon:{SERIAL}?pixel_format=Mono8&width=64&height=48&images={tmp_path}") as camera:
        assert isinstance(camera, Camera)
        assert (camera.shape, camera.bits, camera.pixel_format) == ((48, 64), 8, "Mono8")
        assert camera.identity == f"Basler Emulation {SERIAL}"
        frames = camera.grab(7, 1000.4)
        assert frames.dtype == np.uint16
        np.testing.assert_array_equal(frames, images[np.arange(7) % 5])
        assert camera.exposure_us == pytest.approx(1000, abs=1)
        camera.close()


def test_the_deepest_format_is_the_default():
    with open_camera("pylon:?width=32&height=16&gain_db=6") as camera:
        assert camera.pixel_format == "Mono12"
        frames = camera.grab(2, 5000)
    assert 255 < frames.max() < 4096


class Wrapped:
    """The real camera behind methods that interfere."""

    def __init__(self, device, **methods):
        self._device = device
        vars(self).update(methods)

    def __getattr__(self, name):
        return getattr(self._device, name)


@pytest.fixture
def camera():
    with open_camera("pylon:?width=32&height=16") as opened:
        yield opened
        assert opened.grab(4, 100).shape == (4, 16, 32), "it works again"


def test_a_damaged_frame_is_an_error(camera, monkeypatch):
    real = camera._device
    real.ForceFailedBufferCount.Value = 1

    def start(*how):
        real.StartGrabbingMax(*how)
        real.ForceFailedBuffer.Execute()

    with monkeypatch.context() as patch:
        patch.setattr(camera, "_device", Wrapped(real, StartGrabbingMax=start))
        with pytest.raises(CameraError, match=r"frame \d is damaged"):
            camera.grab(4, 100)


def test_a_missing_frame_is_an_error(camera, monkeypatch):
    real, results = camera._device, []

    def retrieve(*how):
        results.append(real.RetrieveResult(*how))
        if len(results) == 3:
            results[2].Release()
            results[2] = real.RetrieveResult(*how)
        return results[-1]

    wrapped = Wrapped(real, RetrieveResult=retrieve, StartGrabbingMax=lambda n, how: real.StartGrabbingMax(n + 1, how))
    with monkeypatch.context() as patch:
        patch.setattr(camera, "_device", wrapped)
        with pytest.raises(CameraError, match="frames 2 to 2 are missing before frame 2"):
            camera.grab(4, 100)


def test_a_frame_that_does_not_come_is_an_error(camera, monkeypatch):
    camera._device.AcquisitionFrameRate.Value = 0.5
    with monkeypatch.context() as patch:
        patch.setattr("openopu.adapters.pylon.LATE_MS", 100)
        with pytest.raises(CameraError, match=r"frame \d did not come within 101 ms"):
            camera.grab(3, 100)
    camera._device.AcquisitionFrameRate.Value = 100


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("pylon:1234", CameraError, "no such camera"),
        ("pylon:?pixel_format=Mono11", UsageError, "It offers: Mono16, Mono12"),
        ("pylon:?width=5000", UsageError, "does not take 5000"),
        ("pylon:?gain_db=99", UsageError, "does not take 99"),
        ("pylon:?gain_db=loud", UrlError, "Expected decibels"),
        ("pylon:?images=/nowhere", UsageError, "no such folder"),
        ("pylon:?gamma=2", UrlError, "knows no key `gamma`"),
        ("pilon:", UrlError, "Known: pylon"),
    ],
)
def test_bad_urls(url, kind, words):
    with pytest.raises(kind, match=words):
        open_camera(url)


def test_without_a_camera(monkeypatch):
    monkeypatch.setenv("PYLON_CAMEMU", "0")
    with pytest.raises(CameraError, match="PYLON_CAMEMU=1 offers"):
        open_camera("pylon:")


def test_one_of_several_has_to_be_named(monkeypatch):
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    with pytest.raises(CameraError, match="0815-0000, 0815-0001"):
        open_camera("pylon:")


@pytest.mark.parametrize(("n", "exposure_us"), [(0, 100), (1.5, 100), (1, float("nan")), (1, 0.5), (1, 1e9), (1, "1")])
def test_bad_grabs(n, exposure_us):
    with open_camera("pylon:?width=32&height=16") as camera:
        with pytest.raises(UsageError):
            camera.grab(n, exposure_us)
        assert camera.grab(1, 100).any()


def test_the_camera_of_a_device_keeps_the_contract():
    with openopu.open("twin:?n=64&m=64&noise=off") as opu:
        pattern = np.arange(64) % 3 == 0
        with DeviceCamera(opu, pattern) as camera:
            frames = camera.grab(2, 20.004)
            assert camera.exposure_us == pytest.approx(20)
            assert (camera.pixel_format, camera.bits) == ("Mono8", 8)
            assert frames.shape == (2, *camera.shape)
        np.testing.assert_array_equal(frames[0], opu.capture(pattern, 960))
        assert frames[0].max() > 3 * frames[0].min()
