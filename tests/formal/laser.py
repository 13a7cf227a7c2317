"""Proofs of the laser's safety."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Signal
from openopu_rtl.interlock import EVENT_CLOCKS, EVENTS, SYNCHRONISER_CLOCKS, Interlock
from openopu_rtl.spi.mcp4921 import MCP4921_CONFIG, MCP4921_WORD_BITS, Mcp4921
from openopu_rtl.watchdog import ExposureWatchdog
from prover import Bench, Mutant, Proof, implies

KEY = 0xC0DE1234
WINDOW = 1 << 24
"""As built: an inductive proof does not count its clocks."""


def interlock(b: Bench) -> tuple[Interlock, Signal, Signal, Signal]:
    """An interlock, whether an event is present, and the two strokes of a rightful arming as the law has them.

    The window of the law is counted by itself: clocks since the last rightful first step, WINDOW + 1 after
    anything that closes it.
    """
    dut = b.add(Interlock(key=KEY, window_cycles=WINDOW))
    event, right, first, second = (Signal(name=n) for n in ("event", "right", "first_step", "second_step"))
    age = Signal(range(WINDOW + 2), init=WINDOW + 1)
    b.m.d.comb += [
        event.eq(dut.link_reset | dut.over_power | dut.sequencer_fault),
        right.eq(b.past(dut.key == KEY) & dut.closed & ~event & ~dut.disarm & ~dut.trip & ~(dut.unlock & dut.arm)),
        first.eq(dut.unlock & right),
        second.eq(dut.arm & right & (age <= WINDOW)),
    ]
    closes = dut.unlock | dut.arm | dut.disarm | event | dut.trip | ~dut.closed
    with b.m.If(first):
        b.m.d.sync += age.eq(1)
    with b.m.Elif(closes):
        b.m.d.sync += age.eq(WINDOW + 1)
    with b.m.Elif(age <= WINDOW):
        b.m.d.sync += age.eq(age + 1)
    window = b.inside(dut, "window")
    b.claim(window == WINDOW + 1 - age)
    b.claim(dut.fresh == (b.inside(dut, "left") != 0))
    b.claim(b.inside(dut, "right") == b.past(dut.key == KEY))
    return dut, event, first, second


def enable(b: Bench) -> None:
    dut, _, _, second = interlock(b)
    earned = Signal(name="armed_in_two_steps")
    with b.m.If(second):
        b.m.d.sync += earned.eq(1)
    b.claim(implies(dut.laser_on, dut.armed & dut.closed & dut.fresh & ~dut.tripped))
    b.claim(implies(dut.laser_on, earned))
    b.claim(implies(dut.armed, earned & ~dut.tripped))


def latch(b: Bench) -> None:
    dut, _, _, second = interlock(b)
    held = b.past(dut.tripped & ~second)
    b.claim(implies(held, dut.tripped & (dut.cause == b.past(dut.cause))))
    b.claim(implies(b.past(dut.trip), dut.tripped & ~dut.armed & dut.cause.any()))
    b.claim(implies(dut.tripped, ~dut.armed & dut.cause.any()))


def arming(b: Bench) -> None:
    dut, _, _, second = interlock(b)
    before = b.past(dut.armed)
    b.claim(implies(dut.armed & ~before, b.past(second)))
    # A right second step does arm: the law is not kept by never arming.
    b.claim(implies(b.past(second), dut.armed))
    # An answer of OK is no lie, and a refusal is one.
    b.claim(implies(dut.arm & ~dut.unlock & ~dut.disarm, (dut.arm_code == 0) == second))


def cut_off(b: Bench) -> None:
    dut, event, _, _ = interlock(b)
    opened = b.since(dut.interlock_closed, 8, "opened")
    # In the first clock of an open loop `opened` is 1, and so many edges have passed when it is one more.
    b.claim(implies(opened > SYNCHRONISER_CLOCKS, ~dut.laser_on & ~dut.closed))
    assert EVENT_CLOCKS == 1
    b.claim(implies(b.past(event), ~dut.laser_on))
    b.claim(implies(b.past(dut.disarm), ~dut.laser_on))


def heartbeat(b: Bench) -> None:
    dut, _, _, second = interlock(b)
    cycles = b.constant(32, "heartbeat")
    b.assume(dut.heartbeat_cycles == cycles)
    silent = Signal(33, init=(1 << 33) - 1)
    """Clocks since a packet, or the arming."""
    with b.m.If(dut.refresh | second):
        b.m.d.sync += silent.eq(0)
    with b.m.Elif(~silent.all()):
        b.m.d.sync += silent.eq(silent + 1)
    b.claim(implies(dut.fresh, silent < cycles))
    b.claim(implies(dut.laser_on, silent < cycles))
    left = b.inside(dut, "left")
    b.claim(left == Mux(silent < cycles, cycles - silent, 0)[:32])


def watchdog(b: Bench) -> None:
    dut = b.add(ExposureWatchdog())
    taken, limit, high = Signal(32), Signal(32), Signal(33)
    """Exposure of the shot taken last and of the one exposed; clocks for which the trigger has been high."""
    before = Signal(33)
    b.m.d.sync += before.eq(high)
    b.m.d.comb += high.eq(Mux(dut.trigger, Mux(before.all(), before, before + 1), 0))
    with b.m.If(dut.take):
        b.m.d.sync += taken.eq(Mux(dut.exposure_cycles == 0, 1, dut.exposure_cycles))
    allowed = Signal(32)
    b.m.d.comb += allowed.eq(Mux(high == 1, taken, limit))
    b.m.d.sync += limit.eq(allowed)
    b.claim(dut.fault == (dut.trigger & (high > allowed)))
    left = b.inside(dut, "left")
    b.claim(b.inside(dut, "taken") == taken)
    b.claim(b.inside(dut, "before") == (before != 0))
    b.claim(b.inside(dut, "any_taken") == (taken != 0))
    b.claim(b.inside(dut, "shortest") == (taken <= 1))
    b.claim(b.inside(dut, "spent") == (left == 0))
    b.claim(implies(before != 0, left == Mux(limit >= before, limit - before, 0)[:32]))


def dac(b: Bench, clock_hz: int) -> None:
    """With the part's view of the pins: a word is shifted in at rising clocks and taken as /CS rises."""
    dut = b.add(Mcp4921(clock_hz))
    m, bits, word_clocks = b.m, MCP4921_WORD_BITS, dut.word_clocks
    received = Signal(bits)
    count = Signal(range(bits + 1))
    part = Signal(12, init=0xFFF)
    sck_before, cs_before = b.past(dut.sck), b.past(dut.cs_n, init=1)
    with m.If(dut.cs_n):
        m.d.sync += [received.eq(0), count.eq(0)]
    with m.Elif(dut.sck & ~sck_before):
        m.d.sync += [received.eq(Cat(dut.sdi, received)), count.eq(count + 1)]
    taken = Signal(12)
    m.d.comb += taken.eq(Mux(dut.cs_n & ~cs_before, received, part))
    m.d.sync += part.eq(taken)

    zero, dark = Signal(range(4 * word_clocks)), Signal(range(4 * word_clocks))
    """Clocks for which the code has been zero, this one included."""
    m.d.comb += dark.eq(Mux(dut.code == 0, Mux(zero.all(), zero, zero + 1), 0))
    m.d.sync += zero.eq(dark)
    b.claim(implies(dark > dut.dark_clocks, taken == 0))

    # What makes it inductive: what is left of the word, and what the part has of it.
    low, high, gap = dut._low, dut._high, dut._gap
    left, timer, shift = b.inside(dut, "bits"), b.inside(dut, "timer"), b.inside(dut, "shift")
    sending, held, known = b.inside(dut, "sending"), b.inside(dut, "held"), b.inside(dut, "known")
    idle, is_low, is_high, hold, pause = (b.state(dut, n) for n in ("IDLE", "LOW", "HIGH", "HOLD", "GAP"))
    rest = Signal(range(2 * word_clocks))
    with m.If(is_low):
        m.d.comb += rest.eq(timer + 1 + high + left * (low + high) + low + gap)
    with m.Elif(is_high):
        m.d.comb += rest.eq(timer + 1 + left * (low + high) + low + gap)
    with m.Elif(hold):
        m.d.comb += rest.eq(timer + 1 + gap)
    with m.Elif(pause):
        m.d.comb += rest.eq(timer + 1)
    word = Signal(bits)
    m.d.comb += word.eq(Cat(sending, Const(MCP4921_CONFIG, 4)))
    selected = is_low | is_high | hold
    b.claim(idle | selected | pause)
    b.claim(dut.cs_n == ~selected)
    b.claim(dut.sck == is_high)
    b.claim(implies(is_low | hold, timer < low) & implies(is_high, timer < high) & implies(pause, timer < gap))
    begun = (bits - 1 - left)[: len(count)]
    b.claim(implies(is_low, count == begun) & implies(is_high, count == begun + (timer != high - 1)))
    b.claim(implies(hold, (count == bits) & (left == bits - 1)))
    b.claim(implies(is_low | is_high, shift == (word << begun)[:bits]) & implies(hold, dut.sdi == word[0]))
    b.claim(implies(selected, received == word >> (bits - count)[: len(count)]))
    b.claim(implies(is_low, sck_before == ((left != bits - 1) & (timer == low - 1))))
    b.claim(implies(~selected, ~sck_before) & implies(is_high, sck_before == (timer != high - 1)))
    b.claim(implies(hold, sck_before == (timer == low - 1)))
    b.claim(implies(idle & known | pause, (held == taken) & known) & implies(selected & known, held == part))
    b.claim(implies(pause, held == sending))
    b.claim(cs_before == (idle | pause & (timer != gap - 1) | is_low & (left == bits - 1) & (timer == low - 1)))
    b.claim(implies(selected & (sending != 0), zero + rest <= word_clocks))
    b.claim(implies((idle | pause) & ~(known & (held == 0)), zero + rest <= word_clocks))
    b.claim(implies(selected & (sending == 0) & ~(known & (held == 0)), zero + rest <= 2 * word_clocks))


