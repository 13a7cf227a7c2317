"""Parallel ADC of the LTC2145 family as a stream: two channels of 14 bits, up to 125 MSPS, double data rate.

Source: Linear Technology data sheet LTC2145-14/LTC2144-14/LTC2143-14, "Digital outputs" (the same family as LTC2165, of
16 bits). In the double data rate modes (CMOS or LVDS) a pin carries two bits a clock and changes with both edges of
CLKOUT+; whoever captures shifts the clock by about 90 degrees (in the FPGA, or in the part's register A2). From memory:
the even bits come while CLKOUT+ is low, the odd ones while it is high; the overrange pin carries channel 2 while it is
low, channel 1 while it is high; test pattern "alternating" (register A4): all zeros, all ones, and so on.
"""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer, PulseSynchronizer
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from .event_counter import EventCounter

ADC_HZ_MAX = 125_000_000
ALIGN_WORDS = 64
"""Words of the test pattern that must be right."""


def reading(bits: int) -> data.StructLayout:
    """One sample of both channels, and whether each was out of range."""
    return data.StructLayout({"a": bits, "b": bits, "a_over": 1, "b_over": 1})


def words(even: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Samples (n,) of captured halves (n, pins): pin k carries bit 2k (``even``), then bit 2k + 1 (``odd``)."""
    weights = 1 << 2 * np.arange(even.shape[1])
    return even @ weights + odd @ (2 * weights)


class ParallelAdc(wiring.Component):
    """Captures both channels in the clock domain ``adc`` and hands them on as a stream in ``sync``.

    The pins come from a board's DDR input cells, as what was captured at the rising and at the falling edge of ``adc``
    (CLKOUT+, shifted by 90 degrees). Bits of one clock belong to one sample, or those of the rising edge belong to
    those of the falling edge before: it depends on the board's shift, and ``align`` finds out which while the part
    sends its pattern "alternating". A sample that finds the crossing full is dropped, and counted.

    Parameters
    ----------
    bits : of a sample, even.
    lanes : samples in one transfer of the stream, the first in lane 0, so that ``sync`` may be slower than ``adc``.
    part_twos_complement, twos_complement : what the part sends, and what the stream carries; else offset binary.
    depth : transfers that the crossing holds.

    Ports
    -----
    a_rise, a_fall, b_rise, b_fall : in ``adc``: pins of each channel, captured at both edges. over_rise, over_fall.
    enable : in ``sync``: samples are passed on.
    o : samples, in ``sync``.
    overruns, overruns_clear : count of dropped transfers, sticky, in ``sync``, and the strobe that zeroes it.
    align : strobe, in ``sync``: find the pairing. aligned, align_failed : it was found; neither fits. All in ``sync``.
    """

    def __init__(
        self,
        bits: int = 14,
        *,
        lanes: int = 1,
        part_twos_complement: bool = False,
        twos_complement: bool = True,
        depth: int = 64,
    ):
        if bits % 2:
            raise ValueError(f"two bits share a pin, so bits must be even, not {bits}")
        self.bits = bits
        self.lanes = lanes
        self.flip = part_twos_complement != twos_complement
        self.depth = depth
        pins = bits // 2
        super().__init__(
            {
                "a_rise": In(pins),
                "a_fall": In(pins),
                "b_rise": In(pins),
                "b_fall": In(pins),
                "over_rise": In(1),
                "over_fall": In(1),
                "enable": In(1),
                "o": Out(stream.Signature(data.ArrayLayout(reading(bits), lanes))),
                "overruns": Out(16),
                "overruns_clear": In(1),
                "align": In(1),
                "aligned": Out(1),
                "align_failed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pins = self.bits // 2
        middle = 1 << (self.bits - 1)
        slip = Signal()

        # Halves of one sample: odd bits at the rising edge, even ones at the falling edge.
        captured = Signal(reading(self.bits))
        for name in ("a", "b"):
            rise, fall = getattr(self, f"{name}_rise"), getattr(self, f"{name}_fall")
            fall_before = Signal(pins)
            m.d.adc += fall_before.eq(fall)
            even = Mux(slip, fall_before, fall)
            m.d.adc += captured[name].eq(Cat(*(Cat(even[k], rise[k]) for k in range(pins))))
        over_before = Signal()
        m.d.adc += [
            over_before.eq(self.over_fall),
            captured.a_over.eq(self.over_rise),
            captured.b_over.eq(Mux(slip, over_before, self.over_fall)),
        ]

        # Alignment. Wrongly paired halves of all ones and all zeros give neither, nor does a part without the pattern.
        m.submodules.align = start = PulseSynchronizer("sync", "adc")
        good, last, left = Signal(), Signal(), Signal(range(ALIGN_WORDS + 3))
        aligned, failed, tried = Signal(), Signal(), Signal()
        whole = Cat(captured.a, captured.b)
        m.d.comb += [start.i.eq(self.align), good.eq(Mux(last, ~whole.any(), whole.all()))]
        m.d.adc += last.eq(whole.all())
        with m.If(start.o):
            m.d.adc += [left.eq(ALIGN_WORDS + 2), aligned.eq(0), failed.eq(0), tried.eq(0)]
        with m.Elif(left != 0):
            m.d.adc += left.eq(left - 1)
            # The first two words were still paired the old way.
            with m.If(~good & (left <= ALIGN_WORDS)):
                m.d.adc += [slip.eq(~slip), tried.eq(1), left.eq(ALIGN_WORDS + 2)]
                with m.If(tried):
                    m.d.adc += [left.eq(0), failed.eq(1)]
            with m.Elif(left == 1):
                m.d.adc += aligned.eq(1)
        m.submodules += [FFSynchronizer(aligned, self.aligned), FFSynchronizer(failed, self.align_failed)]

        # To the stream.
        m.submodules.fifo = fifo = AsyncFIFOBuffered(
            width=self.o.payload.as_value().shape().width, depth=self.depth, w_domain="adc", r_domain="sync"
        )
        m.submodules.counter = counter = EventCounter("adc")
        enable = Signal()
        m.submodules.enable = FFSynchronizer(self.enable, enable, o_domain="adc")
        gathered = Signal(self.o.payload.shape())
        lane, full = Signal(range(self.lanes)), Signal()
        with m.If(enable):
            m.d.adc += lane.eq(Mux(lane == self.lanes - 1, 0, lane + 1))
            for name in ("a", "b"):
                m.d.adc += [
                    gathered[lane][name].eq(captured[name] ^ (middle if self.flip else 0)),
                    gathered[lane][f"{name}_over"].eq(captured[f"{name}_over"]),
                ]
        with m.Else():
            m.d.adc += lane.eq(0)
        m.d.adc += full.eq(enable & (lane == self.lanes - 1))
        m.d.comb += [
            fifo.w_data.eq(gathered),
            fifo.w_en.eq(full),
            counter.event.eq(full & ~fifo.w_rdy),
            counter.clear.eq(self.overruns_clear),
            self.overruns.eq(counter.count),
            self.o.payload.eq(fifo.r_data),
            self.o.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.o.ready),
        ]
        return m
