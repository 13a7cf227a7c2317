"""Records signals of a simulation of the gateware, for a timing diagram."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from amaranth.sim import Simulator
from waveforms import Mark, Samples, Trace


@dataclass
class Diagram:
    title: str
    traces: list[Trace]
    marks: list[Mark] = field(default_factory=list)
    clock: str = "system clock"


def record(
    dut: Any,
    signals: Mapping[str, Any],
    stimulus: Callable[[Any, int], Any],
    length: int,
    domain: str = "sync",
    periods: Mapping[str, float] | None = None,
) -> dict[str, list[int]]:
    """Values of ``signals`` in each of ``length`` clocks; ``stimulus(ctx, clock)`` sets inputs before each.

    ``periods``: those of all clocks, in seconds, where there are others beside that of ``domain``.
    """
    simulator = Simulator(dut)
    for name, period in (periods or {domain: 1e-8}).items():
        simulator.add_clock(period, domain=name)
    found: dict[str, list[int]] = {name: [] for name in signals}

    async def testbench(ctx):
        for clock in range(length):
            stimulus(ctx, clock)
            for name, signal in signals.items():
                found[name].append(int(ctx.get(signal)))
            await ctx.tick(domain)

    simulator.add_testbench(testbench)
    simulator.run()
    return found


def first(samples: list[int], level: int, start: int = 0) -> int:
    """Index of the first sample of ``level`` from ``start`` on."""
    return next(i for i in range(start, len(samples)) if samples[i] == level)


def levels(found: Mapping[str, Samples], *buses: str) -> list[Trace]:
    return [Trace(name, samples, name in buses) for name, samples in found.items()]


def only(samples: list[int], valid: list[int]) -> Samples:
    """``samples`` where ``valid``, else nothing."""
    return [v if on else None for v, on in zip(samples, valid, strict=True)]
