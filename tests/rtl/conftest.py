"""What every gateware test uses: a seeded generator and the simulator."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from amaranth.sim import Simulator

SEED_VARIABLE = "OPENOPU_TEST_SEED"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """A generator of the test's own; its seed is printed when the test fails, and may be set."""
    default = zlib.crc32(request.node.name.encode())
    seed = int(os.environ.get(SEED_VARIABLE, default))
    print(f"seed {seed}: repeat with {SEED_VARIABLE}={seed}")
    return random.Random(seed)


def run_simulation(
    dut: Any,
    *testbenches: Any,
    background: tuple[Any, ...] = (),
    limit: int = 200_000,
    clocks: Mapping[str, float] = MappingProxyType({"sync": 1e-6}),
) -> None:
    """Run until every testbench has returned; at most ``limit`` clocks. ``clocks`` are periods in seconds by domain."""
    simulator = Simulator(dut)
    for domain, period in clocks.items():
        simulator.add_clock(period, domain=domain)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for testbench in background:
        simulator.add_testbench(testbench, background=True)

    for _ in range(2 * limit):  # two events a clock, more where a testbench keeps a time of its own
        if not simulator.advance():
            return
    raise TimeoutError(f"the simulation was not over after {limit} clocks")


@pytest.fixture(scope="session")
def simulate() -> Callable[..., None]:
    """``simulate(dut, *testbenches, background=())``."""
    return run_simulation
