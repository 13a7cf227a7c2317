"""Constants that a plant is computed with, by the simulation and by the fit."""

PLANCK_J_S = 6.62607015e-34
"""Exact (SI, 2019)."""
LIGHT_M_PER_S = 299_792_458.0
"""Exact (SI)."""
ELEMENTARY_CHARGE_C = 1.602176634e-19
"""Exact (SI, 2019)."""
DAC_FULL_SCALE = 4095
"""Largest code of the laser's 12-bit power DAC."""
ADC_FULL_SCALE = 4095
"""Largest reading of the photodiode's and the thermometer's 12-bit ADC."""
