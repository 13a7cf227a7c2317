"""The laser's interlock against its model and, one by one, against its rules."""

import pytest
from openopu_rtl.interlock import EVENT_CLOCKS, EVENTS, SYNCHRONISER_CLOCKS, Interlock, InterlockModel
from openopu_rtl.protocol import PROTOCOL_HASH, Code
from openopu_rtl.protocol.registers import TRIP_CAUSES

INPUTS = ("unlock", "arm", "key", "disarm", "interlock_closed", "refresh", "heartbeat_cycles", *EVENTS)
OUTPUTS = ("laser_on", "armed", "closed", "fresh", "tripped", "cause", "trip", "unlock_code", "arm_code")
WINDOW = 12
WRONG_KEY = PROTOCOL_HASH ^ 1 << 7


def run(simulate, stimuli):
    """Outputs in every clock for ``stimuli``, a dictionary of inputs for every clock (missing ones: 0)."""
    dut = Interlock(window_cycles=WINDOW)
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
    return [{"heartbeat_cycles": 20, "interlock_closed": 1, "key": PROTOCOL_HASH, **inputs}] * count


UNLOCKED = clocks(SYNCHRONISER_CLOCKS) + clocks(1, unlock=1)
ARMED = UNLOCKED + clocks(1, arm=1)
"""Stimuli after which the laser is on."""


def outputs_of(model, stimulus):
    events = frozenset(n for n in EVENTS if stimulus.get(n))
    return {
        **{n: int(getattr(model, n)) for n in ("laser_on", "armed", "closed", "fresh", "tripped", "cause")},
        "trip": int(model.trip(events) != 0),
        "unlock_code": model.unlock_code(events),
        "arm_code": model.arm_code(events),
    }


def test_equals_model_and_is_dark_unless_all_is_well(simulate, rng):
    stimuli, closed, heartbeat = [], 1, 20
    for _ in range(8000):
        if rng.random() < (0.02 if closed else 0.2):
            closed = not closed
        if rng.random() < 0.01:
            heartbeat = rng.choice((0, 1, 5, 20, 60, 0xFFFFFFFF))
        stimuli.append(
            {
                "unlock": rng.random() < 0.1,
                "arm": rng.random() < 0.1,
                "key": PROTOCOL_HASH if rng.random() < 0.9 else WRONG_KEY,
                "disarm": rng.random() < 0.03,
                "interlock_closed": closed,
                "refresh": rng.random() < 0.1,
                "heartbeat_cycles": heartbeat,
                **{name: rng.random() < 0.01 for name in EVENTS},
            }
        )
    model = InterlockModel(window_cycles=WINDOW)
    lit, codes = 0, set()
    for k, (stimulus, found) in enumerate(zip(stimuli, run(simulate, stimuli), strict=True)):
        assert found == outputs_of(model, stimulus), f"clock {k}"
        codes.add(found["arm_code"])
        lit += found["laser_on"]
        if found["laser_on"]:
            assert found["armed"]
            assert found["closed"]
            assert found["fresh"]
            assert not found["tripped"]
        events = frozenset(n for n in EVENTS if stimulus.pop(n))
        model.clock(**stimulus, events=events)
    assert lit > 500
    assert codes == {Code.OK, Code.ARM_KEY, Code.INTERLOCK_OPEN, Code.ARM_FAULT, Code.ARM_ORDER, Code.ARM_WINDOW}


def test_dark_after_reset(simulate):
    trace = run(simulate, clocks(50, refresh=1))
    assert not any(t["laser_on"] or t["armed"] or t["tripped"] or t["trip"] for t in trace)
    assert not trace[0]["closed"]
    assert not trace[0]["fresh"]


def test_arms_only_while_closed(simulate):
    opened = clocks(5, interlock_closed=0) + clocks(1, interlock_closed=0, unlock=1)
    trace = run(simulate, opened + clocks(1, interlock_closed=0, arm=1) + clocks(5))
    assert not any(t["armed"] for t in trace)
    assert trace[5]["unlock_code"] == trace[6]["arm_code"] == Code.INTERLOCK_OPEN
    trace = run(simulate, ARMED + clocks(5))
    assert trace[len(ARMED)]["laser_on"]


