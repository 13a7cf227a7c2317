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
    sum instead. It is stored 2 clocks later, with ``saturated`` raised for one clock if it was held at
    a limit. ``r_addr`` (bank and index: ``Cat(index, bank)``) reads the *other* use's set ``r_set``
    with one clock of latency; reading and adding must not use the same set.
    """

    LATENCY = 2

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
        r_set = Signal()
        with m.If(self.r_en):
            m.d.sync += r_set.eq(self.r_set)
        m.d.comb += self.r_data.eq(Mux(r_set, reads[1].data, reads[0].data))

        valid1, set1, fresh1 = Signal(), Signal(), Signal()
        address1 = Signal(len(address))
        term_bits = value_bits(self.geometry) + 15 + 1
        term = Signal(signed(term_bits))
        shifted = Signal(term_bits - 1)
        m.d.comb += shifted.eq(self.value << self.shift)
        m.d.sync += valid1.eq(self.valid)
        with m.If(self.valid):
            m.d.sync += [
                set1.eq(self.set),
                fresh1.eq(self.fresh),
                address1.eq(address),
                term.eq(Mux(self.negative, -shifted, shifted)),
            ]
        old = Signal(signed(ACCUMULATOR_BITS))
        bits = max(ACCUMULATOR_BITS, term_bits) + 1
        total, held = Signal(signed(bits)), Signal(signed(ACCUMULATOR_BITS))
        over, under = Signal(), Signal()
        m.d.comb += [
            old.eq(Mux(fresh1, 0, Mux(set1, reads[1].data, reads[0].data))),
            total.eq(old + term),
            over.eq(total > _HIGH),
            under.eq(total < _LOW),
            held.eq(Mux(over, _HIGH, Mux(under, _LOW, total))),
            self.saturated.eq(valid1 & (over | under)),
        ]
        for i in range(2):
            m.d.comb += [
                writes[i].en.eq(valid1 & (set1 == i)),
                writes[i].addr.eq(address1),
                writes[i].data.eq(held),
            ]
        return m
