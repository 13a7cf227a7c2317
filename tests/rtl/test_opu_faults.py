"""The whole gateware, small, in Amaranth's simulator: what goes wrong around it is named, and passes."""

import dataclasses

import numpy as np
import pytest
from openopu_rtl.protocol import PROTOCOL_HASH, Code, ErrorReply, Format, Packet, PacketType, PanelKind, Program, Shot
from openopu_rtl.protocol.packets import encode_project
from openopu_rtl.protocol.registers import REGISTERS
from openopu_rtl.protocol.shots import complement, intensity

from .opu_bench import SMALL, TIMING, Bench, expected


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
