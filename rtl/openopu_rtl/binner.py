"""Crop and bin: from the sensor's pixels to output modes."""

from __future__ import annotations

import numpy as np
from amaranth import Const, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .protocol.geometry import Geometry


def model(geometry: Geometry, frames: np.ndarray) -> np.ndarray:
    """Output modes (..., outputs) int32 of frames (..., camera_height, camera_width)."""
    g = geometry
    return bin_crop(g, frames[..., g.crop_y : g.crop_y + g.crop_height, g.crop_x : g.crop_x + g.crop_width])


def bin_crop(geometry: Geometry, crops: np.ndarray) -> np.ndarray:
    """Output modes (..., outputs) int32 of cropped frames (..., crop_height, crop_width)."""
    b = geometry.bin
    rows = crops[..., 0::b, :].astype(np.int32)
    for i in range(1, b):
        rows += crops[..., i::b, :]
    out = rows[..., 0::b].copy()
    for i in range(1, b):
        out += rows[..., i::b]
    return out.reshape(*crops.shape[:-2], geometry.outputs)


def output_bits(geometry: Geometry) -> int:
    """Bits of one output mode of one frame."""
    return ceil_log2(geometry.bin**2 * ((1 << geometry.pixel_bits) - 1) + 1)


class Binner(wiring.Component):
    """Takes a frame's pixels in raster order, one a clock at most, and emits each finished bin.

    ``start`` (with the first pixel) restarts the raster. ``o_valid`` comes ``LATENCY`` clocks
    after the pixel that completes the bin.
    """

    LATENCY = 3

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "pixel": In(geometry.pixel_bits),
                "valid": In(1),
                "start": In(1),
                "row": Out(range(geometry.camera_height + 1)),
                "column": Out(range(geometry.camera_width + 1)),
                "o_valid": Out(1),
                "o_index": Out(range(max(2, geometry.outputs))),
                "o_value": Out(output_bits(geometry)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        width = output_bits(g)
        m.submodules.partial = partial = memory.Memory(shape=width, depth=max(2, g.outputs_x), init=[])
        read, write = partial.read_port(domain="sync"), partial.write_port()

        next_x, next_y = Signal(range(g.camera_width + 1)), Signal(range(g.camera_height + 1))
        x, y = self.column, self.row
        m.d.comb += [x.eq(Mux(self.start, 0, next_x)), y.eq(Mux(self.start, 0, next_y))]
        step_x, step_y = Signal(range(g.bin)), Signal(range(g.bin))
        out_x, out_base = Signal(range(g.outputs_x + 1)), Signal(range(g.outputs + g.outputs_x + 1))
        # `start` may come while the counters still stand inside a frame that was cut short.
        sx, sy = Mux(self.start, 0, step_x), Mux(self.start, 0, step_y)
        ox, base = Mux(self.start, 0, out_x), Mux(self.start, 0, out_base)
        # Registers that go with next_x and next_y: whether they lie in the crop.
        next_in_column, next_in_row = Signal(), Signal()
        in_row, inside, line_end = Signal(), Signal(), Signal()
        m.d.comb += [
            in_row.eq(Mux(self.start, g.crop_y == 0, next_in_row)),
            inside.eq(in_row & Mux(self.start, g.crop_x == 0, next_in_column)),
            line_end.eq(x == g.camera_width - 1),
        ]
        with m.If(self.valid):
            m.d.sync += next_in_row.eq(in_row)
            with m.If(x == g.crop_x + g.crop_width - 1):
                m.d.sync += next_in_column.eq(0)
            if g.crop_x:
                with m.If(x == g.crop_x - 1):
                    m.d.sync += next_in_column.eq(1)
            with m.If(line_end):
                m.d.sync += next_in_column.eq(g.crop_x == 0)
                with m.If(y == g.crop_y + g.crop_height - 1):
                    m.d.sync += next_in_row.eq(0)
                if g.crop_y:
                    with m.If(y == g.crop_y - 1):
                        m.d.sync += next_in_row.eq(1)
        line_sum = Signal(width)
        total = Signal(width)
        m.d.comb += total.eq(Mux(sx == 0, Const(0, width), line_sum) + self.pixel)
        finished = Signal()
        finished1, first_row1, last_row1 = Signal(), Signal(), Signal()
        total1, x1, index1 = Signal(width), Signal.like(out_x), Signal.like(self.o_index)
        m.d.comb += finished.eq(self.valid & inside & (sx == g.bin - 1))
        m.d.sync += finished1.eq(finished)
        with m.If(self.valid):
            m.d.sync += [next_x.eq(x + 1), next_y.eq(y), step_x.eq(sx), step_y.eq(sy), out_x.eq(ox), out_base.eq(base)]
            with m.If(inside):
                m.d.sync += [line_sum.eq(total), step_x.eq(sx + 1)]
                with m.If(sx == g.bin - 1):
                    m.d.sync += [step_x.eq(0), out_x.eq(ox + 1)]
            with m.If(line_end):
                m.d.sync += [next_x.eq(0), next_y.eq(y + 1), step_x.eq(0), out_x.eq(0)]
                with m.If(in_row):
                    m.d.sync += step_y.eq(sy + 1)
                    with m.If(sy == g.bin - 1):
                        m.d.sync += [step_y.eq(0), out_base.eq(base + g.outputs_x)]
        with m.If(finished):
            m.d.sync += [
                total1.eq(total),
                first_row1.eq(sy == 0),
                last_row1.eq(sy == g.bin - 1),
                x1.eq(ox),
                index1.eq(base + ox),
            ]
        # A block RAM's output takes more than half a clock: nothing but a register follows it.
        finished2, first_row2, last_row2 = Signal(), Signal(), Signal()
        old2, total2, x2, index2 = Signal(width), Signal(width), Signal.like(x1), Signal.like(index1)
        value = Signal(width)
        m.d.sync += [
            finished2.eq(finished1),
            first_row2.eq(first_row1),
            last_row2.eq(last_row1),
            old2.eq(read.data),
            total2.eq(total1),
            x2.eq(x1),
            index2.eq(index1),
        ]
        m.d.comb += [
            read.addr.eq(ox),
            read.en.eq(1),
            value.eq(Mux(first_row2, Const(0, width), old2) + total2),
            write.en.eq(finished2),
            write.addr.eq(x2),
            write.data.eq(value),
        ]
        m.d.sync += [self.o_valid.eq(finished2 & last_row2), self.o_value.eq(value), self.o_index.eq(index2)]
        return m
