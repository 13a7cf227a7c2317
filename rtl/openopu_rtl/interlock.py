"""Laser enable: dark unless armed, the loop closed and the host alive. Its model is beside it."""

from dataclasses import dataclass, field

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .protocol.registers import TRIP_CAUSES

SYNCHRONISER_CLOCKS = 2
"""``laser_on`` is low at the latest so many clock edges after the loop opened at the pin, and a
``closed`` loop counts so many edges after it closed."""

_OPEN = 1 << TRIP_CAUSES["interlock_open"]
_LOST = 1 << TRIP_CAUSES["heartbeat_lost"]


class Interlock(wiring.Component):
    """Enables the laser.

    ``laser_on`` implies ``armed & closed & fresh & ~tripped``; reset leaves all four the dark way.
    While armed, an open loop or a lost heartbeat trips: the trip disarms and stays until the next
    arming. While not armed, neither is a trip. Arming does nothing while the loop is open, and a trip
    in the same clock wins over it, as disarming does.

    Ports
    -----
    arm : strobe: arm, clear the trip, restart the heartbeat. Given only after the key was checked.
    disarm : strobe.
    interlock_closed : the loop's pin, asynchronous, high when closed.
    refresh : strobe: a valid packet came; restarts the heartbeat.
    heartbeat_cycles : ``fresh`` lasts for so many clocks after ``refresh`` or ``arm``. Lowering it
        shortens what is left; 0 keeps the laser dark.
    laser_on : to the laser's enable pin; a function of registers, in the same clock.
    armed, closed, fresh, tripped : state; ``closed`` is the synchronised loop.
    cause : why it tripped, bits of ``TRIP_CAUSES``; kept with ``tripped``.
    trip : strobe: it trips in this clock; ``tripped`` follows in the next.
    """

    arm: In(1)
    disarm: In(1)
    interlock_closed: In(1)
    refresh: In(1)
    heartbeat_cycles: In(32)
    laser_on: Out(1)
    armed: Out(1)
    closed: Out(1)
    fresh: Out(1)
    tripped: Out(1)
    cause: Out(len(TRIP_CAUSES))
    trip: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.synchroniser = FFSynchronizer(
            self.interlock_closed, self.closed, init=0, reset_less=False, stages=SYNCHRONISER_CLOCKS
        )
        left = Signal(32)  # clocks for which the heartbeat is still fresh
        arms = Signal()
        m.d.comb += [
            arms.eq(self.arm & self.closed & ~self.disarm & ~self.trip),
            self.fresh.eq(left != 0),
            self.trip.eq(self.armed & ~(self.closed & self.fresh)),
            self.laser_on.eq(self.armed & self.closed & self.fresh & ~self.tripped),
        ]
        with m.If(self.refresh | arms):
            m.d.sync += left.eq(self.heartbeat_cycles)
        with m.Elif(left > self.heartbeat_cycles):
            m.d.sync += left.eq(self.heartbeat_cycles)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)

        with m.If(arms):
            m.d.sync += [self.armed.eq(1), self.tripped.eq(0), self.cause.eq(0)]
        with m.If(self.disarm):
            m.d.sync += self.armed.eq(0)
        with m.If(self.trip):
            m.d.sync += [
                self.armed.eq(0),
                self.tripped.eq(1),
                self.cause.eq(Mux(self.closed, 0, _OPEN) | Mux(self.fresh, 0, _LOST)),
            ]
        return m


@dataclass
class InterlockModel:
    """Model of :class:`Interlock`, clock by clock. Attributes are the outputs in the present clock."""

    armed: bool = False
    tripped: bool = False
    cause: int = 0
    left: int = 0
    loop: list[bool] = field(default_factory=lambda: [False] * SYNCHRONISER_CLOCKS)
    """The synchroniser, newest sample first."""

    @property
    def closed(self) -> bool:
        return self.loop[-1]

    @property
    def fresh(self) -> bool:
        return self.left > 0

    @property
    def laser_on(self) -> bool:
        return self.armed and self.closed and self.fresh and not self.tripped

    @property
    def trip(self) -> bool:
        return self.armed and not (self.closed and self.fresh)

    def clock(self, *, arm: bool, disarm: bool, interlock_closed: bool, refresh: bool, heartbeat_cycles: int) -> None:
        """One clock edge with these inputs before it."""
        arms = arm and self.closed and not disarm and not self.trip
        trips, cause = self.trip, (0 if self.closed else _OPEN) | (0 if self.fresh else _LOST)
        self.left = heartbeat_cycles if refresh or arms else min(max(self.left - 1, 0), heartbeat_cycles)
        if arms:
            self.armed, self.tripped, self.cause = True, False, 0
        if disarm:
            self.armed = False
        if trips:
            self.armed, self.tripped, self.cause = False, True, cause
        self.loop = [interlock_closed, *self.loop[:-1]]
