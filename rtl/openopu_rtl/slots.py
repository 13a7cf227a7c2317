"""Slot tracker: which plane of a packed video frame the panel shows, and how long it will, from its trigger."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .shapes import PLANES

CYCLES_BITS = 24
"""A slot of 2**24 cycles or more is no slot."""
MARGIN_CYCLES = 16
"""Jitter between the panel's clock and ours that is allowed for, beside 1/64 of the slot."""


class SlotTracker(wiring.Component):
    """The panel raises ``trigger`` while it shows a plane. The first trigger after the vertical sync begins plane 0.

    A lost or spurious edge must not shift the numbers after it. So a video frame is watched first: if it
    had ``PLANES`` triggers, evenly spaced, then ``locked``, and each trigger of the frames after it must
    come within 1/8 of a slot of when it came then. One that does not ends the lock until a whole frame was
    right again.

    ``begins`` pulses with ``slot`` where a slot begins while locked. ``showing_cycles`` counts down from
    the shortest length seen (less a margin) to the slot's end: so long at least will the plane be shown.
    ``cut`` pulses where the panel ended a slot sooner. ``length_cycles`` is what it begins from.
    Both inputs are synchronous to ``sync``.
    """

    def __init__(self):
        super().__init__(
            {
                "vsync": In(1),
                "trigger": In(1),
                "frame": Out(1),
                "begins": Out(1),
                "slot": Out(range(PLANES)),
                "locked": Out(1),
                "showing_cycles": Out(CYCLES_BITS),
                "length_cycles": Out(CYCLES_BITS),
                "cut": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        largest = (1 << CYCLES_BITS) - 1
        vsync_before, trigger_before = Signal(), Signal()
        rises, falls = Signal(), Signal()
        m.d.sync += [vsync_before.eq(self.vsync), trigger_before.eq(self.trigger)]
        m.d.comb += [
            self.frame.eq(self.vsync & ~vsync_before),
            rises.eq(self.trigger & ~trigger_before),
            falls.eq(~self.trigger & trigger_before),
        ]
        since, width = Signal(CYCLES_BITS), Signal(CYCLES_BITS)
        count = Signal(range(PLANES + 2))
        m.d.sync += [
            since.eq(Mux(self.frame | rises, 0, since + (since != largest))),
            width.eq(Mux(rises, 0, width + (width != largest))),
        ]
        with m.If(self.frame):
            m.d.sync += count.eq(rises)
        with m.Elif(rises & (count != PLANES + 1)):
            m.d.sync += count.eq(count + 1)

        # What this frame was like.
        first, shortest, longest = Signal(CYCLES_BITS), Signal(CYCLES_BITS), Signal(CYCLES_BITS)
        narrowest = Signal(CYCLES_BITS, init=largest)
        with m.If(rises):
            with m.If(count == 0):
                m.d.sync += [first.eq(since), shortest.eq(largest), longest.eq(0)]
            with m.Else():
                m.d.sync += [
                    shortest.eq(Mux(since < shortest, since, shortest)),
                    longest.eq(Mux(since > longest, since, longest)),
                ]
        with m.If(falls & (width < narrowest)):
            m.d.sync += narrowest.eq(width)

        # What it should have been like.
        delay, period, tolerance = Signal(CYCLES_BITS), Signal(CYCLES_BITS), Signal(CYCLES_BITS)
        expected, error = Signal(CYCLES_BITS), Signal(CYCLES_BITS)
        m.d.comb += [
            tolerance.eq(period >> 3),
            expected.eq(Mux(count == 0, delay, period)),
            error.eq(Mux(since > expected, since - expected, expected - since)),
        ]
        with m.If(self.showing_cycles != 0):
            m.d.sync += self.showing_cycles.eq(self.showing_cycles - 1)
        with m.If(rises & self.locked):
            with m.If((error <= tolerance) & (count < PLANES)):
                m.d.comb += [self.begins.eq(1), self.slot.eq(count)]
                m.d.sync += self.showing_cycles.eq(self.length_cycles)
            with m.Else():
                m.d.sync += [self.locked.eq(0), self.showing_cycles.eq(0)]
        with m.If(falls & (self.showing_cycles != 0)):
            m.d.comb += self.cut.eq(1)
            m.d.sync += self.showing_cycles.eq(0)
        with m.If(self.frame):
            m.d.sync += [
                self.locked.eq((count == PLANES) & (longest - shortest <= (shortest >> 3)) & (longest != largest)),
                delay.eq(first),
                period.eq(shortest),
                narrowest.eq(largest),
            ]
            with m.If(narrowest > 2 * MARGIN_CYCLES):
                m.d.sync += self.length_cycles.eq(narrowest - (narrowest >> 6) - MARGIN_CYCLES)
            with m.Else():
                m.d.sync += self.length_cycles.eq(0)
        return m
