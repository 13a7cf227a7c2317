"""Parameters of the plant, each with its unit and its source, and their file.

A plant file is TOML with one table per part. It must hold every field: what is not known about a
bench has to be decided by whoever describes it, not by us. :func:`save` writes a complete file with
units and sources as comments, to start from.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from openopu.errors import UsageError

T = TypeVar("T")


class PlantFileError(UsageError):
    """A plant file, or a parameter, that cannot be used; the message names table and field."""


class ModulatorKind(enum.StrEnum):
    BINARY = "binary"
    """Mirrors on or off (DMD): amplitude 1 from level 128 on, else 0."""
    PHASE = "phase"
    """Phase pi from level 128 on, else 0: amplitude -1 or +1."""


def _parameter(unit: str, source: str, low: float = 0.0, high: float = math.inf, *, positive: bool = False) -> Any:
    """A field without a default. ``low`` to ``high`` are its bounds; ``positive`` leaves out ``low`` itself."""
    return dataclasses.field(
        metadata={"unit": unit, "source": source, "low": low, "high": high, "open": positive},
    )


@dataclass(frozen=True)
class _Checked:
    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            if "low" not in f.metadata:
                continue
            value, low, high = getattr(self, f.name), f.metadata["low"], f.metadata["high"]
            wants_int = f.type in (int, "int")
            if isinstance(value, bool) or not isinstance(value, int if wants_int else int | float):
                raise PlantFileError(
                    f"{f.name} must be {'an integer' if wants_int else 'a number'}, not {value!r}",
                    _table_of(type(self)),
                    f"Give it in {f.metadata['unit']}",
                )
            if not math.isfinite(value) or not low <= value <= high or (f.metadata["open"] and value == low):
                bounds = f"more than {low:g}" if f.metadata["open"] else f"at least {low:g}"
                bounds += f" and at most {high:g}" if math.isfinite(high) else ""
                raise PlantFileError(
                    f"{f.name} = {value!r} is out of range",
                    _table_of(type(self)),
                    f"It is {bounds} {f.metadata['unit']}",
                )


@dataclass(frozen=True)
class LaserParameters(_Checked):
    wavelength_m: float = _parameter("m", "chosen: a frequency-doubled line at 532 nm", positive=True, high=1e-4)
    power_w: float = _parameter("W", "chosen; at full code of the power DAC, linear in the code", positive=True)
    relative_noise_rms: float = _parameter(
        "1", "0.01 % rms, optically pumped semiconductor laser (Coherent); one draw per exposure", high=1.0
    )


@dataclass(frozen=True)
class ModulatorParameters(_Checked):
    kind: ModulatorKind = dataclasses.field(
        metadata={"unit": "binary or phase", "source": "binary: a DMD; phase: a 0/pi panel"}
    )

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kind", ModulatorKind(self.kind))
        except ValueError:
            raise PlantFileError(
                f"kind = {self.kind!r} is not known", "modulator", f"Take one of: {', '.join(ModulatorKind)}"
            ) from None


@dataclass(frozen=True)
class MediumParameters(_Checked):
    throughput: float = _parameter(
        "1",
        "chosen: a half lit default panel at half power gives a mean of 1/9 of the default full well in 1000 "
        "cycles of 48 MHz; the share of the laser's photons that an average sensor pixel gets when the whole "
        "panel is lit",
        positive=True,
        high=1.0,
    )
    entry_bits: int = _parameter(
        "bit",
        "chosen: entries of the transmission matrix are signed integers of so many bits, 4 standard deviations "
        "at their limit; fewer where the exactness of float32 sums needs it",
        low=3,
        high=16,
    )


@dataclass(frozen=True)
class CameraParameters(_Checked):
    full_well_e: float = _parameter("e-", "IMX255: SNR 40.3 dB, so 10**4.03 (mvBlueFOX3 manual p. 861)", positive=True)
    read_noise_e: float = _parameter("e-", "IMX255: full well and dynamic range of 71.3 dB (same); rms")
    quantum_efficiency: float = _parameter(
        "1", "chosen; not published for the sensor, and only its product with the throughput matters", positive=True,
        high=1.0,
    )  # fmt: skip
    dark_signal_e_per_s: float = _parameter("e-/s", "chosen: negligible at exposures below 1 ms; measure your sensor's")
    dark_reference_c: float = _parameter("deg C", "chosen: temperature at which the dark signal holds", low=-273.15)
    dark_doubling_k: float = _parameter("K", "emva1288 camera model: dark signal doubles every 8 K", positive=True)
    temperature_c: float = _parameter("deg C", "chosen: sensor's temperature", low=-273.15)
    black_level_share: float = _parameter("1", "chosen: offset as a share of the ADC's range", high=0.5)
    analog_gain: float = _parameter("1", "chosen: at 1, a full well reaches the end of the ADC's range", positive=True)
    normal_from_e: float = _parameter(
        "e-",
        "chosen: from this mean on shot noise is drawn as normal, below as Poisson (skewness 0.22 at 20)",
        low=1.0,
    )

    def dark_e_per_s(self) -> float:
        """Dark signal at the sensor's temperature in e-/s."""
        return float(
            self.dark_signal_e_per_s * 2.0 ** ((self.temperature_c - self.dark_reference_c) / self.dark_doubling_k)
        )


@dataclass(frozen=True)
class PhotodiodeParameters(_Checked):
    full_scale_w: float = _parameter("W", "chosen: laser power that fills the 12-bit ADC", positive=True)
    noise_rms_dn: float = _parameter("DN", "chosen: rms of a reading, all causes but the laser's own noise")


