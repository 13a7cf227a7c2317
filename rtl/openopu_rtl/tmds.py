"""TMDS encoder of one DVI channel: 8 bits of a pixel, or 2 of control, become 10 bits for the wire."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

CONTROL_WORDS = (0b1101010100, 0b0010101011, 0b0101010100, 0b1010101011)
"""Words of a blanking period by (C1, C0); bit 0 goes out first. Source: DVI 1.0, section 3.2.2."""


def _transition_minimised(level: int) -> tuple[int, int]:
    """The first 9 bits of DVI 1.0, figure 3-5 (bit 8: made with XOR), and the ones minus four in the low 8."""
    ones = level.bit_count()
    xnor = ones > 4 or (ones == 4 and not level & 1)
    word = level & 1
    for i in range(1, 8):
        bit = (word >> i - 1 ^ level >> i ^ xnor) & 1
        word |= bit << i
    return word | (not xnor) << 8, word.bit_count() - 4


_FIRST_STAGE = tuple(_transition_minimised(level) for level in range(256))


def model(de: Sequence[int], control: Sequence[int], level: Sequence[int]) -> np.ndarray:
    """Words of consecutive pixel clocks, (clocks,) uint16, :attr:`TmdsEncoder.LATENCY` after their inputs.

    ``de``: a pixel of ``level`` (0 to 255), else a ``control`` (0 to 3).
    """
    words = np.empty(len(de), dtype=np.uint16)
    disparity = 0
    """Ones minus zeros sent since the last blanking, halved (it is even)."""
    for i, (active, c, value) in enumerate(zip(de, control, level, strict=True)):
        if not active:
            words[i], disparity = CONTROL_WORDS[c], 0
            continue
        word, excess = _FIRST_STAGE[value]
        xor = word >> 8
        if disparity == 0 or excess == 0:
            invert, change = not xor, excess if xor else -excess
        elif (disparity < 0) == (excess < 0):
            invert, change = True, xor - excess
        else:
            invert, change = False, excess - (1 - xor)
        disparity += change
        words[i] = word ^ (0x2FF if invert else 0)
    return words


class TmdsEncoder(wiring.Component):
    """One word a pixel clock, :attr:`LATENCY` clocks after its input. Domain: ``slm``.

    Source: DVI 1.0, sections 3.2 and 3.3. The running disparity is kept halved: 4 bits, -4 to 4.
    """

    LATENCY = 4

    def __init__(self):
        super().__init__({"de": In(1), "control": In(2), "level": In(8), "word": Out(10, init=CONTROL_WORDS[0])})

    def elaborate(self, platform):
        m = Module()
        # Stage 1: XOR or XNOR, whichever makes fewer transitions.
        ones = sum(self.level)
        level1, xnor1 = Signal(8), Signal()
        m.d.slm += [level1.eq(self.level), xnor1.eq((ones > 4) | ((ones == 4) & ~self.level[0]))]

        # Stage 2: the chain of XORs is a parity, and each XNOR inverts it once more.
        low2, xor2 = Signal(8), Signal(init=1)
        m.d.slm += [
            low2.eq(Cat(level1[: i + 1].xor() ^ (xnor1 if i % 2 else Const(0, 1)) for i in range(8))),
            xor2.eq(~xnor1),
        ]

        # Stage 3: its ones, less four.
        low3, xor3, excess3 = Signal(8), Signal(init=1), Signal(signed(4))
        m.d.slm += [low3.eq(low2), xor3.eq(xor2), excess3.eq(sum(low2) - 4)]

        # Stage 4: inverted or not, so that ones and zeros stay balanced.
        de3, control3 = Signal(), Signal(2)
        delayed = [(self.de, self.control), *((Signal(name=f"de{i}"), Signal(2, name=f"c{i}")) for i in (1, 2))]
        for before, after in zip(delayed, [*delayed[1:], (de3, control3)], strict=True):
            m.d.slm += [after[0].eq(before[0]), after[1].eq(before[1])]
        disparity = Signal(signed(4))
        even, same, invert = Signal(), Signal(), Signal()
        m.d.comb += [
            even.eq((disparity == 0) | (excess3 == 0)),
            same.eq((disparity < 0) == (excess3 < 0)),
            invert.eq(Mux(even, ~xor3, same)),
        ]
        with m.If(de3):
            change = Mux(invert, -excess3, excess3) + Mux(even, 0, Mux(same, xor3, -1 + xor3))
            m.d.slm += [
                disparity.eq(disparity + change),
                self.word.eq(Cat(low3 ^ invert.replicate(8), xor3, invert)),
            ]
        with m.Else():
            m.d.slm += disparity.eq(0)
            with m.Switch(control3):
                for control, word in enumerate(CONTROL_WORDS):
                    with m.Case(control):
                        m.d.slm += self.word.eq(word)
        return m
