"""The laser's interlock against its model and, one by one, against its rules."""

import pytest
from openopu_rtl.interlock import SYNCHRONISER_CLOCKS, Interlock, InterlockModel
from openopu_rtl.protocol.registers import TRIP_CAUSES

INPUTS = ("arm", "disarm", "interlock_closed", "refresh", "heartbeat_cycles")
OUTPUTS = ("laser_on", "armed", "closed", "fresh", "tripped", "cause", "trip")


def run(simulate, stimuli):
    """Outputs in every clock for ``stimuli``, a dictionary of inputs for every clock (missing ones: 0)."""
    dut = Interlock()
    trace = []

    async def testbench(ctx):
        for stimulus in stimuli:
            for name in INPUTS:
                ctx.set(getattr(dut, name), stimulus.get(name, 0))
            trace.append({name: ctx.get(getattr(dut, name)) for name in OUTPUTS})
            await ctx.tick()

    simulate(dut, testbench)
    return trace


def clocks(count, **inputs):
    return [{"heartbeat_cycles": 20, "interlock_closed": 1, **inputs}] * count


ARMED = clocks(SYNCHRONISER_CLOCKS) + clocks(1, arm=1)
"""Stimuli after which the laser is on."""


def test_equals_model_and_is_dark_unless_all_is_well(simulate, rng):
    stimuli, closed, heartbeat = [], 1, 20
    for _ in range(6000):
        if rng.random() < 0.02:
            closed = not closed
        if rng.random() < 0.01:
            heartbeat = rng.choice((0, 1, 5, 20, 60, 0xFFFFFFFF))
        stimuli.append(
            {
                "arm": rng.random() < 0.1,
                "disarm": rng.random() < 0.03,
                "interlock_closed": closed,
                "refresh": rng.random() < 0.1,
                "heartbeat_cycles": heartbeat,
            }
        )
    model = InterlockModel()
    for k, (stimulus, found) in enumerate(zip(stimuli, run(simulate, stimuli), strict=True)):
        assert found == {name: int(getattr(model, name)) for name in OUTPUTS}, f"clock {k}"
        if found["laser_on"]:
            assert found["armed"]
            assert found["closed"]
            assert found["fresh"]
            assert not found["tripped"]
        model.clock(**stimulus)


def test_dark_after_reset(simulate):
    trace = run(simulate, clocks(50, refresh=1))
    assert not any(t["laser_on"] or t["armed"] or t["tripped"] or t["trip"] for t in trace)
    assert not trace[0]["closed"]
    assert not trace[0]["fresh"]


def test_arms_only_while_closed(simulate):
    trace = run(simulate, clocks(5, interlock_closed=0) + clocks(1, interlock_closed=0, arm=1) + clocks(5))
    assert not any(t["armed"] for t in trace)
    trace = run(simulate, ARMED + clocks(5))
    assert trace[len(ARMED)]["laser_on"]


def test_loop_opening_darkens_and_latches(simulate):
    opened = run(simulate, ARMED + clocks(4) + clocks(10, interlock_closed=0) + clocks(10, refresh=1))
    at = len(ARMED) + 4
    assert opened[at]["laser_on"]
    assert not opened[at + SYNCHRONISER_CLOCKS]["laser_on"]
    assert [t["trip"] for t in opened].count(1) == 1
    assert opened[-1] == {
        "laser_on": 0, "armed": 0, "closed": 1, "fresh": 1, "tripped": 1,
        "cause": 1 << TRIP_CAUSES["interlock_open"], "trip": 0,
    }  # fmt: skip


@pytest.mark.parametrize("refreshed", [False, True])
def test_heartbeat_lasts_exactly(simulate, refreshed):
    stimuli = ARMED + clocks(10) + clocks(1, refresh=refreshed) + clocks(40)
    trace = run(simulate, stimuli)
    start = len(ARMED) + (11 if refreshed else 0)
    assert all(t["laser_on"] for t in trace[len(ARMED) : start + 20])
    assert not any(t["laser_on"] for t in trace[start + 20 :])
    assert trace[-1]["cause"] == 1 << TRIP_CAUSES["heartbeat_lost"]
    assert trace[-1]["tripped"]


def test_lowering_the_heartbeat_takes_effect_at_once(simulate):
    trace = run(simulate, ARMED + clocks(30, heartbeat_cycles=3))
    assert trace[len(ARMED) + 3]["laser_on"]
    assert not trace[len(ARMED) + 4]["laser_on"]


def test_not_armed_nothing_trips(simulate):
    trace = run(simulate, clocks(30) + clocks(10, interlock_closed=0) + clocks(10))
    assert not any(t["trip"] or t["tripped"] for t in trace)


def test_disarming_is_no_trip_and_wins(simulate):
    trace = run(simulate, ARMED + clocks(2) + clocks(1, disarm=1, arm=1) + clocks(30))
    assert not any(t["laser_on"] or t["trip"] or t["tripped"] for t in trace[len(ARMED) + 3 :])


def test_arming_clears_the_trip(simulate):
    trace = run(simulate, ARMED + clocks(25) + clocks(1, arm=1) + clocks(5))
    assert trace[len(ARMED) + 25]["tripped"]
    assert trace[-1]["laser_on"]
    assert trace[-1]["cause"] == 0
