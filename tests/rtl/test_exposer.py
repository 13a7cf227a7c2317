"""Exposer, with a panel that shows a pattern for a while only: no exposure outlives it, and none is lost."""

from __future__ import annotations

from openopu_rtl.exposer import Exposer

SLOT, DARK = 60, 12
FOREVER = (1 << 32) - 1


def run(rng, simulate, shots):
    """Expose (settle, exposure) shots; returns for each the clocks in which it began and ended, or None if skipped."""
    dut = Exposer()
    outcome: list[tuple[int, int] | None] = []
    missed = 0
    clock = 0

    async def loader(ctx):
        for settle, exposure in shots:
            ctx.set(dut.i.p.shot.settle_cycles, settle)
            ctx.set(dut.i.p.shot.exposure_cycles, exposure)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
        while len(outcome) < len(shots):
            await ctx.tick()

    async def panel(ctx):
        """Slots follow each other; each that finds a shot waiting is that shot's."""
        nonlocal clock, missed
        granted = latched = mine = 0
        ctx.set(dut.panel_timeout, 4000)
        ctx.set(dut.analog_ready, 1)
        begun = None
        while True:
            at = clock % (SLOT + DARK)
            grant = ctx.get(dut.grant)
            if at == 0:
                mine = grant != granted
                if mine:
                    granted, latched = grant, latched ^ 1
                    ctx.set(dut.latched, latched)
            ctx.set(dut.showing_cycles, max(0, SLOT - at) if mine else 0)
            # The camera is ready now and then; results are taken at once.
            ctx.set(dut.none_due, rng.random() < 0.05)
            ctx.set(dut.readout_cycles, 1000)
            _, _, trigger, miss, valid, skipped, unfit = await ctx.tick().sample(
                dut.trigger, dut.missed, dut.o.valid, dut.o.p.skipped, dut.o.p.unfit
            )
            missed += miss
            if trigger:
                assert mine
                assert at < SLOT, "exposed in the dark"
                begun = clock if begun is None else begun
            if valid:
                assert unfit == skipped
                outcome.append(None if skipped else (begun, clock))
                begun = None
            clock += 1

    simulate(dut, loader, background=(panel,), limit=100_000)
    return outcome, missed


def test_exposures_fit_their_slots(rng, simulate):
    shots = [(rng.randrange(1, 30), rng.randrange(1, 25)) for _ in range(40)]
    outcome, missed = run(rng, simulate, shots)
    assert [ended - begun + 1 for begun, ended in outcome] == [exposure for _, exposure in shots]
    assert missed > 3


def test_a_shot_that_never_fits_is_skipped(rng, simulate):
    shots = [(10, 20), (30, 40), (0, SLOT - 2), (0, SLOT - 5), (5, SLOT), (1, FOREVER), (FOREVER, FOREVER), (10, 20)]
    outcome, _ = run(rng, simulate, shots)
    assert [o is None for o in outcome] == [False, True, True, False, True, True, True, False]
