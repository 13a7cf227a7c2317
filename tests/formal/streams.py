"""Proofs of the stream law: what was offered and not taken is offered on, unchanged.

Each is proved by induction on the component alone, whose inputs are free but for the same law and for what is
assumed here by name. So what a component assumes of the one before it is what that one was proved to keep.
"""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Value
from amaranth.lib import wiring
from openopu_rtl.cobs import CobsEncoder
from openopu_rtl.commands import CommandProcessor
from openopu_rtl.expander import Expander
from openopu_rtl.framing import PacketTransmitter
from openopu_rtl.loader import Loader
from openopu_rtl.planesender import PlaneSender
from openopu_rtl.protocol import Geometry
from openopu_rtl.replies import PacketArbiter, ReplySender
from openopu_rtl.results import Packer, ResultReader
from openopu_rtl.rowbuilder import RowBuilder
from openopu_rtl.sender import ResultSender
from openopu_rtl.skid import Skid
from prover import Bench, Mutant, Proof, implies
from small import SMALL


def law(make: Callable[[], wiring.Component], extra=None, beside=None) -> Callable[[Bench], None]:
    def build(b: Bench) -> None:
        dut = b.add(make())
        b.stream_laws(dut, beside)
        if extra:
            extra(b, dut)

    return build


def steady(*names: str, unless: str = "") -> Callable[[Bench, wiring.Component], None]:
    """Assume that these inputs hold, or hold while the component says so by ``unless`` being high."""

    def extra(b: Bench, dut: wiring.Component) -> None:
        for name in names:
            value = Value.cast(getattr(dut, name))
            holds = ~b.started | (value == b.past(value))
            b.assume(implies(b.past(getattr(dut, unless)), holds) if unless else holds)

    return extra


def settings_hold(b: Bench, dut: Loader) -> None:
    """The settings hold while a projection is walked through."""
    walking = b.past(~b.state(dut, "IDLE"))
    for name in ("program_length", "planes"):
        value = getattr(dut, name)
        b.assume(implies(walking, value == b.past(value)))


def _proof(name: str, subject: str, build: Callable[[Bench], None], *mutants: Mutant, depth: int = 2) -> Proof:
    return Proof(f"stream-{name}", f"{subject} keeps the stream law.", build, mutants, depth)


PROOFS = [
    _proof(
        "cobs-encoder",
        "The COBS encoder",
        law(CobsEncoder),
        Mutant(
            "cobs.py", "advance.eq(~self.o.valid | self.o.ready)", "advance.eq(~self.o.valid | self.o.ready | tail)"
        ),
    ),
    _proof(
        "transmitter",
        "The packet transmitter",
        law(PacketTransmitter),
        Mutant("cobs.py", "read.en.eq(advance)", "read.en.eq(1)"),
    ),
    _proof(
        "arbiter",
        "The packet arbiter",
        law(PacketArbiter),
        Mutant("replies.py", "source.valid & source.ready & source.p.last", "source.valid & source.p.last"),
    ),
    _proof(
        "replies",
        "The reply sender",
        law(ReplySender),
        Mutant("replies.py", "o.p.data.eq(word[:8]),", "o.p.data.eq(word[:8] ^ o.ready),"),
    ),
    _proof(
        "results",
        "The result reader (count_only holds while it is busy)",
        law(lambda: ResultReader(SMALL), steady("count_only", unless="busy"), {"o": ("o_last",)}),
        Mutant("results.py", "self.o.ready | self.count_only)", "self.o.ready | walking)"),
    ),
    _proof(
        "packer",
        "The packer (format holds)",
        law(Packer, steady("format"), {"i": ("i_last",), "o": ("o_last",)}),
        Mutant("results.py", "with m.If(self.o.ready):", "with m.If(self.o.ready | self.i.valid):"),
    ),
    _proof(
        "sender",
        "The result sender",
        law(lambda: ResultSender(SMALL), None, {"packed": ("packed_last",)}),
        Mutant("sender.py", "with m.If(o.ready):", "with m.If(o.ready | self.read_busy):"),
    ),
    _proof(
        "expander",
        "The expander (shot, await_latch and final hold while it is busy)",
        law(lambda: Expander(SMALL), steady("shot", "blank", "await_latch", "final", unless="busy")),
        Mutant(
            "expander.py", "move.eq(~self.o.valid | self.o.ready)", "move.eq(~self.o.valid | self.o.ready | walking)"
        ),
    ),
    _proof(
        "row-builder",
        "The row builder (shot, await_latch and final hold while it is busy)",
        law(lambda: RowBuilder(Geometry()), steady("shot", "blank", "await_latch", "final", unless="busy")),
        Mutant("rowbuilder.py", "self.r_en.eq(move)", "self.r_en.eq(1)"),
    ),
    _proof(
        "plane-sender",
        "The plane sender",
        law(lambda: PlaneSender(Geometry())),
        Mutant("planesender.py", "with m.If(self.o.valid & self.o.ready):", "with m.If(self.o.valid):"),
    ),
    _proof(
        "skid",
        "The register in a stream",
        law(lambda: Skid(8)),
        Mutant("skid.py", "with m.If(~self.o.valid | self.o.ready):", "with m.If(~spare_full | self.o.ready):"),
    ),
    _proof(
        "loader",
        "The loader (program_length and planes hold while it walks a projection)",
        law(lambda: Loader(SMALL, 10), settings_hold),
        Mutant("loader.py", "with m.If(self.o.ready):", "with m.If(self.o.ready | self.exposing):"),
    ),
    _proof(
        "commands",
        "The command processor (replies and batches)",
        law(lambda: CommandProcessor(SMALL)),
        Mutant("commands.py", "with m.If(self.o_reply.ready):", "with m.If(self.o_reply.ready | self.valid):"),
    ),
]
