"""The camera port, pin by pin: which clocks are pixels, and which frames are whole."""

import random

import pytest
from openopu_rtl.camera import CameraPort
from openopu_rtl.protocol import Geometry

GEOMETRY = Geometry.fitting(
    16, 12, macropixel=1, bin=1, camera_width=6, camera_height=5, crop_x=1, crop_y=1, raw_rows=5
)
BLANK = [(1, 0, 1)] * 2
"""(FVAL, LVAL, DVAL) of the clocks between two lines."""
GAP = [(0, 0, 1)] * 3


def line(pixels, pauses=0):
    """A line of so many pixels, with clocks between them in which DVAL is low."""
    out = []
    for k in range(pixels):
        out += [(1, 1, 0)] * (pauses if k % 2 else 0) + [(1, 1, 1)]
    return out


def frame(*lines, together=False):
    """Lines with blanks between them; ``together``: FVAL falls with the last LVAL."""
    out = []
    for k, part in enumerate(lines):
        out += part + ([] if together and k == len(lines) - 1 else BLANK)
    return out


def words_of(simulate, pins, noise):
    dut = CameraPort(GEOMETRY)
    levels, words = [], []

    async def drive(ctx):
        ctx.set(dut.o.ready, 1)
        for fval, lval, dval in [*GAP, *pins, *GAP]:
            level = noise.randrange(256)
            ctx.set(dut.pixel, level)
            for port, value in ((dut.fval, fval), (dut.lval, lval), (dut.dval, dval)):
                ctx.set(port, value)
            if fval and lval and dval:
                levels.append(level)
            _, _, valid, word = await ctx.tick("cam").sample(dut.o.valid, dut.o.payload)
            if valid:
                words.append(word)

    simulate(dut, drive, clocks={"cam": 1e-6})
    ends = [word for word in words if word.end]
    pixels = [word for word in words if not word.end]
    assert [word.pixel for word in pixels] == levels
    assert [word.first for word in pixels] == [1] + [0] * (len(pixels) - 1)
    assert len(ends) == 1
    assert words[-1] is ends[0]
    assert not ends[0].overflow
    return bool(ends[0].malformed)


W, H = GEOMETRY.camera_width, GEOMETRY.camera_height


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("pauses", [0, 1, 3])
def test_a_whole_frame_is_whole(simulate, rng, together, pauses):
    assert not words_of(simulate, frame(*[line(W, pauses)] * H, together=together), rng)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("at", range(H))
@pytest.mark.parametrize("length", [W - 1, W + 1])
def test_a_line_of_another_length_is_seen_wherever_it_stands(simulate, together, at, length):
    lines = [line(W)] * H
    lines[at] = line(length)
    assert words_of(simulate, frame(*lines, together=together), random.Random(at))


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("count", [1, H - 1, H + 1])
def test_another_number_of_lines_is_seen(simulate, rng, together, count):
    assert words_of(simulate, frame(*[line(W)] * count, together=together), rng)


def test_a_pixel_without_dval_shortens_its_line(simulate, rng):
    lines = [line(W)] * H
    lines[2] = [*line(W - 1), (1, 1, 0)]
    assert words_of(simulate, frame(*lines), rng)
