"""Dark frame, flat field, bad pixels: whole raw frames, pixel by pixel.

Sums are of integers, so that the figures do not depend on their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Shot

from ..encoding import generator
from ..measure import CALIBRATION_SEED, CLIPPED_WARNING, DARK_FILL, LASER_OFF, capture, plain_shot
from ..opu import Opu
from .errors import CalibrationFailed
from .file import Group, Quantity

FRAMES = 16
"""Dark frames, and patterns of the flat field."""
AT_ONCE = 8
"""Frames that are held at a time."""
LONG_DARK_S = 0.1
"""Exposure in which the dark signal is seen."""
LONG_DARK_SIMULATED_S = 0.001
"""The same where every clock is computed."""
HOT_DEVIATIONS = 6.0
"""Robust standard deviations of the dark frame beyond which a pixel counts as hot."""
NOISY_TIMES = 10.0
"""Times the median variance beyond which a pixel counts as hot, too (it blinks)."""
DEAD_SHARE = 0.1
"""Of the median response to patterns: a pixel below is dead. In a scattered field every live pixel follows the
patterns: its light is the square of a sum over all modes, whose part that changes is at least that of a mean pixel."""
TO_DEVIATION = 1.4826
"""Standard deviations of a normal distribution in one median absolute deviation."""
LIT_WITHOUT_LASER = 0.5
"""Share of full scale of a dark frame from which on it is none."""
FLICKER = 0.05
"""Relative difference (rms) of the light of two exposures of one pattern from which on it is too unsteady."""
DN, DN2, ONE = "DN", "DN**2", "1"


@dataclass
class Sums:
    """Sum and sum of squares of frames."""

    count: int
    total: NDArray[np.int64]
    squares: NDArray[np.int64]

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.total / self.count

    @property
    def variance(self) -> NDArray[np.float64]:
        """Unbiased."""
        return (self.squares - self.total.astype(np.float64) ** 2 / self.count) / max(self.count - 1, 1)


def sums(opu: Opu, patterns: NDArray[np.generic], shot: Shot) -> Sums:
    """Sums over one frame of each of ``patterns``."""
    shape = (opu.geometry.camera_height, opu.geometry.camera_width)
    found = Sums(len(patterns), np.zeros(shape, np.int64), np.zeros(shape, np.int64))
    for start in range(0, len(patterns), AT_ONCE):
        frames = capture(opu, patterns[start : start + AT_ONCE], shot).astype(np.int64)
        found.total += frames.sum(axis=0)
        found.squares += (frames**2).sum(axis=0)
    return found


def dark(opu: Opu, frames: int = FRAMES, long_cycles: int | None = None) -> Group:
    """Frames at no laser power, with the run's exposure and with a long one.

    Parameters
    ----------
    frames : exposures of each kind
    long_cycles : of the long exposure; None: 0.1 s, and 1 ms where every clock is computed

    Returns
    -------
    mean, variance : (camera_height, camera_width), DN and DN**2, at the run's exposure
    signal : (camera_height, camera_width), DN/s, by which the mean grows with the exposure
    long_mean, long_variance : at the long exposure
    long_exposure, frames : cycles, and the number of frames of each

    Raises :class:`CalibrationFailed` where light reaches the camera without the laser.
    """
    clock = opu.identity.clock_hz
    if long_cycles is None:
        long_cycles = round((LONG_DARK_S if opu.realtime else LONG_DARK_SIMULATED_S) * clock)
    shot = plain_shot(opu)
    cycles = shot.exposure_cycles
    long_cycles = max(long_cycles, 2 * cycles)
    patterns = np.zeros((frames, opu.geometry.modes), np.uint8)
    registers = {**opu.settings.registers, **LASER_OFF}
    with opu.using(opu.settings.replace(registers=registers)):
        at_run = sums(opu, patterns, shot)
        at_long = sums(opu, patterns, plain_shot(opu, exposure_cycles=long_cycles))
    full = (1 << opu.geometry.pixel_bits) - 1
    for what, found in (("", at_run), (" in a long exposure", at_long)):
        if np.median(found.mean) > LIT_WITHOUT_LASER * full:
            raise CalibrationFailed(
                f"without laser power{what} the camera reads {np.median(found.mean):.0f} of {full} DN",
                str(opu.device.url),
                "Keep the room's light away from the camera, and check its black level and gain",
            )
    signal = (at_long.mean - at_run.mean) / ((long_cycles - cycles) / clock)
    return {
        "mean": Quantity(at_run.mean.astype(np.float32), DN),
        "variance": Quantity(at_run.variance.astype(np.float32), DN2),
        "signal": Quantity(signal.astype(np.float32), "DN/s"),
        "long_mean": Quantity(at_long.mean.astype(np.float32), DN),
        "long_variance": Quantity(at_long.variance.astype(np.float32), DN2),
        "long_exposure": Quantity(np.array(long_cycles), "cycles"),
        "frames": Quantity(np.array(frames), ONE),
    }


def random_patterns(opu: Opu, count: int, purpose: int) -> NDArray[np.bool_]:
    """(count, modes) bits, the same ones for every calibration; ``purpose`` keeps those of the measurements apart."""
    return np.asarray(generator((CALIBRATION_SEED, purpose)).random((count, opu.geometry.modes)) < 0.5)


def flat(opu: Opu, dark: Group, patterns: int = FRAMES) -> Group:
    """What each pixel gets of the light: random patterns, each exposed twice.

    Scattered light is speckle, so that this is no uniform light: the mean holds the static part of the speckle
    beside the pixel's sensitivity.

    Returns
    -------
    mean : (camera_height, camera_width) above the dark frame, DN
    modulation : standard deviation over the patterns, DN: how much the pixel responds to the modes
    variance : over exposures of the same pattern, DN**2: noise at that mean
    clipped : share of the exposures in which the pixel was at full scale

    Raises :class:`CalibrationFailed` where the frames are dark, saturated, still or unsteady.
    """
    g = opu.geometry
    full = (1 << g.pixel_bits) - 1
    bits = random_patterns(opu, patterns, 1)
    shape = (g.camera_height, g.camera_width)
    total, squares, within, clipped = (np.zeros(shape, np.int64) for _ in range(4))
    light = []
    for start in range(0, patterns, AT_ONCE // 2):
        part = bits[start : start + AT_ONCE // 2]
        pairs = capture(opu, np.repeat(part, 2, axis=0), plain_shot(opu)).astype(np.int64).reshape(len(part), 2, *shape)
        clipped += (pairs >= full).sum(axis=(0, 1))
        within += ((pairs[:, 0] - pairs[:, 1]) ** 2).sum(axis=0)
        both = pairs.sum(axis=1)
        total += both.sum(axis=0)
        squares += (both**2).sum(axis=0)
        light.append(pairs.sum(axis=(2, 3)))
    mean = total / (2 * patterns) - dark["mean"].values
    # Of means of two; their own noise is half the noise of one.
    variance = within / (2 * patterns)
    between = (squares - total.astype(np.float64) ** 2 / patterns) / (4 * (patterns - 1))
    modulation = np.sqrt(np.maximum(between - variance / 2, 0))
    crop = (slice(g.crop_y, g.crop_y + g.crop_height), slice(g.crop_x, g.crop_x + g.crop_width))
    _refuse_unusable(
        opu, mean[crop], clipped[crop] / (2 * patterns), modulation[crop], np.concatenate(light), dark, full
    )
    return {
        "mean": Quantity(mean.astype(np.float32), DN),
        "modulation": Quantity(modulation.astype(np.float32), DN),
        "variance": Quantity(variance.astype(np.float32), DN2),
        "clipped": Quantity((clipped / (2 * patterns)).astype(np.float32), ONE),
        "frames": Quantity(np.array(2 * patterns), ONE),
    }


def _refuse_unusable(
    opu: Opu,
    mean: NDArray[np.float64],
    clipped: NDArray[np.float64],
    modulation: NDArray[np.float64],
    light: NDArray[np.int64],
    dark: Group,
    full: int,
) -> None:
    where = str(opu.device.url)
    share = float(clipped.mean())
    if share > 2 * CLIPPED_WARNING:
        raise CalibrationFailed(
            f"{share:.1%} of the pixels of the region are at full scale",
            where,
            "Lower the exposure (`--fill`)",
        )
    fill = float(mean.mean()) / full
    if fill < DARK_FILL:
        raise CalibrationFailed(
            f"the frames are dark: mean fill {fill:.3f}",
            where,
            "Raise the exposure (`--fill`) or `laser_power`, check the light's way",
        )
    if not np.median(modulation) > 0.01 * full * DARK_FILL:
        raise CalibrationFailed(
            "the frames do not follow the patterns",
            where,
            "Check modulator and cable: `openopu selftest --only modulator`",
        )
    above = light - float(dark["mean"].values.sum(dtype=np.float64))
    unsteady = float(np.sqrt(np.mean((above[:, 0] - above[:, 1]) ** 2) / 2) / above.mean())
    if unsteady > FLICKER:
        raise CalibrationFailed(
            f"the light of two exposures of one pattern differs by {unsteady:.1%} rms",
            where,
            "Let the laser warm up, or look for a modulator that flickers, and for pulsed supplies",
        )


def bad(opu: Opu, dark: Group, flat: Group) -> Group:
    """Pixels not to use, by robust thresholds on dark frame and flat field.

    Returns
    -------
    hot, dead : (camera_height, camera_width) 0 or 1
    outputs : (outputs,) 0 or 1: whether an output's block of pixels holds one of them
    """
    hot = _beyond(dark["mean"].values, dark["variance"].values, int(dark["frames"].values))
    hot |= _beyond(dark["long_mean"].values, dark["long_variance"].values, int(dark["frames"].values))
    modulation = flat["modulation"].values
    varies = np.sqrt(modulation.astype(np.float64) ** 2 + flat["variance"].values)
    dead = varies < DEAD_SHARE * np.median(varies)
    return {
        "hot": Quantity(hot.astype(np.uint8), ONE),
        "dead": Quantity(dead.astype(np.uint8), ONE),
        "outputs": Quantity((binned(opu, hot | dead) > 0).astype(np.uint8), ONE),
    }


def _beyond(mean: NDArray[np.float32], variance: NDArray[np.float32], frames: int) -> NDArray[np.bool_]:
    middle, usual = float(np.median(mean)), float(np.median(variance))
    spread = TO_DEVIATION * float(np.median(np.abs(mean - middle)))
    # The mean's own noise and the ADC's step are no defects.
    floor = np.sqrt((usual + 1 / 12) / frames)
    hot = mean > middle + HOT_DEVIATIONS * max(spread, floor)
    return np.asarray(hot | (variance > NOISY_TIMES * (usual + 1 / 12)))


def binned(opu: Opu, frame: NDArray[np.generic]) -> NDArray[np.float64]:
    """(outputs,) sums of the crop's blocks of pixels, in the order of the outputs."""
    g = opu.geometry
    crop = frame[..., g.crop_y : g.crop_y + g.crop_height, g.crop_x : g.crop_x + g.crop_width].astype(np.float64)
    return np.asarray(crop.reshape(g.outputs_y, g.bin, g.outputs_x, g.bin).sum(axis=(1, 3)).reshape(-1))
