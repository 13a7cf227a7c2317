"""Basler cameras (and pylon's emulator) as :class:`openopu.cameras.Camera`. Needs the extra ``pylon``.

URL: ``pylon:SERIAL``, or ``pylon:`` where there is one camera only. With ``PYLON_CAMEMU=1`` in the environment pylon
offers an emulated one, 0815-0000: its frames are a test image or files, without regard to exposure.

============  =======================================================================================================
key           meaning
============  =======================================================================================================
pixel_format  ``Mono8``, ``Mono10``, ``Mono12`` or ``Mono16``; else the deepest that the camera offers up to ``Mono12``
width,        of the region that is read, centred on the sensor; else as the camera is set
height
gain_db       analog gain; else as the camera is set
images        emulator only: a folder of images that it plays in the order of their names, over and over
============  =======================================================================================================

Whatever would bend the line from light to DN is switched off: automatic exposure and gain, gamma.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openopu.cameras import Camera, CameraError
from openopu.errors import UrlError, UsageError
from openopu.url import DeviceUrl

with warnings.catch_warnings():
    # Its generated wrapper crashes the process where a deprecation warning of Python is made an error.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pypylon import genicam, pylon

BITS = {"Mono16": 16, "Mono12": 12, "Mono10": 10, "Mono8": 8}
DEFAULT_FORMATS = ("Mono12", "Mono10", "Mono8")
LATE_MS = 5000
"""How much later than its exposure a frame may come."""
NO_BLOCK_ID = (1 << 64) - 1
"""What pylon says for a camera that does not number its frames."""
LAST_GIGE_BLOCK_ID = 0xFFFF
"""GigE Vision 1.x numbers frames 1 to 65,535 and begins again."""


class PylonCamera(Camera):
    """An opened camera.

    Parameters
    ----------
    serial
        Serial number; "": the only camera there is.
    pixel_format, width, height, gain_db, images
        As the keys of the URL.

    Raises
    ------
    CameraError
        No such camera, several, or one that another program holds.
    UsageError
        A setting that the camera does not have.
    """

    def __init__(
        self,
        serial: str = "",
        *,
        pixel_format: str | None = None,
        width: int | None = None,
        height: int | None = None,
        gain_db: float | None = None,
        images: str | Path | None = None,
    ) -> None:
        where = f"pylon:{serial}"
        try:
            self._device = pylon.InstantCamera(_find(where, serial))
            self._device.Open()
        except genicam.GenericException as error:
            raise CameraError(
                f"it cannot be opened ({_line(error)})", where, "Close other programs that use it, or plug it in anew"
            ) from None
        info = self._device.DeviceInfo
        self.identity = f"{info.GetVendorName()} {info.GetModelName()} {info.GetSerialNumber()}"
        try:
            for name in ("ExposureAuto", "GainAuto", "TriggerMode"):
                self._set_if_there(name, "Off")
            self._set_if_there("Gamma", 1.0)
            self._set_if_there("AcquisitionMode", "Continuous")
            self.pixel_format = self._choose_format(pixel_format)
            self.bits = BITS[self.pixel_format]
            if images is not None:
                self._play(Path(images))
            for name, size in (("Width", width), ("Height", height)):
                if size is not None:
                    self._set_size(name, size)
            if gain_db is not None:
                self._set("Gain", float(gain_db), "gain_db")
            self.shape = (int(self._node("Height").Value), int(self._node("Width").Value))
            # Cameras before SFNC 2.0 say ExposureTimeAbs.
            self._exposure = next(n for n in ("ExposureTime", "ExposureTimeAbs") if self._has(n))
            node = self._node(self._exposure)
            self.exposure_bounds_us = (float(node.Min), float(node.Max))
            self.exposure_us = float(node.Value)
        except BaseException:
            self.close()
            raise

    def _grab(self, n: int, exposure_us: float) -> NDArray[np.uint16]:
        frames = np.empty((n, *self.shape), np.uint16)
        with self._errors():
            node = self._node(self._exposure)
            node.Value = exposure_us
            self.exposure_us = float(node.Value)
            self._device.StartGrabbingMax(n, pylon.GrabStrategy_OneByOne)
            try:
                before: int | None = None
                for i in range(n):
                    before = self._retrieve(frames[i], i, before)
            finally:
                self._device.StopGrabbing()
        return frames

    def _retrieve(self, frame: NDArray[np.uint16], index: int, before: int | None) -> int:
        """Fill in one frame; returns its number."""
        limit_ms = LATE_MS + math.ceil(self.exposure_us / 1000)
        result = self._device.RetrieveResult(limit_ms, pylon.TimeoutHandling_Return)
        if not result.IsValid():
            raise CameraError(f"frame {index} did not come within {limit_ms} ms", self.identity, "Check its connection")
        with result:
            if not result.GrabSucceeded():
                raise CameraError(
                    f"frame {index} is damaged ({result.ErrorDescription})",
                    self.identity,
                    "Check cable and bandwidth (packet size, other cameras on the same controller), then grab again",
                )
            number = int(result.BlockID)
            following = (None, NO_BLOCK_ID) if before is None else (before + 1, NO_BLOCK_ID)
            wrapped = before == LAST_GIGE_BLOCK_ID and number == 1
            if before is not None and number not in following and not wrapped:
                raise CameraError(
                    f"the frames {before + 1} to {number - 1} are missing before frame {index}",
                    self.identity,
                    "Check cable and bandwidth, or read a smaller region (width=, height=)",
                )
            frame[:] = result.Array
            return number

    def close(self) -> None:
        with contextlib.suppress(genicam.GenericException):
            self._device.Close()

    # Settings

    def _node(self, name: str) -> Any:
        return self._device.GetNodeMap().GetNode(name)

    def _has(self, name: str) -> bool:
        return bool(genicam.IsWritable(self._node(name)))

    def _set_if_there(self, name: str, value: object) -> None:
        if self._has(name):
            self._node(name).Value = value

    def _set(self, name: str, value: object, key: str) -> None:
        if not self._has(name):
            raise UsageError(f"{self.identity} has no setting {name}", key, "Leave it out")
        try:
            self._node(name).Value = value
        except genicam.GenericException as error:
            raise UsageError(f"{self.identity} does not take {value!r} ({_line(error)})", key) from None

    def _choose_format(self, wanted: str | None) -> str:
        offered = [f for f in BITS if f in self._node("PixelFormat").Symbolics]
        chosen = wanted or next((f for f in DEFAULT_FORMATS if f in offered), None)
        if chosen not in offered:
            raise UsageError(
                f"{self.identity} has no format {wanted or 'of grey pixels'}",
                "pixel_format",
                f"It offers: {', '.join(offered) or 'none that can be used'}",
            )
        self._set("PixelFormat", chosen, "pixel_format")
        return str(chosen)

    def _set_size(self, name: str, size: int) -> None:
        offset = {"Width": "OffsetX", "Height": "OffsetY"}[name]
        self._set_if_there(offset, 0)
        self._set(name, size, name.lower())
        if self._has(offset):
            node = self._node(offset)
            node.Value = node.Max // 2 // node.Inc * node.Inc

    def _play(self, folder: Path) -> None:
        if not self._has("ImageFileMode"):
            raise UsageError(f"{self.identity} is no emulator", "images", "Leave it out")
        if not folder.is_dir():
            raise UsageError("there is no such folder", str(folder), "Name a folder of images")
        self._set("TestImageSelector", "Off", "images")
        self._set("ImageFilename", str(folder), "images")
        self._set("ImageFileMode", "On", "images")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of pylon as ours."""
        try:
            yield
        except genicam.GenericException as error:
            step = "Check that it is still plugged in, then open it again"
            raise CameraError(_line(error), self.identity, step) from None


