"""Accumulators: the signed, shifted sum of a projection's frames, per output mode and bank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .normaliser import value_bits
from .protocol.geometry import Geometry
from .protocol.shots import Shot

ACCUMULATOR_BITS = 32
_HIGH = (1 << (ACCUMULATOR_BITS - 1)) - 1
_LOW = -(1 << (ACCUMULATOR_BITS - 1))


def model(shots: Sequence[Shot], frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums (B, 2, outputs) int32, and saturations (B,), of binned frames (B, shots, outputs) int32.

    Every addition is held at the limits of 32 bits. A bank that no shot uses is 0.
    """
    batch, _, outputs = frames.shape
    sums = np.zeros((batch, 2, outputs), dtype=np.int32)
    saturated = np.zeros(batch, dtype=np.int64)
    largest = int(frames.max(initial=0))
    for bank in (0, 1):
        mine = [(i, s) for i, s in enumerate(shots) if s.bank == bank]
        if sum(largest << s.shift for _, s in mine) <= _HIGH:
            # No partial sum can leave 32 bits: the exact int32 sum is the gateware's.
            for i, shot in mine:
                part = frames[:, i] if shot.shift == 0 else frames[:, i] << shot.shift
                if shot.negative:
                    sums[:, bank] -= part
                else:
                    sums[:, bank] += part
            continue
        total = np.zeros((batch, outputs), dtype=np.int64)
        for i, shot in mine:
            total += (frames[:, i].astype(np.int64) << shot.shift) * (-1 if shot.negative else 1)
            saturated += np.count_nonzero((total > _HIGH) | (total < _LOW), axis=1)
            np.clip(total, _LOW, _HIGH, out=total)
        sums[:, bank] = total
    return sums, saturated


class Accumulator(wiring.Component):
    """Two sets, so that one projection's sums cross the link while the next one's are made.

    A bin (``valid``, ``index``, ``value``) is added to ``bank`` of set ``set``; ``fresh`` replaces the
    sum instead. It is stored ``LATENCY`` clocks later, with ``saturated`` raised for one clock if it was held
    at a limit; until then no other bin of the same index and bank may come. ``r_index`` and ``r_bank`` read the
    *other* use's set ``r_set``: ``r_data`` is the sum that stood there two clocks of ``r_en`` before. Reading
    and adding must not use the same set.
    """

    LATENCY = 5

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "valid": In(1),
                "index": In(range(max(2, geometry.outputs))),
                "value": In(value_bits(geometry)),
                "set": In(1),
                "bank": In(1),
                "negative": In(1),
                "shift": In(4),
                "fresh": In(1),
                "saturated": Out(1),
                "r_set": In(1),
                "r_index": In(range(max(2, geometry.outputs))),
                "r_bank": In(1),
                "r_en": In(1),
                "r_data": Out(signed(ACCUMULATOR_BITS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        depth = 2 << len(self.index)
        reads, writes = [], []
        for i in range(2):
            m.submodules[f"set{i}"] = mem = memory.Memory(shape=signed(ACCUMULATOR_BITS), depth=depth, init=[])
            reads.append(mem.read_port(domain="sync"))
            writes.append(mem.write_port())

        address = Cat(self.index, self.bank)
        for i in range(2):
            adding = self.valid & (self.set == i)
            m.d.comb += [
                reads[i].addr.eq(Mux(adding, address, Cat(self.r_index, self.r_bank))),
                reads[i].en.eq(adding | (self.r_en & (self.r_set == i))),
            ]
        # A block RAM's output takes more than half a clock: nothing but a register follows it.
        old = [Signal(signed(ACCUMULATOR_BITS), name=f"old{i}") for i in range(2)]
        valid1, set1, fresh1, negative1 = Signal(), Signal(), Signal(), Signal()
        for i in range(2):
            with m.If(self.r_en | (valid1 & (set1 == i))):
                m.d.sync += old[i].eq(reads[i].data)
        r_set1, r_set2 = Signal(), Signal()
        with m.If(self.r_en):
            m.d.sync += [r_set1.eq(self.r_set), r_set2.eq(r_set1)]
        m.d.comb += self.r_data.eq(Mux(r_set2, old[1], old[0]))

        # Stage 1: the weighed value; 2: with its sign; 3: beside the sum so far; 4: their sum; 5: stored in its limits.
        address1, address2, address3, address4 = (Signal(len(address)) for _ in range(4))
        term_bits = value_bits(self.geometry) + 15 + 1
        shifted1 = Signal(term_bits - 1)
        valid2, set2, fresh2 = Signal(), Signal(), Signal()
        term2, term3 = Signal(signed(term_bits)), Signal(signed(term_bits))
        old3 = Signal(signed(ACCUMULATOR_BITS))
        bits = max(ACCUMULATOR_BITS, term_bits) + 1
        valid3, set3, valid4, set4 = (Signal() for _ in range(4))
        total4 = Signal(signed(bits))
        m.d.sync += [
            valid1.eq(self.valid),
            set1.eq(self.set),
            fresh1.eq(self.fresh),
            negative1.eq(self.negative),
            address1.eq(address),
            shifted1.eq(self.value << self.shift),
            valid2.eq(valid1),
            set2.eq(set1),
            fresh2.eq(fresh1),
            address2.eq(address1),
            term2.eq(Mux(negative1, -shifted1, shifted1)),
            valid3.eq(valid2),
            set3.eq(set2),
            address3.eq(address2),
            term3.eq(term2),
            old3.eq(Mux(fresh2, 0, Mux(set2, old[1], old[0]))),
            valid4.eq(valid3),
            set4.eq(set3),
            address4.eq(address3),
            total4.eq(old3 + term3),
        ]
        held = Signal(signed(ACCUMULATOR_BITS))
        over, under = Signal(), Signal()
        m.d.comb += [
            over.eq(total4 > _HIGH),
            under.eq(total4 < _LOW),
            held.eq(Mux(over, _HIGH, Mux(under, _LOW, total4))),
            self.saturated.eq(valid4 & (over | under)),
        ]
        for i in range(2):
            m.d.comb += [
                writes[i].en.eq(valid4 & (set4 == i)),
                writes[i].addr.eq(address4),
                writes[i].data.eq(held),
            ]
        return m
