"""Laser enable: dark unless armed in two steps, the loop closed, the host alive and nothing amiss. Its model is
beside it."""

from dataclasses import dataclass, field

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .protocol.declaration import PROTOCOL_HASH
from .protocol.errors import Code
from .protocol.registers import TRIP_CAUSES

SYNCHRONISER_CLOCKS = 2
"""``laser_on`` is low at the latest so many clock edges after the loop opened at the pin, and a
``closed`` loop counts so many edges after it closed."""
EVENT_CLOCKS = 1
"""``laser_on`` is low so many clock edges after ``link_reset``, ``over_power`` or ``sequencer_fault`` rose."""
ARM_WINDOW_CYCLES = 1 << 24
"""Clocks after the first step of arming in which the second one counts: 0.35 s at 48 MHz, many times what a
serial adapter takes for two packets."""
EVENTS = ("link_reset", "over_power", "sequencer_fault")
"""Causes of a trip that are inputs; the others are the loop and the heartbeat."""


class Interlock(wiring.Component):
    """Enables the laser.

    ``laser_on`` implies ``armed & closed & fresh & ~tripped``; reset leaves all four the dark way.
    While armed, an open loop, a lost heartbeat or one of the ``EVENTS`` trips: the trip disarms and stays
    until the next arming. While not armed, none is a trip.

    Arming takes two writes of the key: ``unlock`` opens a window, ``arm`` inside it arms. Both are refused
    while the loop is open or an event is there. A refused write, ``disarm``, an open loop, an event, a trip
    and the arming itself close the window. ``disarm`` wins over both.

    Parameters
    ----------
    key : what both steps must write, by default the declaration's hash.
    window_cycles : clocks after ``unlock`` in which ``arm`` counts.

    Ports
    -----
    unlock, arm : strobes: the first and the second step are written, with the ``key`` of the clock before.
    unlock_code, arm_code : why such a write is refused in this clock, or OK.
    disarm : strobe.
    interlock_closed : the loop's pin, asynchronous, high when closed.
    link_reset, over_power, sequencer_fault : events, of a clock or more.
    refresh : strobe: a valid packet came; restarts the heartbeat, as arming does.
    heartbeat_cycles : ``fresh`` lasts for so many clocks. Lowering it shortens what is left; 0 keeps the
        laser dark.
    laser_on : to the laser's enable pin; a function of registers, in the same clock.
    armed, closed, fresh, tripped : state; ``closed`` is the synchronised loop.
    cause : why it tripped, bits of ``TRIP_CAUSES``; kept with ``tripped``.
    trip : strobe: it trips in this clock; ``tripped`` follows in the next.
    """

    unlock: In(1)
    arm: In(1)
    key: In(32)
    unlock_code: Out(8)
    arm_code: Out(8)
    disarm: In(1)
    interlock_closed: In(1)
    link_reset: In(1)
    over_power: In(1)
    sequencer_fault: In(1)
    refresh: In(1)
    heartbeat_cycles: In(32)
    laser_on: Out(1)
    armed: Out(1)
    closed: Out(1)
    fresh: Out(1)
    tripped: Out(1)
    cause: Out(len(TRIP_CAUSES))
    trip: Out(1)

    def __init__(self, key: int = PROTOCOL_HASH, window_cycles: int = ARM_WINDOW_CYCLES):
        self._key = key
        self._window_cycles = window_cycles
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.synchroniser = FFSynchronizer(
            self.interlock_closed, self.closed, init=0, reset_less=False, stages=SYNCHRONISER_CLOCKS
        )
        left = Signal(32)  # clocks for which the heartbeat is still fresh
        right = Signal()  # the key is; compared a clock ahead of its write
        m.d.sync += right.eq(self.key == self._key)
        present = {"interlock_open": ~self.closed, "heartbeat_lost": ~self.fresh}
        present |= {name: getattr(self, name) for name in EVENTS}
        causes = Signal.like(self.cause)
        amiss = Signal()
        m.d.comb += [
            causes.eq(Cat(present[name] for name in sorted(TRIP_CAUSES, key=TRIP_CAUSES.__getitem__))),
            self.trip.eq(self.armed & causes.any()),
            amiss.eq(self.trip | Cat(getattr(self, name) for name in EVENTS).any()),
            self.laser_on.eq(self.armed & self.closed & self.fresh & ~self.tripped),
        ]

        window = Signal(range(self._window_cycles + 1))  # clocks for which it is still open
        over = Signal()  # it ended, and nothing has been written since
        unlocks, arms = Signal(), Signal()
        m.d.comb += [
            self.unlock_code.eq(
                Mux(
                    ~right,
                    Code.ARM_KEY,
                    Mux(~self.closed, Code.INTERLOCK_OPEN, Mux(amiss, Code.ARM_FAULT, Code.OK)),
                )
            ),
            self.arm_code.eq(
                Mux(
                    (self.unlock_code != Code.OK) | (window != 0),
                    self.unlock_code,
                    Mux(over, Code.ARM_WINDOW, Code.ARM_ORDER),
                )
            ),
            unlocks.eq(self.unlock & ~self.arm & ~self.disarm & (self.unlock_code == Code.OK)),
            arms.eq(self.arm & ~self.unlock & ~self.disarm & (self.arm_code == Code.OK)),
        ]
        with m.If(unlocks):
            m.d.sync += [window.eq(self._window_cycles), over.eq(0)]
        with m.Elif(self.unlock | self.arm | self.disarm | amiss | ~self.closed):
            m.d.sync += [window.eq(0), over.eq(0)]
        with m.Elif(window != 0):
            m.d.sync += [window.eq(window - 1), over.eq(window == 1)]

        # `fresh` is `left != 0`, as a register: the laser's enable hangs on it.
        with m.If(self.refresh | arms | (left > self.heartbeat_cycles)):
            m.d.sync += [left.eq(self.heartbeat_cycles), self.fresh.eq(self.heartbeat_cycles != 0)]
        with m.Elif(self.fresh):
            m.d.sync += [left.eq(left - 1), self.fresh.eq(left != 1)]

        with m.If(arms):
            m.d.sync += [self.armed.eq(1), self.tripped.eq(0), self.cause.eq(0)]
        with m.If(self.disarm):
            m.d.sync += self.armed.eq(0)
        with m.If(self.trip):
            m.d.sync += [self.armed.eq(0), self.tripped.eq(1), self.cause.eq(causes)]
        return m


