"""What can be measured through any device: raw frames, the effective matrix, the right exposure."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program, Shot
from openopu_rtl.protocol.shots import complement

from .encoding import generator
from .errors import LaserDark, UsageError, whole
from .settings import linear_weight, lossless

if TYPE_CHECKING:
    from .opu import Opu

log = logging.getLogger("openopu")

TARGET_FILL = 0.12
"""Mean pixel over full scale. Speckle intensities of one grain are exponential, so that exp(-1/0.12) = 0.02 % of the
pixels clip."""
CALIBRATION_EXPOSURES = 0xF000_0000
"""Exposure IDs from here on are used by measurements, so that they leave those of a run alone."""
CALIBRATION_SEED = 20_240_917
"""Of the typical patterns; fixed, so that a calibration can be repeated."""
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


def capture(opu: Opu, pattern: NDArray[np.generic], exposure_cycles: int) -> NDArray[np.uint16]:
    """See :meth:`openopu.Opu.capture`."""
    geometry = opu.geometry
    if not np.isin(pattern, (0, 1)).all():
        raise UsageError("bits must be 0 or 1", "pattern")
    configured = opu.settings.program.shots[0]
    fields = ("frames", "level_on", "level_off", "level_anchor", "level_border", "settle_cycles")
    shot = Shot(exposure_cycles=exposure_cycles, **{n: getattr(configured, n) for n in fields})
    frame = np.zeros((geometry.camera_height, geometry.camera_width), dtype=np.uint16)
    base = opu.exposure_next
    row = 0
    while row < geometry.camera_height:
        first = min(row, geometry.last_raw_first_row)
        settings = opu.settings.replace(program=Program((shot,)), raw=True, raw_first_row=first, normalise=False)
        # Every part has the same exposure ID: where noise is keyed by it, the parts are one frame.
        with opu.using(settings, exposure_base=base):
            record = opu.project_raw(pattern.reshape(1, 1, -1))
        part = record.values[0].reshape(geometry.raw_rows, geometry.camera_width)
        frame[first : first + geometry.raw_rows] = part
        row = first + geometry.raw_rows
    opu.exposure_next = base + 1
    return frame


def hadamard(order: int) -> NDArray[np.float64]:
    """Sylvester's Hadamard matrix, its order the next power of two from ``order`` on."""
    h = np.ones((1, 1))
    while len(h) < order:
        h = np.block([[h, h], [h, -h]])
    return h


def matrix(opu: Opu, measured: bool, repeats: int) -> NDArray[np.float64]:
    """See :meth:`openopu.Opu.matrix`."""
    shot = opu.settings.program.shots[0]
    if linear_weight(opu.settings.program) is None:
        raise UsageError(
            "the configured program is not linear in its planes", "matrix", "Use `configure()` without a program"
        )
    exact = opu.device.exact_matrix
    if exact is not None and not measured:
        modes = np.asarray(exact(shot), dtype=np.float64)[opu.settings.selection]
        return modes @ opu.layout.matrix()
    whole(repeats, "repeats", 1)
    program = complement(1).replace(
        **{n: getattr(shot, n) for n in ("exposure_cycles", "settle_cycles", "frames")},
        **{n: getattr(shot, n) for n in ("level_on", "level_off", "level_anchor", "level_border")},
    )
    bits, shift = lossless(program, opu.geometry, normalise=opu.settings.normalise)
    basis = hadamard(opu.components)
    columns = basis[:, : opu.components]
    planes = opu.layout.expand(columns > 0)[:, None, :]
    total = np.zeros((len(opu.settings.selection), opu.components))
    settings = opu.settings.replace(program=program, bits=bits, shift=shift, banks=1)
    with opu.using(settings, exposure_base=CALIBRATION_EXPOSURES):
        for _ in range(repeats):
            total += (opu.project_raw(planes).values.T * 2.0**shift) @ columns / len(basis)
    return total / repeats


def monitor_reference(opu: Opu, projections: int) -> int:
    """See :meth:`openopu.Opu.refer_monitor`; does not configure anything itself."""
    settings = opu.settings.replace(monitors=True, normalise=False)
    planes = np.zeros((projections, settings.program.planes, opu.geometry.modes), dtype=np.bool_)
    with opu.using(settings, exposure_base=CALIBRATION_EXPOSURES):
        record = opu.project_raw(planes)
    assert record.monitors is not None
    reference = round(float(record.monitors.mean()))
    if reference < 1:
        raise LaserDark(
            "the photodiode reads nothing", str(opu.device.url), "Check `laser_power` and the photodiode's wiring"
        )
    return reference


def expose_to(opu: Opu, target_fill: float) -> ExposureReport:
    """See :meth:`openopu.Opu.expose_to`; does not configure anything itself."""
    if not isinstance(target_fill, Real) or not 0 < target_fill < 1:
        raise UsageError(f"{target_fill!r} is out of range", "target_fill", "Take a share between 0 and 1")
    geometry, clock = opu.geometry, opu.identity.clock_hz
    full = (1 << geometry.pixel_bits) - 1
    rows = slice(geometry.crop_y, geometry.crop_y + geometry.crop_height)
    columns = slice(geometry.crop_x, geometry.crop_x + geometry.crop_width)
    patterns = generator((CALIBRATION_SEED,)).random((PATTERNS, geometry.modes)) < 0.5
    before = opu.exposure_next

    def measure(cycles: int) -> tuple[float, float]:
        opu.exposure_next = CALIBRATION_EXPOSURES
        crops = np.stack([opu.capture(p, cycles)[rows, columns] for p in patterns])
        return float(crops.mean()), float((crops >= full).mean())

    longest = int(MAX_EXPOSURE_S * clock)
    warnings: list[str] = []
    try:
        # Black level: the shortest exposure there is. A pixel cannot tell it from a background of one cycle.
        black, _ = measure(1)
        cycles = min(max(opu.exposure_cycles, 1), longest)
        for _ in range(ROUNDS):
            mean, clipped = measure(cycles)
            fill = (mean - black) / full
            if abs(fill / target_fill - 1) < FILL_TOLERANCE:
                break
            # Clipped frames say too little: step down; dark ones too: step up.
            factor = target_fill / fill if fill > 0 else 16.0
            factor = min(max(factor, 1 / 16), 16.0)
            proposed = min(max(round(cycles * factor), 1), longest)
            if proposed == cycles:
                break
            cycles = proposed
        else:
            mean, clipped = measure(cycles)
            fill = (mean - black) / full
    finally:
        opu.exposure_next = before
    if fill < DARK_FILL:
        message = f"frames are dark: mean fill {fill:.3f} at {cycles / clock * 1e6:.1f} us"
        if fill <= 0 and not opu.allow_dark:
            raise LaserDark(message, str(opu.device.url), "Check that the light reaches the camera, and `laser_power`")
        warnings.append(f"{message}; raise laser_power or check the light's way")
    if clipped > CLIPPED_WARNING:
        warnings.append(f"{clipped:.1%} of the pixels clip; lower laser_power or the camera's gain")
    for text in warnings:
        log.warning("%s: %s", opu.device.url, text)
    return ExposureReport(cycles, cycles / clock * 1e6, fill, black, clipped, tuple(warnings))
