"""Fit of a plant to a bench: from recorded frames to a plant file, each parameter with its standard error.

>>> found, frames = openopu.fit.fit(opu)
>>> openopu.plants.save("bench.toml", found.plant(openopu.plants.DMD))
"""

from .estimate import Estimate, FitError
from .fitting import Fit, Plan, Recording, estimate, fit, trimmed

__all__ = ["Estimate", "Fit", "FitError", "Plan", "Recording", "estimate", "fit", "trimmed"]
