"""MAX11125, the 12-bit ADC on the ULX3S (or MAX11123, of 8 bits, whose missing bits are zero).

Source: Maxim data sheet MAX11120-MAX11128. Confirmed through public drivers of the family, which cite its tables: words
of 16 bits, /CS low around each; ``sck`` idles high, the part takes ``sdi`` at its rising edge and changes ``dout`` at
its falling edge; at most 16 MHz; ADC mode control register: bit 15 = 0, SCAN 14:11 (1: manual), CHSEL 10:7, RESET 6:5
(2: all registers), PM 4:3, CHAN_ID 2, SWCNV 1; ADC configuration register: 0b10000, REFSEL 10; with CHAN_ID = 1 a word
of ``dout`` is four bits of channel and twelve of result. The result of a word that selects a channel comes with a
later word; whether with the next one or the one after it depends on when the part samples, so the channel is selected
three times, and the last answer taken: right either way. Times from memory, far below half a period of ``sck``:
tDOT 16.5 ns, /CS to clock and back 4 ns, ``sdi`` setup 4 ns and hold 1 ns.
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib.cdc import FFSynchronizer

from .common import ADC_BITS, SYNCHRONISER_CLOCKS, AdcDriver, clocks

MAX11125_SCK_HZ_MAX = 16_000_000
MAX11125_OUTPUT_NS = 17
"""tDOT, falling clock to valid output, at most."""
MAX11125_CS_HIGH_NS = 50
"""Between two words; chosen."""
MAX11125_WORD_BITS = 16
MAX11125_RESET = 0x0040
"""ADC mode control: all registers as after power up: single-ended, unipolar, external clock."""
MAX11125_CONFIG = 0x8000
"""ADC configuration: reference single-ended at REF+, no averaging, no echo."""
MAX11125_SELECTIONS = 3
FULL_SCALE = (1 << ADC_BITS) - 1


def max11125_select(channel: int) -> int:
    """ADC mode control: convert ``channel`` (manual mode), and answer with the channel's number."""
    if not 0 <= channel < 16:
        raise ValueError(f"the part has no channel {channel}")
    return 1 << 11 | channel << 7 | 1 << 2


def max11125_value(answer: int, channel: int) -> int:
    """Model of :class:`Max11125`: the value of a 16-bit answer. One that names another channel is full scale."""
    return answer & FULL_SCALE if answer >> ADC_BITS == channel else FULL_SCALE


def _timing(clock_hz: int) -> tuple[int, int]:
    """Clocks of half a period of ``sck``, and of /CS high."""
    half = max(
        -(-clock_hz // (2 * MAX11125_SCK_HZ_MAX)),
        -(-(clocks(MAX11125_OUTPUT_NS, clock_hz) + SYNCHRONISER_CLOCKS) // 2),
    )
    return half, clocks(MAX11125_CS_HIGH_NS, clock_hz)


class Max11125(AdcDriver):
    """Reads one MAX11125; ``cs_n[1]`` stays high.

    The word under way is finished when a conversion is given up. The first conversion after reset resets and
    configures the part. An answer that does not name the channel asked for, as when the part is missing, is full
    scale: whoever watches for too much light sees it.

    Parameters
    ----------
    clock_hz : frequency of the clock; ``sck`` is as quick as the part allows.
    inputs : AIN numbers of photodiode and thermometer.
    """

    def __init__(self, clock_hz: int, inputs: tuple[int, int] = (0, 1)):
        self.inputs = inputs
        self._selections = [max11125_select(i) for i in inputs]
        super().__init__(clock_hz)

    @classmethod
    def clocks_of_conversion(cls, clock_hz: int) -> int:
        half, gap = _timing(clock_hz)
        word = half * (2 * MAX11125_WORD_BITS + 2) + gap + 2
        # One under way, two that configure, and those that select.
        return word * (1 + 2 + MAX11125_SELECTIONS) + 2

    def elaborate(self, platform):
        m = Module()
        half, gap = _timing(self.clock_hz)
        dout = Signal()
        m.submodules.synchroniser = FFSynchronizer(self.dout, dout, stages=SYNCHRONISER_CLOCKS)
        timer = Signal(range(max(half, gap) + 1))
        bits = Signal(range(MAX11125_WORD_BITS))
        shift, answer = Signal(MAX11125_WORD_BITS), Signal(MAX11125_WORD_BITS)
        channel = Signal.like(self.channel)
        left = Signal(range(2 + MAX11125_SELECTIONS + 1), init=0)
        """Words still to be sent of this conversion."""
        configured, wanted = Signal(), Signal()
        number = Signal(4)
        m.d.comb += [self.sdi.eq(shift[-1]), number.eq(Array(Const(i, 4) for i in self.inputs)[channel])]
        m.d.sync += self.done.eq(0)
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.sync += self.sck.eq(1)
                with m.If(wanted & (timer == 0)):
                    m.d.sync += [
                        wanted.eq(0),
                        left.eq(Mux(configured, MAX11125_SELECTIONS, 2 + MAX11125_SELECTIONS)),
                        configured.eq(1),
                    ]
                    m.next = "WORD"
            with m.State("WORD"):
                m.d.sync += [
                    self.cs_n.eq(0b10),
                    bits.eq(MAX11125_WORD_BITS - 1),
                    timer.eq(half - 1),
                    left.eq(left - 1),
                    shift.eq(Array(self._selections)[channel]),
                ]
                with m.If(left == 2 + MAX11125_SELECTIONS):
                    m.d.sync += shift.eq(MAX11125_RESET)
                with m.Elif(left == 1 + MAX11125_SELECTIONS):
                    m.d.sync += shift.eq(MAX11125_CONFIG)
                m.next = "HIGH"
            with m.State("HIGH"), m.If(timer == 0):
                m.d.sync += [self.sck.eq(0), timer.eq(half - 1)]
                m.next = "LOW"
            with m.State("LOW"), m.If(timer == 0):
                m.d.sync += [self.sck.eq(1), timer.eq(half - 1)]
                m.next = "SAMPLE"
            with m.State("SAMPLE"), m.If(timer == 0):
                m.d.sync += [answer.eq(Cat(dout, answer)), bits.eq(bits - 1)]
                with m.If(bits != 0):
                    m.d.sync += [self.sck.eq(0), shift.eq(shift << 1), timer.eq(half - 1)]
                    m.next = "LOW"
                with m.Else():
                    m.d.sync += [self.cs_n.eq(~0), timer.eq(gap - 1)]
                    m.next = "GAP"
            with m.State("GAP"), m.If(timer == 0):
                m.next = "WORD"
                with m.If(wanted):
                    # Configuration is not cut short.
                    with m.If(left <= MAX11125_SELECTIONS):
                        m.next = "IDLE"
                with m.Elif(left == 0):
                    m.d.sync += [
                        self.done.eq(~self.start),
                        self.value.eq(Mux(answer[ADC_BITS:] == number, answer[:ADC_BITS], FULL_SCALE)),
                    ]
                    m.next = "IDLE"
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE") | wanted)
        with m.If(self.start):
            m.d.sync += [wanted.eq(1), channel.eq(self.channel)]
        return m
