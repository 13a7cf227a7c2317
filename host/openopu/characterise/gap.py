"""Model against device on patterns that neither was fitted to."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program

from openopu import Opu
from openopu.encoding import generator
from openopu.errors import UsageError, whole
from openopu.measure import LASER_OFF, hadamard_order, permitted_dark
from openopu.plants import PlantParameters
from openopu.settings import lossless

from .whiteness import Whiteness, whiteness

Reals = NDArray[np.float64]

HELD_OUT = (20_261_124, 99)
"""Key of the patterns: another than those of calibrations and fits."""
FEWEST_ROWS = 32
LEVEL_ROWS = 64
"""Projections that tell the mean signal of each output."""


@dataclass(frozen=True)
class Gap:
    rows: int
    outputs: int
    components: int
    model: str
    correlation: float
    """Of the device's projections with the model's."""
    slope: float
    """Of the device's on the model's: 1 where the model's gain is right."""
    slope_error: float
    offset: float
    """Mean of the device's less the model's, over the model's rms."""
    angle_degrees: float
    """Between the two feedback vectors of a row (the alignment of direct feedback alignment), the mean over rows."""
    noise: float
    """rms of the residual over the signal's, the slope taken out."""
    expected_noise: float | None
    """The same from the plant file's camera, laser and medium; None without one."""
    chi2: float | None
    """Variance of the residuals over that expected, the frames' common mode taken out; None without a plant."""
    whiteness: Whiteness
    device: Reals
    """(rows, outputs), DN for one unit of the errors."""
    predicted: Reals
    residual: Reals
    """(rows, outputs), over the standard deviation expected of each output, common mode taken out."""

    def as_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self)
            if f.name not in ("whiteness", "device", "predicted", "residual")
        }  # fmt: skip
        return out | {"whiteness": self.whiteness.as_json()}


def gap(
    opu: Opu, model: Opu | None = None, plant: PlantParameters | None = None, *, rows: int = 256, components: int = 10,
    repeats: int = 4,
) -> Gap:  # fmt: skip
    """Project held-out vectors on a device at its exposure, and compare with a model.

    Parameters
    ----------
    opu : the device
    model : a device that plays it, such as ``twin:?plant=FILE&noise=off``; it gets the device's exposure, laser power
        and exposure IDs. None: the device's own effective matrix, measured with ``repeats`` Hadamard bases.
    plant : whose noise to expect
    rows, components : how many vectors, and of what length
    """
    whole(rows, "rows", FEWEST_ROWS)
    whole(components, "components", 1, opu.geometry.modes)
    if model is not None and model.geometry.outputs != opu.geometry.outputs:
        raise UsageError(
            f"the model has {model.geometry.outputs} outputs, the device {opu.geometry.outputs}", "--model",
            "Give both the same geometry (n=, m=, geometry=)",
        )  # fmt: skip
    # The first row is left out: what the panel showed before it, and still shows a little of, is not the model's.
    errors = generator(HELD_OUT).standard_normal((rows + 1, components))
    opu.configure(components=components)
    encoded = opu.encoding.encode(errors, HELD_OUT)
    exact, scale = encoded.decoded()[1:], encoded.scale[1:]
    exposures: Reals | None = None
    if model is None:
        matrix = opu.matrix(measured=True, repeats=repeats)
        y = _project(opu, errors)
        predicted = exact @ matrix.T
        basis = hadamard_order(components)
        extra = ((exact / scale[:, None]) ** 2).sum(axis=1).mean() / (basis * repeats)
        name = f"its own matrix, measured with {basis} x {repeats} pairs"
    else:
        base = opu.exposure_next
        y = _project(opu, errors)
        model.configure(components=components, exposure_cycles=opu.exposure_cycles,
                        laser_power=opu.settings.registers["laser_power"])  # fmt: skip
        model.exposure_next = base
        predicted = _project(model, errors)
        exposures = _shots(model, errors, base)
        extra, name = 0.0, str(model.device.url)
    mean_signal, spread, black = _levels(opu, errors)
    weights = np.array([1 << s.shift for s in opu.settings.program])
    if exposures is not None:
        # The model tells each exposure: the light's common mode of each is taken out, and its noise is known.
        light = np.maximum(exposures / weights[:, None] - black, 0.0)
        common, spread = light, np.zeros_like(spread)
    else:
        light = np.broadcast_to(mean_signal, (1, len(weights), len(mean_signal)))
        common = np.stack([np.broadcast_to(mean_signal, y.shape), predicted], axis=1)
    sigma = None
    if plant is not None:
        sigma = _sigma(opu, plant, light, spread, weights, matrix_share=extra, rounded_model=model is not None)
    return compare(
        y, predicted, common=common, row_scale=scale, sigma=sigma, components=components, model=name,
        shape=(opu.geometry.outputs_y, opu.geometry.outputs_x),
    )  # fmt: skip


def _project(opu: Opu, errors: Reals) -> Reals:
    return opu.project(errors, HELD_OUT).astype(np.float64)[1:]


def _shots(model: Opu, errors: Reals, base: int) -> Reals:
    """(rows, shots, outputs): the frame of each exposure of a row as the model has it, black level included."""
    program = model.settings.program
    planes = model.layout.expand(model.encoding.encode(errors, HELD_OUT).planes)
    out = []
    for chosen in range(len(program)):
        # All others go to the bank that is not returned.
        alone = Program(
            tuple(dataclasses.replace(s, bank=int(i != chosen), negative=False) for i, s in enumerate(program)),
            program.planes,
        )
        bits, shift = lossless(alone, model.geometry)
        with model.using(model.settings.replace(program=alone, bits=bits, shift=shift), exposure_base=base):
            out.append(model.project_raw(planes).values[1:].astype(np.float64) * 2.0**shift)
    return np.stack(out, axis=1)


