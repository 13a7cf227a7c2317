"""The camera contract: frames of a scientific camera at a known exposure, whoever drives it.

The gateware's own camera port is not among these: a whole device is opened with :func:`openopu.open`, and
:class:`DeviceCamera` shows its camera as one of these. A camera on its own is enough to measure what EMVA 1288
measures (``openopu characterise --camera pylon:SERIAL``).

A package adds a scheme with an entry point in the group ``openopu.cameras`` that names a factory
``(url: DeviceUrl) -> Camera``, which refuses keys that it does not know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.metadata import EntryPoint, entry_points
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DeviceError, UrlError, UsageError, whole
from .opu import MOST_CYCLES, Opu
from .url import DeviceUrl

CAMERAS_GROUP = "openopu.cameras"


class CameraError(DeviceError):
    """A camera that cannot be reached, or lost frames; the message says which and what to do next."""


class Camera(ABC):
    """An opened camera. Use it in a ``with`` block.

    Attributes
    ----------
    identity : str
        Maker, model and serial number: what a measurement is filed under.
    pixel_format : str
        As GenICam's Standard Features Naming Convention names it: ``Mono8``, ``Mono10``, ``Mono12``.
    bits : int
        Bits of a pixel: values are 0 to ``2**bits - 1``.
    shape : tuple[int, int]
        Height and width of a frame in pixels.
    exposure_bounds_us : tuple[float, float]
        Shortest and longest exposure in us.
    exposure_us : float
        Exposure of the last frames, as the camera rounded it.
    """

    identity: str
    pixel_format: str
    bits: int
    shape: tuple[int, int]
    exposure_bounds_us: tuple[float, float]
    exposure_us: float

    def grab(self, n: int, exposure_us: float) -> NDArray[np.uint16]:
        """``n`` frames in the order of their exposures, none left out, (n, height, width) uint16 in DN.

        Raises
        ------
        UsageError
            ``n`` is no count, or the camera cannot expose for ``exposure_us``.
        CameraError
            A frame is missing or damaged, or the camera went away.
        """
        whole(n, "n", 1)
        low, high = self.exposure_bounds_us
        if isinstance(exposure_us, bool) or not isinstance(exposure_us, (int, float, np.integer, np.floating)):
            raise UsageError(f"{exposure_us!r} is no time", "exposure_us", "Give microseconds")
        if not low <= exposure_us <= high:
            raise UsageError(f"{exposure_us:g} is out of range", "exposure_us", f"Take {low:g} to {high:g} us")
        frames = self._grab(n, float(exposure_us))
        if frames.shape != (n, *self.shape) or frames.dtype != np.uint16:
            raise CameraError(
                f"it returned {frames.dtype} {frames.shape} for {n} frames of {self.shape}",
                self.identity,
                "This is a defect of the camera's adapter: report it",
            )
        return frames

    @abstractmethod
    def _grab(self, n: int, exposure_us: float) -> NDArray[np.uint16]:
        """:meth:`grab`, its arguments checked."""

    @abstractmethod
    def close(self) -> None:
        """Give the camera free. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self.close()


class DeviceCamera(Camera):
    """The camera of an opened device, which shows ``pattern`` (as :meth:`openopu.Opu.capture` takes it).

    Closing it leaves the device open.
    """

    def __init__(self, opu: Opu, pattern: ArrayLike | None = None) -> None:
        geometry = opu.geometry
        self._opu, self._pattern = opu, pattern
        self.identity = f"camera of {opu.device.url}"
        self.pixel_format, self.bits = f"Mono{geometry.pixel_bits}", geometry.pixel_bits
        self.shape = (geometry.camera_height, geometry.camera_width)
        self._cycle_us = cycle_us = 1e6 / opu.identity.clock_hz
        self.exposure_bounds_us = (cycle_us, MOST_CYCLES * cycle_us)
        self.exposure_us = opu.exposure_cycles * cycle_us

    def _grab(self, n: int, exposure_us: float) -> NDArray[np.uint16]:
        cycles = max(1, round(exposure_us / self._cycle_us))
        self.exposure_us = cycles * self._cycle_us
        return np.stack([self._opu.capture(self._pattern, cycles) for _ in range(n)])

    def close(self) -> None:
        pass


def camera_schemes() -> dict[str, EntryPoint]:
    """Installed schemes by name."""
    return {e.name: e for e in entry_points(group=CAMERAS_GROUP)}


def open_camera(url: str | DeviceUrl) -> Camera:
    """Open the camera behind ``url``, such as ``pylon:`` (the only one there is) or ``pylon:12345678``.

    Raises
    ------
    UrlError
        The URL cannot be read, or nothing installed knows its scheme.
    CameraError
        The camera cannot be reached.
    """
    parsed, known = DeviceUrl.parse(url), camera_schemes()
    if parsed.scheme not in known:
        raise UrlError(
            f"no camera scheme `{parsed.scheme}:` is installed", str(url), f"Known: {', '.join(sorted(known))}"
        )
    try:
        factory = known[parsed.scheme].load()
    except ImportError as error:
        raise CameraError(
            f"`{parsed.scheme}:` needs a package that is not installed ({error})",
            str(url),
            f"Install the extra that brings it: `pip install 'openopu[{parsed.scheme}]'`",
        ) from error
    camera = factory(parsed)
    assert isinstance(camera, Camera)
    return camera
