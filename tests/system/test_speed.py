"""What the speed of the simulation is measured with; how fast it is, is no test's business (`make bench`)."""

from __future__ import annotations

from openopu_rtl.protocol import Geometry
from openopu_sim.bench import speed


def test_all_harnesses_run_the_same_netlist_to_the_same_integers() -> None:
    measured = speed.simulation_speed(Geometry.fitting(16, 16), packets=1, rounds=1)
    assert measured["projections"] == speed.PROJECTIONS_A_PACKET
    assert set(measured["cycles_per_second"]) == {"raw", "bench", "per_pixel", "with_plant"}
