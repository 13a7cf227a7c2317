"""UART: 8 data bits, no parity, one stop bit, at system clock / divisor, with their models beside them."""

from collections.abc import Iterator, Sequence

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out, connect, flipped

DIVISOR_MIN = 4
"""Fewest system clocks per bit with which the receiver still stands a baud mismatch of 2 %."""
SYNCHRONISER_CLOCKS = 2
"""Clocks from the pin to the receiver's decisions."""
BITS = 10
"""Bit times of one byte on the line: start, eight data bits, stop."""
BREAK_BITS = 2 * BITS
"""A line that is low for longer than so many bit times is a break: no byte holds more than nine, and two
characters leave room for a sender at half the rate."""


class UartReceiver(wiring.Component):
    """Bytes from a line.

    Every bit is sampled once, in its middle. A start bit must be low in every sample up to its
    middle, so that glitches shorter than half a bit are ignored. After a byte without a stop bit the
    line must be high once before the next start bit counts.

    Ports
    -----
    divisor : system clocks per bit, at least ``DIVISOR_MIN``; taken over at the start of each byte.
    rx : the pin, asynchronous, high when idle.
    o : received bytes, one strobe each.
    framing_error : strobe: a byte had no stop bit; it is dropped.
    line_break : the line has been low for longer than ``BREAK_BITS``, and still is.
    busy : a byte is being received, from its start bit to the middle of its stop bit.
    """

    divisor: In(16)
    rx: In(1)
    o: Out(stream.Signature(8, always_ready=True))
    framing_error: Out(1)
    line_break: Out(1)
    busy: Out(1)

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.rx, line, init=1, stages=SYNCHRONISER_CLOCKS)

        low_bits, low_timer = Signal(range(BREAK_BITS + 1)), Signal(16)
        m.d.comb += self.line_break.eq(~line & (low_bits == BREAK_BITS))
        with m.If(line):
            m.d.sync += [low_bits.eq(0), low_timer.eq(self.divisor - 1)]
        with m.Elif(low_timer != 0):
            m.d.sync += low_timer.eq(low_timer - 1)
        with m.Elif(low_bits != BREAK_BITS):
            m.d.sync += [low_bits.eq(low_bits + 1), low_timer.eq(self.divisor - 1)]

        divisor = Signal(16)
        timer = Signal(16)  # clocks to the next sample, less one
        bit = Signal(range(8))
        shift = Signal(8)
        m.d.sync += [self.o.valid.eq(0), self.framing_error.eq(0), timer.eq(timer - 1)]

        with m.FSM() as fsm:
            with m.State("IDLE"), m.If(~line):
                # The middle is rounded up for the start bit (half a bit is the least that counts) ...
                m.d.sync += [divisor.eq(self.divisor), timer.eq((self.divisor - 1) >> 1)]
                m.next = "START"
            with m.State("START"):
                with m.If(line):
                    m.next = "IDLE"
                with m.Elif(timer == 0):
                    # ... and down for the others, which keeps the stop bit's sample off the next byte.
                    m.d.sync += [timer.eq(divisor - divisor[0] - 1), bit.eq(0)]
                    m.next = "DATA"
            with m.State("DATA"), m.If(timer == 0):
                m.d.sync += [shift.eq(Cat(shift[1:], line)), timer.eq(divisor - 1), bit.eq(bit + 1)]
                with m.If(bit == 7):
                    m.next = "STOP"
            with m.State("STOP"), m.If(timer == 0):
                with m.If(line):
                    m.d.sync += [self.o.payload.eq(shift), self.o.valid.eq(1)]
                    m.next = "IDLE"
                with m.Else():
                    m.d.sync += self.framing_error.eq(1)
                    m.next = "BREAK"
            with m.State("BREAK"), m.If(line):
                m.next = "IDLE"
            m.d.comb += self.busy.eq(fsm.ongoing("START") | fsm.ongoing("DATA") | fsm.ongoing("STOP"))
        return m


