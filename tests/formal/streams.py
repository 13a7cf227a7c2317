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
from openopu_rtl.frames import FrameMatcher
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


def room_stays(b: Bench, dut: CommandProcessor) -> None:
    """What takes the batches is a queue: its room goes only as it takes one."""
    batch = dut.o_batch
    b.assume(implies(b.past(batch.ready) & ~b.past(batch.valid), batch.ready))


def sending(b: Bench, dut: ResultSender) -> None:
    """Settings hold while results are sent, and the readings of the set that is sent are not written."""
    for name in ("monitors", "program_length"):
        value = getattr(dut, name)
        b.assume(implies(b.past(dut.busy), value == b.past(value)))
    b.assume(implies(dut.monitor_we, dut.monitor_set != dut.ended.p.set))
    # From its record on, a projection is offered until it has been sent.
    before = b.state(dut, "IDLE") | b.state(dut, "HEADER") | b.state(dut, "NEXT")
    b.claim(before | dut.ended.valid)


def store_holds(b: Bench, dut: RowBuilder) -> None:
    """The store's output holds while it is not enabled."""
    steady("shot", "blank", "await_latch", "final", unless="busy")(b, dut)
    b.assume(implies(b.past(~dut.r_en), dut.r_data == b.past(dut.r_data)))
    # The levels are looked up before anything is offered.
    looking_up, walking, step = (b.inside(dut, n) for n in ("looking_up", "walking", "levels.step"))
    b.claim(implies(step != 0, looking_up) & ~(looking_up & (walking | dut.o.valid)))


def _proof(
    name: str, subject: str, build: Callable[[Bench], None], *mutants: Mutant, depth: int = 2, reach: int = 20
) -> Proof:
    return Proof(f"stream-{name}", f"{subject} keeps the stream law.", build, mutants, depth, reach=reach)


OUTPUTS: dict[str, Callable[[], wiring.Component]] = {
    "cobs_encoder": CobsEncoder,
    "transmitter": PacketTransmitter,
    "arbiter": PacketArbiter,
    "replies": ReplySender,
    "results": lambda: ResultReader(SMALL),
    "packer": Packer,
    "sender": lambda: ResultSender(SMALL),
    "expander": lambda: Expander(SMALL),
    "row_builder": lambda: RowBuilder(SMALL),
    "plane_sender": lambda: PlaneSender(Geometry()),
    "skid": lambda: Skid(8),
    "loader": lambda: Loader(SMALL, 10),
    "frames": lambda: FrameMatcher(SMALL),
}
"""Components whose stream ``o`` is offered whatever its ``ready`` says."""


def apart(b: Bench) -> None:
    for name, make in OUTPUTS.items():
        dut = b.add(make(), driven=("o",))
        ready = b.free(1, f"ready_{name}")
        b.m.d.comb += dut.o.ready.eq(ready)
        b.claim_apart(dut.o.valid, ready, f"valid_{name}")


PROOFS = [
    Proof(
        "stream-apart",
        "No stream's valid depends in the same clock on its ready.",
        apart,
        (
            Mutant(
                "sender.py",
                "m.d.comb += [o.valid.eq(1), o.p.data.eq(shift[:8])]",
                "m.d.comb += [o.valid.eq(o.ready), o.p.data.eq(shift[:8])]",
            ),
        ),
        depth=1,
        structure=True,
    ),
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
        "The result reader",
        law(lambda: ResultReader(SMALL), None, {"o": ("o_last",)}),
        Mutant("results.py", "skid.o.ready.eq(self.o.ready)", "skid.o.ready.eq(1)"),
    ),
    _proof(
        "packer",
        "The packer (format holds)",
        law(Packer, steady("format"), {"i": ("i_last",), "o": ("o_last",)}),
        Mutant("results.py", "with m.If(self.o.ready):", "with m.If(self.o.ready | self.i.valid):"),
    ),
    _proof(
        "sender",
        "The result sender (settings and readings hold while it sends)",
        law(lambda: ResultSender(SMALL), sending, {"packed": ("packed_last",)}),
        Mutant("sender.py", "o.p.data.eq(shift[:8])]", "o.p.data.eq(shift[:8] ^ o.ready)]"),
        depth=3,
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
        law(lambda: RowBuilder(SMALL), store_holds),
        Mutant("rowbuilder.py", "self.r_en.eq(move)", "self.r_en.eq(1)"),
    ),
    _proof(
        "plane-sender",
        "The plane sender",
        law(lambda: PlaneSender(Geometry())),
        Mutant("planesender.py", "with m.If(self.o.valid & self.o.ready):", "with m.If(self.o.valid):"),
        reach=36,
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
        "The command processor (replies, and batches into a queue: ready until it has taken one)",
        law(lambda: CommandProcessor(SMALL), room_stays),
        Mutant("commands.py", "with m.If(self.o_reply.ready):", "with m.If(self.o_reply.ready | self.valid):"),
    ),
]
