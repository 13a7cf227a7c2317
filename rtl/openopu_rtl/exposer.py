"""Exposer: shows a pattern, lets it settle, and exposes the camera once."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .monitor import UNITY, WEIGHT_BITS
from .shapes import EXPOSED, LOADED

_STATE_CLOCKS = 4
"""From the clock in which a pattern is seen to be on show to its exposure, beside settling."""


class Exposer(wiring.Component):
    """One shot at a time. ``grant`` toggles to let the panel take the next frame, ``latched`` (in this
    clock domain) toggles when it has.

    A shot is exposed when the panel has settled, the laser's power is set (``analog_ready``), the photodiode's reading
    of the shot before it is there (``monitor_pending`` is low; ``begins`` starts the next one in the clock before the
    trigger rises), no fault is being realigned, the readout before it will have ended by the end of this exposure
    (``readout_cycles`` after the end of the one before; all ones: its time is not known, and it must have ended,
    ``none_due``), and, for the first shot of a projection, an accumulator set is free (both for raw readouts, which
    have one buffer). Each wait has its counter.

    A panel that makes no progress for ``panel_timeout`` (``panel_progress`` is low so long while its pattern is
    waited for) has stalled: ``flush`` empties everything on the way to it, and until that has been
    done (``flushed``) and nothing is left to show, shots are skipped: they take their ID, and their
    projections fail. So do those of shots that wait for a camera that was given up (``hopeless``).
    ``panel_underrun`` pulses when a video frame has lacked pixels; if that is one of a
    shot's, or is sent while it is exposed, its projection fails too.

    Some panels show a pattern for a while only: ``showing_cycles`` counts down how long this one surely
    stays; all ones: until it is replaced. An exposure that no longer fits has ``missed`` the pattern, and
    ``grant`` toggles again: the panel shows it once more. A shot whose settling and exposure do not fit
    even from the start is skipped, and its projection fails.
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(LOADED)),
                "grant": Out(1),
                "latched": In(1),
                "panel_progress": In(1),
                "panel_timeout": In(32),
                "panel_underrun": In(1),
                "showing_cycles": In(32),
                "flush": Out(1),
                "flushed": In(1),
                "stalled": Out(1),
                "missed": Out(1),
                "id_set": In(1),
                "id_value": In(32),
                "readout_cycles": In(32),
                "none_due": In(1),
                "raw": In(1),
                "analog_ready": In(1),
                "begins": Out(1),
                "monitor_pending": In(1),
                "normalise": In(1),
                "weight": In(WEIGHT_BITS),
                "resync": In(1),
                "hopeless": In(1),
                "release": In(1),
                "release_set": In(1),
                "trigger": Out(1),
                "exposure_id": Out(32),
                "busy": Out(1),
                "exposing": Out(1),
                "claim": Out(1),
                "claim_id": Out(32),
                "set": Out(1),
                "ended": Out(1),
                "o": Out(stream.Signature(EXPOSED, always_ready=True)),
                "waits_pattern": Out(1),
                "settles": Out(1),
                "waits_camera": Out(1),
                "waits_results": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        now = Signal(LOADED)
        latched = Signal()
        counter = Signal(32)
        readout_left = Signal(32)
        """Clocks until the camera may end an exposure again."""
        untimed = Signal(init=1)
        """How long the readout takes was not known when it began."""
        next_id = Signal(32)
        free = Signal(2, init=0b11)
        set_ready = Signal()
        underrun, unfit, fits = Signal(), Signal(), Signal()
        stays, needed = Signal(), Signal(34)
        m.d.comb += [
            stays.eq(self.showing_cycles.all()),
            fits.eq(stays | (now.shot.exposure_cycles < self.showing_cycles)),
        ]
        m.d.sync += needed.eq(now.shot.settle_cycles + now.shot.exposure_cycles + _STATE_CLOCKS)
        with m.If(self.panel_underrun):
            m.d.sync += underrun.eq(1)
        m.d.comb += [
            self.busy.eq(1),
            self.claim_id.eq(next_id),
            set_ready.eq(~now.first | Mux(self.raw, free.all(), free.bit_select(self.set, 1))),
            self.o.p.bank.eq(now.shot.bank),
            self.o.p.negative.eq(now.shot.negative),
            self.o.p.shift.eq(now.shot.shift),
            self.o.p.last.eq(now.last),
            self.o.p.fresh.eq(now.fresh),
            self.o.p.set.eq(self.set),
            self.o.p.invalid.eq(now.invalid),
            self.o.p.late.eq(now.late),
            self.o.p.weight.eq(Mux(self.normalise & ~now.invalid, self.weight, UNITY)),
            self.o.p.underrun.eq(underrun | self.panel_underrun),
            self.o.p.unfit.eq(unfit),
        ]
        # Decided a clock ahead, to keep what it depends on off the paths behind it. A shot is READY or skipped two
        # clocks after it came at the soonest; meanwhile none of this gets worse but by a fault in that very clock,
        # which ends the shot's projection all the same.
        readout_in_time, may_skip, may_expose = Signal(), Signal(), Signal()
        shortest = Signal()
        last_clock = Signal()
        m.d.sync += [
            shortest.eq(now.shot.exposure_cycles <= 1),
            readout_in_time.eq(readout_left <= now.shot.exposure_cycles),
            may_skip.eq(set_ready & self.none_due & (~self.resync | self.hopeless)),
            may_expose.eq(
                set_ready
                & self.analog_ready
                & ~self.monitor_pending
                & ~self.resync
                & Mux(untimed, self.none_due, readout_in_time)
            ),
        ]
        with m.If(readout_left != 0):
            m.d.sync += readout_left.eq(readout_left - 1)
        m.d.sync += free.eq(
            (free | Cat(self.release & ~self.release_set, self.release & self.release_set))
            & ~Cat(self.claim & ~self.set, self.claim & self.set)
        )
        with m.If(self.id_set):
            m.d.sync += next_id.eq(self.id_value)
        with m.If(self.flush):
            m.d.sync += [self.grant.eq(0), latched.eq(0)]
            with m.If(self.flushed & ~self.busy):
                m.d.sync += self.flush.eq(0)

        # High in the state EXPOSE alone.
        m.d.comb += [self.ended.eq(last_clock), self.o.valid.eq(last_clock)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.busy.eq(self.i.valid), self.i.ready.eq(1), self.waits_pattern.eq(1)]
                with m.If(self.i.valid):
                    m.d.sync += [now.eq(self.i.p), counter.eq(self.panel_timeout), underrun.eq(0), unfit.eq(0)]
                    m.next = "CONSIDER"
                    with m.If(~self.flush):
                        m.d.sync += self.grant.eq(~self.grant)
                        m.next = "LATCH"
            with m.State("LATCH"):
                m.d.comb += [self.waits_pattern.eq(1)]
                m.d.sync += counter.eq(Mux(self.panel_progress, self.panel_timeout, counter - 1))
                with m.If(self.latched != latched):
                    m.d.sync += [latched.eq(self.latched), counter.eq(now.shot.settle_cycles)]
                    m.next = "SETTLE"
                    with m.If(~stays & (needed > self.showing_cycles)):
                        m.d.sync += unfit.eq(1)
                        m.next = "SKIP"
                with m.Elif(counter == 0):
                    m.d.comb += self.stalled.eq(1)
                    m.d.sync += self.flush.eq(1)
                    m.next = "SKIP"
            with m.State("CONSIDER"):
                m.next = "SKIP"
            with m.State("SKIP"):
                # As a shot that was exposed, but for the exposure; its projection still needs a set of accumulators.
                m.d.comb += self.waits_results.eq(~set_ready)
                with m.If(may_skip):
                    m.d.comb += [self.claim.eq(now.first), self.o.valid.eq(1), self.o.p.skipped.eq(1)]
                    m.d.sync += next_id.eq(next_id + 1)
                    m.next = "IDLE"
                    with m.If(now.last):
                        m.d.sync += self.set.eq(~self.set)
            with m.State("SETTLE"):
                m.d.comb += [self.exposing.eq(1), self.settles.eq(1)]
                m.d.sync += counter.eq(counter - 1)
                with m.If(counter <= 1):
                    m.next = "READY"
            with m.State("READY"):
                m.d.comb += [
                    self.exposing.eq(1),
                    self.waits_results.eq(~set_ready),
                    self.waits_camera.eq(set_ready),
                ]
                with m.If(may_expose & fits):
                    m.d.comb += [self.claim.eq(now.first), self.begins.eq(1)]
                    m.d.sync += [
                        self.trigger.eq(1),
                        self.exposure_id.eq(next_id),
                        next_id.eq(next_id + 1),
                        counter.eq(Mux(shortest, 1, now.shot.exposure_cycles)),
                        last_clock.eq(shortest),
                    ]
                    m.next = "EXPOSE"
                with m.Elif(self.hopeless):
                    m.next = "SKIP"
                with m.Elif(~fits):
                    m.d.comb += self.missed.eq(1)
                    m.d.sync += [self.grant.eq(~self.grant), counter.eq(self.panel_timeout)]
                    m.next = "LATCH"
            with m.State("EXPOSE"):
                m.d.comb += self.exposing.eq(1)
                m.d.sync += [counter.eq(counter - 1), last_clock.eq(counter == 2)]
                with m.If(last_clock):
                    m.d.sync += [self.trigger.eq(0), readout_left.eq(self.readout_cycles)]
                    m.d.sync += untimed.eq(self.readout_cycles.all())
                    m.next = "IDLE"
                    with m.If(now.last):
                        m.d.sync += self.set.eq(~self.set)
        return m
