"""Frame matcher: gives every frame to its exposure, or says why it cannot."""

from __future__ import annotations

from amaranth import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from .accumulator import Accumulator
from .binner import Binner
from .normaliser import Normaliser
from .protocol.errors import Code
from .protocol.geometry import Geometry
from .shapes import ENDED, EXPOSED, camera_word
from .spi.common import ADC_BITS

_DRAIN_CLOCKS = 1 + Binner.LATENCY + Normaliser.LATENCY + Accumulator.LATENCY
"""Until the last pixel's bin has been accumulated."""

_READINGS = 4
"""Exposures whose reading may wait: one being read out, two due, one just begun."""

MATCH_MARGIN_CLOCKS = 8
"""Jitter of a readout between two asynchronous clocks that is allowed for, beside 1/256 of its length."""

_ROUNDS = 8
"""Times ``timeout`` after which a camera that is never silent is given up."""


class FrameMatcher(wiring.Component):
    """Matches frames with exposures in order.

    A frame must begin after its exposure has ended (``in_frame`` is FVAL, synchronised), and end before the
    next one does, within ``timeout``, and (``timed``) as long after its exposure as the frame before it did, but for
    the margin (1/256 of that, :data:`MATCH_MARGIN_CLOCKS` and ``jitter``): another time means another frame. It must
    have its lines and pixels; one that has not may be a part, whose other part is still to come. Whatever else happens
    (a frame too many, none, one too soon or too late, one malformed) makes it impossible to know whose the next
    frame is: every projection under way fails, frames are discarded until the camera has been silent for
    ``silence``, and no exposure begins meanwhile (``resync``). A frame that only lost pixels on its way
    (``overflow``) fails its projection alone.

    A projection is kept after its last frame until the next one begins on time, or until none has begun for the
    camera's delay and an eighth of a readout, since that frame and since the next exposure's end: a frame at another
    time shows that the last one was not the one that was due. Meanwhile frames are taken as ever. A camera that is
    not silent for ``_ROUNDS`` times ``timeout`` is given up (``hopeless``) until it is.

    Every exposure also has a reading of the photodiode (``reading_stb``), in the same order, before the next exposure
    begins. It is put out with ``monitor_we`` when its frame is done with; a skipped shot's is 0.

    ``readout_cycles`` is how long the last readout took, from the end of the exposure to the end of the
    frame; ``readout_known`` falls when it may no longer hold.
    ``none_due``: every frame has come.
    """

    def __init__(self, geometry: Geometry, drain_clocks: int = _DRAIN_CLOCKS):
        self.geometry = geometry
        self.drain_clocks = drain_clocks
        super().__init__(
            {
                "i": In(stream.Signature(camera_word(geometry), always_ready=True)),
                "exposed": In(stream.Signature(EXPOSED, always_ready=True)),
                "claim": In(1),
                "claim_set": In(1),
                "claim_id": In(32),
                "exposure_ended": In(1),
                "trigger": In(1),
                "laser_on": In(1),
                "reading": In(ADC_BITS),
                "reading_stb": In(1),
                "monitor_we": Out(1),
                "monitor_set": Out(1),
                "monitor_number": Out(range(geometry.shot_depth)),
                "monitor": Out(ADC_BITS),
                "timestamp": In(32),
                "timeout": In(32),
                "silence": In(32),
                "timed": In(1, init=1),
                "jitter": In(32),
                "in_frame": In(1),
                "accumulator_saturated": In(1),
                "busy": Out(1),
                "resync": Out(1),
                "hopeless": Out(1),
                # To binner and accumulator.
                "pixel": Out(geometry.pixel_bits),
                "pixel_valid": Out(1),
                "pixel_first": Out(1),
                "shot": Out(EXPOSED),
                "o": Out(stream.Signature(ENDED)),
                "readout_cycles": Out(32),
                "readout_known": Out(1),
                "none_due": Out(1),
                # Events.
                "frame": Out(1),
                "missing": Out(1),
                "extra": Out(1),
                "early": Out(1),
                "late": Out(1),
                "malformed": Out(1),
                "overflow": Out(1),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Exposures whose frame is due: one being read out, one just ended.
        m.submodules.due = due = SyncFIFOBuffered(width=EXPOSED.size, depth=2)
        exposed = data.View(EXPOSED, due.r_data)
        m.d.comb += [due.w_data.eq(self.exposed.payload), due.w_en.eq(self.exposed.valid)]

        open_sets = Signal(2)
        status = Array(Signal(8, name=f"status{i}") for i in range(2))
        laser_on = Array(Signal(name=f"laser_on{i}") for i in range(2))
        held = Array(Signal(name=f"held{i}") for i in range(2))
        used = Array(Signal(2, name=f"used{i}") for i in range(2))
        first_id = Array(Signal(32, name=f"first_id{i}") for i in range(2))
        shot = self.shot
        since_exposure, quiet, hold = Signal(32), Signal(32), Signal(32)
        drain = Signal(range(self.drain_clocks))
        end_time = Signal(32)
        kept, decided, kept_set = Signal(), Signal(), Signal()
        kept_time, kept_monitor = Signal(32), Signal(ADC_BITS)
        word = self.i.p

        m.submodules.readings = readings = SyncFIFOBuffered(width=ADC_BITS, depth=_READINGS)
        number = Signal(range(self.geometry.shot_depth))
        m.d.comb += [
            readings.w_data.eq(self.reading),
            readings.w_en.eq(self.reading_stb),
            readings.r_en.eq(self.monitor_we & ~shot.skipped),
            self.monitor_set.eq(shot.set),
            self.monitor_number.eq(number),
            self.monitor.eq(Mux(shot.skipped, 0, readings.r_data)),
        ]
        with m.If(self.monitor_we):
            m.d.sync += number.eq(Mux(shot.last, 0, number + 1))
        m.d.sync += since_exposure.eq(since_exposure + 1)
        with m.If(self.exposure_ended):
            m.d.sync += since_exposure.eq(0)

        # When a frame must end. Registers, a clock or two behind: far less than the margin.
        earliest, latest, margin = Signal(32), Signal(32), Signal(32)
        delay = Signal(32)
        """From the end of an exposure to the first pixel of its frame."""
        early, overdue = Signal(), Signal()
        earliest_begin, begins_early = Signal(32), Signal()
        m.d.sync += [
            margin.eq((self.readout_cycles >> 8) + MATCH_MARGIN_CLOCKS + self.jitter),
            earliest.eq(Mux(self.readout_cycles > margin, self.readout_cycles - margin, 0)),
            latest.eq(self.readout_cycles + margin),
            early.eq(self.timed & self.readout_known & (since_exposure < earliest)),
            overdue.eq((since_exposure > self.timeout) | (self.timed & self.readout_known & (since_exposure > latest))),
        ]
        m.d.sync += [
            earliest_begin.eq(Mux(delay > margin, delay - margin, 0)),
            begins_early.eq(since_exposure < earliest_begin),
        ]
        with m.If(self.exposure_ended):
            m.d.sync += [overdue.eq(0), begins_early.eq(1)]

        lost = Signal()
        m.d.sync += lost.eq(0)

        def fail(code):
            for i in range(2):
                with m.If(open_sets[i] & (status[i] == Code.OK)):
                    m.d.sync += status[i].eq(code)

        def lose_track(code):
            fail(code)
            m.d.sync += [self.resync.eq(1), lost.eq(1), self.readout_known.eq(0)]

        def extra():
            m.d.comb += self.extra.eq(1)
            lose_track(Code.FRAME_EXTRA)

        stray = Signal()
        """Something of a frame is there, while none is due."""
        m.d.comb += stray.eq((self.i.valid | self.in_frame) & ~self.resync)
        receiving, begun, punctual = Signal(), Signal(), Signal()
        """A frame is due or is being received; it is; it has just begun, and not too soon, or ended rightly."""

        reload = Signal()
        m.d.comb += reload.eq(self.exposure_ended)
        with m.If(reload):
            m.d.sync += hold.eq(Mux(self.timed, delay + (self.readout_cycles >> 3), 0))
        with m.Elif(hold != 0):
            m.d.sync += hold.eq(hold - 1)
        with m.If(kept & ~decided & (self.resync | punctual | ((hold == 0) & ~begun))):
            m.d.sync += [decided.eq(1), open_sets.bit_select(kept_set, 1).eq(0)]
        with m.If(self.o.valid & self.o.ready):
            m.d.comb += self.failed.eq(self.o.p.status != Code.OK)
            m.d.sync += [kept.eq(0), decided.eq(0)]

        m.d.sync += [self.pixel.eq(word.pixel), self.pixel_valid.eq(0), self.pixel_first.eq(0)]
        m.d.sync += punctual.eq(self.frame)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.none_due.eq(~due.r_rdy)
                with m.If((self.i.valid & ~self.resync) | (stray & ~due.r_rdy)):
                    extra()
                with m.If(due.r_rdy):
                    m.d.comb += due.r_en.eq(1)
                    m.d.sync += shot.eq(exposed)
                    m.d.sync += used[exposed.set].eq(used[exposed.set] | (1 << exposed.bank))
                    with m.If((exposed.invalid | exposed.underrun) & (status[exposed.set] == Code.OK)):
                        m.d.sync += status[exposed.set].eq(
                            Mux(
                                exposed.late,
                                Code.MONITOR_LATE,
                                Mux(exposed.invalid, Code.BAD_SHOT, Code.PANEL_UNDERRUN),
                            )
                        )
                    m.next = "WAIT"
                    with m.If(exposed.skipped):
                        with m.If(status[exposed.set] == Code.OK):
                            m.d.sync += status[exposed.set].eq(
                                Mux(
                                    self.resync,
                                    Code.FRAME_EXTRA,
                                    Mux(exposed.unfit, Code.SLOT_TOO_SHORT, Code.PANEL_STALLED),
                                )
                            )
                        m.next = "FINISH"
                    with m.Elif(self.resync | self.i.valid):
                        with m.If(status[exposed.set] == Code.OK):
                            m.d.sync += status[exposed.set].eq(Mux(self.resync, Code.RESYNC, Code.FRAME_EXTRA))
                        m.next = "FINISH"
            with m.State("WAIT"):
                m.d.comb += receiving.eq(1)
                with m.If(self.i.valid & ~self.exposure_ended):
                    with m.If(word.first):
                        m.d.sync += [self.pixel_valid.eq(1), self.pixel_first.eq(1), delay.eq(since_exposure)]
                        m.d.sync += punctual.eq(~begins_early)
                        m.next = "PIXELS"
                    with m.Elif(word.end):
                        # A frame without a single pixel.
                        m.next = "DRAIN"
                    with m.Else():
                        extra()
                        m.next = "FINISH"
                with m.Elif(overdue | self.exposure_ended):
                    # A frame that begins in the very clock in which the next exposure ends is late, not missing.
                    m.d.comb += [self.missing.eq(~self.i.valid), self.late.eq(self.i.valid)]
                    lose_track(Mux(self.i.valid, Code.FRAME_LATE, Code.FRAME_MISSING))
                    m.next = "FINISH"
            with m.State("PIXELS"):
                m.d.comb += [receiving.eq(1), begun.eq(1)]
                m.d.sync += self.pixel_valid.eq(self.i.valid & ~word.end)
                with m.If(self.i.valid & word.end):
                    m.next = "DRAIN"
                with m.Elif(overdue | self.exposure_ended):
                    m.d.comb += self.late.eq(1)
                    lose_track(Code.FRAME_LATE)
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += reload.eq(1)
                m.d.sync += drain.eq(drain + 1)
                # No bin of this frame is left on its way when the shot changes.
                with m.If(self.i.valid & ~self.resync):
                    extra()
                with m.If(drain == self.drain_clocks - 1):
                    m.d.sync += drain.eq(0)
                    m.next = "FINISH"
            with m.State("FINISH"):
                with m.If(stray):
                    extra()
                with m.Elif(shot.skipped | readings.r_rdy):
                    with m.If(~shot.last | ~kept):
                        m.d.comb += self.monitor_we.eq(1)
                        m.next = "IDLE"
                        with m.If(shot.last):
                            m.d.sync += [
                                kept.eq(1),
                                kept_set.eq(shot.set),
                                kept_time.eq(end_time),
                                kept_monitor.eq(self.monitor),
                            ]

        ended, whole = Signal(), Signal()
        """The frame that was due has ended; and with all that belongs to it."""
        m.d.comb += [
            ended.eq(self.i.valid & word.end & receiving),
            whole.eq(ended & ~word.malformed & ~word.overflow),
            self.malformed.eq(ended & word.malformed),
            self.overflow.eq(ended & word.overflow),
            self.early.eq(whole & early),
            self.frame.eq(whole & ~early),
        ]
        with m.If(self.malformed):
            lose_track(Code.FRAME_GEOMETRY)
        with m.Elif(self.early):
            lose_track(Code.FRAME_EARLY)
        with m.Elif(ended):
            m.d.sync += [self.readout_cycles.eq(since_exposure), self.readout_known.eq(1), end_time.eq(self.timestamp)]
        with m.If(self.overflow & (status[shot.set] == Code.OK)):
            m.d.sync += status[shot.set].eq(Code.CAMERA_OVERFLOW)

        with m.If(self.accumulator_saturated):
            m.d.sync += held[shot.set].eq(1)
        dark, dark_set = Signal(), Signal()
        m.d.sync += [dark.eq(self.trigger & ~self.laser_on), dark_set.eq(self.claim_set)]
        with m.If(dark):
            m.d.sync += laser_on[dark_set].eq(0)

        # Realign once the camera has been silent, with no exposure that could still cause a frame.
        waited, rounds = Signal(32), Signal(range(_ROUNDS + 1))
        m.d.comb += self.hopeless.eq(rounds == _ROUNDS)
        with m.If(self.resync):
            with m.If(lost | self.i.valid | self.in_frame | self.trigger | due.r_rdy):
                m.d.sync += quiet.eq(self.silence)
            with m.Elif(quiet != 0):
                m.d.sync += quiet.eq(quiet - 1)
            with m.Else():
                m.d.sync += self.resync.eq(0)
            m.d.sync += waited.eq(waited + 1)
            with m.If(waited == self.timeout):
                m.d.sync += waited.eq(0)
                with m.If(~self.hopeless):
                    m.d.sync += rounds.eq(rounds + 1)
        with m.Else():
            m.d.sync += [waited.eq(0), rounds.eq(0)]

        with m.If(self.claim):
            m.d.sync += [
                open_sets.bit_select(self.claim_set, 1).eq(1),
                status[self.claim_set].eq(Code.OK),
                laser_on[self.claim_set].eq(1),
                held[self.claim_set].eq(0),
                used[self.claim_set].eq(0),
                first_id[self.claim_set].eq(self.claim_id),
            ]
        m.d.comb += [
            self.busy.eq(open_sets.any() | kept | due.r_rdy | (self.resync & ~self.hopeless)),
            self.o.valid.eq(decided),
            self.o.p.set.eq(kept_set),
            self.o.p.exposure.eq(first_id[kept_set]),
            self.o.p.timestamp.eq(kept_time),
            self.o.p.monitor.eq(kept_monitor),
            self.o.p.status.eq(status[kept_set]),
            self.o.p.laser_on.eq(laser_on[kept_set]),
            self.o.p.accumulator_saturated.eq(held[kept_set]),
            self.o.p.used.eq(used[kept_set]),
        ]
        return m
