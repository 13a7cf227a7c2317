"""The laser's power DAC and the photodiode's ADC.

Sources of the timing constants (Microchip): MCP4901/4911/4921 data sheet DS22248, "AC characteristics
(SPI timing specifications)" and register 5-1; MCP3201 data sheet DS21290, "Electrical characteristics"
and figure 5-1. Both parts take SPI mode 0: the clock is low when idle.
"""

from collections.abc import Iterator

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

MCP4921_SCK_HZ_MAX = 20_000_000
"""fCLK (DS22248)."""
MCP4921_SCK_HIGH_NS = 15
"""tHI (DS22248)."""
MCP4921_SCK_LOW_NS = 15
"""tLO (DS22248)."""
MCP4921_SETUP_NS = 15
"""tSU, SDI before the rising clock (DS22248)."""
MCP4921_HOLD_NS = 10
"""tHD, SDI after the rising clock (DS22248)."""
MCP4921_CS_HOLD_NS = 15
"""tCHS, rising clock to rising /CS (DS22248)."""
MCP4921_CS_HIGH_NS = 15
"""tCSH, /CS high between two words (DS22248)."""
MCP4921_IDLE_NS = 40
"""tIDLE, clock idle before /CS falls (DS22248)."""
MCP4921_WORD_BITS = 16
MCP4921_CONFIG = 0b0011
"""Bits 15 to 12 of a word (DS22248, register 5-1): write; BUF = 0, the reference's input is not buffered,
so that it may reach the supply; /GA = 1, gain 1; /SHDN = 1, output on."""

MCP3201_SCK_HZ_MAX = 1_600_000
"""fCLK with a supply of 5 V (DS21290)."""
MCP3201_SCK_HALF_NS = 312
"""tHI and tLO (DS21290)."""
MCP3201_CS_SETUP_NS = 100
"""tSUCS, falling /CS to the first rising clock (DS21290)."""
MCP3201_CS_HIGH_NS = 625
"""tCSH, /CS high between two conversions (DS21290)."""
MCP3201_OUTPUT_NS = 200
"""tDO and tEN, falling clock to valid output, at most (DS21290)."""
MCP3201_CLOCKS = 15
"""Clocks of one conversion: 1.5 to sample, the null bit after the second, then 12 bits (figure 5-1)."""
MCP3201_BITS = 12
SYNCHRONISER_CLOCKS = 2


def clocks(time_ns: int, clock_hz: int) -> int:
    """Fewest clocks that last ``time_ns``."""
    return -(-time_ns * clock_hz // 10**9)


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


class Mcp3201(wiring.Component):
    """Reads a MCP3201.

    Its sample ends 1.5 periods of ``sck`` after the first rising clock, so it is taken at once unless
    a conversion ended less than tCSH before.

    Parameters
    ----------
    clock_hz : frequency of the clock; ``sck`` is as quick as the part allows.

    Ports
    -----
    start : strobe: convert; ignored while ``busy``.
    busy : a conversion is under way.
    value : the last conversion, 0 to 4095.
    done : strobe: ``value`` is new. At most :attr:`conversion_clocks` after ``start``.
    cs_n, sck, dout : the part's pins; ``dout`` is synchronised inside.
    """

    start: In(1)
    busy: Out(1)
    value: Out(MCP3201_BITS)
    done: Out(1)
    cs_n: Out(1, init=1)
    sck: Out(1)
    dout: In(1)

    def __init__(self, clock_hz: int):
        # The bit is taken at the falling clock after the one that brought it, through the synchroniser.
        self._half = max(
            clocks(MCP3201_SCK_HALF_NS, clock_hz),
            -(-clock_hz // (2 * MCP3201_SCK_HZ_MAX)),
            -(-(clocks(MCP3201_OUTPUT_NS, clock_hz) + SYNCHRONISER_CLOCKS) // 2),
        )
        self._setup = max(self._half, clocks(MCP3201_CS_SETUP_NS, clock_hz))
        self._gap = clocks(MCP3201_CS_HIGH_NS, clock_hz)
        super().__init__()

    @property
    def conversion_clocks(self) -> int:
        """Most clocks from ``start`` to ``done``."""
        return self._gap + self._setup + (2 * MCP3201_CLOCKS - 1) * self._half + 2

    def elaborate(self, platform):
        m = Module()
        dout = Signal()
        m.submodules.synchroniser = FFSynchronizer(self.dout, dout, stages=SYNCHRONISER_CLOCKS)
        timer = Signal(range(max(self._setup, self._gap) + 1), init=self._gap)
        count = Signal(range(MCP3201_CLOCKS))
        shift = Signal(MCP3201_BITS)
        m.d.sync += self.done.eq(0)
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.FSM() as fsm:
            with m.State("IDLE"), m.If(self.start):
                m.next = "WAIT"
            with m.State("WAIT"), m.If(timer == 0):
                m.d.sync += [self.cs_n.eq(0), timer.eq(self._setup - 1), count.eq(0)]
                m.next = "LOW"
            with m.State("LOW"), m.If(timer == 0):
                m.d.sync += [self.sck.eq(1), timer.eq(self._half - 1)]
                m.next = "HIGH"
            with m.State("HIGH"), m.If(timer == 0):
                m.d.sync += [
                    self.sck.eq(0),
                    timer.eq(self._half - 1),
                    shift.eq(Cat(dout, shift)),  # what came before the twelve bits falls off
                    count.eq(count + 1),
                ]
                m.next = "LOW"
                with m.If(count == MCP3201_CLOCKS - 1):
                    m.next = "END"
            with m.State("END"):
                m.d.sync += [self.cs_n.eq(1), self.value.eq(shift), self.done.eq(1), timer.eq(self._gap - 1)]
                m.next = "IDLE"
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
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


def mcp3201_value(dout: list[int]) -> int:
    """Model of :class:`Mcp3201`: the value from ``dout`` at each of the ``MCP3201_CLOCKS`` falling clocks."""
    value = 0
    for bit in dout[-MCP3201_BITS:]:
        value = value << 1 | bit
    return value
