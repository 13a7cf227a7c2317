"""Monitor: who uses the ADC when, and the weight that a photodiode reading gives its frame."""

import numpy as np
from amaranth import Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from .protocol.registers import WEIGHT_FRACTION_BITS, WEIGHT_MAX
from .spi.common import ADC_BITS, PHOTODIODE, TEMPERATURE, AdcDriver

UNITY = 1 << WEIGHT_FRACTION_BITS
WEIGHT_BITS = WEIGHT_MAX.bit_length()
DIVIDER_CLOCKS = WEIGHT_BITS + 2

WATCHES_PER_S = 1000
"""Photodiode readings while no exposure asks for one: too much light is noticed within a millisecond, and the ADC is
busy for a hundredth of the time."""
WATCHES_PER_TEMPERATURE = 64
"""Temperatures change slowly."""


def weight(reading: np.ndarray, reference: int) -> np.ndarray:
    """Weights int64 of readings: ``reference / max(reading, 1)`` in units of 2**-14, rounded down, below 2."""
    divisor = np.maximum(reading, 1).astype(np.int64)
    return np.minimum((reference << WEIGHT_FRACTION_BITS) // divisor, WEIGHT_MAX)


def monitor_cycles(adc: type[AdcDriver], clock_hz: int) -> int:
    """Most clocks from the begin of an exposure until its reading and its weight are there: ``monitor_cycles``."""
    return adc.clocks_of_conversion(clock_hz) + DIVIDER_CLOCKS + 2


class Divider(wiring.Component):
    """The weight of a reading, one bit a clock: ``done`` comes at most ``DIVIDER_CLOCKS`` after ``start``.

    ``weight`` holds until the next ``start``. Its model is :func:`weight`.
    """

    start: In(1)
    reading: In(ADC_BITS)
    reference: In(ADC_BITS)
    weight: Out(WEIGHT_BITS)
    done: Out(1)

    def elaborate(self, platform):
        m = Module()
        rest = Signal(ADC_BITS + 2)
        divisor = Signal(ADC_BITS)
        left = Signal(range(WEIGHT_BITS + 1))
        m.d.sync += self.done.eq(left == 1)
        with m.If(self.start):
            m.d.sync += [
                rest.eq(self.reference),
                divisor.eq(self.reading | (self.reading == 0)),
                left.eq(WEIGHT_BITS),
                self.done.eq(0),
            ]
        with m.Elif(left != 0):
            # The first step yields the integer bit. Were it more than one bit, the weight is held at its limit.
            m.d.sync += left.eq(left - 1)
            with m.If((left == WEIGHT_BITS) & (rest >= divisor << 1)):
                m.d.sync += [self.weight.eq(WEIGHT_MAX), left.eq(0), self.done.eq(1)]
            with m.Elif(rest >= divisor):
                m.d.sync += [self.weight.eq((self.weight << 1) | 1), rest.eq((rest - divisor) << 1)]
            with m.Else():
                m.d.sync += [self.weight.eq(self.weight << 1), rest.eq(rest << 1)]
        return m


class _Task(enum.Enum, shape=2):
    NONE = 0
    EXPOSURE = 1
    WATCH = 2
    TEMPERATURE = 3


class Monitor(wiring.Component):
    """Starts conversions: one at the begin of each exposure, else the photodiode's while the laser is on, at least
    ``WATCHES_PER_S``, and now and then the temperature's.

    An exposure never waits for another conversion, which is given up and made later; and only its own ends
    ``pending``. So ``begin`` must not come while ``pending``.

    Parameters
    ----------
    clock_hz : frequency of the clock.
    watch_cycles : clocks between two readings, by default 1 ms.

    Ports
    -----
    begin : strobe: an exposure begins.
    laser_on : the laser is on.
    reference : of the weight.
    start, channel, value, done : to the ADC.
    pending : the last exposure's reading is not there yet.
    reading, reading_stb : the reading of the last exposure, in order; ``reading`` holds.
    weight : of ``reading``, at most ``monitor_cycles`` after ``begin``, until the next reading.
    light_stb : strobe: ``value`` is a reading of the photodiode, whoever asked.
    live : the last of these. temperature : last one.
    """

    def __init__(self, clock_hz: int, watch_cycles: int | None = None):
        self.watch_cycles = clock_hz // WATCHES_PER_S if watch_cycles is None else watch_cycles
        super().__init__(
            {
                "begin": In(1),
                "laser_on": In(1),
                "reference": In(ADC_BITS),
                "start": Out(1),
                "channel": Out(1),
                "value": In(ADC_BITS),
                "done": In(1),
                "pending": Out(1),
                "reading": Out(ADC_BITS),
                "reading_stb": Out(1),
                "weight": Out(WEIGHT_BITS, init=UNITY),
                "light_stb": Out(1),
                "live": Out(ADC_BITS),
                "temperature": Out(ADC_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.divider = divider = Divider()
        task = Signal(_Task)
        watch = Signal(range(self.watch_cycles + 1))
        """Clocks until the photodiode is due."""
        temperature = Signal(range(self.watch_cycles * WATCHES_PER_TEMPERATURE + 1))
        """Clocks until the temperature is due."""
        m.d.comb += [
            self.pending.eq(task == _Task.EXPOSURE),
            self.light_stb.eq(self.done & (task != _Task.TEMPERATURE)),
            divider.start.eq(self.reading_stb),
            divider.reading.eq(self.reading),
            divider.reference.eq(self.reference),
            self.weight.eq(divider.weight),
        ]
        m.d.sync += self.reading_stb.eq(0)
        with m.If(temperature != 0):
            m.d.sync += temperature.eq(temperature - 1)
        with m.If(~self.laser_on):
            m.d.sync += watch.eq(0)
        with m.Elif(watch != 0):
            m.d.sync += watch.eq(watch - 1)

        with m.If(self.done):
            m.d.sync += task.eq(_Task.NONE)
            with m.If(task == _Task.TEMPERATURE):
                m.d.sync += [
                    self.temperature.eq(self.value),
                    temperature.eq(self.watch_cycles * WATCHES_PER_TEMPERATURE),
                ]
            with m.Else():
                m.d.sync += [self.live.eq(self.value), watch.eq(self.watch_cycles)]
            with m.If(task == _Task.EXPOSURE):
                m.d.sync += [self.reading.eq(self.value), self.reading_stb.eq(1)]

        with m.If(self.begin):
            m.d.comb += [self.start.eq(1), self.channel.eq(PHOTODIODE)]
            m.d.sync += task.eq(_Task.EXPOSURE)
        with m.Elif(task == _Task.NONE):
            with m.If(self.laser_on & (watch == 0)):
                m.d.comb += [self.start.eq(1), self.channel.eq(PHOTODIODE)]
                m.d.sync += task.eq(_Task.WATCH)
            with m.Elif(temperature == 0):
                m.d.comb += [self.start.eq(1), self.channel.eq(TEMPERATURE)]
                m.d.sync += task.eq(_Task.TEMPERATURE)
        return m
