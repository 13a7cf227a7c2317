"""Results: select, round, saturate and pack the integers of one projection."""

from __future__ import annotations

import numpy as np
from amaranth import Module, Mux, Signal, signed
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .accumulator import ACCUMULATOR_BITS
from .protocol.geometry import Geometry
from .protocol.registers import RESULT_BITS


def model(
    sums: np.ndarray, *, selection: np.ndarray, banks: int, shift: int, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returned integers (B, selected * banks) int32, and how many of each row saturated, (B,).

    ``sums`` are (B, 2, outputs) int32. Halves round up; banks interleave.
    """
    picked = sums[:, :banks][:, :, selection].transpose(0, 2, 1).reshape(len(sums), -1)
    # floor((v + 2**(s-1)) / 2**s) without leaving 32 bits.
    rounded = picked if shift == 0 else (picked >> shift) + (picked >> (shift - 1) & 1)
    high = (1 << (bits - 1)) - 1
    clipped = np.clip(rounded, -high - 1, high)
    return clipped, np.count_nonzero(clipped != rounded, axis=1)


class ResultReader(wiring.Component):
    """Reads one projection's integers as values of 16 bits, and counts those that saturate.

    ``start`` begins a pass over the selection (or over the raw frame with ``raw``); it reads set
    ``set``. ``saturations`` is the number of saturated values, all counted once the last value is
    offered (``saturated`` is up for a clock at each). ``used`` says which banks of the projection
    hold sums; others read as 0.

    Settings must hold while ``busy``.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        index = range(max(2, geometry.outputs))
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "saturations": Out(16),
                "saturated": Out(1),
                "set": In(1),
                "used": In(2),
                "length": In(range(geometry.outputs + 1)),
                "two_banks": In(1),
                "shift": In(5),
                "format": In(2),
                "raw": In(1),
                # Selection memory, written through the register map.
                "selection_we": In(1),
                "selection_addr": In(index),
                "selection_data": In(index),
                # Accumulator and raw frame, one clock of latency each.
                "r_set": Out(1),
                "r_index": Out(index),
                "r_bank": Out(1),
                "r_en": Out(1),
                "r_data": In(signed(ACCUMULATOR_BITS)),
                "raw_addr": Out(range(max(2, geometry.raw_rows * geometry.camera_width))),
                "raw_data": In(geometry.pixel_bits),
                "o": Out(stream.Signature(16)),
                "o_last": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        m.submodules.selection = selection = memory.Memory(
            shape=self.selection_data.shape(), depth=max(2, g.outputs), init=range(g.outputs)
        )
        write, read = selection.write_port(), selection.read_port(domain="sync")
        m.d.comb += [
            write.en.eq(self.selection_we),
            write.addr.eq(self.selection_addr),
            write.data.eq(self.selection_data),
        ]
        move = Signal()
        m.d.comb += move.eq(~self.o.valid | self.o.ready)

        # Stage 0: entry of the selection, or pixel of the raw frame.
        entry, bank = Signal(range(max(g.outputs, g.raw_rows * g.camera_width) + 1)), Signal()
        walking, last = Signal(), Signal()
        pixels = g.raw_rows * g.camera_width
        m.d.comb += [
            last.eq(Mux(self.raw, entry == pixels - 1, (entry + 1 == self.length) & (bank | ~self.two_banks))),
            read.addr.eq(entry),
            read.en.eq(move),
        ]
        with m.If(self.start & ~self.busy):
            m.d.sync += [entry.eq(0), bank.eq(0), walking.eq(1), self.saturations.eq(0)]
        with m.Elif(walking & move):
            with m.If(self.two_banks & ~bank & ~self.raw):
                m.d.sync += bank.eq(1)
            with m.Else():
                m.d.sync += [bank.eq(0), entry.eq(entry + 1)]
            with m.If(last):
                m.d.sync += walking.eq(0)

        # Stage 1: output mode.
        valid1, last1, bank1 = Signal(), Signal(), Signal()
        entry1 = Signal.like(entry)
        with m.If(move):
            m.d.sync += [valid1.eq(walking), last1.eq(last & walking), bank1.eq(bank), entry1.eq(entry)]
        m.d.comb += [
            self.r_set.eq(self.set),
            self.r_index.eq(read.data),
            self.r_bank.eq(bank1),
            self.r_en.eq(move & valid1),
            self.raw_addr.eq(entry1),
        ]

        # Stage 2: sum or pixel.
        valid2, last2, bank2 = Signal(), Signal(), Signal()
        with m.If(move):
            m.d.sync += [valid2.eq(valid1), last2.eq(last1), bank2.eq(bank1)]
        total = Signal(signed(ACCUMULATOR_BITS))
        rounded = Signal(signed(ACCUMULATOR_BITS + 1))
        half = Signal()
        m.d.comb += [
            total.eq(Mux(self.used.bit_select(bank2, 1), self.r_data, 0)),
            half.eq(Mux(self.shift == 0, 0, total.bit_select((self.shift - 1)[:5], 1))),
            rounded.eq((total >> self.shift) + half),
        ]
        clipped, saturated = Signal(signed(16)), Signal()
        with m.Switch(self.format):
            for code, bits in enumerate(RESULT_BITS):
                high = (1 << (bits - 1)) - 1
                with m.Case(code):
                    m.d.comb += [
                        saturated.eq((rounded > high) | (rounded < -high - 1)),
                        clipped.eq(Mux(rounded > high, high, Mux(rounded < -high - 1, -high - 1, rounded))),
                    ]

        # Stage 3: the value.
        with m.If(move):
            m.d.sync += [
                self.o.valid.eq(valid2),
                self.o.payload.eq(Mux(self.raw, self.raw_data, clipped)),
                self.o_last.eq(last2),
            ]
        m.d.comb += self.saturated.eq(move & valid2 & saturated & ~self.raw)
        with m.If(self.saturated & ~self.saturations.all()):
            m.d.sync += self.saturations.eq(self.saturations + 1)
        m.d.comb += self.busy.eq(walking | valid1 | valid2 | self.o.valid)
        return m


class Packer(wiring.Component):
    """Packs values of 8, 12 or 16 bits into bytes, little-endian; its model is ``codec.pack_results``."""

    def __init__(self):
        super().__init__(
            {
                "format": In(2),
                "i": In(stream.Signature(16)),
                "i_last": In(1),
                "o": Out(stream.Signature(8)),
                "o_last": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        held = Signal(8)
        """Bits of the value that the next byte begins with."""
        with m.FSM():
            with m.State("LOW"):
                m.d.comb += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
                with m.Switch(self.format):
                    with m.Case(0):
                        m.d.comb += [self.i.ready.eq(self.o.ready), self.o_last.eq(self.i_last)]
                    with m.Case(1):
                        m.d.comb += self.i.ready.eq(self.o.ready)
                        with m.If(self.o.valid & self.o.ready):
                            m.d.sync += held.eq(self.i.payload[8:12])
                            m.next = "HALF"
                            with m.If(self.i_last):
                                m.next = "PAD"
                    with m.Default():
                        m.d.comb += self.i.ready.eq(self.o.ready)
                        with m.If(self.o.valid & self.o.ready):
                            m.d.sync += held.eq(self.i.payload[8:16])
                            m.next = "HIGH"
                            with m.If(self.i_last):
                                m.next = "HIGH_LAST"
            with m.State("HALF"):
                # The second value of a pair of 12 bits: its low half completes this byte.
                m.d.comb += [
                    self.o.valid.eq(self.i.valid),
                    self.o.payload.eq(held | self.i.payload[:4] << 4),
                    self.i.ready.eq(self.o.ready),
                ]
                with m.If(self.o.valid & self.o.ready):
                    m.d.sync += held.eq(self.i.payload[4:12])
                    m.next = "HIGH"
                    with m.If(self.i_last):
                        m.next = "HIGH_LAST"
            for state, last in (("HIGH", 0), ("HIGH_LAST", 1), ("PAD", 1)):
                with m.State(state):
                    m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(held), self.o_last.eq(last)]
                    with m.If(self.o.ready):
                        m.next = "LOW"
        return m
