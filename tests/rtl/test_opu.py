"""The whole gateware, small, in Amaranth's simulator, against the composition of its blocks' models."""

import dataclasses

import numpy as np
import pytest
from amaranth.back import rtlil
from openopu_rtl import accumulator, normaliser, results
from openopu_rtl.monitor import weight
from openopu_rtl.opu import Opu
from openopu_rtl.protocol import PROTOCOL_HASH, Code, ErrorReply, Format, Packet, PacketType, PanelKind, Program, Shot
from openopu_rtl.protocol.geometry import PRESETS
from openopu_rtl.protocol.packets import encode_project
from openopu_rtl.protocol.registers import REGISTERS, TRIP_CAUSES
from openopu_rtl.protocol.shots import complement, intensity

from .opu_bench import SMALL, Bench, frame_of

TIMING = {"frame_timeout_cycles": 1200, "camera_jitter_cycles": 100}
"""The camera model pauses at random before and between lines."""


def expected(bench, program, planes, first, *, selection, bits, shift, banks, table=None):
    """Integers and saturations that the models give for one projection."""
    sums, _ = accumulator.model(program.shots, bench.integers(program, planes, first, table=table))
    return results.model(sums, selection=np.array(selection), banks=banks, shift=shift, bits=bits)


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


def lines(width, height):
    return [[7] * width for _ in range(height)]


W, H = SMALL.camera_width, SMALL.camera_height

