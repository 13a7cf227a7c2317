"""Results: select, round, saturate and pack the integers of one projection."""

from __future__ import annotations

import numpy as np
from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .accumulator import ACCUMULATOR_BITS
from .protocol.geometry import Geometry
from .protocol.registers import RESULT_BITS
from .skid import Skid


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
                # Accumulator (two clocks of latency) and raw frame (one), both enabled by `r_en`.
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
        m.submodules.skid = skid = Skid(data.StructLayout({"value": 16, "last": 1}))
        move = Signal()
        m.d.comb += [
            move.eq(skid.i.ready),
            self.o.valid.eq(skid.o.valid),
            self.o.payload.eq(skid.o.p.value),
            self.o_last.eq(skid.o.p.last),
            skid.o.ready.eq(self.o.ready),
        ]

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

        # A block RAM's output takes more than half a clock, so a register follows each.
        # Stages 1, 2: output mode; 3, 4, 5: sum or pixel; 6: shifted; 7: rounded; 8: clipped.
        valid, ends, banks = ([Signal(name=f"{name}{i}") for i in range(9)] for name in ("valid", "last", "bank"))
        m.d.comb += [valid[0].eq(walking), ends[0].eq(last & walking), banks[0].eq(bank)]
        entry1, entry2 = Signal.like(entry), Signal.like(entry)
        index2 = Signal.like(read.data)
        pixel4 = Signal(g.pixel_bits)
        total5 = Signal(signed(ACCUMULATOR_BITS))
        shifted6, half6 = Signal(signed(ACCUMULATOR_BITS)), Signal()
        rounded7 = Signal(signed(ACCUMULATOR_BITS + 1))
        value8, saturated8 = Signal(16), Signal()
        clipped, saturated = Signal(signed(16)), Signal()
        m.d.comb += [
            self.r_set.eq(self.set),
            self.r_index.eq(index2),
            self.r_bank.eq(banks[2]),
            self.r_en.eq(move),
            self.raw_addr.eq(entry2),
        ]
        shift = Signal(5)
        m.d.sync += shift.eq(Mux(self.raw, 0, self.shift))
        with m.Switch(self.format):
            for code, bits in enumerate(RESULT_BITS):
                high = (1 << (bits - 1)) - 1
                with m.Case(code):
                    m.d.comb += [
                        saturated.eq((rounded7 > high) | (rounded7 < -high - 1)),
                        clipped.eq(Mux(rounded7 > high, high, Mux(rounded7 < -high - 1, -high - 1, rounded7))),
                    ]
        with m.If(move):
            for i in range(1, 9):
                m.d.sync += [valid[i].eq(valid[i - 1]), ends[i].eq(ends[i - 1]), banks[i].eq(banks[i - 1])]
            m.d.sync += [
                entry1.eq(entry),
                entry2.eq(entry1),
                index2.eq(read.data),
                pixel4.eq(self.raw_data),
                total5.eq(Mux(self.raw, pixel4, Mux(self.used.bit_select(banks[4], 1), self.r_data, 0))),
                shifted6.eq(total5 >> shift),
                half6.eq((shift != 0) & total5.bit_select((shift - 1)[:5], 1)),
                rounded7.eq(shifted6 + half6),
                value8.eq(Mux(self.raw, rounded7, clipped)),
                saturated8.eq(saturated & ~self.raw),
            ]
        m.d.comb += [
            skid.i.valid.eq(valid[8]),
            skid.i.p.value.eq(value8),
            skid.i.p.last.eq(ends[8]),
            self.saturated.eq(move & valid[8] & saturated8),
            self.busy.eq(Cat(valid).any() | skid.busy),
        ]
        with m.If(self.saturated & ~self.saturations.all()):
            m.d.sync += self.saturations.eq(self.saturations + 1)
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
