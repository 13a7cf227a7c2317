"""A device's modulator and camera for slmsuite. Needs the extra ``slmsuite``.

>>> import openopu
>>> from openopu.adapters.slmsuite import OpuCamera, OpuSLM  # doctest: +SKIP
>>> opu = openopu.open("twin:?n=256&m=1024")  # doctest: +SKIP
>>> slm = OpuSLM(opu, pitch_um=7.6, wav_um=0.532)  # doctest: +SKIP
>>> camera = OpuCamera(opu, slm)  # doctest: +SKIP

A device shows two levels at a time: those of bit 0 and of bit 1. So the SLM has one bit and one pixel for each mode,
and its level 1 is the program's ``level_on``. On a panel of mirrors that is amplitude: write integers. On a phase panel
it is 0 and pi: write phases, which slmsuite rounds to the nearer of the two.

Pattern and exposure are one act of the device, which waits for the panel by itself (``settle_cycles`` and ``frames`` of
the configured program): writing keeps the pattern, and each image shows it.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openopu import Opu
from openopu.device import schemes
from openopu.errors import UsageError
from openopu.opu import MOST_CYCLES

with warnings.catch_warnings():
    # It warns of packages that it could use for other hardware.
    warnings.simplefilter("ignore")
    from slmsuite.hardware.cameras.camera import Camera
    from slmsuite.hardware.slms.slm import SLM


class OpuSLM(SLM):  # type: ignore[misc]
    """The modes of an opened device as an SLM of one bit, (modes_y, modes_x) pixels.

    Parameters
    ----------
    opu
        The device. It stays open when this is closed.
    pitch_um
        Of a mode on the panel: the panel's pixel pitch times ``opu.geometry.macropixel``.
    wav_um
        Wavelength.
    name
        Of this SLM; default the device's URL.
    """

    def __init__(
        self, opu: Opu, *, pitch_um: float | tuple[float, float], wav_um: float, name: str = "", gpu: bool = False
    ) -> None:
        geometry = opu.geometry
        self._opu = opu
        self._bits = np.zeros(geometry.modes, np.bool_)
        settle_cycles = max(s.settle_cycles for s in opu.settings.program)
        super().__init__(
            (geometry.modes_x, geometry.modes_y),
            bitdepth=1,
            name=name or str(opu.device.url),
            wav_um=wav_um,
            pitch_um=pitch_um,
            settle_time_s=settle_cycles / opu.identity.clock_hz,
            gpu=gpu,
        )
        self.set_phase(None)

    @property
    def bits(self) -> NDArray[np.bool_]:
        """What the next image shows, (modes,); a copy."""
        return self._bits.copy()

    def close(self) -> None:
        """Nothing to give back: the device is its opener's."""

    @staticmethod
    def info(verbose: bool = True) -> list[str]:
        """Schemes of device URLs that are installed."""
        return _schemes(verbose)

    def _set_phase_hw(self, display: NDArray[np.uint8]) -> None:
        self._bits = np.asarray(display).reshape(-1).astype(np.bool_)


class OpuCamera(Camera):  # type: ignore[misc]
    """The camera of an opened device, which shows what ``slm`` was written.

    Parameters
    ----------
    opu, slm
        The device, and its SLM. The device stays open when this is closed.
    pitch_um
        Of the sensor's pixels, where it is known.
    options
        Further ones of slmsuite's ``Camera``, such as ``rot`` and ``averaging``.
    """

    def __init__(
        self, opu: Opu, slm: OpuSLM, *, pitch_um: float | tuple[float, float] | None = None, **options: Any
    ) -> None:
        if slm._opu is not opu:
            raise UsageError("this SLM is another device's", "slm", "Make it of the same opened device")
        geometry = opu.geometry
        self._opu, self._slm = opu, slm
        self._exposure_cycles = opu.exposure_cycles
        cycle_s = 1 / opu.identity.clock_hz
        super().__init__(
            (geometry.camera_width, geometry.camera_height),
            bitdepth=geometry.pixel_bits,
            pitch_um=pitch_um,
            exposure_bounds_s=(cycle_s, MOST_CYCLES * cycle_s),
            **{"name": str(opu.device.url), "capture_attempts": 1, **options},
        )

    def close(self) -> None:
        """Nothing to give back: the device is its opener's."""

    @staticmethod
    def info(verbose: bool = True) -> list[str]:
        """Schemes of device URLs that are installed."""
        return _schemes(verbose)

    def _get_exposure_hw(self) -> float:
        return self._exposure_cycles / float(self._opu.identity.clock_hz)

    def _set_exposure_hw(self, exposure_s: float) -> None:
        cycles = round(exposure_s * self._opu.identity.clock_hz)
        self._exposure_cycles = min(max(cycles, 1), MOST_CYCLES)

    def _get_image_hw(self, timeout_s: float) -> NDArray[np.unsignedinteger]:
        # The library's own limits of time hold: they follow from the exposure and the link.
        frame = self._opu.capture(self._slm.bits, self._exposure_cycles)
        return frame.astype(np.uint8) if self._opu.geometry.pixel_bits <= 8 else frame


def _schemes(verbose: bool) -> list[str]:
    names = [f"{name}:" for name in sorted(schemes())]
    if verbose:
        print("\n".join(names))
    return names