FAULTS = {
    "missing": ([], Code.FRAME_MISSING, "frames_missing"),
    "twice": ([lines(W, H), lines(W, H)], Code.FRAME_EXTRA, "frames_extra"),
    "short line": ([[*lines(W, H - 1), [1] * (W - 1)]], Code.FRAME_GEOMETRY, "frames_malformed"),
    "long line": ([[[1] * (W + 1), *lines(W, H - 1)]], Code.FRAME_GEOMETRY, "frames_malformed"),
    "missing line": ([lines(W, H - 1)], Code.FRAME_GEOMETRY, "frames_malformed"),
    "extra line": ([lines(W, H + 1)], Code.FRAME_GEOMETRY, "frames_malformed"),
    "no pixel": ([[]], Code.FRAME_GEOMETRY, "frames_malformed"),
    "endless": ([lines(W, 20 * H)], Code.FRAME_LATE, "frames_late"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_camera_faults_never_mispair(fault, rng):
    """A bad frame anywhere: its projection says so, the others are right or say so too, and the counter counts."""
    frames, code, counter = FAULTS[fault]
    at = rng.randrange(4)
    print("fault at exposure", at)
    bench = Bench(faults={at: frames}, seed=at)
    program = complement(1, exposure_cycles=80, settle_cycles=5)

    async def script(host):
        await host.write(**TIMING)
        selection = np.arange(SMALL.outputs)
        await host.configure(program, selection=selection)
        planes = np.random.default_rng(at).integers(0, 2, (5, 1, SMALL.modes))
        form = Format(SMALL.outputs, 16)
        records = await host.project(0, planes, form)
        bad = at // 2
        assert records.head["status"][bad] != Code.OK
        assert code in records.head["status"]
        for i in range(5):
            if records.head["status"][i] == Code.OK:
                want, _ = expected(bench, program, planes[i], 2 * i, selection=selection, bits=16, shift=0, banks=1)
                assert records.values[i].tolist() == want[0].tolist()
        # The device has realigned itself by the end, and makes good projections again.
        assert (records.head["status"][-1:] == Code.OK).all()
        assert await host.read(counter) == 1
        assert await host.read("exposure_next") == 10

    bench.run(script)


def test_invalid_shots_are_named():
    bench = Bench()

    async def script(host):
        await host.write(**TIMING)
        program = Program((Shot(exposure_cycles=20), Shot(exposure_cycles=20)))
        words = program.words()
        words[7] = 0  # the second shot's exposure
        await host.configure(program, selection=[0])
        await host.write_window("shot_table", words)
        records = await host.project(0, np.ones((1, 1, SMALL.modes)), Format(1, 16))
        assert records.head["status"].tolist() == [Code.BAD_SHOT]
        assert bench.widths[1] == 1
        await host.write_window("shot_table", program.words())
        records = await host.project(2, np.ones((1, 1, SMALL.modes)), Format(1, 16))
        assert records.head["status"].tolist() == [Code.OK]

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


def test_errors_name_the_cause():
    bench = Bench()

    async def script(host):
        def error(reply):
            assert reply.type == PacketType.ERROR, reply
            got = ErrorReply.from_payload(reply.payload)
            return got.code, got.detail

        a = {name: r.address for name, r in REGISTERS.items()}
        assert error(await host.try_write(a["magic"], [1])) == (Code.READ_ONLY, a["magic"])
        assert error(await host.try_write(0x7000, [1])) == (Code.ADDRESS, 0x7000)
        assert error(await host.try_write(a["planes"], [0])) == (Code.VALUE, a["planes"])
        assert error(await host.try_write(0x2000, [256])) == (Code.VALUE, 0x2000)
        assert error(await host.try_write(0x8000 + SMALL.outputs, [0])) == (Code.ADDRESS, 0x8000 + SMALL.outputs)
        assert error(await host.try_write(a["laser_arm"], [1])) == (Code.ARM_KEY, a["laser_arm"])
        for name in ("laser_arm", "shot_table"):
            address = a.get(name, 0x1000)
            ask = address.to_bytes(2, "little") + b"\1\0"
            assert error(await host.ask(PacketType.READ, ask)) == (Code.ADDRESS, address)
        assert error(await host.ask(PacketType.READ, b"\0\0\0\0"))[0] == Code.LENGTH
        assert error(await host.ask(PacketType.READ, b"\0\0\1"))[0] == Code.LENGTH
        assert error(await host.ask(PacketType.WRITE, b"\0\0\1\0\0"))[0] == Code.LENGTH
        assert error(await host.ask(PacketType.WRITE, bytes(2000)))[0] == Code.LENGTH
        assert error(await host.ask(0x55)) == (Code.UNKNOWN_TYPE, 0x55)
        one = b"\0\0\0\0\1\0" + bytes(SMALL.plane_bytes)
        assert error(await host.ask(PacketType.PROJECT, one))[0] == Code.NO_PROGRAM
        await host.configure(intensity(exposure_cycles=50), selection=[0])
        assert error(await host.ask(PacketType.PROJECT, b"\5" + one[1:])) == (Code.EXPOSURE_MISMATCH, 0)
        assert error(await host.ask(PacketType.PROJECT, one + b"\0"))[0] == Code.LENGTH
        assert error(await host.ask(PacketType.PROJECT, one[:6]))[0] == Code.LENGTH
        big = b"\0\0\0\0\x40\0" + bytes(SMALL.plane_bytes * 64)
        assert error(await host.ask(PacketType.PROJECT, big))[0] == Code.NO_SPACE
        await host.send(b"\3\1\0")
        reply = await host.reply()
        assert reply.sequence == 0
        assert error(reply)[0] == Code.FRAMING
        accepted, refused = await host.read("packets_accepted"), await host.read("packets_refused")
        assert refused == 18
        assert accepted > refused
        assert await host.read("packets_damaged") == 1
        # Nothing of all this was left behind.
        await host.write(**TIMING)
        records = await host.project(0, np.ones((1, 1, SMALL.modes)), Format(1, 16))
        assert records.ok.all()

    bench.run(script)


def test_settings_are_refused_while_busy():
    bench = Bench()

    async def script(host):
        await host.write(**TIMING)
        await host.configure(intensity(exposure_cycles=200), selection=[0])
        await host.send(encode_project(9, 0, np.ones((2, 1, SMALL.modes))))
        payload = REGISTERS["planes"].address.to_bytes(2, "little") + (1).to_bytes(4, "little")
        await host.send(Packet(PacketType.WRITE, 10, payload).encode())
        first, second = await host.reply(), await host.reply()
        refused = first if first.sequence == 10 else second
        assert ErrorReply.from_payload(refused.payload).code == Code.BUSY

    bench.run(script)


def test_power_and_bias_are_zero_while_the_laser_is_off():
    codes: dict[str, int] = {}

    async def dacs(ctx):
        pins = [getattr(opu, f"{name}_{pin}") for name in ("dac", "bias") for pin in ("cs_n", "sck", "sdi")]
        bits, before = {"dac": [], "bias": []}, (1, 0, 0, 1, 0, 0)
        async for _, _, *now in ctx.tick().sample(*pins):
            for i, name in enumerate(bits):
                if now[3 * i + 1] and not before[3 * i + 1]:
                    bits[name].append(now[3 * i + 2])
                if now[3 * i] and not before[3 * i]:
                    word = int("".join(map(str, bits[name])), 2)
                    assert (len(bits[name]), word >> 12) == (16, 0b0011)
                    codes[name] = word & 0xFFF
                    bits[name].clear()
            before = now

    bench = Bench(background=(dacs,))
    opu = bench.opu

    async def script(host):
        await host.write(laser_power=0x456, laser_bias=0x123)
        assert codes == {"dac": 0, "bias": 0}
        assert await host.arm() is None
        await host.ctx.tick().repeat(150)
        assert codes == {"dac": 0x456, "bias": 0x123}
        host.ctx.set(opu.interlock_closed, 0)
        await host.ctx.tick().repeat(150)
        assert codes == {"dac": 0, "bias": 0}

    bench.run(script)


def test_laser_is_dark_until_armed_and_its_flag_tells():
    bench = Bench()
    opu = bench.opu

    async def script(host):
        await host.write(**TIMING)
        await host.configure(intensity(exposure_cycles=50), selection=[0])
        records = await host.project(0, np.ones((1, 1, SMALL.modes)), Format(1, 16))
        assert records.head["flags"].tolist() == [0]
        assert not host.ctx.get(opu.laser_enable)
        await host.write(laser_power=1234, laser_unlock=PROTOCOL_HASH, laser_arm=PROTOCOL_HASH)
        assert host.ctx.get(opu.laser_enable)
        records = await host.project(1, np.ones((1, 1, SMALL.modes)), Format(1, 16))
        assert records.head["flags"].tolist() == [1]
        host.ctx.set(opu.interlock_closed, 0)
        await host.ctx.tick().repeat(8)
        assert not host.ctx.get(opu.laser_enable)
        assert await host.read("trip_cause") == 1 << TRIP_CAUSES["interlock_open"]
        assert await host.read("laser_trips") == 1
        assert (await host.arm()).code == Code.INTERLOCK_OPEN
        host.ctx.set(opu.interlock_closed, 1)
        await host.ctx.tick().repeat(8)
        address = REGISTERS["laser_arm"].address
        for _ in range(2):
            reply = await host.try_write(address, [PROTOCOL_HASH])
            assert ErrorReply.from_payload(reply.payload) == ErrorReply(Code.ARM_ORDER, address)
        assert not host.ctx.get(opu.laser_enable)

        async def arm_and(event):
            assert await host.arm() is None
            assert host.ctx.get(opu.laser_enable)
            await event()
            assert not host.ctx.get(opu.laser_enable)
            return await host.read("trip_cause")

        async def link_reset():
            host.ctx.set(opu.link_reset, 1)
            await host.ctx.tick()
            host.ctx.set(opu.link_reset, 0)

        async def over_power():
            # The photodiode's ADC reads all ones after each exposure; the limit is below from the second one on.
            host.ctx.set(opu.adc_dout, 1)
            for first, limit in ((2, 4095), (3, 4094)):
                await host.write(monitor_limit=limit)
                records = await host.project(first, np.ones((1, 1, SMALL.modes)), Format(1, 16))
                assert records.head["flags"].tolist() == [1]
                assert records.head["monitor"].tolist() == [4095]
            host.ctx.set(opu.adc_dout, 0)

        async def panel_stalls():
            await host.write(panel_timeout_cycles=400)
            bench.panel_runs, bench.stalled = False, True
            records = await host.project(4, np.ones((1, 1, SMALL.modes)), Format(1, 16))
            assert records.head["status"].tolist() == [Code.PANEL_STALLED]
            assert (await host.arm()).code == Code.ARM_FAULT
            bench.panel_runs = True
            await host.ctx.tick().repeat(200)

        for cause, event in (
            ("link_reset", link_reset), ("over_power", over_power), ("sequencer_fault", panel_stalls)
        ):  # fmt: skip
            assert await arm_and(event) == 1 << TRIP_CAUSES[cause], cause

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


def test_more_requests_than_the_reply_queue_holds():
    """A slow link fills the reply queue behind a read that has not had the register file yet: all are answered."""
    bench = Bench(stall=0.9)
    count = 60

    async def script(host):
        address = REGISTERS["protocol_hash"].address
        payload = address.to_bytes(2, "little") + (1).to_bytes(2, "little")
        link = bench.opu.link_i
        for byte in b"".join(Packet(PacketType.READ, 1 + i, payload).encode() for i in range(count)):
            host.ctx.set(link.payload, byte)
            host.ctx.set(link.valid, 1)
            for _ in range(5_000):
                *_, taken = await host.ctx.tick().sample(link.ready)
                if taken:
                    break
            assert taken, "the device takes no byte any more"
        host.ctx.set(link.valid, 0)
        for i in range(count):
            reply = await host.reply(3_000)
            assert (reply.type, reply.sequence) == (PacketType.READ_REPLY, 1 + i)
            assert int.from_bytes(reply.payload, "little") == PROTOCOL_HASH

    bench.run(script)


@pytest.mark.parametrize(
    ("wait", "kind"),
    [(1, 0), (420, 0), (1340, 0), (1500, 0), (700, PanelKind.VIDEO_CONTINUOUS), (1500, PanelKind.VIDEO_CONTINUOUS)],
)
def test_a_panel_that_stalls_fails_its_projections_and_comes_back(wait, kind):
    """Its clock stops anywhere: what was queued ends with the code, IDs are kept, and later rows are right."""
    bench = Bench(dataclasses.replace(SMALL, panel_kind=kind))
    program = complement(1, exposure_cycles=60, settle_cycles=5)
    selection = np.arange(SMALL.outputs)
    form = Format(SMALL.outputs, 16)
    planes = np.random.default_rng(wait).integers(0, 2, (6, 1, SMALL.modes))

    def right(records, first, rows):
        for i, row in enumerate(rows):
            if records.head["status"][i] == Code.OK:
                want, _ = expected(bench, program, row, first + 2 * i, selection=selection, bits=16, shift=0, banks=1)
                assert records.values[i].tolist() == want[0].tolist()

    async def script(host):
        await host.write(**TIMING, panel_timeout_cycles=400)
        await host.configure(program, selection=selection)
        await host.send(encode_project(1, 0, planes))
        await host.ctx.tick().repeat(wait)
        bench.panel_runs, bench.stalled = False, True
        records = await host.results(0, form)
        assert records.head["status"][-1] == Code.PANEL_STALLED
        right(records, 0, planes)
        assert await host.read("panel_stalls") == 1
        # Still dead: the next packet ends too, and the exposures' IDs go on.
        records = await host.project(12, planes[:2], form)
        assert records.head["status"].tolist() == [Code.PANEL_STALLED] * 2
        assert await host.read("exposure_next") == 16
        bench.panel_runs = True
        await host.ctx.tick().repeat(200)
        records = await host.project(16, planes, form)
        assert records.ok.all()
        right(records, 16, planes)

    bench.run(script)