class UartTransmitter(wiring.Component):
    """Bytes to a line, each exactly ``BITS * divisor`` clocks, without a gap while ``i`` stays valid.

    Ports
    -----
    divisor : system clocks per bit; taken over at the start of each byte.
    i : bytes to send; accepted when the byte before has been sent.
    tx : the pin, a register, high when idle.
    busy : a byte is on the line.
    """

    divisor: In(16)
    i: In(stream.Signature(8))
    tx: Out(1, init=1)
    busy: Out(1)

    def elaborate(self, platform):
        m = Module()
        divisor = Signal(16)
        timer = Signal(16)
        left = Signal(range(BITS))  # bits to come after this one
        shift = Signal(BITS, init=(1 << BITS) - 1)
        m.d.comb += [self.tx.eq(shift[0]), self.i.ready.eq((timer == 0) & (left == 0))]
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [shift.eq(Cat(shift[1:], Const(1, 1))), left.eq(left - 1), timer.eq(divisor - 1)]
        with m.Else():
            m.d.sync += self.busy.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += [
                    shift.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))),
                    left.eq(BITS - 1),
                    divisor.eq(self.divisor),
                    timer.eq(self.divisor - 1),
                ]
        return m


class UartPort(wiring.Component):
    """Both directions of a UART, as a port of the link (:mod:`openopu_rtl.linkport`).

    Ports
    -----
    divisor : system clocks per bit.
    rx, tx : the pins.
    o : received bytes, one strobe each. i : bytes to send.
    link_reset : a break on the line, as long as it lasts.
    busy : a byte is on the line.
    """

    divisor: In(16)
    rx: In(1, init=1)
    tx: Out(1, init=1)
    o: Out(stream.Signature(8, always_ready=True))
    i: In(stream.Signature(8))
    link_reset: Out(1)
    busy: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UartReceiver()
        m.submodules.transmitter = transmitter = UartTransmitter()
        connect(m, receiver.o, flipped(self.o))
        connect(m, transmitter.i, flipped(self.i))
        m.d.comb += [
            receiver.divisor.eq(self.divisor),
            receiver.rx.eq(self.rx),
            transmitter.divisor.eq(self.divisor),
            self.tx.eq(transmitter.tx),
            self.link_reset.eq(receiver.line_break),
            self.busy.eq(receiver.busy | transmitter.busy),
        ]
        return m


def transmitted_line(data: bytes, divisor: int) -> list[int]:
    """Model of :class:`UartTransmitter`: its pin in every clock, from the clock after the first byte was accepted."""
    line = []
    for byte in data:
        for level in (0, *(byte >> k & 1 for k in range(8)), 1):
            line += [level] * divisor
    return line


def received_bytes(line: Sequence[int], divisor: int) -> Iterator[tuple[int, int | None]]:
    """Model of :class:`UartReceiver`.

    Parameters
    ----------
    line : the pin at every clock edge.
    divisor : clocks per bit.

    Yields
    ------
    (clock, byte) : ``byte`` is None for a framing error. ``clock`` is the index of the sample of the
        stop bit; the strobe follows ``SYNCHRONISER_CLOCKS + 1`` clocks after.
    """
    check = (divisor + 1) // 2
    middle = divisor // 2
    at, end = 0, len(line)
    while at < end:
        if line[at]:
            at += 1
            continue
        high = next((k for k in range(at, min(at + check + 1, end)) if line[k]), None)
        if high is not None:
            at = high + 1
            continue
        stop = at + middle + 9 * divisor
        if stop >= end:
            return
        if line[stop]:
            yield stop, sum(line[at + middle + (k + 1) * divisor] << k for k in range(8))
            at = stop + 1
        else:
            yield stop, None
            at = stop + 1
            while at < end and not line[at]:
                at += 1
            at += 1


def line_breaks(line: Sequence[int], divisor: int) -> list[int]:
    """Model of ``line_break`` of :class:`UartReceiver`, ``SYNCHRONISER_CLOCKS`` early: one level for each clock."""
    low, out = 0, []
    for level in line:
        out.append(int(not level and low >= BREAK_BITS * divisor))
        low = 0 if level else low + 1
    return out
