"""What a measurement found: a value, its standard error, its unit; and why one could not be made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from openopu.errors import DeviceError


class FitError(DeviceError):
    """Frames from which a parameter cannot be estimated: dark, saturated, too few, or without noise."""


@dataclass(frozen=True)
class Estimate:
    value: float
    error: float
    """Standard error (one sigma), in the same unit."""
    unit: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "error", float(self.error))

    def __str__(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        if not math.isfinite(self.error) or self.error <= 0:
            return f"{self.value:.4g}{unit}"
        # Two digits of the error, and as many of the value.
        digits = 1 - math.floor(math.log10(self.error))
        if abs(self.value) >= 1e5 or 0 < max(abs(self.value), self.error) < 1e-2:
            power = math.floor(math.log10(max(abs(self.value), self.error)))
            places = max(0, digits + power)
            return f"({self.value / 10**power:.{places}f} +- {self.error / 10**power:.{places}f})e{power}{unit}"
        places = max(0, digits)
        return f"{self.value:.{places}f} +- {self.error:.{places}f}{unit}"

    @property
    def resolved(self) -> bool:
        """Three standard errors from zero."""
        return abs(self.value) > 3 * self.error

    @property
    def seen(self) -> float:
        """Its value; 0 where that is not resolved."""
        return self.value if self.resolved else 0.0

    def as_json(self) -> dict[str, Any]:
        value, error = (x if math.isfinite(x) else None for x in (self.value, self.error))
        return {"value": value, "error": error, "unit": self.unit}


def root(square: float, error: float, unit: str) -> Estimate:
    """The square root of an estimated square; zero, with its upper limit as error, where that is not resolved."""
    if square <= error:
        return Estimate(math.sqrt(max(square, 0.0)), math.sqrt(max(square, 0.0) + 2 * error), unit)
    value = math.sqrt(square)
    return Estimate(value, error / (2 * value), unit)
