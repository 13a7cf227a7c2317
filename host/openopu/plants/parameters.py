"""Parameters of the plant, each with its unit and its source. None has a default: what is not known about a bench has
to be decided by whoever describes it, not by us."""

from __future__ import annotations

import dataclasses
import enum
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import UsageError


class PlantFileError(UsageError):
    """A plant file, or a parameter, that cannot be used; the message names table and field."""


class ModulatorKind(enum.StrEnum):
    BINARY = "binary"
    """Mirrors on or off (DMD): on from level 128."""
    PHASE = "phase"
    """A phase by level, at full amplitude (LCOS)."""


class MediumKind(enum.StrEnum):
    DENSE = "dense"
    """A stored matrix of independent complex Gaussian entries."""
    COUNTER = "counter"
    """The same matrix, made anew from a counter wherever it is needed, never stored."""
    DIFFUSER = "diffuser"
    """A cascade of phase masks and propagation."""
    MEASURED = "measured"
    """A matrix from a calibration file."""


COLDEST_C, HOTTEST_C = -273.15, 1000.0
MOST_DOUBLINGS = 40
"""Of the dark signal by warmth: the largest signal, so often, stays a float32 in the longest exposure."""


def _parameter(unit: str, source: str, low: float = 0.0, *, high: float, positive: bool = False) -> Any:
    """A field without a default. ``low`` to ``high`` are its bounds; ``positive`` leaves out ``low`` itself."""
    return dataclasses.field(
        metadata={"unit": unit, "source": source, "low": low, "high": high, "open": positive},
    )


