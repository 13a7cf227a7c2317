"""Normaliser: weights a frame's bins with what its photodiode reading says."""

from __future__ import annotations

import numpy as np
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .binner import output_bits
from .monitor import UNITY, WEIGHT_BITS
from .protocol.geometry import Geometry
from .protocol.registers import WEIGHT_FRACTION_BITS


def model(binned: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``binned`` (..., outputs) int32 times ``weights`` (...) in units of 2**-14, halves rounded up."""
    wide = int(binned.max(initial=0)) << WEIGHT_BITS > np.iinfo(np.int32).max
    factors = weights.astype(np.int64 if wide else np.int32)[..., None]
    return ((binned * factors + UNITY // 2) >> WEIGHT_FRACTION_BITS).astype(np.int32)


def value_bits(geometry: Geometry) -> int:
    """Bits of a weighted bin: one more than the binner's, as weights are below 2; so none is ever held at a limit."""
    return output_bits(geometry) + 1


class Normaliser(wiring.Component):
    """Takes bins (``valid``, ``index``, ``value``), one a clock at most, and emits them weighted, ``LATENCY`` later.

    ``weight`` is in units of 2**-14; 2**14 leaves the bins as they are. One multiplier.
    """

    LATENCY = 2

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        index = range(max(2, geometry.outputs))
        super().__init__(
            {
                "weight": In(WEIGHT_BITS, init=UNITY),
                "valid": In(1),
                "index": In(index),
                "value": In(output_bits(geometry)),
                "o_valid": Out(1),
                "o_index": Out(index),
                "o_value": Out(value_bits(geometry)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        valid1, index1 = Signal(), Signal.like(self.index)
        product = Signal(len(self.value) + WEIGHT_BITS)
        m.d.sync += [valid1.eq(self.valid), self.o_valid.eq(valid1)]
        with m.If(self.valid):
            m.d.sync += [index1.eq(self.index), product.eq(self.value * self.weight)]
        with m.If(valid1):
            m.d.sync += [self.o_index.eq(index1), self.o_value.eq((product + UNITY // 2) >> WEIGHT_FRACTION_BITS)]
        return m
