"""Blocks of the datapath, each against the NumPy model beside it, latency included."""

import dataclasses

import numpy as np
import pytest
from openopu_rtl import accumulator, binner, expander, results
from openopu_rtl.accumulator import Accumulator
from openopu_rtl.binner import Binner
from openopu_rtl.expander import Expander
from openopu_rtl.protocol import Geometry, Shot
from openopu_rtl.protocol.codec import pack_planes, pack_results
from openopu_rtl.rawframe import RawFrame
from openopu_rtl.results import Packer, ResultReader
from openopu_rtl.skid import Skid
from openopu_rtl.store import PatternStore

from .opu_bench import SMALL

GEOMETRIES = {
    "small": SMALL,
    "one pixel a mode, one a bin": dataclasses.replace(SMALL, macropixel=1, bin=1, anchor_width=0),
    "wide bins": dataclasses.replace(SMALL, bin=4, signal_x=0, signal_y=0, crop_x=4, crop_y=2),
}


@pytest.fixture(params=GEOMETRIES)
def geometry(request):
    return GEOMETRIES[request.param]


def test_expander(geometry, rng, simulate):
    dut = Expander(geometry)
    planes = np.array([[rng.getrandbits(1) for _ in range(geometry.modes)] for _ in range(2)])
    stored = pack_planes(planes)
    table = [rng.getrandbits(8) for _ in range(256)]

    async def memory(ctx):
        while True:
            _, _, address, enable = await ctx.tick().sample(dut.r_addr, dut.r_en)
            if enable:
                ctx.set(dut.r_data, stored[address % len(stored)])

    async def script(ctx):
        for i, level in enumerate(table):
            ctx.set(dut.table_we, 1)
            ctx.set(dut.table_addr, i)
            ctx.set(dut.table_data, level)
            await ctx.tick()
        ctx.set(dut.table_we, 0)
        for stall in (0.0, 0.4):
            for plane in range(2):
                levels = {k: rng.getrandbits(8) for k in ("level_on", "level_off", "level_anchor", "level_border")}
                invert, blank = rng.getrandbits(1), plane and stall
                for name, level in levels.items():
                    ctx.set(dut.shot[name], level)
                ctx.set(dut.shot.invert, invert)
                ctx.set(dut.blank, bool(blank))
                ctx.set(dut.plane_address, plane * geometry.plane_bytes)
                ctx.set(dut.start, 1)
                ctx.set(dut.o.ready, 1)
                await ctx.tick()
                ctx.set(dut.start, 0)
                got, clocks = [], 1
                while len(got) < geometry.slm_width * geometry.slm_height:
                    ready = rng.random() >= stall
                    ctx.set(dut.o.ready, ready)
                    if ctx.get(dut.o.valid):
                        if not got:
                            assert clocks == dut.LATENCY or stall
                        if ready:
                            got.append(ctx.get(dut.o.p.level))
                    clocks += 1
                    await ctx.tick()
                ctx.set(dut.o.ready, 0)
                assert not ctx.get(dut.busy)
                shown = planes[plane] * (not blank)
                want = expander.model(geometry, shown, invert=bool(invert), table=np.array(table), **levels)
                assert got == want.ravel().tolist()

    simulate(dut, script, background=(memory,), limit=20_000)


def test_binner(geometry, rng, simulate):
    dut = Binner(geometry)
    frames = np.array(
        [
            [[rng.getrandbits(geometry.pixel_bits) for _ in range(geometry.camera_width)]
             for _ in range(geometry.camera_height)]
            for _ in range(3)
        ]
    )  # fmt: skip
    out: list[tuple[int, int]] = []

    async def watch(ctx):
        while True:
            _, _, valid, index, value = await ctx.tick().sample(dut.o_valid, dut.o_index, dut.o_value)
            if valid:
                out.append((index, value))

    async def script(ctx):
        for number, frame in enumerate(frames):
            pixels = frame.ravel().tolist()
            # The second frame is cut short; the third must not notice.
            pixels = pixels[: rng.randrange(1, len(pixels))] if number == 1 else pixels
            out.clear()
            for i, pixel in enumerate(pixels):
                ctx.set(dut.valid, 1)
                ctx.set(dut.start, i == 0)
                ctx.set(dut.pixel, pixel)
                await ctx.tick()
                ctx.set(dut.valid, 0)
                while rng.random() < 0.2:
                    await ctx.tick()
            await ctx.tick().repeat(dut.LATENCY + 1)
            want = binner.model(geometry, frame)
            assert [v for _, v in sorted(out)] == want[[i for i, _ in sorted(out)]].tolist()
            if number != 1:
                assert [i for i, _ in out] == list(range(geometry.outputs))

    simulate(dut, script, background=(watch,), limit=20_000)