@dataclass
class InterlockModel:
    """Model of :class:`Interlock`, clock by clock. Attributes are the outputs in the present clock."""

    key: int = PROTOCOL_HASH
    window_cycles: int = ARM_WINDOW_CYCLES
    armed: bool = False
    tripped: bool = False
    cause: int = 0
    left: int = 0
    right: bool = False
    window: int = 0
    over: bool = False
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

    def trip(self, events: frozenset[str] = frozenset()) -> int:
        """Causes of the trip in this clock with these ``EVENTS``; 0: it does not trip."""
        present = events | {
            n for n, on in (("interlock_open", not self.closed), ("heartbeat_lost", not self.fresh)) if on
        }
        return sum(1 << TRIP_CAUSES[name] for name in present) if self.armed else 0

    def unlock_code(self, events: frozenset[str] = frozenset()) -> Code:
        """Why the first step is refused, or OK."""
        if not self.right:
            return Code.ARM_KEY
        if not self.closed:
            return Code.INTERLOCK_OPEN
        return Code.ARM_FAULT if events or self.trip(events) else Code.OK

    def arm_code(self, events: frozenset[str] = frozenset()) -> Code:
        """Why the second step is refused, or OK."""
        code = self.unlock_code(events)
        if code != Code.OK or self.window:
            return code
        return Code.ARM_WINDOW if self.over else Code.ARM_ORDER

    def clock(
        self,
        *,
        interlock_closed: bool,
        heartbeat_cycles: int,
        refresh: bool = False,
        unlock: bool = False,
        arm: bool = False,
        key: int = 0,
        disarm: bool = False,
        events: frozenset[str] = frozenset(),
    ) -> None:
        """One clock edge with these inputs before it; ``events`` holds names of ``EVENTS``."""
        unlocks = unlock and not (arm or disarm) and self.unlock_code(events) == Code.OK
        arms = arm and not (unlock or disarm) and self.arm_code(events) == Code.OK
        trip = self.trip(events)
        if unlocks:
            self.window, self.over = self.window_cycles, False
        elif unlock or arm or disarm or events or trip or not self.closed:
            self.window, self.over = 0, False
        elif self.window:
            self.window -= 1
            self.over = self.window == 0
        self.left = heartbeat_cycles if refresh or arms else min(max(self.left - 1, 0), heartbeat_cycles)
        if arms:
            self.armed, self.tripped, self.cause = True, False, 0
        if disarm:
            self.armed = False
        if trip:
            self.armed, self.tripped, self.cause = False, True, trip
        self.right = key == self.key
        self.loop = [interlock_closed, *self.loop[:-1]]
