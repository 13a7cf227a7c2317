"""Proofs that exposures, IDs, frames and pixels are each counted once, and in their order."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Signal, signed
from amaranth.lib import data
from openopu_rtl.accumulator import Accumulator
from openopu_rtl.binner import Binner
from openopu_rtl.exposer import Exposer
from openopu_rtl.frames import FrameMatcher
from openopu_rtl.shapes import LOADED
from prover import Bench, Mutant, Proof, implies
from small import SMALL


def exposer(b: Bench) -> tuple[Exposer, Signal]:
    """An exposer, and in which clock its trigger rises."""
    dut = b.add(Exposer())
    begins = Signal(name="rises")
    b.m.d.comb += begins.eq(dut.trigger & ~b.past(dut.trigger))
    b.assume(implies(dut.id_set, ~dut.busy))
    exposing = b.state(dut, "EXPOSE")
    b.claim(dut.trigger == exposing)
    return dut, begins


def ids(b: Bench) -> None:
    dut, begins = exposer(b)
    next_id = b.inside(dut, "next_id")
    due = Signal(32)
    """The ID of the next exposure by the law: one more with each exposure or skipped shot, unless it is set."""
    skipped = dut.o.valid & dut.o.p.skipped
    with b.m.If(dut.begins | skipped):
        b.m.d.sync += due.eq(due + 1)
    with b.m.Elif(dut.id_set):
        b.m.d.sync += due.eq(dut.id_value)
    b.claim(next_id == due)
    b.claim(implies(begins, dut.exposure_id == b.past(due)))
    b.claim(begins == b.past(dut.begins))
    b.claim(implies(dut.trigger & ~begins, dut.exposure_id == b.past(dut.exposure_id)))
    b.claim(implies(dut.claim, dut.claim_id == due))
    b.claim(implies(skipped, ~dut.trigger & ~dut.begins))


def settling(b: Bench) -> None:
    dut, begins = exposer(b)
    shown = Signal(name="shown")
    """In this clock the pattern is seen to be on show."""
    b.m.d.comb += shown.eq(b.state(dut, "LATCH") & (dut.latched != b.inside(dut, "latched")))
    age = Signal(33)
    with b.m.If(shown):
        b.m.d.sync += age.eq(1)
    with b.m.Elif(~age.all()):
        b.m.d.sync += age.eq(age + 1)
    granted = Signal()
    """The panel has been let change its pattern since."""
    grants = dut.grant != b.past(dut.grant)
    with b.m.If(shown):
        b.m.d.sync += granted.eq(0)
    with b.m.Elif(grants):
        b.m.d.sync += granted.eq(1)
    settle = Signal(32)
    """Of the shot that was taken last."""
    with b.m.If(dut.i.valid & dut.i.ready):
        b.m.d.sync += settle.eq(dut.i.p.shot.settle_cycles)
    b.claim(implies(begins, (age > settle) & ~granted))
    b.claim(implies(dut.trigger, ~granted & ~dut.settles & (dut.grant == b.past(dut.grant))))
    # What makes it inductive.
    now, counter = data.View(LOADED, b.inside(dut, "now")), b.inside(dut, "counter")
    b.claim(now.shot.settle_cycles == settle)
    b.claim(implies(dut.flush, b.state(dut, "IDLE") | b.state(dut, "CONSIDER") | b.state(dut, "SKIP")))
    is_settle, is_ready = b.state(dut, "SETTLE"), b.state(dut, "READY")
    b.claim(implies(is_settle, (counter + age == settle + 1) & (age != 0)))
    b.claim(implies(is_ready | dut.trigger, age > settle))
    b.claim(implies(is_settle | is_ready | dut.trigger, ~granted & (dut.grant == b.past(dut.grant)) | (age == 1)))


def length(b: Bench) -> None:
    dut, _ = exposer(b)
    cycles = Signal(32)
    with b.m.If(dut.i.valid & dut.i.ready):
        b.m.d.sync += cycles.eq(dut.i.p.shot.exposure_cycles)
    whole = Signal(32)
    b.m.d.comb += whole.eq(Mux(cycles == 0, 1, cycles))
    high = Signal(33)
    before = Signal(33)
    """Clocks for which the trigger has been high."""
    b.m.d.comb += high.eq(Mux(dut.trigger, before + 1, 0))
    b.m.d.sync += before.eq(high)
    now, counter = data.View(LOADED, b.inside(dut, "now")), b.inside(dut, "counter")
    b.claim(now.shot.exposure_cycles == cycles)
    b.claim(implies(dut.ended, dut.trigger & (high == whole) & dut.o.valid & ~dut.o.p.skipped))
    b.claim(implies(b.past(dut.trigger) & ~dut.trigger & b.started, b.past(dut.ended)))
    b.claim(implies(b.past(dut.ended), ~dut.trigger))
    b.claim(implies(dut.trigger, (counter + high == whole + 1) & (counter != 0)))
    # What is decided a clock ahead.
    b.claim(implies(b.state(dut, "READY"), b.inside(dut, "shortest") == (cycles <= 1)))
    b.claim(b.inside(dut, "last_clock") == (dut.trigger & (counter == 1)))


TAGS = 1 << 4
"""Exposures are told apart by the field ``shift``, four bits wide, which the matcher only hands through."""
DRAIN = 2
"""Clocks for which the matcher waits for the sums: shortened, so that two exposures fit into the proof."""
GAP = DRAIN + 8
"""Clocks between the ends of two exposures, which the margin of the readout's time keeps."""
TIMEOUT = 9
"""Of a frame, in clocks: short, so that it passes within the proof."""


