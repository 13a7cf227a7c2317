"""A camera alone, as EMVA 1288 (release 3.1, sections 6 to 8) measures it, under light that stands still.

Frames in pairs at a ladder of exposures: the mean over the exposure gives linearity and saturation, the variance of
a pair's difference over the mean gives gain and shot noise. The shortest exposure stands for darkness, so what it holds
of light counts as black level. Light need not be even, but unevenness counts as PRNU; of speckle it means nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openopu import plants
from openopu.cameras import Camera, open_camera
from openopu.fit.estimate import Estimate, FitError

from .output import save
from .report import Report, Section

PAIRS = 8
LEVELS = 9
"""Exposures between dark and saturation."""
LONGEST_US = 1e6
CLIPPED_SHARE = 1e-3
"""Of pixels at the end of the range: a level with more is left out of the fits."""
FEWEST_LEVELS = 4
DARK_SHARE = 0.25
"""Of the range: the shortest exposure must not fill more."""


@dataclass(frozen=True)
class Level:
    """Frames of one exposure: mean, temporal variance and variance of the mean frame over pixels, DN."""

    exposure_us: float
    mean: float
    variance: float
    spatial: float
    clipped: float


@dataclass(frozen=True)
class Figures:
    """What :func:`measure` found; errors are standard errors of the fits over the levels."""

    gain: Estimate
    read_noise: Estimate
    full_well: Estimate
    black: Estimate
    snr_max: Estimate
    dynamic_range: Estimate
    dsnu: Estimate
    prnu: Estimate
    linearity: Estimate

    def estimates(self) -> dict[str, Estimate]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


def level(camera: Camera, exposure_us: float, pairs: int = PAIRS) -> Level:
    frames = camera.grab(2 * pairs, exposure_us).astype(np.float64)
    # The mean of a difference is the light's own fluctuation, which all pixels share.
    differences = frames[::2] - frames[1::2]
    variance = float(np.mean([d.var() for d in differences])) / 2
    spatial = max(float(frames.mean(axis=0).var()) - variance / len(frames), 0.0)
    clipped = float((frames >= (1 << camera.bits) - 1).mean())
    return Level(camera.exposure_us, float(frames.mean()), variance, spatial, clipped)


def measure(camera: Camera, say: Callable[[str], None] = lambda _: None) -> Figures:
    """Measure an opened camera. Raises :class:`FitError` where frames do not follow the exposure, or have no noise."""
    low, high = camera.exposure_bounds_us
    high = min(high, LONGEST_US)
    full = (1 << camera.bits) - 1
    say("dark")
    dark = level(camera, low)
    say("exposure that saturates")
    longest = min(max(100.0, 8 * low), high)
    found = level(camera, longest, 1)
    while found.clipped < 0.99 and longest < high:
        longest = min(2 * longest, high)
        found = level(camera, longest, 1)
    if found.mean - dark.mean < 0.05 * full or dark.mean > DARK_SHARE * full:
        raise FitError(
            f"frames do not follow the exposure: {dark.mean:.1f} DN in {low:g} us, {found.mean:.1f} in {longest:g} us",
            camera.identity,
            "Give it steady light (an emulated camera has none), and open the lens",
        )
    top = found
    if top.clipped >= 0.99:
        # Between half of this exposure and all of it; a ladder that ends where few pixels clip.
        probe = level(camera, longest / 4, 1)
        longest = min(longest, longest / 4 * (full - dark.mean) / max(probe.mean - dark.mean, 1.0))
    say("photon transfer")
    levels = [level(camera, low + (longest - low) * i / LEVELS) for i in range(1, LEVELS)]
    levels = [one for one in levels if one.clipped < CLIPPED_SHARE]
    if len(levels) < FEWEST_LEVELS:
        raise FitError(
            f"only {len(levels)} exposures are not clipped", camera.identity, "Make the light more even, or dimmer"
        )
    signal = np.array([one.mean - dark.mean for one in levels])
    noise = np.array([one.variance - dark.variance for one in levels])
    gain = _slope(signal, noise, "DN/e-")
    if not gain.resolved or gain.value <= 0:
        raise FitError(
            "the noise does not grow with the light", camera.identity,
            "Check that frames are raw: no denoising, no gamma, light that stands still",
        )  # fmt: skip
    times = np.array([one.exposure_us for one in levels]) - dark.exposure_us
    line = _slope(times, signal, "DN/us").value * times
    k, relative = gain.value, gain.error / gain.value
    read = math.sqrt(max(dark.variance - 1 / 12, 0.0)) / k
    well = (top.mean - dark.mean) / k
    middle = min(levels, key=lambda one: abs(one.mean - full / 2))
    uneven = math.sqrt(max(middle.spatial - dark.spatial, 0.0)) / (middle.mean - dark.mean)
    threshold = read + 0.5
    return Figures(
        gain=gain,
        read_noise=Estimate(read, read * relative, "e-"),
        full_well=Estimate(well, well * relative, "e-"),
        black=Estimate(dark.mean, math.sqrt(dark.variance / (2 * PAIRS * math.prod(camera.shape))), "DN"),
        snr_max=Estimate(10 * math.log10(well), 4.34 * relative, "dB"),
        dynamic_range=Estimate(20 * math.log10(well / threshold), 8.69 * relative, "dB"),
        dsnu=Estimate(math.sqrt(dark.spatial) / k, math.sqrt(dark.spatial) / k * relative, "e-"),
        prnu=Estimate(uneven, 0.0, "1"),
        linearity=Estimate(float(np.abs(signal / line - 1).max()), 0.0, "1"),
    )


def _slope(x: NDArray[np.float64], y: NDArray[np.float64], unit: str) -> Estimate:
    """Of the line through zero, each point weighted by 1/x: errors grow in proportion."""
    ratio = y / x
    return Estimate(float(ratio.mean()), float(ratio.std(ddof=1) / math.sqrt(len(ratio))), unit)


def run(url: str, folder: Path, base: plants.PlantParameters, say: Callable[[str], None]) -> dict[str, Any]:
    """``openopu characterise --camera URL``."""
    with open_camera(url) as camera:
        found = measure(camera, say)
        about = {"camera": camera.identity, "pixel_format": camera.pixel_format, "shape": list(camera.shape)}
    full = (1 << camera.bits) - 1
    parameters = dataclasses.replace(
        base.camera,
        full_well_e=found.full_well.value,
        read_noise_e=found.read_noise.value,
        dsnu_e_rms=found.dsnu.value,
        black_level_share=min(max(found.black.value / full, 0.0), 0.5),
        analog_gain=1.0,
    )
    plants.save(folder / "plant.toml", dataclasses.replace(base, camera=parameters))
    plain = {name: str(e) for name, e in found.estimates().items()}
    rows = [(name.replace("_", " "), text) for name, text in plain.items()]
    text = f"{about['camera']}, {about['pixel_format']}, {camera.shape[1]} x {camera.shape[0]} pixels.\n{__doc__}"
    files = Report(f"Camera {about['camera']}", [Section("EMVA 1288", text, rows)]).save(folder, "report")
    result = {**about, "estimates": {name: e.as_json() for name, e in found.estimates().items()}}
    save(folder / "report.json", (json.dumps(result, indent=1) + "\n").encode())
    return plain | {"files": [str(f) for f in (*files, folder / "plant.toml")], **result}