ATTEMPTS = {
    "second step alone": (clocks(3), Code.ARM_ORDER),
    "first step with a wrong key": (clocks(2) + clocks(1, key=WRONG_KEY) + clocks(1, unlock=1), Code.ARM_ORDER),
    "second step with a wrong key between": (UNLOCKED + clocks(1, key=WRONG_KEY) + clocks(1, arm=1), Code.ARM_ORDER),
    "first step with a wrong key between": (UNLOCKED + clocks(1, key=WRONG_KEY) + clocks(1, unlock=1), Code.ARM_ORDER),
    "disarmed between": (UNLOCKED + clocks(1, disarm=1), Code.ARM_ORDER),
    "both at once": (UNLOCKED + clocks(1, unlock=1, arm=1), Code.ARM_ORDER),
    "too late": (UNLOCKED + clocks(WINDOW), Code.ARM_WINDOW),
    "loop opened between": (UNLOCKED + clocks(1, interlock_closed=0) + clocks(SYNCHRONISER_CLOCKS), Code.ARM_ORDER),
    **{f"{name} between": (UNLOCKED + clocks(1, **{name: 1}), Code.ARM_ORDER) for name in EVENTS},
    "armed before, disarmed since": (ARMED + clocks(1, disarm=1), Code.ARM_ORDER),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_arms_only_by_two_steps_in_their_window(simulate, attempt):
    stimuli, code = ATTEMPTS[attempt]
    trace = run(simulate, stimuli + clocks(1, arm=1) + clocks(3))
    assert trace[len(stimuli)]["arm_code"] == code
    assert not any(t["laser_on"] for t in trace[len(stimuli) + 1 :])
    # The window has been closed for good: only a new first step helps.
    trace = run(simulate, stimuli + clocks(2, arm=1) + clocks(1, unlock=1) + clocks(1, arm=1) + clocks(2))
    assert trace[len(stimuli) + 1]["arm_code"] == Code.ARM_ORDER
    assert trace[-1]["laser_on"]


def test_window_is_open_to_its_last_clock(simulate):
    trace = run(simulate, UNLOCKED + clocks(WINDOW - 1) + clocks(1, arm=1) + clocks(2))
    assert trace[-1]["laser_on"]


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_trips_and_refuses_arming(simulate, name):
    trace = run(simulate, ARMED + clocks(2) + clocks(3, **{name: 1}, unlock=1) + clocks(10, refresh=1))
    at = len(ARMED) + 2
    assert trace[at]["laser_on"]
    assert not any(t["laser_on"] for t in trace[at + EVENT_CLOCKS :])
    assert [t["trip"] for t in trace].count(1) == 1
    assert trace[-1]["tripped"]
    assert trace[-1]["cause"] == 1 << TRIP_CAUSES[name]
    assert trace[at + 1]["unlock_code"] == trace[at + 1]["arm_code"] == Code.ARM_FAULT


def test_causes_of_the_same_clock_are_all_named(simulate):
    trace = run(simulate, ARMED + clocks(1, link_reset=1, sequencer_fault=1) + clocks(2))
    assert trace[-1]["cause"] == 1 << TRIP_CAUSES["link_reset"] | 1 << TRIP_CAUSES["sequencer_fault"]


def test_loop_opening_darkens_and_latches(simulate):
    opened = run(simulate, ARMED + clocks(4) + clocks(10, interlock_closed=0) + clocks(10, refresh=1))
    at = len(ARMED) + 4
    assert opened[at]["laser_on"]
    assert not opened[at + SYNCHRONISER_CLOCKS]["laser_on"]
    assert [t["trip"] for t in opened].count(1) == 1
    last = {name: opened[-1][name] for name in ("laser_on", "armed", "closed", "fresh", "tripped", "cause", "trip")}
    assert last == {
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
    trace = run(simulate, clocks(30) + clocks(10, interlock_closed=0) + clocks(5, over_power=1, link_reset=1))
    assert not any(t["trip"] or t["tripped"] for t in trace)


def test_disarming_is_no_trip_and_wins(simulate):
    trace = run(simulate, ARMED + clocks(1, unlock=1) + clocks(1, disarm=1, arm=1) + clocks(30))
    assert not any(t["laser_on"] or t["trip"] or t["tripped"] for t in trace[len(ARMED) + 2 :])


def test_arming_clears_the_trip(simulate):
    trace = run(simulate, ARMED + clocks(25) + clocks(1, unlock=1) + clocks(1, arm=1) + clocks(5))
    assert trace[len(ARMED) + 25]["tripped"]
    assert trace[-1]["laser_on"]
    assert trace[-1]["cause"] == 0