def attribution(b: Bench) -> None:
    dut = b.add(
        FrameMatcher(SMALL, DRAIN), driven=("timeout", "silence", "jitter", "timed", "o", "exposed", "exposure_ended")
    )
    tag = Signal(range(TAGS))
    """Of the exposure that ended last; 0: none has."""
    valid, skipped, last = (b.free(1, name) for name in ("exposed", "skipped", "last"))
    b.m.d.comb += [
        dut.timeout.eq(TIMEOUT),
        dut.silence.eq(TIMEOUT),
        dut.o.ready.eq(1),
        dut.exposed.valid.eq(valid),
        dut.exposed.p.skipped.eq(skipped),
        dut.exposed.p.last.eq(last),
        dut.exposed.p.shift.eq(tag + 1),
        dut.exposure_ended.eq(valid & ~skipped),
    ]
    with b.m.If(valid):
        b.m.d.sync += tag.eq(tag + 1)
    gap = b.since(b.past(dut.exposed.valid), GAP, "gap")
    b.assume(implies(dut.exposed.valid, gap == GAP))
    b.assume(implies(dut.exposure_ended, dut.trigger))
    # An exposure's reading comes from its begin on, and before the next one begins.
    surplus = Signal(signed(3))
    b.m.d.sync += surplus.eq(surplus + dut.reading_stb - dut.exposure_ended)
    b.assume(implies(dut.exposure_ended, surplus >= 0) & implies(dut.reading_stb, surplus < 1))
    # A skipped shot comes when no frame is due.
    b.assume(implies(dut.exposed.valid & dut.exposed.p.skipped, dut.none_due))
    # Its pixels leave a clock after they came.
    b.claim(implies(dut.pixel_valid, dut.shot.shift == b.past(tag)))
    b.claim(implies(dut.pixel_valid, ~dut.shot.skipped & (b.past(tag) != 0)))


PIXELS = SMALL.camera_width * SMALL.camera_height


