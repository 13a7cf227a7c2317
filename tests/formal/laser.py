"""Proofs of the laser's safety."""

from __future__ import annotations

from amaranth.hdl import Mux, Signal
from openopu_rtl.interlock import EVENT_CLOCKS, EVENTS, SYNCHRONISER_CLOCKS, Interlock
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
        right.eq((dut.key == KEY) & dut.closed & ~event & ~dut.disarm & ~dut.trip & ~(dut.unlock & dut.arm)),
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
    b.claim(implies(before != 0, left == Mux(limit >= before, limit - before, 0)[:32]))


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
            Mutant("interlock.py", "self.key != self._key,", "self.key[1:] != self._key >> 1,"),
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
            Mutant("interlock.py", "self.trip.eq(self.armed & causes.any())", "self.trip.eq(self.armed & causes[:4].any())"),
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
        "exposure-watchdog",
        "The fault is there in exactly those clocks in which the trigger is high for longer than the shot says.",
        watchdog,
        (Mutant("watchdog.py", "left.eq(taken - 1)", "left.eq(taken)"),),
        depth=2,
        fast=True,
    ),
]
