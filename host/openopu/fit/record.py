"""Frames and series of a device, recorded for the fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program, Shot

from openopu import Opu
from openopu.encoding import generator
from openopu.errors import LaserDark
from openopu.measure import LASER_OFF, permitted_dark
from openopu.settings import lossless

from .estimate import FitError

FIT_SEED = 20_261_124
"""Of the patterns; fixed, so that a fit can be repeated."""
DISCARD = 2
"""First frames of a burst that are left out: the panel may still settle from the pattern before."""


@dataclass(frozen=True)
class Burst:
    """Raw frames of one pattern at one exposure, one after the other."""

    frames: NDArray[np.float32]
    """(frames, pixels), DN; the crop's pixels that a readout holds, in raster order."""
    exposure_cycles: int
    monitors: NDArray[np.float64]
    """(frames,) readings of the photodiode, DN."""


@dataclass(frozen=True)
class Window:
    """Where raw frames are taken: the part of the crop that one readout holds."""

    first_row: int
    rows: slice
    """Within the readout."""
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def window_of(opu: Opu) -> Window:
    g = opu.geometry
    first = min(g.crop_y, g.last_raw_first_row)
    top = g.crop_y - first
    return Window(first, slice(top, min(top + g.crop_height, g.raw_rows)), slice(g.crop_x, g.crop_x + g.crop_width))


def random_patterns(modes: int, count: int, key: int = 0) -> NDArray[np.bool_]:
    """(count, modes) bits, half of them on."""
    return generator((FIT_SEED, key)).random((count, modes)) < 0.5


def burst(opu: Opu, pattern: NDArray[np.bool_], frames: int, shot: Shot, **registers: int) -> Burst:
    """Record ``frames`` raw frames of one pattern, after :data:`DISCARD` that are not kept."""
    window = window_of(opu)
    g = opu.geometry
    settings = opu.settings.replace(
        program=Program((shot,)), raw=True, raw_first_row=window.first_row, normalise=False, monitors=True,
        registers={**opu.settings.registers, **registers},
    )  # fmt: skip
    planes = np.broadcast_to(pattern, (frames + DISCARD, 1, g.modes))
    with opu.using(settings):
        record = opu.project_raw(planes)
    assert record.monitors is not None
    images = record.values[DISCARD:].reshape(frames, g.raw_rows, g.camera_width)[:, window.rows, window.columns]
    return Burst(
        images.reshape(frames, -1).astype(np.float32), shot.exposure_cycles,
        record.monitors[DISCARD:, -1].astype(np.float64),
    )  # fmt: skip


def dark_burst(opu: Opu, frames: int, shot: Shot) -> Burst:
    """Frames with the laser's power at zero."""
    with permitted_dark(opu):
        return burst(opu, np.zeros(opu.geometry.modes, np.bool_), frames, shot, **LASER_OFF)


@dataclass(frozen=True)
class Series:
    """Binned frames of reference patterns that take turns, in bursts, over a long run."""

    outputs: NDArray[np.float32]
    """(blocks, patterns, frames, outputs), DN summed over an output's pixels."""
    monitors: NDArray[np.float64]
    """(blocks, patterns, frames), DN."""
    exposure: NDArray[np.float64]
    """(blocks, patterns, frames): when, in exposures from the first."""
    exposure_cycles: int
    first: int
    """ID of the first exposure."""
    laser_power: int
    """Code of the DAC."""


def series(opu: Opu, blocks: int, patterns: int, frames: int, shot: Shot, outputs: int | None = None) -> Series:
    """``blocks`` rounds over ``patterns`` random patterns, ``frames`` kept of each in each round."""
    g = opu.geometry
    program = Program((shot,))
    bits, shift = lossless(program, g)
    selection = np.arange(g.outputs) if outputs is None else np.linspace(0, g.outputs - 1, outputs).astype(np.intp)
    settings = opu.settings.replace(
        program=program, bits=bits, shift=shift, banks=1, selection=selection, normalise=False, monitors=True
    )
    length = frames + DISCARD
    planes = np.repeat(random_patterns(g.modes, patterns, 1), length, axis=0)[:, None, :]
    values, monitors, first = [], [], opu.exposure_next
    with opu.using(settings):
        for _ in range(blocks):
            record = opu.project_raw(planes)
            assert record.monitors is not None
            values.append(record.values.reshape(patterns, length, -1)[:, DISCARD:].astype(np.float32) * 2.0**shift)
            monitors.append(record.monitors.reshape(patterns, length)[:, DISCARD:].astype(np.float64))
    when = np.arange(blocks * patterns * length, dtype=np.float64).reshape(blocks, patterns, length)[..., DISCARD:]
    return Series(
        np.stack(values), np.stack(monitors), when, shot.exposure_cycles, first, opu.settings.registers["laser_power"]
    )


def refuse_dark_or_saturated(opu: Opu, shot: Shot, pattern: NDArray[np.bool_]) -> None:
    """Raise :class:`LaserDark` or :class:`FitError` before a long measurement that could not succeed."""
    full = (1 << opu.geometry.pixel_bits) - 1
    lit = burst(opu, pattern, 2, shot).frames
    dark = dark_burst(opu, 2, shot).frames
    where = str(opu.device.url)
    if (clipped := float((dark >= full).mean())) > 0.01:
        raise FitError(
            f"{clipped:.0%} of the pixels are at full scale without the laser", where,
            "Keep other light away, or lower the camera's black level and gain",
        )  # fmt: skip
    if (clipped := float((lit >= full).mean())) > 0.2:
        raise FitError(
            f"{clipped:.0%} of the pixels are saturated at the working exposure", where,
            "Lower `laser_power` or the exposure: `expose_to()` finds it",
        )  # fmt: skip
    if (lit[0] == lit[1]).all() and lit[0].any():
        raise FitError(
            "two frames do not differ in a single pixel: there is no noise to measure",
            where,
            "Is the noise of a simulation switched off, or the camera denoising?",
        )
    # A frame as dark as without the laser: less than half a step, and within the noise.
    signal, spread = float(lit.mean() - dark.mean()), float(lit.std() + dark.std())
    if signal < 0.5 and signal < 5 * spread / np.sqrt(lit.size) + 1e-3:
        raise LaserDark(
            f"frames are as dark as without the laser ({signal:.3f} DN more)", where,
            "Check that the light reaches the camera, and `laser_power`",
        )  # fmt: skip
