"""Converters on SPI: the laser's DACs, and the ADC that reads its photodiode and a thermometer.

One file a part; ADC drivers share :class:`AdcDriver`, so that a board may choose either.
"""

from .common import AdcDriver, clocks
from .max11125 import Max11125
from .mcp3201 import Mcp3201
from .mcp4921 import Mcp4921

__all__ = ["AdcDriver", "Max11125", "Mcp3201", "Mcp4921", "clocks"]
