"""From recorded frames of any device to a plant file with which the twin plays it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Geometry, Shot

from openopu import Opu
from openopu.measure import CALIBRATION_SPAN, plain_shot
from openopu.plants import ModulatorKind, PlantParameters
from openopu.plants.constants import (
    ADC_FULL_SCALE,
    DAC_FULL_SCALE,
    ELEMENTARY_CHARGE_C,
    LIGHT_M_PER_S,
    PLANCK_J_S,
)  # fmt: skip

from . import record
from .contrast import Speckle, speckle
from .dark import Dark, black_and_read_noise, black_of_mean, dark_sigma, hot_pixels
from .drift import Fluctuations, fluctuations
from .estimate import Estimate
from .record import Burst, Series
from .settling import Settling, settling
from .transfer import Transfer, photon_transfer

TRIM_FRAMES = 4
"""Of the pattern by which :func:`trimmed` compares brightness."""
DEAD = 0.01
"""Of the mean signal."""
ROUNDS = 3
"""Of gain and black level, which need each other."""
Said = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much is recorded. Exposures are relative to the working one."""

    frames: int = 32
    """Of a burst."""
    flat: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0, 1.7)
    other_patterns: int = 4
    dim: tuple[float, ...] = (0.01, 0.03, 0.08)
    dark_frames: int = 64
    dark_exposure_s: float = 0.1
    """Long, for the dark signal."""
    blocks: int = 16
    patterns: int = 16
    burst: int = 32
    """The series has blocks x patterns x (burst + 2) exposures."""
    settle_repeats: int = 64
    settle_longest_s: float = 0.02

    @classmethod
    def quick(cls) -> Plan:
        """A first look in a fraction of the time; errors are about twice as large."""
        return cls(frames=16, dark_frames=32, blocks=8, patterns=8, burst=16, settle_repeats=32)


@dataclass(frozen=True)
class Recording:
    """Everything that the fit looks at."""

    dark: list[Burst]
    long_dark: Burst
    dim: list[Burst]
    flat: list[Burst]
    """Of the same pattern as ``dim``."""
    other: list[Burst]
    """Of other patterns, at the same exposures as ``flat``."""
    series: Series