def _find(where: str, serial: str) -> Any:
    factory = pylon.TlFactory.GetInstance()
    found = {d.GetSerialNumber(): d for d in factory.EnumerateDevices()}
    listed = f"Found: {', '.join(sorted(found)) or 'none'}"
    if serial and serial not in found:
        raise CameraError("there is no such camera", where, f"{listed}. PYLON_CAMEMU=1 offers an emulated one")
    if not serial and len(found) != 1:
        what = "there are several cameras" if found else "there is no camera"
        step = "Name one by its serial number" if found else "Plug one in; PYLON_CAMEMU=1 offers an emulated one"
        raise CameraError(what, where, f"{listed}. {step}")
    return factory.CreateDevice(found[serial or next(iter(found))])


def _line(error: Exception) -> str:
    """The first line of pylon's message, without its source location."""
    return str(error).split(" : ")[0].splitlines()[0].strip().rstrip(".")


def open_pylon(url: DeviceUrl) -> PylonCamera:
    """Open ``pylon:SERIAL?...``. Raises :class:`UrlError`, and what :class:`PylonCamera` does."""
    url.refuse_unknown(("pixel_format", "width", "height", "gain_db", "images"))

    def size(key: str) -> int | None:
        return url.get_int(key, 1, 1) if key in url.parameters else None

    gain = url.get("gain_db", float, math.nan, "decibels")
    if math.isinf(gain):
        raise UrlError("this is no gain", str(url), "Give decibels")
    return PylonCamera(
        url.rest,
        pixel_format=url.parameters.get("pixel_format"),
        width=size("width"),
        height=size("height"),
        gain_db=None if math.isnan(gain) else gain,
        images=url.parameters.get("images"),
    )