def pixels(b: Bench) -> None:
    """One pixel, anywhere, is 1 and all others are 0; any output is read after the frame."""
    g = SMALL
    m = b.m
    binner = b.add(Binner(g), driven=("pixel", "start", "valid"))
    sums = b.add(
        Accumulator(g),
        driven=(
            "valid",
            "index",
            "value",
            "set",
            "bank",
            "negative",
            "shift",
            "fresh",
            "r_set",
            "r_bank",
            "r_en",
            "r_index",
        ),
    )
    mark_x, mark_y = b.constant(range(g.camera_width), "mark_x"), b.constant(range(g.camera_height), "mark_y")
    b.assume((mark_x < g.camera_width) & (mark_y < g.camera_height))
    asked = b.constant(range(g.outputs), "asked")
    row, column = Signal(range(g.camera_height + 1)), Signal(range(g.camera_width))
    over = Signal()
    """The whole frame has come."""
    m.d.comb += [
        over.eq(row == g.camera_height),
        binner.start.eq((row == 0) & (column == 0)),
        binner.pixel.eq((row == mark_y) & (column == mark_x)),
        sums.valid.eq(binner.o_valid),
        sums.index.eq(binner.o_index),
        sums.value.eq(binner.o_value),
        sums.fresh.eq(1),
        sums.r_en.eq(1),
        sums.r_index.eq(asked),
    ]
    clock, pause = Signal(range(2 * PIXELS)), b.constant(range(PIXELS + 1), "pause")
    m.d.sync += clock.eq(clock + 1)
    m.d.comb += binner.valid.eq(~over & (clock != pause))
    with m.If(binner.valid):
        m.d.sync += column.eq(column + 1)
        with m.If(column == g.camera_width - 1):
            m.d.sync += [column.eq(0), row.eq(row + 1)]
    settled = b.since(~over, Binner.LATENCY + Accumulator.LATENCY + 4, "settled")
    into = Signal(range(g.outputs))
    """The output that the marked pixel belongs to."""
    in_crop = Signal()
    with m.Switch(Cat(mark_x, mark_y)):
        for y in range(g.crop_y, g.crop_y + g.crop_height):
            for x in range(g.crop_x, g.crop_x + g.crop_width):
                with m.Case(x | y << len(mark_x)):
                    output = (y - g.crop_y) // g.bin * g.outputs_x + (x - g.crop_x) // g.bin
                    m.d.comb += [in_crop.eq(1), into.eq(output)]
    b.claim(implies(settled == Binner.LATENCY + Accumulator.LATENCY + 4, sums.r_data == (in_crop & (into == asked))))


PIXEL_CLOCKS = PIXELS + Binner.LATENCY + Accumulator.LATENCY + 4
"""From the first pixel until the sums can be read."""

PROOFS = [
    Proof(
        "exposure-ids",
        "IDs count by one with each exposure or skipped shot unless they are set, so none comes twice in 2**32.",
        ids,
        (Mutant("exposer.py", "self.exposure_id.eq(next_id),", "self.exposure_id.eq(next_id | self.raw),"),),
        depth=2,
    ),
    Proof(
        "exposure-settling",
        "No exposure begins before the pattern on show has settled, and until it ends the panel is let show no other.",
        settling,
        (Mutant("exposer.py", "with m.If(counter <= 1):", "with m.If(counter <= 2):"),),
        depth=2,
    ),
    Proof(
        "exposure-length",
        "The trigger is high for exactly the shot's exposure, and the exposure's end is told once.",
        length,
        (Mutant("exposer.py", "last_clock.eq(counter == 2)", "last_clock.eq(counter <= 3)"),),
        depth=2,
    ),
    Proof(
        "frame-attribution",
        f"A pixel is the last ended exposure's, whatever the camera sends (ends drain + {GAP - DRAIN} clocks apart).",
        attribution,
        (Mutant("frames.py", "with m.If(self.i.valid & ~self.exposure_ended):", "with m.If(self.i.valid):"),),
        depth=2 * GAP + 6,
        bounded="two exposures, and whatever the camera sends up to the end of a third; the drain shortened",
    ),
    Proof(
        "pixels-once",
        "Of a frame, each pixel inside the crop is added once, to its bin, and none outside.",
        pixels,
        (Mutant("binner.py", "Mux(sx == 0, Const(0, width), line_sum)", "line_sum"),),
        depth=PIXEL_CLOCKS + 4,
        bounded=f"a frame of {PIXELS} pixels, and wherever one clock without a pixel lies",
    ),
]
