"""The parts of the loop without optics: what the panel shows read back, the medium in gateware, frames as pins."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.sim import Simulator
from openopu_rtl import chip_medium, panel_probe
from openopu_rtl.camera import CameraPort
from openopu_rtl.chip_medium import ChipMedium
from openopu_rtl.frame_player import FramePlayer
from openopu_rtl.panel_probe import PanelProbe
from openopu_rtl.protocol import Geometry
from openopu_rtl.protocol.patterns import panel_crc, panel_frame

from .opu_bench import SMALL

GEOMETRIES = {
    "small": SMALL,
    "one pixel a mode, one a bin, no anchor": dataclasses.replace(SMALL, macropixel=1, bin=1, anchor_width=0),
    "two words, 12 bit": dataclasses.replace(
        SMALL, macropixel=1, modes_x=8, modes_y=5, pixel_bits=12, signal_x=0, signal_y=0, crop_x=4, crop_y=2
    ),
}


@pytest.fixture(params=GEOMETRIES)
def geometry(request):
    return GEOMETRIES[request.param]


def random_frame(geometry, rng):
    levels = np.array([rng.getrandbits(8) for _ in range(geometry.modes)], dtype=np.uint8)
    return levels, panel_frame(geometry, levels, rng.getrandbits(8), rng.getrandbits(8))


async def check_probe(ctx, dut, geometry, frame):
    """Read the pattern back: it is ``frame``."""
    levels, anchor, border, crc = panel_probe.model(geometry, frame)
    got = []
    ctx.set(dut.r_en, 1)
    for mode in range(geometry.modes):
        ctx.set(dut.r_addr, mode)
        await ctx.tick()
        got.append(ctx.get(dut.r_data))
    assert got == levels.tolist()
    assert (ctx.get(dut.anchor), ctx.get(dut.border), ctx.get(dut.crc)) == (anchor, border, crc)


def test_model_of_the_probe_inverts_the_frame(geometry, rng):
    levels, frame = random_frame(geometry, rng)
    got, anchor, border, crc = panel_probe.model(geometry, frame)
    assert got.tolist() == levels.tolist()
    assert (panel_frame(geometry, got, anchor, border) == frame).all()
    assert crc == panel_crc(frame)


def test_panel_probe_reads_any_frame_back(geometry, rng):
    """Also one that no expander makes: single wrong pixels show in the CRC."""
    dut = PanelProbe(geometry)
    g = geometry
    shape = (g.slm_height, g.slm_width)
    frames = [
        random_frame(g, rng)[1],
        np.array([rng.getrandbits(8) for _ in range(shape[0] * shape[1])], dtype=np.uint8).reshape(shape),
    ]
    frames.append(frames[0].copy())
    frames[-1][rng.randrange(shape[0]), rng.randrange(shape[1])] ^= 1 << rng.randrange(8)
    simulator = Simulator(dut)
    simulator.add_clock(1 / 48e6)
    simulator.add_clock(1 / 31e6, domain="slm")

    async def script(ctx):
        async def send(frame):
            for line in frame:
                for level in line.tolist():
                    while rng.random() < 0.1:
                        await ctx.tick("slm")
                    ctx.set(dut.de, 1)
                    ctx.set(dut.level, level)
                    await ctx.tick("slm")
                    ctx.set(dut.de, 0)
                    ctx.set(dut.level, rng.getrandbits(8))
                await ctx.tick("slm").repeat(3)

        async def sync():
            ctx.set(dut.vsync, 1)
            await ctx.tick("slm").repeat(4)
            ctx.set(dut.vsync, 0)
            await ctx.tick("slm").repeat(4)

        await send(frames[0])
        for i, frame in enumerate(frames):
            await sync()
            if i + 1 < len(frames):
                await send(frames[i + 1])  # the next one is gathered, and not shown
            ctx.set(dut.request, 1)
            await ctx.tick().until(dut.ready)
            await check_probe(ctx, dut, g, frame)
            ctx.set(dut.request, 0)
            await ctx.tick("slm").repeat(8)
            assert not ctx.get(dut.ready)

    simulator.add_testbench(script)
    simulator.run()


def test_what_is_read_stays_while_video_goes_on(geometry, rng):
    """Continuous video never pauses: other frames come, and are shown, while the pattern of an exposure is read."""
    dut = PanelProbe(geometry)
    frames = [random_frame(geometry, rng)[1] for _ in range(4)]
    simulator = Simulator(dut)
    simulator.add_clock(1 / 48e6)
    simulator.add_clock(1 / 31e6, domain="slm")

    async def video(ctx):
        while True:
            for level in frames[min(sent[0], 3)].ravel().tolist():
                ctx.set(dut.de, 1)
                ctx.set(dut.level, level)
                await ctx.tick("slm")
            ctx.set(dut.de, 0)
            ctx.set(dut.vsync, 1)
            sent[0] += 1
            await ctx.tick("slm").repeat(4)
            ctx.set(dut.vsync, 0)
            await ctx.tick("slm").repeat(4)

    sent = [0]

    async def script(ctx):
        while not sent[0]:
            await ctx.tick()
        ctx.set(dut.request, 1)
        await ctx.tick().until(dut.ready)
        for shown in range(1, 5):
            while sent[0] < shown:
                await ctx.tick()
            await check_probe(ctx, dut, geometry, frames[0])
        # The last frame repeats, so there is time to be precise about which one is on show.
        ctx.set(dut.request, 0)
        while sent[0] < 7:
            await ctx.tick()
        ctx.set(dut.request, 1)
        await ctx.tick().until(dut.ready)
        await check_probe(ctx, dut, geometry, frames[3])

    simulator.add_testbench(video, background=True)
    simulator.add_testbench(script)
    simulator.run()


def test_chip_medium(geometry, rng, simulate):
    dut = ChipMedium(geometry)
    g = geometry
    patterns = [random_frame(g, rng)[0] for _ in range(2)] + [np.full(g.modes, 255), np.zeros(g.modes, dtype=int)]
    cycles = [rng.randrange(1, 3000), rng.randrange(1, 3000), 1 << 20, 1000]

    async def memory(ctx):
        while True:
            _, _, address, enable = await ctx.tick().sample(dut.r_addr, dut.r_en)
            if enable:
                # Past the last mode anything may come; once it has been read, the pattern may change.
                ctx.set(dut.r_data, int(patterns[shown[0]][address % g.modes]) if ctx.get(dut.reading) else 0xAA)

    shown = [0]

    async def script(ctx):
        for i, exposure in enumerate(cycles):
            shown[0] = i
            ctx.set(dut.start, 1)
            ctx.set(dut.exposure_cycles, exposure)
            await ctx.tick()
            ctx.set(dut.start, 0)
            got = []
            while len(got) < g.camera_width * g.camera_height:
                ready = rng.random() >= 0.3
                ctx.set(dut.o.ready, ready)
                _, _, valid, pixel, busy = await ctx.tick().sample(dut.o.valid, dut.o.payload, dut.busy)
                assert busy
                if valid and ready:
                    got.append(pixel)
            ctx.set(dut.o.ready, 0)
            assert not ctx.get(dut.busy)
            want = chip_medium.model(g, patterns[i], exposure)
            assert got == want.ravel().tolist(), i
            assert want.max() == (0 if i == 3 else (1 << g.pixel_bits) - 1 if i == 2 else want.max())

    simulate(dut, script, background=(memory,), limit=40_000)


def test_the_medium_is_a_random_one():
    """Its singular values fill the band of Marchenko and Pastur, rows are uncorrelated, and few pixels clip."""
    g = Geometry()
    real, imag = chip_medium.signs(g)
    matrix = (real + 1j * imag) / np.sqrt(2 * g.outputs)
    ratio = np.sqrt(g.modes / g.outputs)
    values = np.linalg.svd(matrix, compute_uv=False)
    assert values.min() == pytest.approx(1 - ratio, abs=0.04)
    assert values.max() == pytest.approx(1 + ratio, abs=0.04)
    rows = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    for product in (rows @ rows.conj().T, rows @ rows.T):
        assert np.abs(product - np.diag(np.diag(product))).max() < 5.5 / np.sqrt(g.modes)
    lit = np.random.default_rng(0).random((20, g.modes)) < 0.5
    for bits in (8, 10, 12):
        g = Geometry.fitting(256, 1024, pixel_bits=bits)
        full = (1 << bits) - 1
        frames = np.stack([chip_medium.model(g, 255 * row, chip_medium.TYPICAL_CYCLES) for row in lit])
        crops = frames[:, g.crop_y : g.crop_y + g.crop_height, g.crop_x : g.crop_x + g.crop_width]
        assert 1 / 13 < crops.mean() / full < 1 / 6.3
        assert (crops == full).mean() < 0.003


def play(geometry, pixels, *, abort_at=None, abort_clocks=200, rng):
    """Words of the camera port when ``pixels`` go through a player; ``abort_at`` of them, then it is aborted."""
    m = Module()
    m.submodules.player = player = FramePlayer(geometry)
    m.submodules.port = port = CameraPort(geometry)
    m.submodules.fifo = fifo = AsyncFIFOBuffered(
        width=geometry.pixel_bits, depth=geometry.camera_width + 2, w_domain="sync", r_domain="cam"
    )
    m.d.comb += [
        player.i.payload.eq(fifo.r_data),
        player.i.valid.eq(fifo.r_rdy),
        fifo.r_en.eq(player.i.ready),
        player.level.eq(fifo.r_level),
        *(getattr(port, name).eq(getattr(player, name)) for name in ("fval", "lval", "pixel")),
        port.o.ready.eq(1),
    ]
    simulator = Simulator(m)
    simulator.add_clock(1 / 48e6)
    simulator.add_clock(1 / 60e6, domain="cam")
    words, done = [], []

    async def feed(ctx):
        for count, pixel in enumerate(pixels):
            if count == abort_at:
                ctx.set(player.abort, 1)
                await ctx.tick("cam").repeat(abort_clocks)
                ctx.set(player.abort, 0)
                # What had come before may still be on its way through the FIFO.
                await ctx.tick("cam").repeat(4)
                for _ in range(2000):
                    *_, empty = await ctx.tick("cam").sample(player.empty)
                    if empty:
                        break
                else:
                    pytest.fail("the player does not come to rest")
            while rng.random() < 0.2:
                await ctx.tick()
            ctx.set(fifo.w_data, int(pixel))
            ctx.set(fifo.w_en, 1)
            await ctx.tick().until(fifo.w_rdy)
            ctx.set(fifo.w_en, 0)
        await ctx.tick().until(player.empty)
        await ctx.tick("cam").repeat(8)
        done.append(True)

    async def watch(ctx):
        while not done:
            _, _, valid, word = await ctx.tick("cam").sample(port.o.valid, port.o.payload)
            if valid:
                words.append(word)

    simulator.add_testbench(feed)
    simulator.add_testbench(watch)
    simulator.run()
    return words


def test_frames_arrive_whole_through_the_camera_port(geometry, rng):
    size = geometry.camera_width * geometry.camera_height
    pixels = [rng.getrandbits(geometry.pixel_bits) for _ in range(2 * size)]
    words = play(geometry, pixels, rng=rng)
    assert [w.pixel for w in words if not w.end] == pixels
    assert [i for i, w in enumerate(words) if w.first] == [0, size + 1]
    ends = [(i, w.malformed, w.overflow) for i, w in enumerate(words) if w.end]
    assert ends == [(size, 0, 0), (2 * size + 1, 0, 0)]


@pytest.mark.parametrize("abort_clocks", [2, 3, 200])
def test_an_aborted_frame_is_malformed_and_leaves_nothing(geometry, rng, abort_clocks):
    size = geometry.camera_width * geometry.camera_height
    half = rng.randrange(1, size)
    print("aborted after", half)
    pixels = [rng.getrandbits(geometry.pixel_bits) for _ in range(half + size)]
    words = play(geometry, pixels, abort_at=half, abort_clocks=abort_clocks, rng=rng)
    *broken, whole = (i for i, w in enumerate(words) if w.end)
    assert all(words[i].malformed for i in broken)
    assert len(broken) == (half >= geometry.camera_width) or half < geometry.camera_width
    assert not words[whole].malformed
    assert [w.pixel for w in words[broken[-1] + 1 if broken else 0 : whole]] == pixels[half:]
