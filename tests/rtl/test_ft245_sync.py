"""FT245-style FIFO, synchronous: against a chip that obeys and polices its data sheet at the edges of CLKOUT."""

import itertools

import pytest
from openopu_rtl.ft245_sync import Ft245Sync
from openopu_rtl.protocol.ft245 import BURST_BYTES, burst_clocks
from openopu_rtl.protocol.links import FT245SYNC_HZ

from .byte_streams import give, take


class Chip:
    """FT232H in synchronous FIFO mode. ``stall`` is the share of clocks in which it has nothing, or no room."""

    def __init__(self, dut, give, rng=None, stall=0.0):
        self.dut, self.give, self.rng, self.stall = dut, list(give), rng, stall
        self.got, self.moves, self.laws = [], [], []

    def stalls(self):
        return bool(self.rng and self.rng.random() < self.stall)

    async def run(self, ctx):
        dut = self.dut
        oe_before = drive_before = False
        clock = 0
        while True:
            signals = (dut.rd_n, dut.wr_n, dut.oe_n, dut.data_o, dut.data_oe, dut.rxf_n, dut.txe_n)
            _, _, rd_n, wr_n, oe_n, data, drive, rxf_n, txe_n = await ctx.tick("ft").sample(*signals)
            clock += 1
            if not rd_n and (oe_n or not oe_before):
                self.laws.append("RD# without OE# a clock before")
            if drive and (not oe_n or oe_before):
                self.laws.append("bus contention")
            if not oe_n and drive_before:
                self.laws.append("no clock between the drivers of the bus")
            if not wr_n and not drive:
                self.laws.append("WR# without data")
            if not wr_n and not txe_n:
                self.got.append(data)
                self.moves.append((clock, "write"))
            if not rd_n and not rxf_n:
                self.give.pop(0)
                self.moves.append((clock, "read"))
            oe_before, drive_before = not oe_n, drive
            offers = bool(self.give) and not self.stalls()
            ctx.set(dut.rxf_n, not offers)
            ctx.set(dut.txe_n, self.stalls())
            ctx.set(dut.data_i, self.give[0] if offers and not oe_n else 0x5A)


def transfer(simulate, dut, chip, send, clock_hz, rng=None):
    """What came out of ``dut`` while ``send`` went in."""
    received, count = [], len(chip.give)

    async def sends(ctx):
        await give(ctx, dut.i, send, rng, pauses=0.1)
        assert ctx.get(dut.busy)
        while len(chip.got) < len(send) or len(received) < count:
            await ctx.tick()
        await ctx.tick().repeat(40)
        assert not ctx.get(dut.busy)

    async def receives(ctx):
        await take(ctx, dut.o, count, received, rng)

    clocks = {"sync": 1 / clock_hz, "ft": 1 / FT245SYNC_HZ}
    simulate(dut, sends, receives, background=(chip.run,), clocks=clocks)
    return bytes(received)


@pytest.mark.parametrize(("clock_hz", "stall"), [(48_000_000, 0.0), (100_000_000, 0.3), (48_000_000, 0.7)])
def test_bytes_cross_and_no_law_is_broken(simulate, rng, clock_hz, stall):
    dut = Ft245Sync()
    give, send = (bytes(rng.randrange(256) for _ in range(700)) for _ in range(2))
    chip = Chip(dut, give, rng, stall)
    assert transfer(simulate, dut, chip, send, clock_hz, rng) == give
    assert bytes(chip.got) == send
    assert not chip.laws


def test_a_byte_moves_at_every_edge_but_in_turns(simulate):
    """With a system clock that keeps up: as many clocks as the model says, and no direction starves."""
    dut = Ft245Sync()
    count = 4 * BURST_BYTES
    chip = Chip(dut, bytes(count))
    transfer(simulate, dut, chip, bytes(count), 100_000_000)
    assert not chip.laws
    first = next(clock for clock, kind in chip.moves if kind == "write")
    both = [m for m in chip.moves if m[0] >= first]
    written, read = (sum(kind == k for _, kind in both) for k in ("write", "read"))
    clocks = both[-1][0] - both[0][0] + 1
    assert clocks == pytest.approx(burst_clocks(written, read), rel=0.01)
    assert written + read > 0.97 * clocks
    gaps = [b[0] - a[0] for a, b in itertools.pairwise(both) if a[1] == b[1]]
    assert max(gaps) <= BURST_BYTES + 8


@pytest.mark.parametrize(
    ("clkout_s", "suspends", "expected"), [(1 / FT245SYNC_HZ, True, 1), (8e-6, False, 2), (1, False, 0)]
)
def test_a_link_that_goes_away_is_told(simulate, clkout_s, suspends, expected):
    """PWREN# rises; CLKOUT stops after an edge; CLKOUT has never run, which is no loss."""
    dut = Ft245Sync()
    strobes = []

    async def watch(ctx):
        for clock in range(1000):
            _, _, strobe = await ctx.tick().sample(dut.link_reset)
            strobes.append(strobe)
            if clock == 400:
                ctx.set(dut.pwren_n, suspends)

    simulate(dut, watch, clocks={"sync": 1 / 48e6, "ft": clkout_s})
    assert sum(strobes) == expected
    assert not suspends or any(strobes[400:410])
