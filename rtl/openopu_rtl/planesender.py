"""Plane sender: from the planes of a batch of shots to the words of one packed video frame."""

from __future__ import annotations

import numpy as np
from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .binarylevels import SHOT_BITS
from .protocol.geometry import Geometry
from .shapes import BATCH_TAG_BITS, PLANES, PLANES_WORD


def slot_layout(geometry: Geometry) -> data.StructLayout:
    """What is shown in one slot: a plane in the store, inverted or blank, and the bits of its shot's levels."""
    address = ceil_log2(geometry.store_bytes)
    return data.StructLayout({"plane_address": address, "invert": 1, "blank": 1, "bits": SHOT_BITS})


def model(geometry: Geometry, patterns: np.ndarray) -> np.ndarray:
    """Words of a frame, ``planes`` as integers, for up to ``PLANES`` patterns (slots, slm_height, slm_width) bool.

    The border is taken from a pixel outside both regions, if there is one.
    """
    g = geometry
    weights = 1 << np.arange(len(patterns), dtype=np.int64)
    packed = np.tensordot(weights, np.asarray(patterns, dtype=np.int64), axes=1)
    outside = np.ones((g.slm_height, g.slm_width), dtype=bool)
    signal = np.s_[g.signal_y : g.signal_y + g.signal_height, g.signal_x : g.signal_x + g.signal_width]
    outside[signal] = False
    outside[g.anchor_y : g.anchor_y + g.anchor_height, g.anchor_x : g.anchor_x + g.anchor_width] = False
    border = packed[outside][:1] if outside.any() else [0]
    anchor = [packed[g.anchor_y, g.anchor_x]] if g.anchor_pixels else [0]
    return np.concatenate([border, anchor, packed[signal][:, :: g.macropixel].ravel()])


class PlaneSender(wiring.Component):
    """``start`` (while ``busy`` is low) sends one frame of the ``count`` slots of batch ``tag``; the rest is dark.

    ``slot_addr`` and ``slot_data`` read what the batch's slots show, ``r_addr`` and ``r_data`` the pattern
    store (both one clock of latency). Eight modes take ``PLANES`` reads and 3 clocks, each line again.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        address = ceil_log2(geometry.store_bytes)
        super().__init__(
            {
                "start": In(1),
                "count": In(range(PLANES + 1)),
                "tag": In(BATCH_TAG_BITS),
                "busy": Out(1),
                "slot_addr": Out(range(PLANES)),
                "slot_data": In(slot_layout(geometry)),
                "r_addr": Out(address),
                "r_data": In(8),
                "o": Out(stream.Signature(PLANES_WORD)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        count, running = Signal.like(self.count), Signal()
        # Three stages: a slot's entry is asked for, its byte is asked for, its byte is here.
        walking = Signal()
        slot = Signal(range(PLANES))
        valid1, valid2, header = Signal(), Signal(), Signal()
        used1, used2 = Signal(), Signal()
        last1, last2 = Signal(), Signal()
        entry = self.slot_data
        invert2, blank2, bits2 = Signal(), Signal(), Signal(SHOT_BITS)
        offset = Signal(range(g.plane_bytes))
        m.d.comb += [self.slot_addr.eq(slot), self.r_addr.eq(entry.plane_address + offset)]
        m.d.sync += [
            valid1.eq(walking),
            used1.eq(slot < count),
            last1.eq(slot == PLANES - 1),
            valid2.eq(valid1),
            used2.eq(used1),
            last2.eq(last1),
            invert2.eq(entry.invert),
            blank2.eq(entry.blank),
            bits2.eq(entry.bits),
        ]
        with m.If(walking):
            m.d.sync += slot.eq(slot + 1)
            with m.If(slot == PLANES - 1):
                m.d.sync += [slot.eq(0), walking.eq(0)]

        lit, byte = Signal(8), Signal(8)
        gathered, border, anchor = Signal(8 * PLANES), Signal(PLANES), Signal(PLANES)
        full = Signal()
        m.d.comb += [
            lit.eq((self.r_data & ~blank2.replicate(8)) ^ invert2.replicate(8)),
            byte.eq(Mux(used2, Mux(bits2.on, lit, 0) | Mux(bits2.off, ~lit, 0), 0)),
        ]
        with m.If(valid2):
            m.d.sync += gathered.eq(Cat(gathered[8:], byte))
            with m.If(header):
                m.d.sync += [
                    border.eq(Cat(border[1:], bits2.border & used2)),
                    anchor.eq(Cat(anchor[1:], bits2.anchor & used2)),
                ]
            with m.If(last2):
                m.d.sync += full.eq(1)

        # Words leave from here while the next ones are gathered. Behind the header's two stand a group's eight.
        leaving = Signal(8 * PLANES)
        left = Signal(4)
        take = Signal()
        first = Signal()
        m.d.comb += [
            self.busy.eq(running | self.o.valid),
            self.o.valid.eq(left != 0),
            self.o.p.planes.eq(Cat(leaving[8 * p] for p in range(PLANES))),
            self.o.p.first.eq(first),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [left.eq(left - 1), leaving.eq(leaving >> 1), first.eq(0)]

        groups, lines, rows = Signal(range(g.modes_x // 8)), Signal(range(g.macropixel)), Signal(range(g.modes_y))
        line_offset = Signal.like(offset)
        done = Signal()
        m.d.comb += take.eq(full & ((left == 0) | ((left == 1) & self.o.ready)))
        with m.If(take):
            m.d.sync += full.eq(0)
            with m.If(header):
                m.d.sync += [
                    leaving.eq(Cat(Cat(border[p], anchor[p], 0, 0, 0, 0, 0, 0) for p in range(PLANES))),
                    left.eq(2),
                    first.eq(1),
                    header.eq(0),
                    walking.eq(1),
                ]
            with m.Else():
                m.d.sync += [leaving.eq(gathered), left.eq(8), groups.eq(groups + 1), offset.eq(offset + 1)]
                with m.If(done):
                    m.d.sync += running.eq(0)
                with m.Else():
                    m.d.sync += walking.eq(1)
                with m.If(groups == g.modes_x // 8 - 1):
                    m.d.sync += [groups.eq(0), lines.eq(lines + 1), offset.eq(line_offset)]
                    with m.If(lines == g.macropixel - 1):
                        m.d.sync += [lines.eq(0), rows.eq(rows + 1), offset.eq(offset + 1), line_offset.eq(offset + 1)]
        m.d.comb += done.eq((groups == g.modes_x // 8 - 1) & (lines == g.macropixel - 1) & (rows == g.modes_y - 1))
        with m.If(self.start & ~self.busy):
            m.d.sync += [
                running.eq(1),
                count.eq(self.count),
                self.o.p.tag.eq(self.tag),
                header.eq(1),
                walking.eq(1),
                groups.eq(0),
                lines.eq(0),
                rows.eq(0),
                offset.eq(0),
                line_offset.eq(0),
            ]
        return m
