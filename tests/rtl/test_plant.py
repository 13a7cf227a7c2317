"""The whole gateware without optics: the medium in gateware, and frames from the host."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from openopu_rtl import accumulator, binner, chip_medium, expander, normaliser, results
from openopu_rtl.monitor import weight
from openopu_rtl.plant import plants_of
from openopu_rtl.protocol import PROTOCOL_HASH, Code, ErrorReply, Format, PacketType
from openopu_rtl.protocol.geometry import PanelKind
from openopu_rtl.protocol.packets import FRAME_REPLY_PAYLOAD, Pattern, decode_records, encode_project, frame_payload
from openopu_rtl.protocol.patterns import panel_crc, panel_frame
from openopu_rtl.protocol.registers import PLANT_SOURCES, REGISTERS, STATUS_BITS
from openopu_rtl.protocol.shots import complement

from .opu_bench import SMALL, Bench, frame_of

PROGRAM = complement(1, exposure_cycles=900, settle_cycles=5)
FORM = Format(SMALL.outputs, 16)
PIXELS = SMALL.camera_pixels


def dark(bench, ctx):
    """Nothing of the real optics has been used."""
    assert not bench.patterns, "the camera was triggered"
    assert not ctx.get(bench.opu.laser_enable)


async def set_up(host, source, **registers):
    host.bench.interlock = 0
    await host.write(plant_source=PLANT_SOURCES[source], laser_power=1234, **registers)
    await host.configure(PROGRAM, selection=np.arange(SMALL.outputs))


async def idle(host):
    while await host.read("status") >> STATUS_BITS["busy"] & 1:
        pass


def levels_of(shot, plane):
    """On the panel, (modes,)."""
    on, off = (shot.level_off, shot.level_on) if shot.invert else (shot.level_on, shot.level_off)
    return np.where(plane, on, off)


def integers(frames, weights=None):
    binned = np.stack([binner.model(SMALL, f) for f in frames])
    binned = binned if weights is None else normaliser.model(binned, weights)
    sums, _ = accumulator.model(PROGRAM.shots, binned[None])
    return results.model(sums, selection=np.arange(SMALL.outputs), banks=1, shift=0, bits=16)[0][0].tolist()


def chip_frames(planes):
    return [chip_medium.model(SMALL, levels_of(s, planes[s.plane]), s.exposure_cycles) for s in PROGRAM]


def refusal(reply):
    assert reply.type == PacketType.ERROR, reply
    return ErrorReply.from_payload(reply.payload).code


def random_planes(rng, rows):
    return np.array([[[rng.getrandbits(1) for _ in range(SMALL.modes)]] for _ in range(rows)])


def test_chip(rng):
    bench = Bench(plants=("chip",), stall=0.2, clocks=(48e6, 25e6, 60e6))

    async def script(host):
        await set_up(host, "chip")
        planes = random_planes(rng, 3)
        records = await host.project(0, planes, FORM)
        assert records.ok.all()
        assert (records.head["flags"] == 1).all()  # the light is simulated, and on
        assert (records.head["monitor"] == chip_medium.MONITOR).all()
        assert [row.tolist() for row in records.values] == [integers(chip_frames(p)) for p in planes]
        assert await host.read("frames") == 6
        dark(bench, host.ctx)

    bench.run(script)


def test_chip_and_a_panel_that_stalls(rng):
    """Also in mid-frame: nothing of it is left when the panel is back."""
    bench = Bench(plants=("chip",))

    async def script(host):
        await set_up(host, "chip", panel_timeout_cycles=400, frame_timeout_cycles=2500)
        planes = random_planes(rng, 3)
        await host.send(encode_project(1, 0, planes))
        await host.ctx.tick().repeat(wait := rng.randrange(4000))
        print("stalls after", wait)
        bench.panel_runs, bench.stalled = False, True
        records = await host.results(0, FORM)
        # Without its clock the pattern on show cannot be read either.
        codes = {Code.PANEL_STALLED, Code.FRAME_MISSING, Code.RESYNC, Code.OK}
        assert set(records.head["status"].tolist()) <= codes
        for row, ok, plane in zip(records.values, records.ok, planes, strict=True):
            assert not ok or row.tolist() == integers(chip_frames(plane))
        bench.panel_runs = True
        await host.ctx.tick().repeat(200)
        records = await host.project(6, planes, FORM)
        assert records.ok.all()
        assert [row.tolist() for row in records.values] == [integers(chip_frames(p)) for p in planes]

    bench.run(script)


def test_a_frame_that_takes_too_long_is_thrown_away_whole(rng):
    bench = Bench(plants=("chip",))

    async def script(host):
        await set_up(host, "chip", frame_timeout_cycles=(timeout := rng.randrange(64, 400)))
        print("time-out", timeout)
        planes = random_planes(rng, 3)
        records = await host.project(0, planes, FORM)
        assert set(records.head["status"].tolist()) <= {Code.FRAME_MISSING, Code.FRAME_LATE, Code.RESYNC}
        await idle(host)  # it realigns itself
        await host.write(frame_timeout_cycles=2000)
        records = await host.project(6, planes, FORM)
        assert records.ok.all()
        assert [row.tolist() for row in records.values] == [integers(chip_frames(p)) for p in planes]

    bench.run(script)


def test_the_laser_cannot_be_armed_where_the_light_is_simulated():
    bench = Bench(plants=("chip",))

    async def script(host):
        for name in ("laser_unlock", "laser_arm"):
            await host.write(**{name: PROTOCOL_HASH})
        assert host.ctx.get(bench.opu.laser_enable)
        await host.write(plant_source=PLANT_SOURCES["chip"])
        for name in ("laser_unlock", "laser_arm"):
            assert not host.ctx.get(bench.opu.laser_enable)
            assert refusal(await host.try_write(REGISTERS[name].address, [PROTOCOL_HASH])) == Code.PLANT_SIMULATED
        await host.write(plant_source=PLANT_SOURCES["camera"])
        assert not await host.read("status") >> STATUS_BITS["armed"] & 1  # and is not, by itself, afterwards
        for name in ("laser_unlock", "laser_arm"):
            await host.write(**{name: PROTOCOL_HASH})
        assert host.ctx.get(bench.opu.laser_enable)

    bench.run(script)


@pytest.mark.parametrize("plants", [(), ("host",)])
def test_what_is_not_built_in_is_refused(plants):
    bench = Bench(plants=plants)

    async def script(host):
        assert await host.read("features") == 1 + sum(1 << PLANT_SOURCES[name] for name in plants)
        for name, value in PLANT_SOURCES.items():
            reply = await host.try_write(REGISTERS["plant_source"].address, [value])
            if name in ("camera", *plants):
                assert reply.type == PacketType.WRITE_REPLY
            else:
                assert refusal(reply) == Code.NO_PLANT

    bench.run(script)
    with pytest.raises(ValueError, match="no plant"):
        plants_of(SMALL, ("glass",))
    packed = dataclasses.replace(SMALL, panel_kind=PanelKind.PACKED_PLANES, modes_x=8, modes_y=2, macropixel=1)
    assert not plants_of(packed)
    with pytest.raises(ValueError, match="PACKED_PLANES cannot be read back"):
        plants_of(packed, ("chip",))


class Optics:
    """A host that answers patterns: with ``frame_of``, ``size`` pixels a packet, and ``reading`` of the exposure."""

    def __init__(self, host, size, reading=lambda exposure: 77):
        self.host, self.size, self.reading = host, size, reading
        self.seen = {}

    async def pattern(self, packet):
        """Take a pattern; return its frame."""
        assert packet.sequence == 0
        pattern = Pattern.from_payload(packet.payload, SMALL)
        assert (pattern.laser_power, pattern.exposure_cycles) == (1234, 900)
        panel = panel_frame(SMALL, pattern.levels, pattern.anchor, pattern.border)
        assert pattern.crc == panel_crc(panel)
        self.seen[pattern.exposure] = panel
        return pattern, frame_of(SMALL, panel, pattern.exposure)

    async def frame(self, exposure, frame, start, stop):
        """Send one FRAME packet; returns what the device waits for."""
        payload = frame_payload(exposure, self.reading(exposure), frame, start, stop, SMALL)
        reply = await self.host.ask(PacketType.FRAME, payload)
        assert reply.type == PacketType.FRAME_REPLY, reply
        return FRAME_REPLY_PAYLOAD.unpack(reply.payload)

    async def answer(self, packet):
        pattern, frame = await self.pattern(packet)
        assert pattern.offset == 0
        for start in range(0, PIXELS, self.size):
            stop = min(start + self.size, PIXELS)
            assert await self.frame(pattern.exposure, frame, start, stop) == (pattern.exposure, stop)

    async def project(self, first, planes):
        """Records of projections, each in a packet of its own, all sent at once."""
        for row, plane in enumerate(planes):
            await self.host.send(encode_project(row + 1, first + row * len(PROGRAM), plane[None]))
        records = []
        while len(records) < len(planes):
            packet = await self.host.reply()
            if packet.type == PacketType.PATTERN:
                await self.answer(packet)
            else:
                assert packet.sequence == len(records) + 1, packet
                got, record = decode_records(packet.payload, FORM)
                assert got == first + len(records) * len(PROGRAM)
                records.append(record)
        return records

    def wanted(self, first, plane, reference=None):
        """Integers of one projection, from what should have been on the panel; normalised with ``reference``."""
        frames = []
        for i, s in enumerate(PROGRAM):
            levels = {k: getattr(s, k) for k in ("level_on", "level_off", "level_anchor", "level_border")}
            panel = expander.model(SMALL, plane[s.plane], invert=s.invert, table=np.arange(256), **levels)
            assert (self.seen[first + i] == panel).all()
            frames.append(frame_of(SMALL, panel, first + i))
        readings = np.array([self.reading(first + i) for i in range(len(PROGRAM))])
        return integers(frames, None if reference is None else weight(readings, reference))


def test_frames_from_the_host(rng):
    bench = Bench(plants=("host",), stall=0.1, clocks=(48e6, 25e6, 60e6))

    async def script(host):
        await set_up(host, "host", frame_timeout_cycles=100_000)
        optics, planes = Optics(host, 37), random_planes(rng, 2)
        before = await host.read("packets_accepted")
        records = await optics.project(0, planes)
        for i, (record, plane) in enumerate(zip(records, planes, strict=True)):
            assert record.ok.all()
            assert (record.head["flags"][0], record.head["monitor"][0]) == (1, 77)
            assert record.values[0].tolist() == optics.wanted(2 * i, plane)
        assert await host.read("packets_accepted") == before + 1 + len(planes) - 1 + 1
        assert await host.read("monitor") == 77
        dark(bench, host.ctx)

    bench.run(script)


def test_frames_from_the_host_are_weighted_by_the_readings_they_bring(rng):
    reference = 1800
    bench = Bench(plants=("host",))

    async def script(host):
        await set_up(host, "host", frame_timeout_cycles=100_000, normalise=1, monitor_reference=reference)
        optics, planes = Optics(host, PIXELS, lambda exposure: 1100 + 977 * exposure), random_planes(rng, 1)
        (record,) = await optics.project(0, planes)
        assert record.ok.all()
        assert record.values[0].tolist() == optics.wanted(0, planes[0], reference)
        assert record.values[0].tolist() != optics.wanted(0, planes[0])

    bench.run(script)


def test_a_packet_of_several_projections_is_refused():
    """Its result would begin with the first one, and keep the second one's pattern from the host."""
    bench = Bench(plants=("host",))

    async def script(host):
        await set_up(host, "host")
        body = b"\0\0\0\0\2\0" + bytes(2 * SMALL.plane_bytes)
        assert refusal(await host.ask(PacketType.PROJECT, body)) == Code.ONE_PROJECTION

    bench.run(script)


