"""What cocotb runs inside Icarus: the decoder of cocotbext-dvi on our serial lanes, in a small video mode.

Not a test module of pytest: ``test_dvi.py`` starts it.
"""

from __future__ import annotations

import cocotb
from cocotb.triggers import Timer
from cocotb.utils import get_sim_time
from cocotbext.dvi import DVIBus, DVISink

WIDTH, HEIGHT, LINE, LINES = 24, 16, 34, 22
FRAMES = 2
BIT_PS = 1000


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def dvi_sink_sees_the_picture(dut):
    """The sink compares every pixel with its file, and the rows of a frame and the pixels of a row with its size."""
    await Timer(40 * BIT_PS, unit="ps")  # it takes the first period of the clock lane for all the others
    sink = DVISink(dut, DVIBus.from_prefix(dut, "tmds"), image_file="picture.ppm")
    await sink.frame_finished(1)
    start = get_sim_time("ps")
    await sink.frame_finished(FRAMES)
    assert get_sim_time("ps") - start == FRAMES * LINE * LINES * 10 * BIT_PS
    whole = sink.rgb_out.frames[-FRAMES:]
    assert [len(frame.data) for frame in whole] == [WIDTH * HEIGHT] * FRAMES
    assert all(frame.verification for frame in whole)