def test_accumulator_saturates_at_every_step(rng, simulate):
    dut = Accumulator(SMALL)
    largest = (1 << len(dut.value)) - 1
    shots = [Shot(negative=rng.random() < 0.7, shift=15, bank=rng.getrandbits(1)) for _ in range(8)]
    shots += [Shot(negative=bool(rng.getrandbits(1)), shift=rng.randrange(16), bank=0) for _ in range(6)]
    frames = np.array([[rng.randint(largest - 3, largest) for _ in range(SMALL.outputs)] for _ in shots])
    # Enough equal signs to leave 32 bits: a value of 10 bits weighs at most 2**25.
    shots = [Shot(negative=True, shift=15)] * 80 + shots
    frames = np.concatenate([np.full((80, SMALL.outputs), largest), frames])
    count = 0

    async def watch(ctx):
        nonlocal count
        while True:
            _, _, saturated = await ctx.tick().sample(dut.saturated)
            count += saturated

    async def script(ctx):
        seen = set()
        for shot, frame in zip(shots, frames, strict=True):
            ctx.set(dut.fresh, shot.bank not in seen)
            seen.add(shot.bank)
            for name in ("bank", "negative", "shift"):
                ctx.set(getattr(dut, name), int(getattr(shot, name)))
            for index, value in enumerate(frame.tolist()):
                ctx.set(dut.index, index)
                ctx.set(dut.value, value)
                ctx.set(dut.valid, 1)
                await ctx.tick()
            ctx.set(dut.valid, 0)
            await ctx.tick().repeat(dut.LATENCY)
        want, saturations = accumulator.model(shots, frames[None].astype(np.int32))
        assert saturations[0] > 0
        assert count == saturations[0]
        ctx.set(dut.r_en, 1)
        for bank in seen:
            for index in range(SMALL.outputs):
                ctx.set(dut.r_bank, bank)
                ctx.set(dut.r_index, index)
                await ctx.tick().repeat(2)
                assert ctx.get(dut.r_data) == want[0, bank, index]

    simulate(dut, script, background=(watch,), limit=20_000)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("banks", [1, 2])
def test_results(bits, banks, rng, simulate):
    dut = ResultReader(SMALL)
    sums = np.array(
        [[[rng.choice([1, -1]) * rng.getrandbits(rng.randint(1, 31)) for _ in range(SMALL.outputs)]
          for _ in range(2)]], dtype=np.int32
    )  # fmt: skip
    selection = [rng.randrange(SMALL.outputs) for _ in range(11)]

    async def memory(ctx):
        read = 0
        while True:
            _, _, enable, bank, index = await ctx.tick().sample(dut.r_en, dut.r_bank, dut.r_index)
            if enable:
                ctx.set(dut.r_data, read)
                read = int(sums[0, bank, index])

    async def script(ctx):
        for i, output in enumerate(selection):
            ctx.set(dut.selection_we, 1)
            ctx.set(dut.selection_addr, i)
            ctx.set(dut.selection_data, output)
            await ctx.tick()
        ctx.set(dut.selection_we, 0)
        ctx.set(dut.length, len(selection))
        ctx.set(dut.two_banks, banks == 2)
        ctx.set(dut.format, {8: 0, 12: 1, 16: 2}[bits])
        for shift in (0, 1, 7, 31):
            for used in (0b11, 0b10):
                ctx.set(dut.shift, shift)
                ctx.set(dut.used, used)
                held = sums * np.array([used & 1, used >> 1], dtype=np.int32)[:, None]
                want, saturated = results.model(held, selection=selection, banks=banks, shift=shift, bits=bits)
                ctx.set(dut.start, 1)
                await ctx.tick()
                ctx.set(dut.start, 0)
                got, strobes = [], 0
                while ctx.get(dut.busy):
                    ready = rng.random() < 0.6
                    ctx.set(dut.o.ready, ready)
                    if ctx.get(dut.o.valid) and ctx.get(dut.o_last):
                        assert ctx.get(dut.saturations) == saturated[0]
                    if ctx.get(dut.o.valid) and ready:
                        got.append(ctx.get(dut.o.payload))
                        assert ctx.get(dut.o_last) == (len(got) == want.size)
                    _, _, strobe = await ctx.tick().sample(dut.saturated)
                    strobes += strobe
                assert got == (want[0] & 0xFFFF).tolist()
                assert strobes == saturated[0]

    simulate(dut, script, background=(memory,), limit=20_000)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_packer(bits, count, rng, simulate):
    dut = Packer()
    values = np.array([rng.randint(-(1 << (bits - 1)), (1 << (bits - 1)) - 1) for _ in range(count)])
    got = bytearray()

    async def feed(ctx):
        ctx.set(dut.format, {8: 0, 12: 1, 16: 2}[bits])
        for i, value in enumerate(values.tolist()):
            while rng.random() < 0.3:
                await ctx.tick()
            ctx.set(dut.i.payload, value & 0xFFFF)
            ctx.set(dut.i_last, i == count - 1)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def take(ctx):
        last = 0
        while not last:
            ctx.set(dut.o.ready, rng.random() < 0.6)
            _, _, valid, ready, data, last_now = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.payload, dut.o_last
            )
            if valid and ready:
                got.append(data)
                last = last_now
        assert bytes(got) == pack_results(values, bits)

    simulate(dut, feed, take, limit=2_000)


