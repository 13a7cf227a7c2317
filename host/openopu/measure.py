"""What can be measured through any device: raw frames, the photodiode, the right exposure."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program, Shot

from .encoding import generator
from .errors import LaserDark, UsageError
from .settings import SHOWN, lossless

if TYPE_CHECKING:
    from .layout import Layout
    from .opu import Opu

log = logging.getLogger("openopu")

TARGET_FILL = 0.12
"""Mean pixel over full scale. Speckle intensities of one grain are exponential, so that exp(-1/0.12) = 0.02 % of the
pixels clip."""
LASER_OFF = {"laser_power": 0, "laser_bias": 0}
"""Registers with which an armed laser sends no light."""
CALIBRATION_EXPOSURES = 0xF000_0000
"""Exposure IDs from here on are used by measurements, so that they leave those of a run alone."""
CALIBRATION_SPAN = 1 << 28
"""A measurement made at a run's exposure i begins at ``CALIBRATION_EXPOSURES`` + i modulo this. Simulated optics counts
time in exposures, modulo the same, so that a measurement sees the medium as the run does then."""
CALIBRATION_SEED = 20_240_917
"""Of the typical patterns; fixed, so that a calibration can be repeated."""
SETTLE_TIMES = 3.0
"""Time constants that a shot waits at least for a panel: 5 % of the old field are left then."""
BASIS_ROWS = 256
"""Patterns of a basis that are projected at once."""
PATTERNS = 4
ROUNDS = 8
FILL_TOLERANCE = 0.03
"""Relative: closer than that, exposure no longer matters."""
CLIPPED_WARNING = 0.005
"""Share of clipped pixels from which on a frame is reported."""
DARK_FILL = 0.02
"""Mean fill below which a frame is reported as dark."""
MAX_EXPOSURE_S = 0.1
"""Longest exposure that the calibration tries."""


@dataclass(frozen=True)
class ExposureReport:
    """What :meth:`openopu.Opu.expose_to` found."""

    exposure_cycles: int
    exposure_us: float
    mean_fill: float
    """Mean pixel of the crop above black, over full scale."""
    black: float
    """Estimated black level, DN."""
    clipped_share: float
    """Share of the crop's pixels at full scale."""
    warnings: tuple[str, ...]


@contextlib.contextmanager
def permitted_dark(opu: Opu) -> Iterator[None]:
    """Within the block the laser may be off."""
    before, opu.allow_dark = opu.allow_dark, True
    try:
        yield
    finally:
        opu.allow_dark = before


@contextlib.contextmanager
def calibrating(opu: Opu) -> Iterator[None]:
    """Exposures within the block are a measurement's, beside the run's; afterwards the run goes on with its own IDs."""
    before = opu.exposure_next
    opu.exposure_next = CALIBRATION_EXPOSURES + before % CALIBRATION_SPAN
    try:
        yield
    finally:
        opu.exposure_next = before


def plain_shot(opu: Opu, **fields: int) -> Shot:
    """A shot of plane 0 with the levels and times of the configured program's first one; ``fields`` replace them."""
    first = opu.settings.program.shots[0]
    return Shot(**{n: getattr(first, n) for n in SHOWN} | fields)


def capture(opu: Opu, patterns: NDArray[np.generic], shot: Shot) -> NDArray[np.uint16]:
    """Raw frames (patterns, camera_height, camera_width), DN, of ``patterns`` (patterns, modes), one exposure each.

    What does not depend on the pattern is as ``shot`` says. Sensors with more rows than a readout holds are read in
    several exposures, of the same IDs.
    """
    geometry = opu.geometry
    bits = np.asarray(patterns)
    if not np.isin(bits, (0, 1)).all():
        raise UsageError("bits must be 0 or 1", "pattern")
    frames = np.zeros((len(bits), geometry.camera_height, geometry.camera_width), dtype=np.uint16)
    base = opu.exposure_next
    row = 0
    while row < geometry.camera_height:
        first = min(row, geometry.last_raw_first_row)
        settings = opu.settings.replace(program=Program((shot,)), raw=True, raw_first_row=first, normalise=False)
        # Every part has the same exposure IDs: where noise is keyed by them, the parts are one frame.
        with opu.using(settings, exposure_base=base):
            record = opu.project_raw(bits[:, None, :])
        part = record.values.reshape(-1, geometry.raw_rows, geometry.camera_width)
        frames[:, first : first + geometry.raw_rows] = part
        row = first + geometry.raw_rows
    opu.exposure_next = base + len(bits)
    return frames


def hadamard(order: int) -> NDArray[np.float64]:
    """Sylvester's Hadamard matrix, its order the next power of two from ``order`` on."""
    size = hadamard_order(order)
    return hadamard_rows(0, size, size)


def hadamard_order(count: int) -> int:
    """The next power of two from ``count`` on."""
    return 1 << (count - 1).bit_length()


def hadamard_rows(start: int, stop: int, columns: int) -> NDArray[np.float64]:
    """(stop - start, columns) of Sylvester's Hadamard matrix, -1 and +1."""
    both = np.arange(start, stop, dtype=np.uint64)[:, None] & np.arange(columns, dtype=np.uint64)
    return np.asarray(1.0 - 2.0 * (np.bitwise_count(both) & 1))


