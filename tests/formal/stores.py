"""Proofs that nothing is written where there is no room, read where there is nothing, or lost unsaid."""

from __future__ import annotations

from amaranth.hdl import Mux, Signal
from openopu_rtl.camera import CameraPort
from openopu_rtl.loader import Loader
from openopu_rtl.store import PatternStore
from prover import Bench, Mutant, Proof, implies, in_sync
from small import SMALL

DEPTH = SMALL.store_bytes
ROW = SMALL.plane_bytes


def ring(b: Bench, dut: PatternStore) -> tuple[Signal, Signal]:
    """Claims on the store's ring; returns how many bytes it holds, and how many of them for good."""
    head, kept, used, used_kept = (b.inside(dut, n) for n in ("head", "kept", "used", "used_kept"))
    b.assume(~(dut.commit & dut.rollback))
    b.claim((used <= DEPTH) & (used_kept <= used))
    b.claim((head - dut.tail - used)[: len(head)] == 0)
    b.claim((kept - dut.tail - used_kept)[: len(kept)] == 0)
    # A byte that finds no room is dropped, and that is said until the packet is: it is refused whole.
    lost = Signal()
    with b.m.If(dut.commit | dut.rollback):
        b.m.d.sync += lost.eq(0)
    with b.m.Elif(dut.push & (used == DEPTH)):
        b.m.d.sync += lost.eq(1)
    b.claim(implies(lost, dut.full))
    return used, used_kept


def store(b: Bench) -> None:
    dut = b.add(PatternStore(SMALL))
    _, used_kept = ring(b, dut)
    b.assume(implies(dut.free, dut.free_bytes <= used_kept))


def store_and_loader(b: Bench) -> None:
    """The loader frees what was kept, and never more: here it drives the store, and the commands are free."""
    dut, loader = (
        b.add(PatternStore(SMALL), driven=("free", "free_bytes")),
        b.add(Loader(SMALL, 10), driven=("add", "tail")),
    )
    m = b.m
    used, used_kept = ring(b, dut)
    m.d.comb += [
        dut.free.eq(loader.free),
        dut.free_bytes.eq(loader.free_bytes),
        loader.tail.eq(dut.tail),
        loader.add.eq(dut.commit),
    ]
    # A packet is kept only if it holds whole projections, and as many as it says; see the command processor.
    rows = loader.planes * ROW
    b.assume(implies(dut.commit, ~dut.full & (loader.add_count != 0) & (loader.add_count <= DEPTH)))
    b.assume(implies(dut.commit, (loader.add_count[:4] * rows[:5] == used - used_kept) & (rows <= DEPTH)))
    b.assume(loader.planes != 0)
    walking = ~b.state(loader, "IDLE") | loader.busy | loader.free | dut.commit
    b.assume(implies(b.past(walking), loader.planes == b.past(loader.planes)))
    waiting, added = b.inside(loader, "waiting"), b.inside(loader, "added")
    held = Signal(range(4 * DEPTH))
    """Projections whose planes are in the store."""
    m.d.comb += held.eq(waiting + added + loader.free)
    b.claim(implies(loader.free, dut.free_bytes <= used_kept))
    b.claim((used_kept == held * rows[:5]) & (waiting <= DEPTH) & (added <= DEPTH))
    b.claim(implies(held != 0, rows <= DEPTH))
    b.claim(implies(loader.free, loader.free_bytes == rows))
    b.claim(implies(~b.state(loader, "IDLE"), waiting != 0))


def camera(b: Bench) -> None:
    """The camera cannot wait: a pixel that finds no room is lost, and its frame's end says so."""
    dut = b.add(CameraPort(SMALL), in_sync("cam"))
    pixel = b.past(dut.fval & dut.lval & dut.dval)
    """A pixel stands behind the register at the pins."""
    frame, frame_before = b.past(dut.fval), b.past(b.past(dut.fval))
    lost = Signal()
    """Of the frame that goes on."""
    ended_lossy, ended = Signal(), Signal()
    """Of the frames that have ended, and whose end has not been taken."""
    loses = Signal()
    taken = dut.o.valid & dut.o.ready
    b.m.d.comb += loses.eq(pixel & ~(taken & ~dut.o.p.end))
    with b.m.If(loses):
        b.m.d.sync += lost.eq(1)
    with b.m.If(taken & dut.o.p.end):
        b.m.d.sync += [ended.eq(0), ended_lossy.eq(0)]
    with b.m.If(frame_before & ~frame):
        b.m.d.sync += [lost.eq(0), ended.eq(1), ended_lossy.eq(lost | Mux(taken & dut.o.p.end, 0, ended_lossy))]
    b.claim(implies(dut.o.valid & dut.o.p.end, ended & implies(ended_lossy, dut.o.p.overflow)))
    b.claim(implies(dut.o.valid & ~dut.o.p.end, pixel))


PROOFS = [
    Proof(
        "store-ring",
        "The pattern store never writes over bytes it holds; a byte without room is dropped, and its packet refused.",
        store,
        (
            Mutant("store.py", "(used != depth) & ~self.full", "~self.full"),
            Mutant("store.py", "self.full.eq(1)", "self.full.eq(0)"),
        ),
        depth=2,
    ),
    Proof(
        "store-loader",
        "Store and loader: what a projection frees was kept, and no more; so reads find its planes.",
        store_and_loader,
        (
            Mutant(
                "loader.py",
                "waiting.eq(waiting + added - done)",
                "waiting.eq(waiting + added - self.free)",
            ),
        ),
        depth=2,
    ),
    Proof(
        "camera-loss",
        "A pixel that found no room at the clock crossing is told of by its frame's end.",
        camera,
        (Mutant("camera.py", "end_overflow.eq(overflow | end)", "end_overflow.eq(overflow)"),),
        depth=24,
        bounded="two short frames with every stall; the port keeps nothing longer than from one end to the next",
    ),
]
