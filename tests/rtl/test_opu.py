"""The whole gateware, small, in Amaranth's simulator, against the composition of its blocks' models."""

import dataclasses

import numpy as np
import pytest
from amaranth.back import rtlil
from openopu_rtl import accumulator, normaliser, results
from openopu_rtl.monitor import weight
from openopu_rtl.opu import Opu
from openopu_rtl.protocol import REGISTERS, Code, Format, PacketType, Program, Shot
from openopu_rtl.protocol.geometry import PRESETS
from openopu_rtl.protocol.packets import READ_PAYLOAD
from openopu_rtl.protocol.shots import complement, intensity

from .opu_bench import SMALL, TIMING, Bench, expected, frame_of


def random_program(rng):
    planes = int(rng.integers(1, 4))
    shots = [
        Shot(
            plane=int(rng.integers(planes)), invert=bool(rng.integers(2)), negative=bool(rng.integers(2)),
            bank=int(rng.integers(2)), shift=int(rng.choice([0, 1, 3, 15])), frames=int(rng.integers(1, 3)),
            level_on=int(rng.integers(256)), level_off=int(rng.integers(256)), level_anchor=int(rng.integers(256)),
            level_border=int(rng.integers(256)), settle_cycles=int(rng.integers(0, 60)),
            exposure_cycles=int(rng.integers(1, 300)),
        )
        for _ in range(rng.integers(1, 7))
    ]  # fmt: skip
    return Program(tuple(shots), planes)


