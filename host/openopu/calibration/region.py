"""Which outputs to use, and whether the camera still sees the region that was calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Shot

from ..measure import capture, plain_shot
from ..opu import Opu
from . import likeness
from .errors import CalibrationFailed
from .file import Group, Quantity
from .frames import DN, ONE, binned, random_patterns

REPEATS = 4
"""Frames of the reference pattern."""
STABLE = 0.9
"""Correlation of two frames of the reference pattern below which the speckle is too unsteady to calibrate."""
BRIGHT_SHARE = 0.1
"""Of the median: an output with less light is left out, and so is one with less response."""
CLIPPED_LIMIT = 0.05
"""Share of an output's pixels' exposures at full scale beyond which it is left out."""
MOVED_GAIN = 0.1
"""By how much a shift must raise the correlation to count as one."""


@dataclass(frozen=True)
class Shift:
    """Where a frame fits a reference best."""

    x: int
    """Pixels to the right."""
    y: int
    """Pixels down."""
    correlation: float
    """There."""
    unmoved: float
    """Correlation without a shift."""

    @property
    def moved(self) -> bool:
        return (self.x, self.y) != (0, 0) and self.correlation > self.unmoved + MOVED_GAIN


def reference(opu: Opu, repeats: int = REPEATS) -> Group:
    """The speckle of one random pattern, to recognise the region by.

    Returns
    -------
    reference : (camera_height, camera_width) mean frame, DN
    reliability : correlation of one frame with another

    Raises :class:`CalibrationFailed` where the frames differ too much.
    """
    frames = capture(opu, np.repeat(random_patterns(opu, 1, 4), repeats, axis=0), plain_shot(opu)).astype(np.int64)
    one = likeness.reliability(frames, likeness.correlation)
    if not one > STABLE:
        raise CalibrationFailed(
            f"two frames of one pattern correlate by {one:.3f} only",
            str(opu.device.url),
            "Look for vibration, drift, a laser that hops between modes, and too little light",
        )
    return {
        "reference": Quantity((frames.sum(axis=0) / repeats).astype(np.float32), DN),
        "reliability": Quantity(np.array(one), ONE),
    }


def look(opu: Opu, shot: Shot) -> NDArray[np.float64]:
    """One frame of the reference's pattern, (camera_height, camera_width) DN."""
    return np.asarray(capture(opu, random_patterns(opu, 1, 4), shot)[0], dtype=np.float64)


def shift_of(reference: NDArray[np.generic], frame: NDArray[np.generic]) -> Shift:
    """The shift, by whole pixels and around the edges, at which ``frame`` fits ``reference`` best."""
    a, b = (np.asarray(v, dtype=np.float64) for v in (reference, frame))
    a, b = a - a.mean(), b - b.mean()
    length = float(np.linalg.norm(a) * np.linalg.norm(b)) or 1.0
    fit = np.fft.irfft2(np.conj(np.fft.rfft2(a)) * np.fft.rfft2(b), s=a.shape) / length
    y, x = (int(v) for v in np.unravel_index(int(np.argmax(fit)), fit.shape))
    height, width = fit.shape
    return Shift(
        x - width if x > width // 2 else x,
        y - height if y > height // 2 else y,
        float(fit[y, x]),
        float(fit[0, 0]),
    )


def select(opu: Opu, flat: Group, bad: Group, scale: Group) -> Group:
    """Outputs to project on, and where on the sensor the region would be lit best.

    Returns
    -------
    brightness : (outputs,) mean light of an output's pixels, DN
    clipped : (outputs,) share of its pixels' exposures at full scale
    selection : indices of the outputs that are bright, respond, do not clip and hold no bad pixel, ascending
    best_crop, best_gain : first column and row at which a crop of this size gets most light, and that light over the
        present crop's: the crop is fixed when a gateware is built
    """
    g = opu.geometry
    area = g.bin * g.bin
    brightness = binned(opu, flat["mean"].values) / area
    clipped = binned(opu, flat["clipped"].values) / area
    row = scale["row"].values
    good = bad["outputs"].values == 0
    good &= (clipped <= CLIPPED_LIMIT) & (brightness > BRIGHT_SHARE * np.median(brightness))
    good &= row > BRIGHT_SHARE * np.median(row)
    if not good.any():
        raise CalibrationFailed(
            "no output is bright, responds, does not clip and holds no bad pixel",
            str(opu.device.url),
            "Look at a frame (`Opu.capture()`), and set exposure and crop anew",
        )
    light = np.maximum(flat["mean"].values.astype(np.float64), 0)
    edge = np.pad(light.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    h, w = g.crop_height, g.crop_width
    boxes = edge[h:, w:] - edge[:-h, w:] - edge[h:, :-w] + edge[:-h, :-w]
    y, x = (int(v) for v in np.unravel_index(int(np.argmax(boxes)), boxes.shape))
    return {
        "brightness": Quantity(brightness.astype(np.float32), DN),
        "clipped": Quantity(clipped.astype(np.float32), ONE),
        "selection": Quantity(np.flatnonzero(good).astype(np.int32), ONE),
        "best_crop": Quantity(np.array([x, y], np.int32), "pixels"),
        "best_gain": Quantity(np.array(float(boxes[y, x] / boxes[g.crop_y, g.crop_x])), ONE),
    }