@dataclass(frozen=True)
class Checked:
    """A table of a plant file. Raises :class:`PlantFileError` for a value that is out of bounds."""

    TABLE: ClassVar[str]
    """Its name."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            if "low" not in f.metadata:
                continue
            value, low, high = getattr(self, f.name), f.metadata["low"], f.metadata["high"]
            wants_int = f.type in (int, "int")
            if isinstance(value, bool) or not isinstance(value, int if wants_int else int | float):
                raise PlantFileError(
                    f"{f.name} must be {'an integer' if wants_int else 'a number'}, not {value!r}",
                    self.TABLE,
                    f"Give it in {f.metadata['unit']}",
                )
            if not low <= value <= high or (f.metadata["open"] and value == low):
                bounds = f"more than {low:g}" if f.metadata["open"] else f"at least {low:g}"
                bounds += f" and at most {high:g}"
                raise PlantFileError(
                    f"{f.name} = {value!r} is out of range",
                    self.TABLE,
                    f"It is {bounds} {f.metadata['unit']}",
                )

    def _kind(self, kinds: type[enum.StrEnum]) -> None:
        value = getattr(self, "kind")  # noqa: B009 (only some tables have a kind)
        try:
            object.__setattr__(self, "kind", kinds(value))
        except ValueError:
            raise PlantFileError(
                f"kind = {value!r} is not known", self.TABLE, f"Take one of: {', '.join(kinds)}"
            ) from None


@dataclass(frozen=True)
class LaserParameters(Checked):
    TABLE = "laser"

    wavelength_m: float = _parameter("m", "your laser's", low=1e-8, high=1e-4)
    power_w: float = _parameter(
        "W", "at the panel, at full code of the power DAC; linear in the code", positive=True, high=1e3
    )
    relative_noise_rms: float = _parameter("1", "your laser's data sheet; one draw per exposure", high=1.0)
    drift_per_exposure: float = _parameter(
        "1", "measure your laser's; relative power, linear in the number of exposures", low=-0.01, high=0.01
    )
    coherence: float = _parameter(
        "1", "measure your laser's, by the contrast of its speckle; share of the light that interferes", high=1.0
    )


@dataclass(frozen=True)
class ModulatorParameters(Checked):
    TABLE = "modulator"

    kind: ModulatorKind = dataclasses.field(
        metadata={"unit": " or ".join(ModulatorKind), "source": "binary: a DMD; phase: an LCOS"}
    )
    fill_factor: float = _parameter(
        "1",
        "your panel's data sheet; share of a pixel's area that switches, the rest sends no light to the medium "
        "(1: the throughput has it already)",
        positive=True,
        high=1.0,
    )
    off_amplitude: float = _parameter(
        "1", "measure your panel's; field of a dark pixel over that of a lit one, binary panels only", high=0.999
    )
    levels: int = _parameter(
        "1", "phase: your panel's data sheet, evenly spread over 0 to 255; binary: 2", low=2, high=256
    )
    phase_max_rad: float = _parameter("rad", "phase: at level 255, measure your panel's; binary: 0", high=64.0)
    gamma: float = _parameter(
        "1", "phase = phase_max_rad (level / 255)**gamma, measure your panel's; binary: 1", positive=True, high=10.0
    )
    crosstalk: float = _parameter(
        "1", "measure your panel's; share of a pixel's field that is the mean of its four neighbours'", high=0.8
    )
    flicker_rad_rms: float = _parameter(
        "rad", "phase: at level 255, and in proportion below, one draw per exposure; binary: 0", high=math.pi
    )
    settle_s: float = _parameter(
        "s", "time constant of the field's approach to a new pattern; 0: at once, as a DMD's mirrors are in the time "
        "that its interface waits", high=100.0,
    )  # fmt: skip
    warm_up_rad: float = _parameter(
        "rad", "heating drift: angle by which the medium's matrix has turned in the end", high=math.pi / 2
    )
    warm_up_exposures: float = _parameter("exposures", "number after which 63 % of it has come", low=1e-3, high=1e15)

    def __post_init__(self) -> None:
        self._kind(ModulatorKind)
        super().__post_init__()
        binary = self.kind is ModulatorKind.BINARY
        neutral = (
            {"levels": 2, "phase_max_rad": 0.0, "gamma": 1.0, "flicker_rad_rms": 0.0}
            if binary
            else {"off_amplitude": 0.0}
        )
        for name, value in neutral.items():
            if getattr(self, name) != value:
                raise PlantFileError(
                    f"{name} = {getattr(self, name)!r} means nothing to a {self.kind} panel",
                    self.TABLE,
                    f'Set {name} = {value!r}, or kind = "{"phase" if binary else "binary"}"',
                )


@dataclass(frozen=True)
class MediumParameters(Checked):
    TABLE = "medium"

    kind: MediumKind = dataclasses.field(
        metadata={"unit": " or ".join(MediumKind), "source": "chosen; see docs/media.md"}
    )
    file: str = dataclasses.field(
        metadata={"unit": "path", "source": 'of a calibration, for kind = "measured"; else empty'}
    )
    throughput: float = _parameter(
        "1",
        "measure your bench's; the share of the laser's photons that an average sensor pixel gets when the whole "
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
    grain_px: float = _parameter(
        "px", "root of the speckle's correlation area in pixels; 1: pixels are independent", low=1.0, high=64.0
    )
    layers: int = _parameter(
        "1",
        "diffuser: 1: a thin one, with memory effect; from 2 on entries are independent (docs/media.md)",
        low=1,
        high=32,
    )
    oversampling: float = _parameter("1", "diffuser: points of its grid over cells or pixels", low=1.0, high=1024.0)
    drift_rad_per_exposure: float = _parameter(
        "rad", "measure your medium's; two moments correlate by the cosine of the angle between them", high=math.pi
    )
    vibration_rad_rms: float = _parameter(
        "rad", "measure your bench's; the same angle, one draw per exposure", high=1.0
    )

    def __post_init__(self) -> None:
        self._kind(MediumKind)
        super().__post_init__()
        if not isinstance(self.file, str):
            raise PlantFileError(f"file must be a text, not {self.file!r}", self.TABLE, 'Write file = ""')
        if (self.kind is MediumKind.MEASURED) != bool(self.file):
            raise PlantFileError(
                f"kind = {str(self.kind)!r} with file = {self.file!r}",
                self.TABLE,
                'Name a calibration file with kind = "measured", and write file = "" with any other',
            )


@dataclass(frozen=True)
class CameraParameters(Checked):
    TABLE = "camera"

    full_well_e: float = _parameter(
        "e-", "EMVA 1288: saturation capacity, 10**(SNR max in dB / 10)", low=1.0, high=1e12
    )
    read_noise_e: float = _parameter("e-", "EMVA 1288: temporal dark noise; rms", high=1e9)
    quantum_efficiency: float = _parameter(
        "1",
        "EMVA 1288, at the laser's wavelength; only its product with the throughput matters",
        positive=True,
        high=1.0,
    )
    dark_signal_e_per_s: float = _parameter("e-/s", "EMVA 1288: dark current", high=1e12)
    dark_reference_c: float = _parameter(
        "deg C", "temperature at which the dark signal holds", low=COLDEST_C, high=HOTTEST_C
    )
    dark_doubling_k: float = _parameter(
        "K", "that doubles the dark signal; 8 K in the emva1288 camera model", low=1.0, high=1e6
    )
    temperature_c: float = _parameter("deg C", "the sensor's", low=COLDEST_C, high=HOTTEST_C)
    black_level_share: float = _parameter("1", "offset as a share of the ADC's range", high=0.5)
    analog_gain: float = _parameter("1", "at 1, a full well reaches the end of the ADC's range", low=1e-3, high=1e3)
    normal_from_e: float = _parameter(
        "e-",
        "from this mean on shot noise is drawn as normal, below as Poisson (skewness 0.22 at 20)",
        low=1.0,
        high=1e9,
    )
    prnu_rms: float = _parameter(
        "1", "EMVA 1288 PRNU; spread of the pixels' response, drawn once from the medium's seed", high=0.3
    )
    dsnu_e_rms: float = _parameter("e-", "EMVA 1288 DSNU; spread of the pixels' dark value, drawn once", high=1e9)
    hot_pixel_share: float = _parameter("1", "measure your sensor's; share of its pixels", high=1.0)
    hot_pixel_e_per_s: float = _parameter(
        "e-/s", "their dark signal above the others', at the same temperature", high=1e12
    )
    dead_pixel_share: float = _parameter("1", "measure your sensor's; share of its pixels that see no light", high=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        doublings = (self.temperature_c - self.dark_reference_c) / self.dark_doubling_k
        if doublings > MOST_DOUBLINGS:
            raise PlantFileError(
                f"temperature_c = {self.temperature_c:g} doubles the dark signal {doublings:.3g} times",
                self.TABLE,
                f"Take at most {MOST_DOUBLINGS}: a lower temperature_c, or a larger dark_doubling_k "
                f"({self.dark_doubling_k:g}) or dark_reference_c ({self.dark_reference_c:g})",
            )

    def dark_e_per_s(self) -> float:
        """Dark signal at the sensor's temperature in e-/s."""
        return self.dark_signal_e_per_s * self.dark_factor()

    def dark_factor(self) -> float:
        """Dark signals at the sensor's temperature over those at ``dark_reference_c``."""
        return float(2.0 ** ((self.temperature_c - self.dark_reference_c) / self.dark_doubling_k))