def test_frames_that_are_not_waited_for_are_not_used(rng):
    """Repeated, skipping, another exposure's, too long, with no pattern under way; then the right ones."""
    bench = Bench(plants=("host",))

    async def script(host):
        optics, planes = Optics(host, 50), random_planes(rng, 1)
        nonsense = np.full((SMALL.camera_height, SMALL.camera_width), 255)
        assert await optics.frame(0, nonsense, 0, 10) == (0, 0)
        await set_up(host, "host", frame_timeout_cycles=100_000)
        assert await optics.frame(0, nonsense, 0, 10) == (0, 0)
        await host.send(encode_project(1, 0, planes))
        for exposure in range(2):
            pattern, frame = await optics.pattern(await host.reply())
            assert pattern.exposure == exposure
            assert await optics.frame(exposure + 1, nonsense, 0, 10) == (exposure, 0)
            assert await optics.frame(exposure, nonsense, 1, 10) == (exposure, 0)
            assert await optics.frame(exposure, frame, 0, 50) == (exposure, 50)
            assert await optics.frame(exposure, nonsense, 0, 50) == (exposure, 50)
            assert await optics.frame(exposure, nonsense, 49, 60) == (exposure, 50)
            for payload in (bytes(10), bytes(9), bytes(1023)):
                assert refusal(await host.ask(PacketType.FRAME, payload)) == Code.LENGTH
            more = np.concatenate([frame.ravel(), nonsense.ravel()])[: PIXELS + 5]
            assert await optics.frame(exposure, more, 50, PIXELS + 5) == (exposure, PIXELS)
        record = decode_records((await host.reply()).payload, FORM)[1]
        assert record.ok.all()
        assert record.values[0].tolist() == optics.wanted(0, planes[0])

    bench.run(script)


