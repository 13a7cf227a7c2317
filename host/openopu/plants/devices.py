"""Devices by name, from data sheets and the literature, and plants made of them: ``dlp4500+imx255``.

Each value has its source. What no source gives is *chosen* and says so: it is plausible, not measured, and a plant file
that is fitted to your bench replaces it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from .named import DMD, PHASE
from .parameters import (
    CameraParameters,
    Checked,
    LaserParameters,
    ModulatorKind,
    ModulatorParameters,
    PhotodiodeParameters,
    PlantFileError,
    PlantParameters,
)

P = TypeVar("P", bound=Checked)


@dataclass(frozen=True)
class Described(Generic[P]):
    """A device: ``what`` it is, its parameters, the source of each, and its pixels (width, height), if it has any."""

    what: str
    parameters: P
    sources: Mapping[str, str]
    size: tuple[int, int] | None = None


def camera_from_emva(
    *,
    snr_max_db: float,
    dr_db: float,
    quantum_efficiency: float,
    dsnu_e_rms: float,
    prnu_rms: float,
    dark_signal_e_per_s: float,
    temperature_c: float,
    gain_dn_per_e: float | None = None,
    hot_pixel_share: float = 0.0,
    hot_pixel_e_per_s: float = 0.0,
    dead_pixel_share: float = 0.0,
    black_level_share: float = DMD.camera.black_level_share,
) -> CameraParameters:
    """Your own camera, from the figures of an EMVA 1288 data sheet.

    Parameters
    ----------
    snr_max_db : ``SNR_max``; the saturation capacity is its square in electrons.
    dr_db : dynamic range, saturation over the absolute sensitivity threshold. In electrons that threshold is the
        temporal dark noise and half an electron (release 3.1, absolute sensitivity threshold; so in the emva1288
        package).
    quantum_efficiency : at the laser's wavelength, with the pixel's fill factor, 0 to 1.
    dsnu_e_rms, prnu_rms : ``DSNU1288`` in electrons and ``PRNU1288`` as a share (not in percent).
    dark_signal_e_per_s : dark current at ``temperature_c``, the sensor's.
    gain_dn_per_e : overall system gain ``K`` of the measurement, whose rounding error is then taken off the dark noise;
        None: it is small. It does not set the gain of the plant: at its analog gain of 1 a full well fills the ADC.
    hot_pixel_share, hot_pixel_e_per_s, dead_pixel_share : not on an EMVA sheet; none, if you do not say so.
    black_level_share : of the ADC's range.

    Raises :class:`PlantFileError` for figures that fit no camera.
    """
    full_well = 10 ** (snr_max_db / 10)
    dark = full_well / 10 ** (dr_db / 20) - 0.5
    rounding = 0.0 if gain_dn_per_e is None else 1 / (12 * gain_dn_per_e**2)
    if dark <= 0 or dark**2 < rounding:
        raise PlantFileError(
            f"SNR {snr_max_db:g} dB and a dynamic range of {dr_db:g} dB leave a dark noise of {dark:.2f} e-, "
            f"of which rounding takes {math.sqrt(rounding):.2f} e-",
            "camera",
            "Both are 20 log10 of a ratio: take them from one column of the data sheet, and K in DN per electron",
        )
    return CameraParameters(
        full_well_e=full_well,
        read_noise_e=math.sqrt(dark**2 - rounding),
        quantum_efficiency=quantum_efficiency,
        dark_signal_e_per_s=dark_signal_e_per_s,
        dark_reference_c=temperature_c,
        dark_doubling_k=DMD.camera.dark_doubling_k,
        temperature_c=temperature_c,
        black_level_share=black_level_share,
        analog_gain=1.0,
        normal_from_e=DMD.camera.normal_from_e,
        prnu_rms=prnu_rms,
        dsnu_e_rms=dsnu_e_rms,
        hot_pixel_share=hot_pixel_share,
        hot_pixel_e_per_s=hot_pixel_e_per_s,
        dead_pixel_share=dead_pixel_share,
    )


_CHOSEN_PIXELS = {
    "hot_pixel_share": "chosen: one in 10,000",
    "hot_pixel_e_per_s": "chosen: a full well in some ten seconds",
    "dead_pixel_share": "chosen: one in 100,000",
}
_CHOSEN_CAMERA = {
    "quantum_efficiency": "chosen; only its product with the throughput matters",
    "dark_signal_e_per_s": "chosen: negligible at exposures below 1 ms",
    "dark_reference_c": "chosen: temperature at which the dark signal holds",
    "dark_doubling_k": "emva1288 camera model: dark signal doubles every 8 K",
    "temperature_c": "chosen",
    "black_level_share": "chosen",
    "analog_gain": "chosen: a full well reaches the end of the ADC's range",
    "normal_from_e": "chosen: skewness of a Poisson distribution 0.22 at 20",
    "prnu_rms": "chosen: 1 %",
    "dsnu_e_rms": "chosen: 1 e-",
    **_CHOSEN_PIXELS,
}
_PIXELS = {"hot_pixel_share": 1e-4, "hot_pixel_e_per_s": 1000.0, "dead_pixel_share": 1e-5}


def _sony(snr_max_db: float, dr_db: float, page: int, what: str, size: tuple[int, int]) -> Described[CameraParameters]:
    source = f"SNR {snr_max_db:g} dB and dynamic range {dr_db:g} dB (mvBlueFOX3 manual p. {page})"
    return Described(
        what,
        camera_from_emva(
            snr_max_db=snr_max_db, dr_db=dr_db, quantum_efficiency=0.65, dsnu_e_rms=1.0, prnu_rms=0.01,
            dark_signal_e_per_s=10.0, temperature_c=25.0, **_PIXELS,
        ),
        {**_CHOSEN_CAMERA, "full_well_e": source, "read_noise_e": source + ": saturation over threshold, less 0.5 e-"},
        size,
    )  # fmt: skip


CAMERAS: dict[str, Described[CameraParameters]] = {
    "imx249": _sony(
        45.1, 73.0, 365, "Sony IMX249, global shutter, 41 frames/s (same manual; size from memory)", (1920, 1200)
    ),
    "imx255": _sony(
        40.3, 71.3, 861, "Sony IMX255, global shutter, 47.5 frames/s (same manual; size from memory)", (4096, 2160)
    ),
    "cmv2000": Described(
        "ams CMV2000, global shutter, 340 frames/s (from memory, unconfirmed)",
        dataclasses.replace(
            DMD.camera,
            full_well_e=13_500.0,
            read_noise_e=13.0,
            quantum_efficiency=0.6,
            dark_signal_e_per_s=125.0,
            prnu_rms=0.01,
            dsnu_e_rms=3.0,
            **_PIXELS,
        ),
        {
            **_CHOSEN_CAMERA,
            "full_well_e": "from memory, unconfirmed",
            "read_noise_e": "from memory, unconfirmed",
            "quantum_efficiency": "from memory, unconfirmed; with the fill factor",
            "prnu_rms": "from memory, unconfirmed",
            "dark_signal_e_per_s": "chosen",
            "dsnu_e_rms": "chosen",
        },
        (2048, 1088),
    ),
}
"""Cameras by name. (The plants ``dmd`` and ``phase`` have gain, full well and noise of an IMX255, and no patterns.)"""

_POPOFF = "arXiv 2311.17496"
WARM_UP_RAD = math.acos(0.983)
"""Where a DMD's heating drift ends: the speckle's correlation was 0.983 after 2.2 hours (arXiv 2311.17496)."""
WARM_UP_S = -3600.0 / math.log(1 - math.acos(0.987) / WARM_UP_RAD)
"""Its time constant, from 0.987 after one hour (same)."""
DLP7000_HZ = 1 / (30.72e-6 + 13e-6)
"""Patterns a second with global reset (TI E2E 462931)."""
DLP4500_HZ = 4000.0
"""Patterns a second, at most (data sheet DLPS028C, section 1)."""


def _dmd(
    what: str, size: tuple[int, int], fill_factor: float, fill_source: str, rate_hz: float, rate_source: str
) -> Described[ModulatorParameters]:
    return Described(
        what,
        dataclasses.replace(
            DMD.modulator,
            fill_factor=fill_factor,
            off_amplitude=0.02,
            warm_up_rad=WARM_UP_RAD,
            warm_up_exposures=WARM_UP_S * rate_hz,
        ),
        {
            "kind": "mirrors, +-12 degrees",
            "fill_factor": fill_source,
            "off_amplitude": f"chosen; none at an exact blaze, worst where the blazed number tends to 0 ({_POPOFF})",
            "levels": "mirrors",
            "phase_max_rad": "binary",
            "gamma": "binary",
            "crosstalk": "a mirror is one piece",
            "flicker_rad_rms": "binary",
            "settle_s": "mirrors settle in about 13 us (TI E2E 462931), which a shot's settling time waits for",
            "warm_up_rad": f"correlation 0.983 after 2.2 h at 20 to 30 kHz ({_POPOFF}); chosen for slower panels too",
            "warm_up_exposures": f"correlation 0.987 after 1 h (same): {WARM_UP_S / 3600:.2f} h, at {rate_source}",
        },
        size,
    )


_LCOS_SOURCES = {
    "kind": "parallel-aligned nematic liquid crystal",
    "fill_factor": "87 to 96 %: from memory, unconfirmed",
    "off_amplitude": "phase",
    "levels": "8 bit: from memory, unconfirmed",
    "phase_max_rad": "chosen: the panel's table maps levels to 0 to pi, so that levels 0 and 255 are a pair",
    "gamma": "chosen: its table is right",
    "crosstalk": "chosen",
    "flicker_rad_rms": "0.02 to 0.3 rad: from memory, unconfirmed",
    "settle_s": "32 Hz for extreme phase changes (Oton 2009, abstract), taken as settled to 1 %: 1 / (32 Hz ln 100)",
    "warm_up_rad": "chosen: none",
    "warm_up_exposures": "chosen",
}
_LCOS = ModulatorParameters(
    ModulatorKind.PHASE,
    fill_factor=0.92,
    off_amplitude=0.0,
    levels=256,
    phase_max_rad=math.pi,
    gamma=1.0,
    crosstalk=0.05,
    flicker_rad_rms=0.05,
    settle_s=1 / (32 * math.log(100)),
    warm_up_rad=0.0,
    warm_up_exposures=1e6,
)

MODULATORS: dict[str, Described[ModulatorParameters]] = {
    "dlp4500": _dmd(
        "TI DLP4500, 4 kHz (data sheet DLPS028C, section 1)",
        (912, 1140), 0.92, "nominal (same data sheet)", DLP4500_HZ,
        "4 kHz (same data sheet)",
    ),
    "dlp7000": _dmd(
        "TI DLP7000, 23 kHz with global reset (TI E2E 462931)",
        (1024, 768), 0.90, f"about 90 % ({_POPOFF})", DLP7000_HZ,
        "43.7 us a pattern with global reset (TI E2E 462931)",
    ),
    "lcos": Described(
        "nematic LCOS phase panel, driven from 0 to pi; give its shots time to settle (openopu.modulators.lcos)",
        _LCOS,
        _LCOS_SOURCES,
    ),
    "lcos2pi": Described(
        "the same, driven from 0 to 2 pi: calibrate its levels, or give level_on=128",
        dataclasses.replace(_LCOS, phase_max_rad=2 * math.pi),
        {**_LCOS_SOURCES, "phase_max_rad": "chosen: the whole circle"},
    ),
}  # fmt: skip
"""Modulators by name."""

LASERS: dict[str, Described[LaserParameters]] = {
    "opsl": Described(
        "optically pumped semiconductor laser",
        DMD.laser,
        {
            "wavelength_m": "chosen: 532 nm",
            "power_w": "chosen",
            "relative_noise_rms": "0.01 % rms (Coherent)",
            "drift_per_exposure": "chosen: none",
            "coherence": "chosen: one longitudinal mode",
        },
    ),
    "diode": Described(
        "low-cost diode or diode-pumped laser",
        dataclasses.replace(
            DMD.laser, relative_noise_rms=0.01, drift_per_exposure=-0.03 / (8 * 3600 * DLP4500_HZ), coherence=0.95
        ),
        {
            "wavelength_m": "chosen: 532 nm",
            "power_w": "chosen",
            "relative_noise_rms": "about 1 % rms: from memory, unconfirmed",
            "drift_per_exposure": "a few % in 8 h: from memory, unconfirmed; 3 % downwards, at 4000 exposures/s",
            "coherence": "chosen: several longitudinal modes",
        },
    ),
}
"""Lasers by name; the first one is that of a plant that names none."""

PHOTODIODE = Described(
    "silicon photodiode with a transimpedance amplifier behind a beam sampler",
    PhotodiodeParameters(full_scale_w=0.12, noise_rms_dn=1.0, offset_dn=4.0, full_scale_a=6e-5, bandwidth_hz=1e6),
    {
        "full_scale_w": "chosen",
        "noise_rms_dn": "chosen",
        "offset_dn": "chosen",
        "full_scale_a": "chosen: 0.1 % of the light at 0.5 A/W",
        "bandwidth_hz": "chosen: quicker than a short exposure",
    },
)
"""That of plants made of named parts."""

SHAPE = "MODULATOR+CAMERA or MODULATOR+CAMERA+LASER"


Parts = tuple[Described[ModulatorParameters], Described[CameraParameters], Described[LaserParameters]]


def parts(name: str) -> Parts | None:
    """The devices of a name such as ``dlp4500+imx255`` or ``lcos+imx249+diode``, or None where it is no such name.

    (In a URL a plus sign may have become a space.) Raises :class:`PlantFileError` for a part that is not known.
    """
    words = name.replace(" ", "+").split("+")
    tables: list[Mapping[str, object]] = [MODULATORS, CAMERAS, LASERS]
    known = [word in table for word, table in zip(words, tables, strict=False)]
    if len(words) == 1 or not any(known):
        return None
    if not 2 <= len(words) <= 3 or not all(known):
        raise PlantFileError(f"the plant {'+'.join(words)} is not known", "plant", f"Name {SHAPE}. {names()}")
    laser = LASERS[words[2] if len(words) == 3 else next(iter(LASERS))]
    return MODULATORS[words[0]], CAMERAS[words[1]], laser


def compose(name: str) -> PlantParameters | None:
    """The plant of :func:`parts`. The medium is that of ``dmd``, or that of ``phase`` for a phase panel."""
    if (named := parts(name)) is None:
        return None
    modulator, camera, laser = named
    base = PHASE if modulator.parameters.kind is ModulatorKind.PHASE else DMD
    return PlantParameters(
        laser.parameters, modulator.parameters, base.medium, camera.parameters, PHOTODIODE.parameters, base.thermometer
    )


def refuse_too_large(name: str, panel: tuple[int, int], sensor: tuple[int, int]) -> None:
    """Raise :class:`PlantFileError` where named devices have fewer pixels (width, height) than a geometry asks for."""
    if (named := parts(name)) is None:
        return
    modulator, camera, _ = named
    for what, which, size, wanted in (
        ("panel", modulator.what, modulator.size, panel),
        ("sensor", camera.what, camera.size, sensor),
    ):
        if size and (wanted[0] > size[0] or wanted[1] > size[1]):
            raise PlantFileError(
                f"the {what} of {wanted[0]} x {wanted[1]} pixels does not fit the {size[0]} x {size[1]} of the {which}",
                name,
                f"Take fewer modes or outputs, smaller macropixels or bins, or another device. {names()}",
            )


def names() -> str:
    """All names, for people."""
    tables: dict[str, Mapping[str, object]] = {"modulators": MODULATORS, "cameras": CAMERAS, "lasers": LASERS}
    return "; ".join(f"{kind}: {', '.join(table)}" for kind, table in tables.items())