def test_store_keeps_packets_whole(rng, simulate):
    geometry: Geometry = SMALL
    dut = PatternStore(geometry)
    kept: list[int] = []

    async def script(ctx):
        start = 0
        for _ in range(60):
            packet = [rng.getrandbits(8) for _ in range(rng.randint(1, 30))]
            fits = len(kept) + len(packet) <= geometry.store_bytes
            for byte in packet:
                ctx.set(dut.push, 1)
                ctx.set(dut.data, byte)
                await ctx.tick()
            ctx.set(dut.push, 0)
            assert ctx.get(dut.full) == (not fits)
            keep = fits and rng.random() < 0.7
            ctx.set(dut.commit if keep else dut.rollback, 1)
            freed = rng.randint(0, len(kept))
            ctx.set(dut.free, 1)
            ctx.set(dut.free_bytes, freed)
            await ctx.tick()
            for signal in (dut.commit, dut.rollback, dut.free):
                ctx.set(signal, 0)
            del kept[:freed]
            start += freed
            kept.extend(packet if keep else [])
            assert ctx.get(dut.tail) == start % geometry.store_bytes
            ctx.set(dut.r_en, 1)
            for i, byte in enumerate(kept):
                ctx.set(dut.r_addr, (start + i) % geometry.store_bytes)
                await ctx.tick()
                assert ctx.get(dut.r_data) == byte

    simulate(dut, script, limit=20_000)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("gap", [0.0, 0.5])
def test_skid_keeps_order_and_pace(stall, gap, rng, simulate):
    dut = Skid(8)
    sent = [rng.getrandbits(8) for _ in range(200)]
    got: list[int] = []
    clocks = 0

    async def feed(ctx):
        for value in sent:
            while rng.random() < gap:
                await ctx.tick()
            ctx.set(dut.i.payload, value)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def take(ctx):
        nonlocal clocks
        held = None
        while len(got) < len(sent):
            ctx.set(dut.o.ready, rng.random() >= stall)
            _, _, valid, ready, value = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload)
            assert held is None or (valid and value == held), "a stalled payload changed"
            held = value if valid and not ready else None
            if valid and ready:
                got.append(value)
            clocks += 1
        await ctx.tick()
        assert not ctx.get(dut.busy)

    simulate(dut, feed, take, limit=5_000)
    assert got == sent
    assert stall or gap or clocks == len(sent) + dut.LATENCY


def test_raw_frame_keeps_its_rows(rng, simulate):
    g = dataclasses.replace(SMALL, raw_rows=3)
    dut = RawFrame(g)
    frames = np.array(
        [
            [[rng.getrandbits(g.pixel_bits) for _ in range(g.camera_width)] for _ in range(g.camera_height)]
            for _ in range(2)
        ]
    )

    async def script(ctx):
        ctx.set(dut.enable, 1)
        for first_row, frame in zip((g.camera_height - g.raw_rows, 2), frames, strict=True):
            ctx.set(dut.first_row, first_row)
            await ctx.tick()
            for (row, column), pixel in np.ndenumerate(frame):
                for name, value in {"row": row, "column": column, "pixel": int(pixel), "valid": 1}.items():
                    ctx.set(getattr(dut, name), value)
                ctx.set(dut.start, row == column == 0)
                await ctx.tick()
                ctx.set(dut.valid, 0)
                while rng.random() < 0.2:
                    await ctx.tick()
            await ctx.tick().repeat(dut.LATENCY)
            ctx.set(dut.r_en, 1)
            for i, pixel in enumerate(frame[first_row : first_row + g.raw_rows].ravel().tolist()):
                ctx.set(dut.r_addr, i)
                await ctx.tick()
                assert ctx.get(dut.r_data) == pixel

    simulate(dut, script, limit=5_000)
