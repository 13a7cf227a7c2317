"""FT245-style parallel FIFO, asynchronous: bytes from and to a USB chip such as FT232H or FT245R.

The bus carries one byte at a time, in one direction. RXF# and TXE# say that a byte waits, or has room;
RD# and WR# move it. There is no common clock: the widths are counted in system clocks.
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .protocol.ft245 import INPUT_SETUP_NS, SYNCHRONISER_CLOCKS, Ft245Timing, clocks_of


class Ft245Async(wiring.Component):
    """Bytes from and to the chip. A byte is read or written as soon as the chip allows; when both wait, in turns.

    Parameters
    ----------
    timing : of the chip.
    clock_hz : frequency of ``sync``.

    Ports
    -----
    rxf_n, txe_n : chip's status pins, asynchronous.
    rd_n, wr_n : strobes, registers.
    data_i, data_o, data_oe : the bus; never driven while RD# is low, nor a clock before or after.
    pwren_n : chip's PWREN# (high: USB is suspended, not configured, or unplugged), or low where it is not wired.
    o : received bytes. i : bytes to send.
    link_reset : strobe: the USB side went away.
    busy : a byte is inside.
    """

    def __init__(self, timing: Ft245Timing, clock_hz: int):
        if timing.write_pulse_ns < timing.write_status_ns:
            raise ValueError("TXE# must follow WR#'s falling edge before WR# rises")
        self.timing = timing
        self.clock_hz = clock_hz
        super().__init__(
            {
                "rxf_n": In(1, init=1),
                "txe_n": In(1, init=1),
                "rd_n": Out(1, init=1),
                "wr_n": Out(1, init=1),
                "data_i": In(8),
                "data_o": Out(8),
                "data_oe": Out(1),
                "pwren_n": In(1),
                "o": Out(stream.Signature(8)),
                "i": In(stream.Signature(8)),
                "link_reset": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        t = self.timing

        def clocks(ns):
            return max(1, clocks_of(ns, self.clock_hz))

        rxf_n, txe_n, away, away_before = Signal(init=1), Signal(init=1), Signal(), Signal()
        m.submodules += [
            FFSynchronizer(self.rxf_n, rxf_n, init=1, stages=SYNCHRONISER_CLOCKS),
            FFSynchronizer(self.txe_n, txe_n, init=1, stages=SYNCHRONISER_CLOCKS),
            FFSynchronizer(self.pwren_n, away, stages=SYNCHRONISER_CLOCKS),
        ]
        m.d.sync += away_before.eq(away)
        m.d.comb += self.link_reset.eq(away & ~away_before)

        # Time in which RXF# is not looked at: it still tells of the byte before. TXE# needs none: it follows WR#'s
        # falling edge within the strobe, and the next byte's way to the bus outlasts the synchroniser.
        read_blind_clocks = max(
            clocks_of(t.read_status_ns, self.clock_hz) + SYNCHRONISER_CLOCKS, clocks(t.read_high_ns)
        )
        write_high_clocks = clocks(t.write_high_ns)
        read_blind = Signal(range(read_blind_clocks + 1))
        write_high = Signal(range(write_high_clocks + 1))
        setup_clocks = clocks(t.write_setup_ns)
        setup = Signal(range(setup_clocks + 1), init=setup_clocks)
        read_clocks = max(clocks(t.read_pulse_ns), clocks(t.read_data_ns + INPUT_SETUP_NS))
        write_clocks, hold_clocks, release_clocks = (
            clocks(ns) for ns in (t.write_pulse_ns, t.write_hold_ns, t.read_data_ns)
        )
        timer = Signal(range(max(read_clocks, write_clocks, hold_clocks, release_clocks)))
        for counter in (read_blind, write_high, timer):
            with m.If(counter != 0):
                m.d.sync += counter.eq(counter - 1)

        # The next byte waits on the bus, so that WR# can fall as soon as there is room.
        loaded, read_last = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~loaded),
            self.busy.eq(1),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [loaded.eq(1), self.data_o.eq(self.i.payload)]
        with m.If(~(loaded & self.data_oe)):
            m.d.sync += setup.eq(setup_clocks - 1)
        with m.Elif(setup != 0):
            m.d.sync += setup.eq(setup - 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        can_read, can_write = Signal(), Signal()
        m.d.comb += [
            can_read.eq(~rxf_n & (read_blind == 0) & ~self.o.valid),
            can_write.eq(loaded & ~txe_n & (write_high == 0)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(loaded | self.o.valid)
                m.d.sync += self.data_oe.eq(1)
                with m.If(can_read & ~(can_write & read_last)):
                    m.d.sync += self.data_oe.eq(0)
                    m.next = "TURN"
                with m.Elif(can_write & self.data_oe & (setup == 0)):
                    m.d.sync += [
                        self.wr_n.eq(0),
                        timer.eq(write_clocks - 1),
                        read_last.eq(0),
                    ]
                    m.next = "WRITE"
            with m.State("WRITE"), m.If(timer == 0):
                m.d.sync += [self.wr_n.eq(1), timer.eq(hold_clocks - 1), write_high.eq(write_high_clocks - 1)]
                m.next = "HOLD"
            with m.State("HOLD"), m.If(timer == 0):
                m.d.sync += loaded.eq(0)
                m.next = "IDLE"
            with m.State("TURN"):
                m.d.sync += [
                    self.rd_n.eq(0),
                    read_last.eq(1),
                    timer.eq(read_clocks - 1),
                ]
                m.next = "READ"
            with m.State("READ"), m.If(timer == 0):
                m.d.sync += [
                    self.rd_n.eq(1),
                    self.o.payload.eq(self.data_i),
                    self.o.valid.eq(1),
                    read_blind.eq(read_blind_clocks),
                    timer.eq(release_clocks - 1),
                ]
                m.next = "RELEASE"
            with m.State("RELEASE"), m.If(timer == 0):
                m.next = "IDLE"
        return m
