"""I2C master: reads and writes one register of a sensor.

Timing after NXP UM10204 (I2C-bus specification, rev. 7), table 10: a period of SCL is 60 % low and 40 % high, set-up
and hold times of START and STOP are as long as a high phase or longer, and the bus is left free for a low phase.
With that split, Standard-mode (100 kHz) and Fast-mode (400 kHz) are both met.
"""

from __future__ import annotations

from collections.abc import Iterator

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .protocol.registers import I2C_STATES

I2C_SCL_HZ = 400_000
"""Fast-mode: the two-wire interfaces of the sensors that the host knows take it."""
STRETCH_S = 0.025
"""A slave that holds SCL low for longer than this is stuck (SMBus 3.1, tTIMEOUT at least 25 ms)."""
RECOVERY_CLOCKS = 9
"""Clocks after which a slave that was interrupted in a byte has let SDA go (UM10204, 3.1.16)."""
STATE_BITS = 3


class Op(enum.Enum, shape=2):
    """What the phase in which SCL is low prepares for the one in which it is high."""

    BIT = 0
    START = 1
    STOP = 2
    CLOCK = 3
    """A clock of the bus recovery."""


def events(target: int, register: int, value: int, *, read: bool, wide_register: bool, wide_value: bool) -> list[str]:
    """Model of one acknowledged transfer as a slave sees it.

    ``S`` is a START (or repeated one), ``P`` the STOP, ``w:..`` a byte that the master sends and ``r`` (``r/`` for the
    last one, which the master does not acknowledge) one that it receives.
    """
    head = [register >> 8] if wide_register else []
    body = [value >> 8 & 0xFF] if wide_value else []
    out = ["S", *[f"w:{b:02x}" for b in (target << 1, *head, register & 0xFF)]]
    if read:
        return [*out, "S", f"w:{target << 1 | 1:02x}", *["r"] * len(body), "r/", "P"]
    return [*out, *[f"w:{b:02x}" for b in (*body, value & 0xFF)], "P"]


def levels(sequence: list[str], answers: Iterator[int] | None = None) -> Iterator[tuple[int, int]]:
    """Model of the wires: (SCL, SDA) at every change of one of them, for :func:`events` that are all acknowledged.

    ``answers`` are the bytes that the slave sends.
    """
    received = answers or iter(())
    first = True
    for event in sequence:
        if event == "S":
            if not first:
                yield from ((0, 1), (1, 1))
            yield from ((1, 0), (0, 0))
        elif event == "P":
            yield from ((0, 0), (1, 0), (1, 1))
        else:
            byte = int(event[2:], 16) if event[0] == "w" else next(received)
            for bit in [byte >> (7 - i) & 1 for i in range(8)] + [int(event == "r/")]:
                yield from ((0, bit), (1, bit), (0, bit))
        first = False