@dataclass(frozen=True)
class Fit:
    """What was found of a bench, each with its standard error."""

    geometry: Geometry
    clock_hz: int
    shot: Shot
    laser_power: int
    shape: tuple[int, int]
    """Rows and columns of the raw frames."""
    transfer: Transfer
    dark: Dark
    dark_signal: Estimate
    """e-/s"""
    hot_share: Estimate
    hot_signal: Estimate
    """Of hot pixels above the others', e-/s."""
    dead_share: Estimate
    fluctuations: Fluctuations
    photodiode_offset: Estimate
    """DN"""
    settling: Settling
    speckle: Speckle
    signal: Estimate
    """Mean of a pixel with half of the modes on, e- per exposure."""
    middle_exposure: float
    """Of the series, modulo 2**28."""
    saturation_dn: float
    """Largest reading seen."""
    saturated: bool
    """Whether the brightest frames reached a limit."""

    def estimates(self) -> dict[str, Estimate]:
        """All of them, by name."""
        f = self.fluctuations
        found: dict[str, Estimate | None] = {
            "gain": self.transfer.gain,
            "read_noise": self.dark.read_noise,
            "black_level": self.dark.black,
            "dark_signal": self.dark_signal,
            "dsnu": self.dark.dsnu,
            "signal": self.signal,
            "laser_noise": self.laser_noise,
            "laser_drift": f.laser_drift,
            "medium_drift": f.medium_drift,
            "vibration": self.transfer.motion,
            "settle_time": self.settling.tau,
            "speckle_contrast": self.speckle.contrast,
            "speckle_grain": self.speckle.grain_px,
            "shot_noise_exponent": self.transfer.exponent,
            "photodiode": f.photodiode_dn,
            "photodiode_noise": f.photodiode_noise,
            "photodiode_offset": self.photodiode_offset,
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def laser_noise(self) -> Estimate:
        """The more certain of the two estimates."""
        f = self.fluctuations
        both = [f.laser_noise] + ([f.laser_noise_photodiode] if f.laser_noise_photodiode else [])
        return min(both, key=lambda e: e.error)

    def as_json(self) -> dict[str, Any]:
        return {name: e.as_json() for name, e in self.estimates().items()} | {
            "photon_transfer_chi2": self.transfer.chi2,
            "exposure_cycles": self.shot.exposure_cycles,
            "saturation_dn": self.saturation_dn,
        }

    def plant(self, base: PlantParameters) -> PlantParameters:
        """``base`` with everything that was measured; what was not seen above its error is zero.

        Kept of ``base``: the laser's wavelength and power, quantum efficiency and temperature, kind and levels of the
        panel, kind of the medium, PRNU (which is part of an unknown medium's matrix).
        """
        full = (1 << self.geometry.pixel_bits) - 1
        black = min(max(self.dark.black.value / full, 0.0), 0.5)
        gain, f = self.transfer.gain.value, self.fluctuations
        # The laser drifts from exposure 0 on.
        drifted = 1 + f.laser_drift.seen * self.middle_exposure
        # A sensor that is full before the ADC is.
        short_of = self.saturation_dn < full - 1 and self.saturated
        well = (self.saturation_dn - self.dark.black.value if short_of else full * (1 - black)) / gain
        camera = dataclasses.replace(
            base.camera, full_well_e=well, read_noise_e=self.dark.read_noise.value, black_level_share=black,
            analog_gain=gain * well / (full * (1 - black)), dark_signal_e_per_s=self.dark_signal.seen,
            dark_reference_c=base.camera.temperature_c, dsnu_e_rms=self.dark.dsnu.seen,
            hot_pixel_share=self.hot_share.value,
            hot_pixel_e_per_s=self.hot_signal.value, dead_pixel_share=self.dead_share.value,
        )  # fmt: skip
        laser = dataclasses.replace(
            base.laser, relative_noise_rms=self.laser_noise.seen, drift_per_exposure=f.laser_drift.seen,
            coherence=1.0 if abs(self.speckle.contrast.value - 1) < 3 * self.speckle.contrast.error
            else min(self.speckle.contrast.value, 1.0),
        )  # fmt: skip
        medium = dataclasses.replace(
            base.medium, drift_rad_per_exposure=f.medium_drift.seen, vibration_rad_rms=self.transfer.motion.seen,
            throughput=min(self._throughput(base) / drifted, 1.0),
        )  # fmt: skip
        modulator = dataclasses.replace(base.modulator, settle_s=self.settling.tau.seen, warm_up_rad=0.0)
        photodiode = base.photodiode
        if f.photodiode_dn is not None and f.photodiode_noise is not None:
            power = base.laser.power_w * self.laser_power / DAC_FULL_SCALE
            offset = self.photodiode_offset.seen
            share = (f.photodiode_dn.value - offset) / ADC_FULL_SCALE / drifted
            p = base.photodiode
            shot = ADC_FULL_SCALE * math.sqrt(2 * ELEMENTARY_CHARGE_C * share * p.bandwidth_hz / p.full_scale_a)
            photodiode = dataclasses.replace(
                p, full_scale_w=power / share, offset_dn=offset,
                noise_rms_dn=math.sqrt(max(f.photodiode_noise.seen ** 2 - shot**2, 0.0)),
            )  # fmt: skip
        return dataclasses.replace(
            base, laser=laser, modulator=modulator, medium=medium, camera=camera, photodiode=photodiode
        )

    def _throughput(self, base: PlantParameters) -> float:
        """Share of the photons that an average pixel gets of a wholly lit panel, from its mean signal."""
        g = self.geometry
        lit = 1.0
        if base.modulator.kind is ModulatorKind.BINARY:
            lit = 0.5 * g.modes * g.macropixel**2 / (g.slm_width * g.slm_height)
        photon_j = PLANCK_J_S * LIGHT_M_PER_S / base.laser.wavelength_m
        energy = base.laser.power_w * self.laser_power / DAC_FULL_SCALE * self.shot.exposure_cycles / self.clock_hz
        electrons = energy / photon_j * base.camera.quantum_efficiency * lit * base.modulator.fill_factor**2
        return self.signal.value / electrons


def trimmed(plant: PlantParameters, recording: Recording, model: Opu) -> PlantParameters:
    """``plant`` with a throughput at which the model's frames are as bright as the recorded ones.

    A few patterns through one medium are not its average. ``model`` plays ``plant`` with the bench's own medium, such
    as ``twin:?plant=FILE&noise=off`` with a measured matrix; it gets the exposure of the series.
    """
    series = recording.series
    model.set_exposure(series.exposure_cycles, laser_power=series.laser_power)
    model.exposure_next = series.first
    shot = plain_shot(model)
    bright = record.series(model, 1, series.outputs.shape[1], TRIM_FRAMES, shot)
    black = plant.camera.black_level_share * ((1 << model.geometry.pixel_bits) - 1) * model.geometry.bin**2
    ratio = float((series.outputs[0].mean(dtype=np.float64) - black) / (bright.outputs.mean(dtype=np.float64) - black))
    medium = dataclasses.replace(plant.medium, throughput=plant.medium.throughput * ratio)
    return dataclasses.replace(plant, medium=medium)


def _share(chosen: NDArray[np.bool_]) -> Estimate:
    share = float(chosen.mean())
    return Estimate(share, math.sqrt(share * (1 - share) / len(chosen)), "1")


def _dead(r: Recording, shot: Shot, black: float) -> NDArray[np.bool_]:
    """Pixels that stay dark whatever the pattern."""
    means = [b.frames.mean(axis=0) - black for b in (*r.flat, *r.other) if b.exposure_cycles == shot.exposure_cycles]
    dead: NDArray[np.bool_] = np.all([m < DEAD * m.mean() for m in means], axis=0)
    return dead


def fit(opu: Opu, plan: Plan | None = None, say: Said = lambda _: None) -> tuple[Fit, Recording]:
    """Record frames at the device's exposure (set it with ``expose_to()``), and estimate.

    Raises
    ------
    LaserDark
        There is no more light than with the laser at zero.
    FitError
        Saturated or noiseless frames, too few of them, a camera that cuts off its noise.
    """
    plan = plan or Plan()
    shot = plain_shot(opu)
    pattern = record.random_patterns(opu.geometry.modes, 1)[0]
    record.refuse_dark_or_saturated(opu, shot, pattern)
    recording = record_all(opu, plan, shot, say)
    say("settling")
    settled = settling(opu, shot, plan.settle_repeats, plan.settle_longest_s)
    return estimate(opu, shot, recording, settled), recording


def record_all(opu: Opu, plan: Plan, shot: Shot, say: Said = lambda _: None) -> Recording:
    """All frames but those of the settle sweep."""
    pattern = record.random_patterns(opu.geometry.modes, 1)[0]

    def at(factor: float) -> Shot:
        return dataclasses.replace(shot, exposure_cycles=max(1, round(shot.exposure_cycles * factor)))

    say("dark frames")
    dark = [record.dark_burst(opu, plan.dark_frames, at(min(plan.dim))) for _ in range(2)]
    cycles = max(1, round(plan.dark_exposure_s * opu.identity.clock_hz))
    long_dark = record.dark_burst(opu, plan.dark_frames, dataclasses.replace(shot, exposure_cycles=cycles))
    say("photon transfer")
    dim: list[Burst] = []
    flat: list[Burst] = []
    other: list[Burst] = []
    # Up and down, so that what drifts has the same mean at every exposure.
    for ladder in (sorted((*plan.dim, *plan.flat)), sorted((*plan.dim, *plan.flat), reverse=True)):
        for factor in ladder:
            (dim if factor in plan.dim else flat).append(record.burst(opu, pattern, plan.frames, at(factor)))
    for another in record.random_patterns(opu.geometry.modes, plan.other_patterns, 3):
        other += [record.burst(opu, another, plan.frames, at(factor)) for factor in plan.flat]
    say("series")
    series = record.series(opu, plan.blocks, plan.patterns, plan.burst, shot)
    return Recording(dark, long_dark, dim, flat, other, series)


def estimate(opu: Opu, shot: Shot, r: Recording, settled: Settling) -> Fit:
    """The estimates of a recording."""
    g = opu.geometry
    full = (1 << g.pixel_bits) - 1
    shape = record.window_of(opu).shape
    sigma = dark_sigma(r.dark[0])
    black = float(np.concatenate([b.frames for b in r.dark]).mean(dtype=np.float64))
    for _ in range(ROUNDS):
        transfer = photon_transfer([*r.flat, *r.other], black, full, sigma)
        dark = black_and_read_noise(r.dark, r.dim, r.flat, transfer.gain, full, black)
        black = dark.black.value
    good = ~dark.hot
    k = transfer.gain
    read_dn = max(dark.read_noise.value * k.value, 1e-3)
    # Dark signal: the level of long exposures above that of short ones.
    hot = hot_pixels(r.long_dark.frames)
    cool = good & ~hot
    long_mean = float(r.long_dark.frames[:, cool].mean(dtype=np.float64))
    seconds = r.long_dark.exposure_cycles / opu.identity.clock_hz
    level = long_mean
    if sigma < 1:
        for _ in range(ROUNDS):  # its own shot noise blurs the steps, too
            noise_dn = math.sqrt(read_dn**2 + k.value * max(level - black, 0.0))
            level = black_of_mean(long_mean, noise_dn)
    level_error = np.hypot(dark.black.error, sigma / np.sqrt(r.long_dark.frames[:, cool].size))
    dark_signal = Estimate(
        (level - black) / k.value / seconds, float(max(level_error, 1e-4)) / k.value / seconds, "e-/s"
    )
    excess = (r.long_dark.frames[:, hot].mean(axis=0) - long_mean) / k.value / seconds if hot.any() else np.zeros(1)
    reference = next(b for b in r.flat if b.exposure_cycles == shot.exposure_cycles)
    signal = (float(r.series.outputs.mean(dtype=np.float64)) / g.bin**2 - black) / k.value
    per_pattern = r.series.outputs.mean(axis=(0, 2, 3))
    spread = float(per_pattern.std() / np.sqrt(len(per_pattern)) / g.bin**2 / k.value)
    offsets = np.concatenate([b.monitors for b in r.dark])
    brightest = max(r.flat, key=lambda b: b.exposure_cycles).frames
    top = float(brightest.max())
    return Fit(
        geometry=g, clock_hz=opu.identity.clock_hz, shot=shot, laser_power=opu.settings.registers["laser_power"],
        shape=shape, transfer=transfer, dark=dark, dark_signal=dark_signal,
        hot_share=_share(hot),
        hot_signal=Estimate(max(float(np.median(excess)), 0.0), float(excess.std() / math.sqrt(len(excess))), "e-/s"),
        dead_share=_share(_dead(r, shot, black)),
        fluctuations=fluctuations(r.series, black * g.bin**2),
        photodiode_offset=Estimate(
            float(offsets.mean()), float(max(offsets.std() / np.sqrt(len(offsets)), 0.29 / np.sqrt(len(offsets)))), "DN"
        ),
        settling=settled, speckle=speckle(reference, shape, black),
        signal=Estimate(signal, float(math.hypot(spread, signal * k.error / k.value)), "e-"),
        middle_exposure=r.series.first % CALIBRATION_SPAN + float(r.series.exposure.mean()),
        saturation_dn=top, saturated=bool((brightest >= top).mean() > 1e-3),
    )  # fmt: skip