@dataclass(frozen=True)
class PhotodiodeParameters(Checked):
    TABLE = "photodiode"

    full_scale_w: float = _parameter("W", "laser power that fills the 12-bit ADC", low=1e-12, high=1e6)
    noise_rms_dn: float = _parameter(
        "DN", "rms of a reading, all causes but shot noise and the laser's own", high=4095.0
    )
    offset_dn: float = _parameter("DN", "measure it with the laser off", low=-4095.0, high=4095.0)
    full_scale_a: float = _parameter("A", "photocurrent at full_scale_w", low=1e-15, high=1e3)
    bandwidth_hz: float = _parameter(
        "Hz", "noise bandwidth B of diode and amplifier: shot noise sqrt(2 q I B); 0: no shot noise", high=1e12
    )


@dataclass(frozen=True)
class ThermometerParameters(Checked):
    """A sensor with a voltage linear in its temperature, on the ADC's second channel."""

    TABLE = "thermometer"

    temperature_c: float = _parameter("deg C", "chosen: where the sensor sits, in a laboratory", low=-55.0, high=150.0)
    zero_v: float = _parameter("V", "output at 0 deg C, of the MAX6607 and of others", high=100.0)
    slope_v_per_k: float = _parameter("V/K", "10 mV/K, of the MAX6607 and of others", low=-1.0, high=1.0)
    reference_v: float = _parameter(
        "V", "chosen: voltage that fills the 12-bit ADC, a common supply", low=1e-3, high=100.0
    )


@dataclass(frozen=True)
class PlantParameters:
    """Everything between the panel's pins and the camera's. Each field is one table of a plant file."""

    laser: LaserParameters
    modulator: ModulatorParameters
    medium: MediumParameters
    camera: CameraParameters
    photodiode: PhotodiodeParameters
    thermometer: ThermometerParameters
