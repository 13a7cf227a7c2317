"""DVI 1.0 output: three TMDS channels and their clock, as words and as pairs of bits for a board's DDR outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

import numpy as np
from amaranth import Cat, Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from . import tmds
from .tmds import TmdsEncoder

LANES = 4
"""Channels 0 (blue, and the syncs), 1 (green), 2 (red), and the clock."""
CLOCK_LANE = 3
CLOCK_WORD = 0b1111100000
"""The clock lane falls as a word begins. DVI leaves the phase open: a sink finds words by their control periods."""
GREY = (0, 1, 2)
"""The level on all three channels."""

WORDS = data.ArrayLayout(10, LANES)
"""One word a lane; bit 0 goes out first."""
BIT_PAIRS = data.ArrayLayout(2, LANES)
"""Two bits a lane; bit 0 goes out first (a DDR output's rising edge)."""


def model(
    de: Sequence[int],
    hsync: Sequence[int],
    vsync: Sequence[int],
    level: Sequence[int],
    *,
    hsync_positive: bool = True,
    vsync_positive: bool = True,
    channels: Sequence[int] = GREY,
) -> np.ndarray:
    """Words of consecutive pixel clocks, (clocks, LANES) uint16, :attr:`DviOutput.LATENCY` after their inputs.

    The inputs are those of an 8-bit :class:`DviOutput`.
    """
    h, v, values = (np.asarray(x, dtype=np.int64) for x in (hsync, vsync, level))
    syncs = (h ^ (not hsync_positive)) | (v ^ (not vsync_positive)) << 1
    words = np.full((len(values), LANES), CLOCK_WORD, dtype=np.uint16)
    for channel in range(CLOCK_LANE):
        control = syncs if channel == 0 else np.zeros_like(syncs)
        shown = values if channel in channels else np.zeros_like(values)
        words[:, channel] = tmds.model(list(de), control.tolist(), shown.tolist())
    return words


class DviOutput(wiring.Component):
    """Words of a video signal, :attr:`LATENCY` pixel clocks after it. Domain: ``slm``.

    There are no data islands, so an HDMI sink takes it as DVI.

    Parameters
    ----------
    hsync_positive, vsync_positive : polarity on the wire, see
        :class:`openopu_rtl.protocol.video.VideoMode`; the inputs are high during a sync.
    channels : those that carry an 8-bit ``pixel``; the others carry 0.
    pixel_bits : 8: a level; 24: three of them, blue (channel 0) in the low bits.
    """

    LATENCY = TmdsEncoder.LATENCY

    def __init__(
        self,
        *,
        hsync_positive: bool = True,
        vsync_positive: bool = True,
        channels: Sequence[int] = GREY,
        pixel_bits: int = 8,
    ):
        if pixel_bits not in (8, 24):
            raise ValueError(f"a DVI pixel has 8 bits (one level) or 24 (three), not {pixel_bits}")
        if not channels or not set(channels) <= set(GREY):
            raise ValueError(f"channels must be some of {GREY}, not {tuple(channels)}")
        self.hsync_positive, self.vsync_positive = hsync_positive, vsync_positive
        self.channels = tuple(channels)
        self.pixel_bits = pixel_bits
        super().__init__(
            {"de": In(1), "hsync": In(1), "vsync": In(1), "pixel": In(pixel_bits), "words": Out(WORDS)},
        )

    def elaborate(self, platform):
        m = Module()
        for channel in range(CLOCK_LANE):
            m.submodules[f"channel{channel}"] = encoder = TmdsEncoder()
            level = self.pixel[8 * channel :][:8] if self.pixel_bits == 24 else self.pixel
            m.d.comb += [
                encoder.de.eq(self.de),
                encoder.level.eq(level if channel in self.channels else 0),
                self.words[channel].eq(encoder.word),
            ]
            if channel == 0:
                hsync, vsync = self.hsync ^ (not self.hsync_positive), self.vsync ^ (not self.vsync_positive)
                m.d.comb += encoder.control.eq(Cat(hsync, vsync))
        m.d.comb += self.words[CLOCK_LANE].eq(CLOCK_WORD)
        return m


class DviSerialiser(wiring.Component):
    """Ten to two: the words of a pixel clock leave in five clocks of ``slm_x5``, two bits a lane.

    Domains: ``slm`` (``words``) and ``slm_x5`` (``o``), which has five times its frequency and comes from
    the same PLL. A board adds one DDR output primitive a lane.

    Nothing here depends on the skew between the two clocks. A flip-flop that toggles with every pixel
    clock is synchronised into ``slm_x5`` and starts a ring of five there, which then runs by itself; it
    is started again when the toggle is seen more than one clock away from where it should be. Words
    are taken in the middle of their pixel clock, two or three fast clocks after they changed.
    """

    def __init__(self):
        super().__init__({"words": In(WORDS), "o": Out(BIT_PAIRS)})

    def elaborate(self, platform):
        m = Module()
        toggle, seen, before, edge = Signal(), Signal(), Signal(), Signal()
        m.d.slm += toggle.eq(~toggle)
        m.submodules += FFSynchronizer(toggle, seen, o_domain="slm_x5")
        m.d.slm_x5 += [before.eq(seen), edge.eq(seen ^ before)]

        # `edge` is up 3 or 4 clocks after the pixel clock's edge, depending on skew; one such clock is place 0.
        ring = Signal(5)
        strayed = Signal()
        m.d.slm_x5 += [
            strayed.eq(edge & ~(ring[4] | ring[0] | ring[1])),
            ring.eq((Cat(ring[4], ring[:4]) & ~strayed.replicate(5)) | Cat(Const(0, 2), strayed)),
        ]

        # As ring[4]; two of them, told apart by what they begin with, so that synthesis does not make one of both: one
        # signal to all lanes is slower than anything else here.
        loads = [Signal(name=f"load{i}", init=i) for i in range(2)]
        m.d.slm_x5 += [load.eq(ring[3] & ~strayed) for load in loads]
        for lane in range(LANES):
            # Held, then picked two by two, each step a gate: at this clock no more fits between two registers.
            word = Signal(10, name=f"word{lane}")
            with m.If(loads[lane % 2]):
                m.d.slm_x5 += word.eq(self.words[lane])
            parts = [Signal(2, name=f"part{lane}_{i}") for i in range(3)]
            for i, part in enumerate(parts):
                picked = [word.word_select(k, 2) & ring[k].replicate(2) for k in range(2 * i, min(2 * i + 2, 5))]
                m.d.slm_x5 += part.eq(reduce(or_, picked))
            m.d.slm_x5 += self.o[lane].eq(reduce(or_, parts))
        return m