PROOFS = [
    Proof(
        "laser-enable",
        "The enable implies armed, loop closed, heartbeat fresh, not tripped, and that both steps were taken.",
        enable,
        (
            Mutant("interlock.py", "self.laser_on.eq(self.armed & self.closed &", "self.laser_on.eq(self.armed &"),
            Mutant("interlock.py", "over, Code.ARM_WINDOW, Code.ARM_ORDER", "over, Code.ARM_WINDOW, Code.OK"),
        ),
        depth=2,
        fast=True,
    ),
    Proof(
        "laser-latch",
        "A trip disarms and stays, with its causes, until both steps are taken again.",
        latch,
        (Mutant("interlock.py", "self.armed.eq(0), self.tripped.eq(1)", "self.tripped.eq(1)"),),
        depth=2,
        fast=True,
    ),
    Proof(
        "laser-arming",
        "It arms by two steps with the key within the window and in no other way, and answers truly.",
        arming,
        (
            Mutant("interlock.py", "right.eq(self.key == self._key)", "right.eq(self.key[1:] == self._key >> 1)"),
            Mutant("interlock.py", "self.unlock | self.arm | self.disarm | amiss", "self.unlock | self.arm | amiss"),
        ),
        depth=2,
        fast=True,
    ),
    Proof(
        "laser-cut-off",
        f"The enable is low {SYNCHRONISER_CLOCKS} clocks after the loop opened at its pin, {EVENT_CLOCKS} after "
        f"{', '.join(EVENTS)} or disarming.",
        cut_off,
        (
            Mutant("interlock.py", "stages=SYNCHRONISER_CLOCKS", "stages=SYNCHRONISER_CLOCKS + 1"),
            Mutant(
                "interlock.py", "self.trip.eq(self.armed & causes.any())", "self.trip.eq(self.armed & causes[:4].any())"
            ),
        ),
        depth=12,
        fast=True,
    ),
    Proof(
        "laser-heartbeat",
        "The enable is low as soon as no packet came for heartbeat_cycles.",
        heartbeat,
        (Mutant("interlock.py", "left.eq(left - 1)", "left.eq(left - self.fresh + self.unlock)"),),
        depth=2,
        fast=True,
    ),
    Proof(
        "laser-dac",
        "The DAC holds zero at most dark_clocks after its code became zero (10 MHz).",
        lambda b: dac(b, 10_000_000),
        (
            Mutant("spi/mcp4921.py", "~known | (held != self.code)", "~known | (held[1:] != self.code[1:])"),
            Mutant("spi/mcp4921.py", "held.eq(sending), known.eq(1)", "held.eq(self.code), known.eq(1)"),
        ),
        depth=2,
        reach=80,
    ),
    *(
        Proof(f"laser-dac-{mhz}", f"The same at {mhz} MHz.", lambda b, mhz=mhz: dac(b, mhz * 1_000_000), (), depth=2)
        for mhz in (48, 100)
    ),
    Proof(
        "exposure-watchdog",
        "The fault is there in exactly those clocks in which the trigger is high for longer than the shot says.",
        watchdog,
        (Mutant("watchdog.py", "spent.eq(left == 1)", "spent.eq(left == 0)"),),
        depth=2,
        fast=True,
    ),
]