@dataclass(frozen=True)
class ThermometerParameters(_Checked):
    """A sensor with a voltage linear in its temperature, on the ADC's second channel."""

    temperature_c: float = _parameter("deg C", "chosen: where the sensor sits, in a laboratory", low=-55.0, high=150.0)
    zero_v: float = _parameter("V", "output at 0 deg C, of the MAX6607 and of others")
    slope_v_per_k: float = _parameter("V/K", "10 mV/K, of the MAX6607 and of others", low=-1.0)
    reference_v: float = _parameter("V", "chosen: voltage that fills the 12-bit ADC, a common supply", positive=True)


@dataclass(frozen=True)
class PlantParameters:
    """Everything between the panel's pins and the camera's. Each field is one table of a plant file."""

    laser: LaserParameters
    modulator: ModulatorParameters
    medium: MediumParameters
    camera: CameraParameters
    photodiode: PhotodiodeParameters
    thermometer: ThermometerParameters


TABLES: dict[str, type[_Checked]] = {
    "laser": LaserParameters,
    "modulator": ModulatorParameters,
    "medium": MediumParameters,
    "camera": CameraParameters,
    "photodiode": PhotodiodeParameters,
    "thermometer": ThermometerParameters,
}


def _table_of(cls: type) -> str:
    return next(name for name, table in TABLES.items() if table is cls)


DMD = PlantParameters(
    LaserParameters(wavelength_m=532e-9, power_w=0.1, relative_noise_rms=1e-4),
    ModulatorParameters(ModulatorKind.BINARY),
    MediumParameters(throughput=2.3e-9, entry_bits=12),
    CameraParameters(
        full_well_e=10_700.0,
        read_noise_e=2.9,
        quantum_efficiency=0.65,
        dark_signal_e_per_s=10.0,
        dark_reference_c=25.0,
        dark_doubling_k=8.0,
        temperature_c=25.0,
        black_level_share=0.01,
        analog_gain=1.0,
        normal_from_e=20.0,
    ),
    PhotodiodeParameters(full_scale_w=0.12, noise_rms_dn=1.0),
    ThermometerParameters(temperature_c=25.0, zero_v=0.5, slope_v_per_k=0.01, reference_v=3.3),
)
"""A binary panel before the camera IMX255."""

# All of a phase panel is bright all the time, not the half of its signal region.
PHASE = dataclasses.replace(
    DMD,
    modulator=ModulatorParameters(ModulatorKind.PHASE),
    medium=dataclasses.replace(DMD.medium, throughput=DMD.medium.throughput * 0.28),
)
"""A 0/pi phase panel before the same camera."""

NAMED: dict[str, PlantParameters] = {"dmd": DMD, "phase": PHASE}
"""Plants that need no file."""


def load(path: str | Path) -> PlantParameters:
    """Read a plant file. Raises :class:`PlantFileError` that names the table and the field."""
    where = str(path)
    step = "Write a complete one with `openopu_sim.plant.save(path, openopu_sim.plant.DMD)` and change it"
    try:
        with Path(path).open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        what = f"the plant file cannot be read ({error.strerror or error})"
        raise PlantFileError(what, where, f"Named plants: {', '.join(NAMED)}. {step}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlantFileError(f"the plant file is no TOML: {error}", where, step) from None
    for name in tables:
        if name not in TABLES:
            raise PlantFileError(f"unknown table [{name}]", where, f"Known: {', '.join(TABLES)}")
    parts = {name: _read_table(where, name, cls, tables.get(name)) for name, cls in TABLES.items()}
    return PlantParameters(**parts)


def _read_table(where: str, name: str, cls: type[_Checked], values: Any) -> Any:
    if not isinstance(values, dict):
        raise PlantFileError(f"the table [{name}] is missing", where, "Every table and field must be given")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise PlantFileError(f"[{name}] has no field {key}", where, f"It has: {', '.join(fields)}")
    for key, f in fields.items():
        if key not in values:
            raise PlantFileError(
                f"[{name}] lacks {key}", where, f"Give it in {f.metadata['unit']}; there is no default on purpose"
            )
    floats = {k: float(v) if isinstance(v, int) and fields[k].type == "float" and not isinstance(v, bool) else v
              for k, v in values.items()}  # fmt: skip
    try:
        return cls(**floats)
    except PlantFileError as error:
        raise PlantFileError(f"[{error.where}] {error.what}", where, error.next_step) from None


def dumps(parameters: PlantParameters) -> str:
    """The text of a plant file, with unit and source of each field as comments."""
    lines = ["# Plant of an optical processing unit. SI units; every field is required.", ""]
    for table in TABLES:
        part = getattr(parameters, table)
        lines.append(f"[{table}]")
        for f in dataclasses.fields(part):
            value = getattr(part, f.name)
            text = f'"{value}"' if isinstance(value, str) else repr(value)
            lines += [f"# [{f.metadata['unit']}] {f.metadata['source']}", f"{f.name} = {text}"]
        lines.append("")
    return "\n".join(lines)


def save(path: str | Path, parameters: PlantParameters) -> None:
    """Write a plant file that :func:`load` reads back. Raises :class:`PlantFileError`."""
    try:
        Path(path).write_text(dumps(parameters), encoding="utf-8")
    except OSError as error:
        raise PlantFileError(
            f"the plant file cannot be written ({error.strerror or error})", str(path), "Name a folder you may write to"
        ) from None
