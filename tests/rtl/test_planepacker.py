"""Plane packer: whatever is missed, lost or late, a slot is only ever taken for the shot that it shows."""

from __future__ import annotations

from openopu_rtl.planepacker import SHOTS_AHEAD, PlanePacker
from openopu_rtl.shapes import PLANES

from .test_planes import SMALL

SHOTS = 220
NAMES = 64
"""Shots are told apart by their plane's address."""


def run(rng, simulate, *, miss=0.0, lose=0.0, slow=0.0, burst=PLANES):
    """Pack and expose ``SHOTS`` shots; returns the video frames that it took.

    ``miss``: share of slots that pass before their shot is exposed; ``lose``: of frames that are not whole;
    ``slow``: of clocks in which the loader has no shot; ``burst``: clocks of a slot.
    """
    dut = PlanePacker(SMALL)
    offered: list[int] = []
    exposed: list[int] = []
    frames = 0

    async def loader(ctx):
        """Each shot in one slot, or now and then in two."""
        for shot in range(SHOTS):
            for final in (False, True)[rng.random() > 0.1 :]:
                while ctx.get(dut.busy) or rng.random() < slow:
                    await ctx.tick()
                ctx.set(dut.plane_address, shot % NAMES)
                ctx.set(dut.final, final)
                ctx.set(dut.start, 1)
                await ctx.tick()
                ctx.set(dut.start, 0)
                await ctx.tick()
            offered.append(shot)
            assert len(offered) - len(exposed) <= SHOTS_AHEAD + 2

    sending: tuple[int, list[int]] | None = None
    shown: list[int] = []

    async def sender(ctx):
        """Reads what a frame holds; is busy for most of the frame."""
        nonlocal sending
        while True:
            _, _, send, count, tag = await ctx.tick().sample(dut.send, dut.send_count, dut.send_tag)
            if not send:
                continue
            ctx.set(dut.sender_busy, 1)
            await ctx.tick().repeat(rng.randrange(1, 100))
            content = []
            for slot in range(count):
                ctx.set(dut.slot_addr, slot)
                await ctx.tick()
                await ctx.tick()
                content.append(ctx.get(dut.slot_data.plane_address))
            sending = (tag, content)
            await ctx.tick().repeat(rng.randrange(1, 100))
            ctx.set(dut.sender_busy, 0)

    async def panel(ctx):
        """Frames and slots; also the exposer, which may end the last slot's exposure after the next frame has begun."""
        nonlocal sending, shown, frames
        grant, latched, waiting, ends_in, missed = 0, 0, False, 0, 0

        async def clocks(number):
            nonlocal ends_in
            for _ in range(number):
                ends_in -= 1
                ctx.set(dut.exposed, ends_in == 0)
                if ends_in == 0:
                    exposed.append(len(exposed))
                await ctx.tick()
            ctx.set(dut.exposed, 0)

        while len(exposed) < SHOTS:
            while slow and not ctx.get(dut.busy) and len(offered) < SHOTS:
                await clocks(1)
            await clocks(rng.choice((4, 5, 5, 6)) if slow else 1)  # also just when a shot enters a batch
            whole = sending is not None and not ctx.get(dut.sender_busy) and rng.random() >= lose
            tag, content = sending if whole else (rng.getrandbits(3), [])
            ctx.set(dut.whole, whole)
            ctx.set(dut.tag, tag)
            shown, sending = content, None
            frames += 1
            ctx.set(dut.frame, 1)
            await clocks(1)
            ctx.set(dut.frame, 0)
            await clocks(12)
            for slot in range(PLANES):
                # The exposer wants its next shot as soon as the loader has handed it over.
                if not waiting and ends_in <= 0 and len(exposed) < len(offered):
                    grant, waiting = grant ^ 1, True
                    ctx.set(dut.grant, grant)
                    await clocks(1)
                ctx.set(dut.begins, 1)
                ctx.set(dut.slot, slot)
                await clocks(1)
                ctx.set(dut.begins, 0)
                for clock in range(burst):
                    await clocks(1)
                    if ctx.get(dut.latched) != latched:
                        assert waiting
                        assert clock < 3
                        assert ctx.get(dut.mine)
                        latched = ctx.get(dut.latched)
                        assert slot < len(shown)
                        assert shown[slot] == len(exposed) % NAMES, f"shot {len(exposed)}, slot {slot} of {shown}"
                        waiting = False
                        if rng.random() < miss or (miss and missed < 3):
                            missed += 1
                            grant, waiting = grant ^ 1, True
                            ctx.set(dut.grant, grant)
                        else:
                            ends_in = burst + 8 if slot == PLANES - 1 else rng.randrange(1, burst - clock)
            assert frames < 8 * SHOTS, "it does not go on"
        await clocks(9)
        assert ctx.get(dut.empty)

    simulate(dut, loader, panel, background=(sender,), limit=400_000)
    assert exposed == list(range(SHOTS))
    return frames


def test_every_slot_of_every_frame_is_used(rng, simulate):
    """With shots always there, a frame brings 24 of them, but for those that take two slots, and the first and last."""
    frames = run(rng, simulate)
    assert frames <= SHOTS * 1.2 / PLANES + 5


def test_missed_slots_and_lost_frames(rng, simulate):
    run(rng, simulate, miss=0.05, lose=0.2)


def test_shots_that_come_now_and_then(rng, simulate):
    run(rng, simulate, miss=0.03, slow=0.993)
