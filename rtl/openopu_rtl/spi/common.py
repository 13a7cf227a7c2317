"""What drivers of SPI converters share."""

from abc import abstractmethod

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

SYNCHRONISER_CLOCKS = 2
ADC_BITS = 12
ADC_CHANNELS = 2
PHOTODIODE, TEMPERATURE = range(ADC_CHANNELS)
"""Channels of the ADC."""


def clocks(time_ns: float, clock_hz: int) -> int:
    """Fewest clocks that last ``time_ns``."""
    return int(-(-time_ns * clock_hz // 10**9))


class AdcDriver(wiring.Component):
    """A 12-bit ADC of two channels.

    Ports
    -----
    start : strobe: convert ``channel``. A conversion under way is given up: its ``done`` never comes.
    channel : 0 photodiode, 1 temperature; taken with ``start``.
    busy : a conversion is under way.
    value : the last conversion that ended, 0 to 4095.
    done : strobe: ``value`` is new. At most :attr:`conversion_clocks` after ``start``.
    cs_n, sck, sdi, dout : pins of the part; ``cs_n`` has one for each channel, for parts with a single
        input, which share the others. ``dout`` is synchronised inside.
    """

    start: In(1)
    channel: In(range(ADC_CHANNELS))
    busy: Out(1)
    value: Out(ADC_BITS)
    done: Out(1)
    cs_n: Out(ADC_CHANNELS, init=(1 << ADC_CHANNELS) - 1)
    sck: Out(1)
    sdi: Out(1)
    dout: In(1)

    def __init__(self, clock_hz: int):
        self.clock_hz = clock_hz
        super().__init__()

    @classmethod
    @abstractmethod
    def clocks_of_conversion(cls, clock_hz: int) -> int:
        """Most clocks from ``start`` to ``done``, a conversion given up included."""

    @property
    def conversion_clocks(self) -> int:
        """Most clocks from ``start`` to ``done``."""
        return self.clocks_of_conversion(self.clock_hz)