class I2cMaster(wiring.Component):
    """One transfer at a time: ``start`` for a clock while not ``busy``, with the settings.

    Every wait is bounded: by ``stretch_clocks`` where a slave holds SCL low, by
    :data:`RECOVERY_CLOCKS` where one holds SDA low before the transfer. It is the bus' only master as a rule;
    another one that is there wins the arbitration, and the transfer ends as lost.

    Parameters
    ----------
    clock_hz : frequency of the clock.
    scl_hz : of SCL, at most; ValueError where the clock is too slow to see a bit settle.
    stretch_clocks : longest time that SCL may be held low by a slave; None: :data:`STRETCH_S`.

    Ports
    -----
    start, read : begin a transfer; ``read`` a register, else write ``value`` into it.
    target, register, value, wide_register, wide_value : slave's 7-bit address; the widths are 8 or (high) 16 bits.
    busy, state, result : ``state`` is one of ``I2C_STATES``; ``result`` what was read.
    scl_i, sda_i : the pins. scl_oe, sda_oe : pull the pin low; it is never driven high.
    """

    def __init__(self, clock_hz: int, scl_hz: int = I2C_SCL_HZ, stretch_clocks: int | None = None):
        period = -(-clock_hz // scl_hz)
        self.low = -(-3 * period // 10)
        """Clocks of half a low phase."""
        self.high = -(-period // 5)
        """Clocks of half a high phase."""
        if self.high < 4:
            raise ValueError(
                f"scl_hz = {scl_hz} is too quick for a clock of {clock_hz} Hz: take at most {clock_hz // 16}"
            )
        self.stretch = round(clock_hz * STRETCH_S) if stretch_clocks is None else stretch_clocks
        super().__init__(
            {
                "start": In(1),
                "read": In(1),
                "target": In(7),
                "wide_register": In(1),
                "wide_value": In(1),
                "register": In(16),
                "value": In(16),
                "busy": Out(1),
                "state": Out(STATE_BITS),
                "result": Out(16),
                "scl_i": In(1, init=1),
                "scl_oe": Out(1),
                "sda_i": In(1, init=1),
                "sda_oe": Out(1),
            }
        )

    SYNCHRONISER_CLOCKS = 2
    OVERHEAD_CLOCKS = 1
    """Clocks between ``busy`` and SDA falling, with a free bus."""

    def clocks(self, sequence: list[str]) -> int:
        """Clocks that a transfer of these :func:`events` keeps the master busy, if no slave stretches it."""
        bit = 2 * self.low + 2 * self.high + self.SYNCHRONISER_CLOCKS + 1
        total = self.OVERHEAD_CLOCKS + 2 * self.high
        for event in sequence[1:]:
            if event in ("S", "P"):
                total += 4 * self.low + self.SYNCHRONISER_CLOCKS + 1 + 2 * self.high
            else:
                total += 9 * bit
        return total

    def elaborate(self, platform):
        m = Module()
        scl, sda = Signal(init=1), Signal(init=1)
        m.submodules += [FFSynchronizer(self.scl_i, scl, init=1), FFSynchronizer(self.sda_i, sda, init=1)]

        longest = max(self.stretch, 2 * self.low, 2 * self.high)
        timer = Signal(range(longest + 1))
        elapsed = Signal()
        m.d.comb += elapsed.eq(timer == 0)
        with m.If(~elapsed):
            m.d.sync += timer.eq(timer - 1)

        def wait(clocks):
            m.d.sync += timer.eq(clocks - 1)

        settings = ("read", "target", "wide_register", "wide_value", "register", "value")
        now = {name: Signal.like(getattr(self, name), name=f"now_{name}") for name in settings}
        op = Signal(Op)
        byte, bits = Signal(8), Signal(range(9))
        receiving = Signal()
        step = Signal(range(8))
        recovery = Signal(range(RECOVERY_CLOCKS + 1))
        outcome = Signal(STATE_BITS)
        """What ``state`` becomes after the STOP."""
        more = Signal()
        """Another byte is to be received, so this one is acknowledged."""
        drive = Signal()
        """Level of SDA in the next high phase."""
        ninth = Signal()
        m.d.comb += [
            ninth.eq(bits == 8),
            drive.eq(Mux(ninth, ~receiving | ~more, receiving | byte[-1])),
        ]

        def finish(name):
            m.d.sync += [self.state.eq(I2C_STATES[name]), self.busy.eq(0), self.scl_oe.eq(0), self.sda_oe.eq(0)]
            m.next = "IDLE"

        def low(next_op):
            """Pull SCL low and prepare ``next_op``."""
            m.d.sync += [self.scl_oe.eq(1), op.eq(next_op)]
            wait(self.low)
            m.next = "LOW1"

        def send(value, next_step):
            m.d.sync += [byte.eq(value), bits.eq(0), receiving.eq(0), step.eq(next_step)]

        def stop(name):
            m.d.sync += outcome.eq(I2C_STATES[name])
            low(Op.STOP)

        # Steps, by what the byte that has just gone was.
        ADDRESS, REGISTER_HIGH, REGISTER_LOW, VALUE_HIGH, VALUE_LOW, AGAIN = range(6)
        m.d.comb += more.eq(step == VALUE_HIGH)

        def next_byte():
            with m.Switch(step):
                with m.Case(ADDRESS):
                    send(now["register"][8:], REGISTER_HIGH)
                    with m.If(~now["wide_register"]):
                        send(now["register"][:8], REGISTER_LOW)
                    low(Op.BIT)
                with m.Case(REGISTER_HIGH):
                    send(now["register"][:8], REGISTER_LOW)
                    low(Op.BIT)
                with m.Case(REGISTER_LOW):
                    with m.If(now["read"]):
                        low(Op.START)
                    with m.Else():
                        send(now["value"][8:], VALUE_HIGH)
                        with m.If(~now["wide_value"]):
                            send(now["value"][:8], VALUE_LOW)
                        low(Op.BIT)
                with m.Case(AGAIN):
                    m.d.sync += [bits.eq(0), receiving.eq(1), step.eq(Mux(now["wide_value"], VALUE_HIGH, VALUE_LOW))]
                    low(Op.BIT)
                with m.Case(VALUE_HIGH):
                    m.d.sync += [bits.eq(0), byte.eq(now["value"][:8]), step.eq(VALUE_LOW)]
                    low(Op.BIT)
                with m.Default():
                    stop("ok")

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [
                        *(now[name].eq(getattr(self, name)) for name in settings),
                        self.busy.eq(1),
                        self.state.eq(I2C_STATES["busy"]),
                        recovery.eq(RECOVERY_CLOCKS),
                        self.result.eq(0),
                    ]
                    wait(self.stretch)
                    m.next = "FREE"
            with m.State("FREE"):
                with m.If(scl):
                    with m.If(sda):
                        m.d.sync += self.sda_oe.eq(1)
                        send(Cat(0, now["target"]), ADDRESS)
                        wait(2 * self.high)
                        m.next = "HOLD"
                    with m.Elif(recovery != 0):
                        low(Op.CLOCK)
                    with m.Else():
                        finish("bus_stuck")
                with m.Elif(elapsed):
                    finish("clock_stuck")
            with m.State("LOW1"):
                with m.If(elapsed):
                    m.d.sync += self.sda_oe.eq((op == Op.STOP) | ((op == Op.BIT) & ~drive))
                    wait(self.low)
                    m.next = "LOW2"
            with m.State("LOW2"):
                with m.If(elapsed):
                    m.d.sync += self.scl_oe.eq(0)
                    wait(self.stretch)
                    m.next = "RISE"
            with m.State("RISE"):
                with m.If(scl):
                    wait(self.high)
                    m.next = "HIGH1"
                    with m.If(op == Op.START):
                        wait(2 * self.low)
                        m.next = "SETUP"
                    with m.Elif((op == Op.STOP) | (op == Op.CLOCK)):
                        wait(2 * self.high)
                        m.next = "SETUP"
                with m.Elif(elapsed):
                    finish("clock_stuck")
            with m.State("HIGH1"):
                with m.If(elapsed):
                    wait(self.high)
                    m.next = "HIGH2"
                    with m.If(~ninth):
                        m.d.sync += byte.eq(Cat(sda, byte[:-1]))
                    with m.If(drive & ~sda & ~receiving & ~ninth):
                        finish("arbitration_lost")
                    with m.Elif(ninth & receiving & drive & ~sda):
                        finish("arbitration_lost")
                    with m.If(ninth & ~receiving):
                        # Kept for the end of the bit: acknowledged or not.
                        m.d.sync += byte[0].eq(sda)
            with m.State("HIGH2"):
                with m.If(elapsed):
                    with m.If(~ninth):
                        m.d.sync += bits.eq(bits + 1)
                        low(Op.BIT)
                    with m.Elif(~receiving & byte[0]):
                        stop("nack_data")
                        with m.If((step == ADDRESS) | (step == AGAIN)):
                            stop("nack_address")
                    with m.Else():
                        with m.If(receiving):
                            m.d.sync += self.result.eq(Cat(byte, self.result[:8]))
                        next_byte()
            with m.State("SETUP"):
                with m.If(elapsed):
                    wait(2 * self.high)
                    with m.Switch(op):
                        with m.Case(Op.START):
                            m.d.sync += self.sda_oe.eq(1)
                            send(Cat(1, now["target"]), AGAIN)
                            m.next = "HOLD"
                            with m.If(~sda):
                                stop("bus_stuck")
                        with m.Case(Op.STOP):
                            m.d.sync += self.sda_oe.eq(0)
                            wait(2 * self.low)
                            m.next = "STOPPED"
                        with m.Default():
                            m.d.sync += recovery.eq(recovery - 1)
                            with m.If(sda):
                                # A STOP ends whatever the slave thought was under way.
                                stop("busy")
                            with m.Elif(recovery == 1):
                                finish("bus_stuck")
                            with m.Else():
                                low(Op.CLOCK)
            with m.State("HOLD"):
                with m.If(elapsed):
                    low(Op.BIT)
            with m.State("STOPPED"):
                with m.If(elapsed):
                    m.next = "IDLE"
                    with m.If(~sda):
                        finish("bus_stuck")
                    with m.Elif(outcome == I2C_STATES["busy"]):
                        # The bus was recovered; now the transfer.
                        wait(self.stretch)
                        m.next = "FREE"
                    with m.Else():
                        m.d.sync += [self.state.eq(outcome), self.busy.eq(0)]
        return m