def hadamard_matrix(
    opu: Opu, layout: Layout, program: Program, repeats: int, banks: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What ``program``, linear in the signs of its one plane, makes of each component: from a Hadamard basis.

    Every pattern is shown ``repeats`` times in a row. Each entry is the mean of all patterns' results, each with its
    sign, so that all entries of a row have the same standard error.

    Returns
    -------
    matrix : (outputs x banks, components of the layout), DN for one unit
    uncertainty : (outputs x banks,) standard error of each entry of the row, DN; NaN for a single repeat
    """
    bits, shift = lossless(program, opu.geometry, banks=banks, normalise=opu.settings.normalise)
    order = hadamard_order(layout.components)
    rows = len(opu.settings.selection) * banks
    total, squares = np.zeros((rows, layout.components)), np.zeros(rows)
    settings = opu.settings.replace(program=program, bits=bits, shift=shift, banks=banks)
    with opu.using(settings):
        for start in range(0, order, BASIS_ROWS):
            signs = hadamard_rows(start, min(start + BASIS_ROWS, order), layout.components)
            planes = np.repeat(layout.expand(signs > 0)[:, None, :], repeats, axis=0)
            values = opu.project_raw(planes).values.reshape(len(signs), repeats, -1) * 2.0**shift
            total += values.mean(axis=1).T @ signs
            if repeats > 1:
                squares += values.var(axis=1, ddof=1).sum(axis=0)
    uncertainty = np.sqrt(squares / repeats) / order if repeats > 1 else np.full(rows, np.nan)
    return total / order, uncertainty


def monitor_reference(opu: Opu, projections: int) -> int:
    """See :meth:`openopu.Opu.refer_monitor`; does not configure anything itself."""
    settings = opu.settings.replace(monitors=True, normalise=False)
    planes = np.zeros((projections, settings.program.planes, opu.geometry.modes), dtype=np.bool_)
    with calibrating(opu), opu.using(settings):
        record = opu.project_raw(planes)
    assert record.monitors is not None
    reference = round(float(record.monitors.mean()))
    if reference < 1:
        raise LaserDark(
            "the photodiode reads nothing", str(opu.device.url), "Check `laser_power` and the photodiode's wiring"
        )
    return reference


def exposure_that_fills(
    fill_of: Callable[[int], float], target_fill: float, first_cycles: int, clock_hz: int
) -> tuple[int, float]:
    """Search from ``first_cycles`` for the exposure in cycles, up to :data:`MAX_EXPOSURE_S`, at which ``fill_of`` it is
    ``target_fill``. Returns the exposure that ``fill_of`` was asked last, and what it said."""
    longest = int(MAX_EXPOSURE_S * clock_hz)
    cycles = min(max(first_cycles, 1), longest)
    for _ in range(ROUNDS):
        fill = fill_of(cycles)
        # Clipped frames say too little: step down; dark ones too: step up.
        factor = min(max(target_fill / fill if fill > 0 else 16.0, 1 / 16), 16.0)
        proposed = min(max(round(cycles * factor), 1), longest)
        if proposed == cycles or abs(fill / target_fill - 1) < FILL_TOLERANCE:
            return cycles, fill
        cycles = proposed
    return cycles, fill_of(cycles)


def unsettled(opu: Opu) -> str | None:
    """What to say where the configured shots do not wait for a panel that is known to be slow; else None."""
    settle_s = opu.panel.settle_s if opu.panel else 0.0
    wait_s = min(shot.settle_cycles for shot in opu.settings.program) / opu.identity.clock_hz
    if wait_s >= SETTLE_TIMES * settle_s:
        return None
    return (
        f"the panel follows a pattern with a time constant of {settle_s * 1e3:.3g} ms, and shots wait for "
        f"{wait_s * 1e3:.3g} ms only: frames show the pattern before, too. Calibrate (`openopu calibrate`, then "
        "`--calibration`), or set settle_cycles"
    )


def expose_to(opu: Opu, target_fill: float) -> ExposureReport:
    """See :meth:`openopu.Opu.expose_to`; does not configure anything itself."""
    if not isinstance(target_fill, Real) or not 0 < target_fill < 1:
        raise UsageError(f"{target_fill!r} is out of range", "target_fill", "Take a share between 0 and 1")
    geometry, clock = opu.geometry, opu.identity.clock_hz
    full = (1 << geometry.pixel_bits) - 1
    rows = slice(geometry.crop_y, geometry.crop_y + geometry.crop_height)
    columns = slice(geometry.crop_x, geometry.crop_x + geometry.crop_width)
    patterns = generator((CALIBRATION_SEED,)).random((PATTERNS, geometry.modes)) < 0.5

    def measure(cycles: int) -> tuple[float, float]:
        with calibrating(opu):
            crops = capture(opu, patterns, plain_shot(opu, exposure_cycles=cycles))[:, rows, columns]
        return float(crops.mean()), float((crops >= full).mean())

    clipped, warnings = 0.0, list[str]()

    def fill_of(cycles: int) -> float:
        nonlocal clipped
        mean, clipped = measure(cycles)
        return (mean - black) / full

    # Black level: the shortest exposure there is. A pixel cannot tell it from a background of one cycle.
    black, _ = measure(1)
    cycles, fill = exposure_that_fills(fill_of, target_fill, opu.exposure_cycles, clock)
    if fill < DARK_FILL:
        message = f"frames are dark: mean fill {fill:.3f} at {cycles / clock * 1e6:.1f} us"
        if fill <= 0 and not opu.allow_dark:
            raise LaserDark(message, str(opu.device.url), "Check that the light reaches the camera, and `laser_power`")
        warnings.append(f"{message}; raise the fill (`--fill`) or laser_power, or check the light's way")
    if clipped > CLIPPED_WARNING:
        # At the shortest exposure there is only less light; at any other, that is exposed for longer and clips again.
        remedy = "laser_power or the camera's gain" if cycles == 1 else "the fill (`--fill`)"
        warnings.append(f"{clipped:.1%} of the pixels clip; lower {remedy}")
    for text in warnings:
        log.warning("%s: %s", opu.device.url, text)
    return ExposureReport(cycles, cycles / clock * 1e6, fill, black, clipped, tuple(warnings))
