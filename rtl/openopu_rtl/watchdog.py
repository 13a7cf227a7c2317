"""Exposure watchdog: a second count of every exposure, apart from the exposer's. Its model is beside it."""

from collections.abc import Iterable, Iterator

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class ExposureWatchdog(wiring.Component):
    """Says when the trigger is high for longer than the shot's exposure.

    Ports
    -----
    take : strobe: the exposer takes a shot of ``exposure_cycles`` (0 counts as 1), which it exposes next.
    trigger : the camera's trigger.
    fault : in every clock beyond the exposure of the last shot taken before the trigger rose; a function
        of ``trigger`` and three registers.
    """

    take: In(1)
    exposure_cycles: In(32)
    trigger: In(1)
    fault: Out(1)

    def elaborate(self, platform):
        m = Module()
        taken = Signal(32)
        any_taken = Signal()
        shortest = Signal(init=1)
        """As if a clock long."""
        left = Signal(32)
        """Clocks that the exposure may still last."""
        spent = Signal(init=1)
        """None is left."""
        before = Signal()
        m.d.sync += before.eq(self.trigger)
        with m.If(self.take):
            m.d.sync += [any_taken.eq(1), shortest.eq(self.exposure_cycles <= 1)]
            m.d.sync += taken.eq(Mux(self.exposure_cycles == 0, 1, self.exposure_cycles))
        with m.If(~self.trigger):
            m.d.sync += [left.eq(0), spent.eq(1)]
        with m.Elif(~before):
            m.d.sync += [left.eq(taken - any_taken), spent.eq(shortest)]
        with m.Elif(~spent):
            m.d.sync += [left.eq(left - 1), spent.eq(left == 1)]
        m.d.comb += self.fault.eq(self.trigger & Mux(before, spent, ~any_taken))
        return m


def faults(clocks: Iterable[tuple[bool, int, bool]]) -> Iterator[bool]:
    """Model of :class:`ExposureWatchdog`: ``fault`` in every clock of (take, exposure_cycles, trigger)."""
    taken = limit = high = 0
    for take, exposure_cycles, trigger in clocks:
        high = high + 1 if trigger else 0
        if high == 1:
            limit = taken
        yield high > limit
        if take:
            taken = max(1, exposure_cycles)
