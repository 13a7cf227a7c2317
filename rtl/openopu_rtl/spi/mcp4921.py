"""The laser's DACs: MCP4921.

Sources (Microchip): timing: MCP4921/4922 data sheet DS21897A, page 6, "AC characteristics (SPI timing
specifications)", the same in DS22250A for MCP4902/4912/4922; words: DS22248, register 5-1. SPI mode 0: the clock is
low when idle.
"""

from collections.abc import Iterator

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .common import clocks

MCP4921_SCK_HZ_MAX = 20_000_000
"""fCLK (DS21897A)."""
MCP4921_SCK_HIGH_NS = 15
"""tHI (DS21897A)."""
MCP4921_SCK_LOW_NS = 15
"""tLO (DS21897A)."""
MCP4921_SETUP_NS = 15
"""tSU, SDI before the rising clock (DS21897A)."""
MCP4921_HOLD_NS = 10
"""tHD, SDI after the rising clock (DS21897A)."""
MCP4921_CS_HOLD_NS = 15
"""tCHS, rising clock to rising /CS (DS21897A)."""
MCP4921_CS_HIGH_NS = 15
"""tCSH, /CS high between two words (DS21897A)."""
MCP4921_IDLE_NS = 40
"""tIDLE, clock idle before /CS falls (DS21897A)."""
MCP4921_WORD_BITS = 16
MCP4921_CONFIG = 0b0011
"""Bits 15 to 12 of a word (DS22248, register 5-1): write; BUF = 0, the reference's input is not buffered,
so that it may reach the supply; /GA = 1, gain 1; /SHDN = 1, output on."""


def mcp4921_word(code: int) -> int:
    """The 16-bit word that writes ``code`` (0 to 4095)."""
    if not 0 <= code < 1 << 12:
        raise ValueError(f"a DAC code must be from 0 to 4095, not {code}")
    return MCP4921_CONFIG << 12 | code


def mcp4921_clocks_per_sck_min(clock_hz: int) -> int:
    """Fewest clocks of a period of ``sck``, in two halves (the low one may be longer by one), that the part takes."""
    low = clocks(max(MCP4921_SCK_LOW_NS, MCP4921_SETUP_NS), clock_hz)
    high = clocks(max(MCP4921_SCK_HIGH_NS, MCP4921_HOLD_NS), clock_hz)
    return max(2, 2 * high, 2 * low - 1, -(-clock_hz // MCP4921_SCK_HZ_MAX))


class Mcp4921(wiring.Component):
    """Keeps a MCP4921, its /LDAC tied low, at ``code``.

    A word is sent after reset, and then whenever ``code`` is not what the part holds; a word under
    way is finished first, so the part follows within two words (:attr:`word_clocks` each).

    Parameters
    ----------
    clock_hz : frequency of the clock.
    clocks_per_sck : clocks of one period of ``sck``, by default as few as the part allows; ValueError
        where that is too quick for it.

    Ports
    -----
    code : what the part shall hold.
    cs_n, sck, sdi : the part's pins, registers.
    settled : the part has been written ``code``, and it has latched it. (Its output takes 4.5 us more.)
    """

    code: In(12)
    cs_n: Out(1, init=1)
    sck: Out(1)
    sdi: Out(1)
    settled: Out(1)

    def __init__(self, clock_hz: int, clocks_per_sck: int | None = None):
        fewest = mcp4921_clocks_per_sck_min(clock_hz)
        clocks_per_sck = fewest if clocks_per_sck is None else clocks_per_sck
        if clocks_per_sck < fewest:
            raise ValueError(
                f"clocks_per_sck = {clocks_per_sck} is too quick for the MCP4921 at {clock_hz} Hz: "
                f"take at least {fewest}"
            )
        self._high = clocks_per_sck // 2
        self._low = clocks_per_sck - self._high
        self._gap = clocks(max(MCP4921_CS_HIGH_NS, MCP4921_IDLE_NS), clock_hz)
        super().__init__()

    @property
    def word_clocks(self) -> int:
        """Clocks from one falling /CS to the next when words follow each other."""
        return MCP4921_WORD_BITS * (self._low + self._high) + self._low + self._gap + 1

    @property
    def dark_clocks(self) -> int:
        """Most clocks with ``code`` at zero until the part holds zero: a word under way, and that of the zero."""
        return 2 * self.word_clocks - self._gap

    def elaborate(self, platform):
        m = Module()
        timer = Signal(range(max(self._low, self._high, self._gap) + 1))
        bits = Signal(range(MCP4921_WORD_BITS))
        shift = Signal(MCP4921_WORD_BITS)
        sending = Signal(12)
        held = Signal(12)
        known = Signal()  # ``held`` is what the part holds
        m.d.comb += self.sdi.eq(shift[-1])
        m.d.sync += timer.eq(timer - 1)
        with m.FSM() as fsm:
            with m.State("IDLE"), m.If(~known | (held != self.code)):
                m.d.sync += [
                    shift.eq(Cat(self.code, Const(MCP4921_CONFIG, 4))),
                    sending.eq(self.code),
                    self.cs_n.eq(0),
                    bits.eq(MCP4921_WORD_BITS - 1),
                    timer.eq(self._low - 1),
                ]
                m.next = "LOW"
            with m.State("LOW"), m.If(timer == 0):
                m.d.sync += [self.sck.eq(1), timer.eq(self._high - 1)]
                m.next = "HIGH"
            with m.State("HIGH"), m.If(timer == 0):
                m.d.sync += [self.sck.eq(0), timer.eq(self._low - 1), bits.eq(bits - 1)]
                with m.If(bits == 0):
                    m.next = "HOLD"
                with m.Else():
                    m.d.sync += shift.eq(shift << 1)
                    m.next = "LOW"
            with m.State("HOLD"), m.If(timer == 0):
                m.d.sync += [self.cs_n.eq(1), held.eq(sending), known.eq(1), timer.eq(self._gap - 1)]
                m.next = "GAP"
            with m.State("GAP"), m.If(timer == 0):
                m.next = "IDLE"
            rests = fsm.ongoing("IDLE") | fsm.ongoing("GAP")
            m.d.comb += self.settled.eq(rests & known & (held == self.code))
        return m


def mcp4921_pins(code: int, low: int, high: int) -> Iterator[tuple[int, int, int]]:
    """Model of :class:`Mcp4921`: (cs_n, sck, sdi) of every clock in which /CS is low.

    ``low`` and ``high`` are the clocks of the two halves of a period of ``sck``.
    """
    word = mcp4921_word(code)
    for bit in reversed(range(MCP4921_WORD_BITS)):
        yield from [(0, 0, word >> bit & 1)] * low
        yield from [(0, 1, word >> bit & 1)] * high
    yield from [(0, 0, word & 1)] * low
