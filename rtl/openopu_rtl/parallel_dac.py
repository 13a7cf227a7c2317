"""Parallel DAC of the AD9767 family as a stream: two channels of 14 bits, up to 125 MSPS.

Source: Analog Devices data sheet AD9763/AD9765/AD9767, "Digital inputs", "DAC timing": each channel has a data port,
WRT, whose rising edge takes the data into an input latch, and CLK, whose rising edge hands that latch to the DAC; CLK
may rise with WRT or before it. In interleaved mode (MODE low) port 1 carries both channels in turn: WRT1 becomes
IQWRT, CLK1 IQCLK (which the part halves), WRT2 IQSEL, CLK2 IQRESET. Straight binary. The times below, and that IQSEL
is high for channel 1, are from memory.
"""

import numpy as np
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from .event_counter import EventCounter

DAC_HZ_MAX = 125_000_000
DAC_SETUP_NS = 2.0
"""tS, data before rising WRT."""
DAC_HOLD_NS = 1.5
"""tH, data after rising WRT."""
DAC_PULSE_NS = 3.5
"""tLPW and tCPW, WRT and CLK high."""


def codes(samples: np.ndarray, bits: int, twos_complement: bool) -> np.ndarray:
    """Codes at the pins, straight binary, of samples as the stream carries them (both unsigned words of ``bits``)."""
    return samples ^ (1 << (bits - 1)) if twos_complement else samples


def pair(bits: int) -> data.StructLayout:
    """One sample of both channels."""
    return data.StructLayout({"a": bits, "b": bits})


class ParallelDac(wiring.Component):
    """Plays a stream of samples in its own clock domain, ``dac``, at the sample rate (at twice that, interleaved).

    Samples are taken while ``enable`` is high, from the first one on. Where none is there in time, the one before is
    repeated and ``underruns`` counts; while ``enable`` is low the output is mid-scale.

    Data change at the rising edge of ``dac``. WRT and CLK are given as their levels in the first and the second half of
    each clock, for a board's DDR output cells: they rise in the middle, half a period after the data, and before the
    next.

    Parameters
    ----------
    bits : of a sample.
    lanes : samples in one transfer of the stream, the first in lane 0, so that ``sync`` may be slower than ``dac``.
    twos_complement : what the stream carries; else straight binary.
    interleaved : both channels through port 1.
    depth : transfers that the crossing holds.
    clock_hz : frequency of ``dac``, to be checked against the part; ValueError where it is too quick.

    Ports
    -----
    i : samples, in ``sync``. enable : in ``sync``.
    underruns, underruns_clear : count of repeated samples, sticky, in ``sync``, and the strobe that zeroes it.
    port1, port2 : data, registers in ``dac``. wrt1, wrt2, clk1, clk2 : in ``dac``, bit 0 the first half of the clock.
    """

    LATENCY = 2
    """Clocks of ``dac`` from the crossing's output to the port; WRT rises half a clock later."""

    def __init__(
        self,
        bits: int = 14,
        *,
        lanes: int = 1,
        twos_complement: bool = True,
        interleaved: bool = False,
        depth: int = 64,
        clock_hz: int = DAC_HZ_MAX,
    ):
        half_ns = 1e9 / clock_hz / 2
        if clock_hz > DAC_HZ_MAX or half_ns < max(DAC_SETUP_NS, DAC_HOLD_NS, DAC_PULSE_NS):
            raise ValueError(f"clock_hz = {clock_hz} is too quick for the part: take at most {DAC_HZ_MAX}")
        self.bits = bits
        self.lanes = lanes
        self.twos_complement = twos_complement
        self.interleaved = interleaved
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(pair(bits), lanes))),
                "enable": In(1),
                "underruns": Out(16),
                "underruns_clear": In(1),
                "port1": Out(bits, init=1 << (bits - 1)),
                "port2": Out(bits, init=1 << (bits - 1)),
                "wrt1": Out(2),
                "wrt2": Out(2),
                "clk1": Out(2),
                "clk2": Out(2),
            }
        )

    def elaborate(self, platform):
        m = Module()
        middle = 1 << (self.bits - 1)
        m.submodules.fifo = fifo = AsyncFIFOBuffered(
            width=self.i.payload.as_value().shape().width, depth=self.depth, w_domain="sync", r_domain="dac"
        )
        m.submodules.counter = counter = EventCounter("dac")
        enable, running = Signal(), Signal()
        m.submodules.enable = FFSynchronizer(self.enable, enable, o_domain="dac")
        word = data.View(self.i.payload.shape(), fifo.r_data)
        lane = Signal(range(self.lanes))
        sample, held = Signal(pair(self.bits)), Signal(pair(self.bits), init={"a": middle, "b": middle})
        tick = Signal()
        """A sample is due."""
        m.d.comb += [
            fifo.w_data.eq(self.i.payload),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
            counter.clear.eq(self.underruns_clear),
            self.underruns.eq(counter.count),
            sample.eq(word[lane]),
        ]
        with m.If(~enable):
            m.d.dac += [running.eq(0), held.a.eq(middle), held.b.eq(middle), lane.eq(0)]
            # What was left over is thrown away, so that the next run begins with its own first sample.
            m.d.comb += fifo.r_en.eq(1)
        with m.Elif(tick):
            with m.If(fifo.r_rdy):
                m.d.dac += [running.eq(1), lane.eq(Mux(lane == self.lanes - 1, 0, lane + 1))]
                m.d.comb += fifo.r_en.eq(lane == self.lanes - 1)
                for name in ("a", "b"):
                    m.d.dac += held[name].eq(sample[name] ^ (middle if self.twos_complement else 0))
            with m.Else():
                m.d.comb += counter.event.eq(running)

        if self.interleaved:
            second = Signal()
            m.d.dac += [
                second.eq(~second),
                self.port1.eq(Mux(second, held.b, held.a)),
                self.wrt2.eq(Mux(second, 0b00, 0b11)),  # IQSEL goes with the data
            ]
            # The part hands both input latches on at every other rising IQCLK, from the first one without IQRESET. It
            # shall do so while the next sample of channel 1 is written: only then are both of one pair.
            started = Signal()
            with m.If(~second):
                m.d.dac += started.eq(1)
            m.d.comb += [tick.eq(second), self.wrt1.eq(0b10), self.clk1.eq(0b10), self.clk2.eq(Mux(started, 0, 0b11))]
        else:
            m.d.dac += [self.port1.eq(held.a), self.port2.eq(held.b)]
            m.d.comb += tick.eq(1)
            for pin in (self.wrt1, self.wrt2, self.clk1, self.clk2):
                m.d.comb += pin.eq(0b10)
        return m
