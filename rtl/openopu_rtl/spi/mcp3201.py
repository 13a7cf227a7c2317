"""MCP3201, a 12-bit ADC of one input: one part for each channel, on the same clock and data lines.

Source: Microchip data sheet DS21290. Confirmed: fCLK = 16 fSAMPLE, fSAMPLE at most 100 kHz with a supply of 5 V and
50 kHz with 2.7 V; 1.5 clocks of sampling, then a null bit and 12 bits, each after a falling clock (electrical
characteristics, section 5, figure 5-1); tSUCS; that a rising /CS ends a conversion (section 3). The other times are
from memory, and fit: tHI and tLO are half, tCSH a whole period of the fastest clock. SPI mode 0.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.cdc import FFSynchronizer

from .common import ADC_BITS, SYNCHRONISER_CLOCKS, AdcDriver, clocks

MCP3201_SCK_HZ_MAX = 1_600_000
"""fCLK with a supply of 5 V; with 2.7 V half of it."""
MCP3201_SCK_HALF_NS = 312
"""tHI and tLO."""
MCP3201_CS_SETUP_NS = 100
"""tSUCS, falling /CS to the first rising clock."""
MCP3201_CS_HIGH_NS = 625
"""tCSH, /CS high between two conversions."""
MCP3201_OUTPUT_NS = 200
"""tDO and tEN, falling clock to valid output, at most."""
MCP3201_CLOCKS = 15
"""Clocks of one conversion: 1.5 to sample, the null bit after the second, then 12 bits (figure 5-1)."""


def _timing(clock_hz: int) -> tuple[int, int, int]:
    """Clocks of half a period of ``sck``, from /CS to the first rising ``sck``, and of /CS high."""
    # The bit is taken at the falling clock after the one that brought it, through the synchroniser.
    half = max(
        clocks(MCP3201_SCK_HALF_NS, clock_hz),
        -(-clock_hz // (2 * MCP3201_SCK_HZ_MAX)),
        -(-(clocks(MCP3201_OUTPUT_NS, clock_hz) + SYNCHRONISER_CLOCKS) // 2),
    )
    return half, max(half, clocks(MCP3201_CS_SETUP_NS, clock_hz)), clocks(MCP3201_CS_HIGH_NS, clock_hz)


class Mcp3201(AdcDriver):
    """Reads two MCP3201, ``cs_n[0]`` the photodiode's and ``cs_n[1]`` the thermometer's; ``sdi`` is not used.

    The sample ends 1.5 periods of ``sck`` after the first rising clock, so it is taken at once unless a conversion
    ended, or was given up, less than tCSH before. ``sck`` is as quick as a part supplied with 5 V allows.
    """

    @classmethod
    def clocks_of_conversion(cls, clock_hz: int) -> int:
        half, setup, gap = _timing(clock_hz)
        return gap + setup + (2 * MCP3201_CLOCKS - 1) * half + 2

    def elaborate(self, platform):
        m = Module()
        half, setup, gap = _timing(self.clock_hz)
        dout = Signal()
        m.submodules.synchroniser = FFSynchronizer(self.dout, dout, stages=SYNCHRONISER_CLOCKS)
        timer = Signal(range(max(setup, gap) + 1), init=gap)
        count = Signal(range(MCP3201_CLOCKS))
        shift = Signal(ADC_BITS)
        channel = Signal.like(self.channel)
        m.d.sync += self.done.eq(0)
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)

        def restart():
            m.d.sync += [self.cs_n.eq(~0), self.sck.eq(0), channel.eq(self.channel)]
            with m.If(~self.cs_n.all()):
                m.d.sync += timer.eq(gap - 1)
            m.next = "WAIT"

        with m.FSM() as fsm:
            with m.State("IDLE"), m.If(self.start):
                restart()
            with m.State("WAIT"):
                with m.If(self.start):
                    restart()
                with m.Elif(timer == 0):
                    m.d.sync += [self.cs_n.eq(~(1 << channel)), timer.eq(setup - 1), count.eq(0)]
                    m.next = "LOW"
            with m.State("LOW"):
                with m.If(self.start):
                    restart()
                with m.Elif(timer == 0):
                    m.d.sync += [self.sck.eq(1), timer.eq(half - 1)]
                    m.next = "HIGH"
            with m.State("HIGH"):
                with m.If(self.start):
                    restart()
                with m.Elif(timer == 0):
                    m.d.sync += [
                        self.sck.eq(0),
                        timer.eq(half - 1),
                        shift.eq(Cat(dout, shift)),  # what came before the twelve bits falls off
                        count.eq(count + 1),
                    ]
                    m.next = "LOW"
                    with m.If(count == MCP3201_CLOCKS - 1):
                        m.next = "END"
            with m.State("END"):
                with m.If(self.start):
                    restart()
                with m.Else():
                    m.d.sync += [self.cs_n.eq(~0), self.value.eq(shift), self.done.eq(1), timer.eq(gap - 1)]
                    m.next = "IDLE"
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
        return m


def mcp3201_value(dout: list[int]) -> int:
    """Model of :class:`Mcp3201`: the value from ``dout`` at each of the ``MCP3201_CLOCKS`` falling clocks."""
    value = 0
    for bit in dout[-ADC_BITS:]:
        value = value << 1 | bit
    return value