def _levels(opu: Opu, errors: Reals) -> tuple[Reals, Reals, float]:
    """Mean signal of each output and shot above the dark, its variance over vectors, that of pairs left out, and the
    dark, DN.

    Of the program that is configured, its frames added instead of subtracted: the panel goes through the same patterns.
    """
    g = opu.geometry
    program = opu.settings.program.replace(negative=False)
    bits, shift = lossless(program, g)
    settings = opu.settings.replace(program=program, bits=bits, shift=shift, banks=1, normalise=False)
    planes = opu.layout.expand(opu.encoding.encode(errors[:LEVEL_ROWS], HELD_OUT).planes)
    with opu.using(settings), permitted_dark(opu):
        lit = opu.project_raw(planes).values.astype(np.float64)
    with opu.using(settings.replace(registers={**settings.registers, **LASER_OFF})), permitted_dark(opu):
        black = float(opu.project_raw(planes).values.mean())
    weight = sum(1 << s.shift for s in program)
    lit = (lit - black) * 2.0**shift / weight
    return lit.mean(axis=0), lit.var(axis=0, ddof=1) * len(program.shots), black * 2.0**shift / weight


def _sigma(
    opu: Opu, plant: PlantParameters, light: Reals, spread: Reals, weights: NDArray[np.integer], *, matrix_share: float,
    rounded_model: bool,
) -> Reals:  # fmt: skip
    """Standard deviation expected for one unit of the errors' scale, DN, the light's common mode left out.

    ``light`` (rows or 1, shots, outputs): signal of each exposure, DN. Returns (rows or 1, outputs).
    """
    g, camera = opu.geometry, plant.camera
    full = (1 << g.pixel_bits) - 1
    k = camera.analog_gain * full * (1 - camera.black_level_share) / camera.full_well_e
    pixels = g.bin**2
    variance = k * light + pixels * ((k * camera.read_noise_e) ** 2 + (2 if rounded_model else 1) / 12)
    # Vibration moves the speckle; the laser's noise is common but for what the frame differs from the mean one.
    variance = variance + 2 * plant.medium.vibration_rad_rms**2 * light * light.mean(axis=2, keepdims=True) / pixels
    variance = variance + plant.laser.relative_noise_rms**2 * spread
    factor = 2 / weights.sum()
    total = (variance * weights[:, None] ** 2).sum(axis=1) * factor**2
    # The matrix's own error, per unit of the errors' square: pairs of one plane.
    return np.asarray(np.sqrt(total + 2 * variance.mean(axis=1) * matrix_share))


def compare(
    device: Reals, predicted: Reals, *, common: Reals, row_scale: Reals | None = None, sigma: Reals | None = None,
    components: int = 0, model: str = "", shape: tuple[int, int] | None = None,
) -> Gap:  # fmt: skip
    """The comparison itself.

    Parameters
    ----------
    device, predicted : (rows, outputs)
    common : (rows, patterns, outputs) along which the light's common mode may change a row
    row_scale : (rows,) by which the noise of a row grows, of its encoding; None: 1
    sigma : (rows or 1, outputs) standard deviation expected at a scale of 1; None: as measured
    """
    if device.shape != predicted.shape or device.ndim != 2 or len(device) < FEWEST_ROWS:
        raise UsageError(
            f"cannot compare {device.shape} with {predicted.shape}", "gap", f"Give {FEWEST_ROWS} rows or more of both"
        )
    power = float((predicted**2).sum())
    if not power > 0 or not float(device.std()) > 0:
        raise UsageError("projections without any variance", "gap", "Does light reach the camera? Look at `capture()`")
    slope = float((device * predicted).sum() / power)
    rest = device - slope * predicted
    lengths = np.linalg.norm(device, axis=1) * np.linalg.norm(predicted, axis=1)
    cosine = np.clip((device * predicted).sum(axis=1) / np.where(lengths > 0, lengths, 1.0), -1, 1)
    correlation = float(np.corrcoef(device.ravel(), predicted.ravel())[0, 1])
    rms = math.sqrt(power / predicted.size)
    scale = np.ones(len(device)) if row_scale is None else row_scale
    scaled = (device - predicted) / scale[:, None]
    bare = np.empty_like(scaled)
    for i, row in enumerate(scaled):
        bare[i] = row - common[i].T @ np.linalg.lstsq(common[i].T, row, rcond=None)[0]
    expected = sigma if sigma is not None else np.maximum(bare.std(axis=0), 1e-12)
    z = bare / expected
    freedom = 1 - common.shape[1] / device.shape[1]
    return Gap(
        rows=len(device), outputs=device.shape[1], components=components, model=model, correlation=correlation,
        slope=slope, slope_error=float(rest.std() / math.sqrt(power)), offset=float((device - predicted).mean()) / rms,
        angle_degrees=float(np.degrees(np.arccos(cosine)).mean()), noise=float(rest.std()) / (abs(slope) * rms),
        expected_noise=None if sigma is None
        else float(np.sqrt((scale[:, None] ** 2 * sigma**2).mean())) / rms,
        chi2=None if sigma is None else float((z**2).mean() / freedom),
        whiteness=whiteness(z, shape), device=device, predicted=predicted, residual=z,
    )  # fmt: skip
