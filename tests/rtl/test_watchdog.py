"""The watchdog of exposures against its model and its rule."""

import pytest
from openopu_rtl.watchdog import ExposureWatchdog, faults


def run(simulate, clocks):
    dut = ExposureWatchdog()
    found = []

    async def testbench(ctx):
        for take, exposure_cycles, trigger in clocks:
            ctx.set(dut.take, take)
            ctx.set(dut.exposure_cycles, exposure_cycles)
            ctx.set(dut.trigger, trigger)
            found.append(bool(ctx.get(dut.fault)))
            await ctx.tick()

    simulate(dut, testbench)
    return found


def test_equals_model(simulate, rng):
    clocks, trigger = [], False
    for _ in range(4000):
        if rng.random() < 0.15:
            trigger = not trigger
        clocks.append((rng.random() < 0.1, rng.randrange(12), trigger))
    found = run(simulate, clocks)
    assert found == list(faults(clocks))
    assert 100 < sum(found) < 3000


@pytest.mark.parametrize("exposure", [0, 1, 2, 9])
@pytest.mark.parametrize("excess", [0, 1, 3])
def test_counts_to_the_clock(simulate, exposure, excess):
    high = max(1, exposure) + excess
    # The next shot may be taken while this one is exposed.
    clocks = [(True, exposure, False)] + [(False, 0, False)] * 3
    clocks += [(k == 0, 100, True) for k in range(high)] + [(False, 0, False)] * 3
    assert sum(run(simulate, clocks)) == excess


def test_a_trigger_without_a_shot_is_a_fault_at_once(simulate):
    assert run(simulate, [(False, 0, False)] + [(False, 0, True)] * 3) == [False, True, True, True]