@pytest.mark.parametrize("kind", [PanelKind.VIDEO_ON_DEMAND, PanelKind.VIDEO_CONTINUOUS])
def test_a_pattern_is_sent_again_until_it_is_answered(rng, kind):
    """The same one, though a display has long since gone on to the next."""
    bench = Bench(dataclasses.replace(SMALL, panel_kind=kind), plants=("host",))

    async def script(host):
        await set_up(host, "host", frame_timeout_cycles=8_000)
        optics, planes = Optics(host, 50), random_planes(rng, 1)
        await host.send(encode_project(1, 0, planes))
        await host.reply()  # lost
        pattern, frame = await optics.pattern(await host.reply())
        assert (pattern.exposure, pattern.offset) == (0, 0)
        await optics.frame(0, frame, 0, 50)
        pattern, _ = await optics.pattern(await host.reply())
        assert (pattern.exposure, pattern.offset) == (0, 50)  # goes on from there
        await optics.frame(0, frame, 50, PIXELS)
        await host.reply()  # lost
        await optics.answer(await host.reply())
        record = decode_records((await host.reply()).payload, FORM)[1]
        assert record.ok.all()
        assert record.values[0].tolist() == optics.wanted(0, planes[0])

    bench.run(script)


def test_a_host_that_leaves_in_mid_frame(rng):
    """Everything queued ends soon, named; the next host finds a device that works."""
    bench = Bench(plants=("host",))

    async def script(host):
        await set_up(host, "host", frame_timeout_cycles=2_400)
        optics, planes = Optics(host, 50), random_planes(rng, 3)
        for row, plane in enumerate(planes):
            await host.send(encode_project(row + 1, 2 * row, plane[None]))
        _, frame = await optics.pattern(await host.reply())
        sent = rng.randrange(PIXELS)
        print("sent", sent)
        if sent:
            assert await optics.frame(0, frame, 0, sent) == (0, sent)
        codes = []
        while len(codes) < len(planes):
            packet = await host.reply()
            if packet.type == PacketType.RESULT:
                codes.append(Code(int(decode_records(packet.payload, FORM)[1].head["status"][0])))
            else:
                assert Pattern.from_payload(packet.payload, SMALL).exposure == 0  # again, and no other
        assert codes[0] == (Code.FRAME_LATE if sent >= SMALL.camera_width else Code.FRAME_MISSING)
        assert set(codes[1:]) <= {Code.FRAME_MISSING, Code.RESYNC}
        await idle(host)
        assert await host.read("exposure_next") == 6
        assert await host.read("frames_extra") == 0
        records = await optics.project(6, planes[:1])
        assert records[0].ok.all()
        assert records[0].values[0].tolist() == optics.wanted(6, planes[0])

    bench.run(script)