@pytest.mark.parametrize(("seed", "panel_kind"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_random_projections(seed, panel_kind):
    rng = np.random.default_rng(seed)
    print("seed", seed)
    clocks = (48e6, rng.uniform(20e6, 48e6), rng.uniform(20e6, 48e6))
    bench = Bench(
        dataclasses.replace(SMALL, panel_kind=panel_kind), seed=seed, stall=rng.choice([0.0, 0.3]), clocks=clocks
    )
    table = rng.permutation(256)

    async def script(host):
        await host.write(**TIMING)
        await host.write_window("level_table", table)
        for _ in range(2):
            program = random_program(rng)
            bits, shift, banks = int(rng.choice([8, 12, 16])), int(rng.integers(0, 6)), int(rng.integers(1, 3))
            selection = rng.integers(0, SMALL.outputs, rng.integers(1, SMALL.outputs + 1))
            await host.configure(program, selection=selection, bits=bits, shift=shift, banks=banks)
            base = int(rng.integers(1 << 32))
            await host.write(exposure_base=base)
            count = int(rng.integers(1, 5))
            planes = rng.integers(0, 2, (count, program.planes, SMALL.modes))
            form = Format(len(selection) * banks, bits)
            records = await host.project(base, planes, form)
            for i in range(count):
                first = (base + i * len(program)) & 0xFFFFFFFF
                form_of = {"selection": selection, "bits": bits, "shift": shift, "banks": banks}
                want, saturated = expected(bench, program, planes[i], first, table=table, **form_of)
                assert records.head["status"][i] == Code.OK
                assert records.head["exposure"][i] == first
                assert records.head["saturated"][i] == saturated[0]
                assert records.values[i].tolist() == want[0].tolist()
                for j, s in enumerate(program):
                    assert bench.widths[(first + j) & 0xFFFFFFFF] == s.exposure_cycles
            assert await host.read("exposure_next") == (base + count * len(program)) & 0xFFFFFFFF

    bench.run(script)


def test_raw_readout():
    bench = Bench()

    async def script(host):
        await host.write(**TIMING)
        await host.configure(intensity(exposure_cycles=50), selection=[], raw=True)
        planes = np.random.default_rng(1).integers(0, 2, (3, 1, SMALL.modes))
        form = Format(SMALL.camera_width * SMALL.raw_rows, 16, raw=True)
        records = await host.project(0, planes, form)
        for i in range(3):
            want = frame_of(SMALL, bench.patterns[i], i)
            assert records.values[i].tolist() == want.ravel().tolist()

    bench.run(script)


def test_readings_travel_with_their_shots_and_normalise_their_frames(rng):
    """Readings are of the exposure they stand for, whatever the exposures' lengths; frames are weighted with them."""
    reference = 1800
    base = rng.randrange(1 << 32)

    def reading(exposure):
        return (exposure * 1237 + 800) % 2600

    bench = Bench(readings=reading, stall=0.2, seed=rng.randrange(1000))
    shortest = bench.opu.monitor_cycles + 1
    shots = [
        Shot(exposure_cycles=shortest, settle_cycles=3),
        Shot(exposure_cycles=shortest + 400, negative=True, shift=2),
        Shot(exposure_cycles=shortest, shift=1),
    ]
    count = 2

    async def script(host):
        selection = np.arange(SMALL.outputs)
        planes = np.random.default_rng(base).integers(0, 2, (count, 1, SMALL.modes))
        await host.write(**TIMING, exposure_base=base, monitor_reference=reference, result_monitors=1)
        first = base
        for normalise, cycles in ((1, None), (0, 20)):
            program = Program(tuple(dataclasses.replace(s, exposure_cycles=cycles or s.exposure_cycles) for s in shots))
            await host.configure(program, selection=selection)
            await host.write(normalise=normalise)
            records = await host.project(first, planes, Format(SMALL.outputs, 16, monitors=len(program)))
            for i in range(count):
                ids = [(first + len(program) * i + j) & 0xFFFFFFFF for j in range(len(program))]
                want = [reading(exposure) for exposure in ids]
                assert records.head["status"][i] == Code.OK
                assert records.monitors[i].tolist() == want
                assert records.head["monitor"][i] == want[-1]
                binned = bench.integers(program, planes[i], ids[0])
                if normalise:
                    binned = normaliser.model(binned, weight(np.array([want]), reference))
                sums, _ = accumulator.model(program.shots, binned)
                integers, _ = results.model(sums, selection=selection, banks=1, shift=0, bits=16)
                assert records.values[i].tolist() == integers[0].tolist()
            first = (first + count * len(program)) & 0xFFFFFFFF
        assert await host.read("monitor") == reading((first - 1) & 0xFFFFFFFF)

    bench.run(script)


def test_shots_too_short_to_be_normalised_are_named():
    bench = Bench(readings=lambda exposure: 1000)
    cycles = bench.opu.monitor_cycles

    async def script(host):
        await host.write(**TIMING, normalise=1, monitor_reference=1000)
        first = 0
        for last, code in ((cycles, Code.MONITOR_LATE), (0, Code.BAD_SHOT), (cycles + 1, Code.OK)):
            program = Program((Shot(exposure_cycles=cycles + 1), Shot(exposure_cycles=1)))
            words = program.words()
            words[7] = last
            await host.configure(program, selection=[0])
            await host.write_window("shot_table", words)
            records = await host.project(first, np.ones((1, 1, SMALL.modes)), Format(1, 16))
            assert records.head["status"].tolist() == [code]
            first += 2
        await host.write(normalise=0)
        await host.write_window("shot_table", Program((Shot(exposure_cycles=cycles), Shot(exposure_cycles=1))).words())
        records = await host.project(first, np.ones((1, 1, SMALL.modes)), Format(1, 16))
        assert records.head["status"].tolist() == [Code.OK]
        assert await host.read("monitor_cycles") == cycles

    bench.run(script)


def test_neighbouring_words_are_read_in_their_order():
    bench = Bench()

    async def script(host):
        first = REGISTERS["magic"].address
        reply = await host.ask(PacketType.READ, READ_PAYLOAD.pack(first, 4))
        values = {REGISTERS[name].address: value for name, value in bench.opu.identity.items()}
        assert np.frombuffer(reply.payload, "<u4").tolist() == [values[first + i] for i in range(4)]

    bench.run(script)


@pytest.mark.parametrize("geometry", ["dlp4500", "hd720"])
def test_large_geometries_elaborate(geometry):
    assert "openopu" in rtlil.convert(Opu(PRESETS[geometry], clock_hz=100_000_000), name="openopu", emit_src=False)


def test_pixel_depths():
    program, planes = intensity(exposure_cycles=50), np.ones((1, 1, SMALL.modes))
    for pixel_bits in (10, 12):
        bench = Bench(dataclasses.replace(SMALL, pixel_bits=pixel_bits))

        async def script(host, bench=bench):
            await host.write(**TIMING)
            await host.configure(program, selection=[3, 2])
            records = await host.project(0, planes, Format(2, 16))
            want, _ = expected(bench, program, planes[0], 0, selection=[3, 2], bits=16, shift=0, banks=1)
            assert records.values.tolist() == want.tolist()

        bench.run(script)


@pytest.mark.parametrize("preload", [1, 0])
def test_patterns_load_while_the_one_before_is_exposed(preload):
    """Cycles of a shot in steady state: the longest of its stages, or their sum where the panel forbids preloading."""
    bench = Bench()
    program = complement(1, settle_cycles=5, exposure_cycles=700)
    busy = []

    async def script(host):
        await host.write(**TIMING, slm_preload=preload)
        await host.configure(program, selection=[0])
        first = 0
        for count in (3, 7):
            await host.write(counters_clear=0)
            planes = np.ones((count, 1, SMALL.modes))
            records = await host.project(first, planes, Format(1, 16))
            assert records.ok.all()
            first += count * len(program)
            busy.append(await host.read("cycles_busy"))

    bench.run(script)
    per_shot = (busy[1] - busy[0]) / (4 * len(program))
    panel = SMALL.slm_frame_clocks * 48 / 40
    if preload:
        # Not exactly steady: the first and the last shot of a run overlap with nothing.
        assert 705 * 0.95 < per_shot < 705 * 1.05
    else:
        assert 705 + SMALL.slm_width * SMALL.slm_height * 48 / 40 < per_shot < 705 + panel + 60
