"""Counter of events in one clock domain, read in another."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

_CROSSING_BITS = 6
"""So many events in a row must not outrun the synchroniser: 2**6 of them while ``sync`` makes one clock."""
_STAGES = 2


class EventCounter(wiring.Component):
    """Counts clocks of ``domain`` in which ``event`` is high; ``count``, in ``sync``, sticks at its largest value.

    The count follows within ``_STAGES + 2`` clocks of ``sync``. A Gray code crosses, of which one bit changes at a
    time, so any two clocks will do as long as ``sync`` is not 60 times slower.

    Ports
    -----
    event : in ``domain``.
    count, clear : in ``sync``; ``clear`` is a strobe, and an event that comes in the same clock is counted.
    """

    def __init__(self, domain: str, bits: int = 16):
        self.domain = domain
        super().__init__({"event": In(1), "clear": In(1), "count": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        binary, gray = Signal(_CROSSING_BITS), Signal(_CROSSING_BITS)
        crossed, here, before = Signal(_CROSSING_BITS), Signal(_CROSSING_BITS), Signal(_CROSSING_BITS)
        m.d[self.domain] += gray.eq(binary ^ binary >> 1)
        with m.If(self.event):
            m.d[self.domain] += binary.eq(binary + 1)
        m.submodules.crossing = FFSynchronizer(gray, crossed, stages=_STAGES)
        m.d.comb += here[-1].eq(crossed[-1])
        for i in reversed(range(_CROSSING_BITS - 1)):
            m.d.comb += here[i].eq(here[i + 1] ^ crossed[i])
        more, total = Signal(_CROSSING_BITS), Signal(len(self.count) + 1)
        m.d.comb += [
            more.eq(here - before),
            total.eq(Mux(self.clear, 0, self.count) + more),
        ]
        m.d.sync += [before.eq(here), self.count.eq(Mux(total[-1], ~0, total))]
        return m
