"""FT245-style parallel FIFO, synchronous: bytes from and to FT232H or FT2232H at its CLKOUT of 60 MHz.

FT232H data sheet FT_000288 version 2.1, section 4.4. A byte moves at each rising edge of CLKOUT at which
both sides are willing: RD# and RXF# low, or WR# and TXE# low. The bus is turned by OE#, which is low a clock
before RD#.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .protocol.ft245 import BURST_BYTES
from .queues import add_link_crossing

FIFO_BYTES = 64
"""Of each crossing; a power of two. The system side keeps up, so it holds what the crossing's pointers lag behind."""
_CLKOUT_LOST_CLOCKS = 64
"""System clocks without an edge of CLKOUT after which the chip is gone: more than four of its clocks in any system."""
_ROOM_BYTES = 6
"""Free places below which no more is read: a byte is under way in each register, and the pointers lag."""


class Ft245Sync(wiring.Component):
    """Bytes of the chip's pins, in domain ``ft`` (CLKOUT), as streams in ``sync``.

    Ports
    -----
    rxf_n, txe_n, data_i : from the chip, timed by CLKOUT.
    rd_n, wr_n, oe_n, data_o, data_oe : to it, registers in ``ft``.
    pwren_n : chip's PWREN#, asynchronous; low where it is not wired.
    o : received bytes. i : bytes to send; both in ``sync``.
    link_reset : strobe in ``sync``: the USB side went away (PWREN#), or CLKOUT stopped after it had run.
    busy : anything is inside, or offered by the chip; a few clocks late.
    """

    rxf_n: In(1, init=1)
    txe_n: In(1, init=1)
    rd_n: Out(1, init=1)
    wr_n: Out(1, init=1)
    oe_n: Out(1, init=1)
    data_i: In(8)
    data_o: Out(8)
    data_oe: Out(1)
    pwren_n: In(1)
    o: Out(stream.Signature(8))
    i: In(stream.Signature(8))
    link_reset: Out(1)
    busy: Out(1)

    def elaborate(self, platform):
        m = Module()
        received, to_send = add_link_crossing(m, self, "ft", FIFO_BYTES + 1)

        # Read: what is taken at an edge goes to the crossing at the next.
        taken, byte = Signal(), Signal(8)
        room = Signal()
        m.d.comb += [
            room.eq(received.w_level <= FIFO_BYTES - _ROOM_BYTES),
            received.w_data.eq(byte),
            received.w_en.eq(taken),
        ]
        m.d.ft += [taken.eq(~self.rd_n & ~self.rxf_n), byte.eq(self.data_i)]

        # Write: WR# low is an offer, TXE# low accepts it. A byte that was not accepted stays in `data_o`.
        held, left = Signal(), Signal()  # a byte is in `data_o`; it will still be after this edge
        want_read, want_write = Signal(), Signal()
        burst = Signal(range(BURST_BYTES))
        m.d.comb += [
            left.eq(held & (self.wr_n | self.txe_n)),
            want_read.eq(~self.rxf_n & room),
            want_write.eq((left | to_send.r_rdy) & ~self.txe_n),
        ]
        m.d.ft += held.eq(left)
        with m.FSM(domain="ft") as fsm:
            with m.State("IDLE"):
                m.d.ft += burst.eq(BURST_BYTES - 1)
                with m.If(want_write):
                    m.d.ft += self.data_oe.eq(1)
                    m.next = "WRITE"
                with m.Elif(want_read):
                    m.d.ft += self.oe_n.eq(0)
                    m.next = "TURN"
            with m.State("AFTER_WRITE"):
                # One clock in which nobody drives the bus.
                m.d.ft += [self.oe_n.eq(0), burst.eq(BURST_BYTES - 1)]
                m.next = "TURN"
            with m.State("TURN"):
                m.d.ft += self.rd_n.eq(0)
                m.next = "READ"
            with m.State("READ"):
                with m.If(burst != 0):
                    m.d.ft += burst.eq(burst - 1)
                with m.If(~want_read | ((burst == 0) & want_write)):
                    m.d.ft += [self.rd_n.eq(1), self.oe_n.eq(1)]
                    m.next = "IDLE"
            with m.State("WRITE"):
                with m.If(burst != 0):
                    m.d.ft += burst.eq(burst - 1)
                with m.If(want_read & ((burst == 0) | ~want_write)):
                    m.d.ft += [self.wr_n.eq(1), self.data_oe.eq(0)]
                    m.next = "AFTER_WRITE"
                with m.Else():
                    m.d.comb += to_send.r_en.eq(~left)
                    with m.If(~left & to_send.r_rdy):
                        m.d.ft += self.data_o.eq(to_send.r_data)
                    m.d.ft += [held.eq(left | to_send.r_rdy), self.wr_n.eq(~(left | to_send.r_rdy))]
            resting = fsm.ongoing("IDLE") | (fsm.ongoing("WRITE") & ~left)

        # Whether all is at rest, and whether CLKOUT runs, as ``sync`` sees it.
        active_ft, active = Signal(), Signal()
        toggle, toggle_sync, toggle_before = Signal(), Signal(), Signal()
        away, away_before, gone = Signal(), Signal(), Signal()
        since = Signal(range(_CLKOUT_LOST_CLOCKS + 1))
        stopped, ran = Signal(), Signal()
        m.d.ft += [
            toggle.eq(~toggle),
            active_ft.eq(~resting | taken | left | to_send.r_rdy | (received.w_level != 0) | ~self.rxf_n),
        ]
        m.submodules += [
            FFSynchronizer(active_ft, active),
            FFSynchronizer(toggle, toggle_sync),
            FFSynchronizer(self.pwren_n, away),
        ]
        m.d.sync += [toggle_before.eq(toggle_sync), away_before.eq(gone)]
        with m.If(toggle_sync != toggle_before):
            m.d.sync += [since.eq(0), ran.eq(1)]
        with m.Elif(~stopped):
            m.d.sync += since.eq(since + 1)
        m.d.comb += [
            stopped.eq(since == _CLKOUT_LOST_CLOCKS),
            gone.eq(away | (stopped & ran)),
            self.link_reset.eq(gone & ~away_before),
            self.busy.eq(active | (to_send.w_level != 0) | received.r_rdy),
        ]
        return m
