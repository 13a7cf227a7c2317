"""FT245-style FIFO, asynchronous: against a chip that obeys and polices its data sheet at one step a nanosecond."""

import dataclasses
import gc

import pytest
from openopu_rtl.ft245 import Ft245Async
from openopu_rtl.protocol.ft245 import FT232H, FT245R, pair_cycle_clocks, read_cycle_clocks, write_cycle_clocks

from .byte_streams import give, take

NEVER = 1_000_000


class Chip:
    """FTDI's chip in its asynchronous FIFO mode: ``give`` goes to the device, ``got`` is what came from it."""

    def __init__(self, dut, give, rng=None, slowest=False):
        self.dut, self.timing, self.rng, self.slowest = dut, dut.timing, rng, slowest
        self.give, self.got, self.got_at, self.taken_at = list(give), [], [], []
        self.laws = []

    def within(self, least, most):
        """A time of the chip's own choice."""
        if self.rng is None:
            return most if self.slowest else least
        return self.rng.uniform(least, most)

    def pause(self):
        return self.rng.randrange(600) if self.rng and self.rng.random() < 0.2 else 0

    def law(self, holds, name):
        if not holds:
            self.laws.append(name)

    async def run(self, ctx):
        dut, t = self.dut, self.timing
        rd, wr = 1, 1
        since_rd = since_wr = since_data = NEVER
        data = oe = None
        rxf_rises = txe_rises = None
        rxf_falls, txe_falls = 30, 30
        bus_valid = bus_free = None
        now = 0
        while True:
            await ctx.delay(1e-9)
            now += 1
            since_rd, since_wr, since_data = since_rd + 1, since_wr + 1, since_data + 1
            before = rd, wr, data, oe
            rd, wr, data, oe = (ctx.get(s) for s in (dut.rd_n, dut.wr_n, dut.data_o, dut.data_oe))
            rxf_n, txe_n = ctx.get(dut.rxf_n), ctx.get(dut.txe_n)
            if (data, oe) != before[2:]:
                self.law(wr or since_data < 0, "write data held during the strobe")
                self.law(since_wr >= t.write_hold_ns or not wr, "write data hold")
                since_data = 0
            self.law(not (oe and (not rd or (bus_free is not None and now < bus_free))), "bus contention")
            if rd != before[0]:
                if rd:
                    self.law(since_rd >= t.read_pulse_ns, "RD# pulse")
                    self.taken_at.append(now)
                    self.give.pop(0)
                    bus_free = now + t.read_data_ns
                    ctx.set(dut.data_i, 0xA5)
                    bus_valid = None
                    rxf_rises = now + self.within(1, t.read_status_ns)
                    rxf_falls = rxf_rises + t.read_recovery_ns + self.pause()
                else:
                    self.law(not rxf_n, "RD# while RXF# is high")
                    self.law(since_rd >= t.read_high_ns, "RD# high")
                    bus_valid = now + self.within(1, t.read_data_ns)
                since_rd = 0
            if wr != before[1]:
                if wr:
                    self.law(since_wr >= t.write_pulse_ns, "WR# pulse")
                else:
                    self.law(not txe_n, "WR# while TXE# is high")
                    self.law(since_wr >= t.write_high_ns, "WR# high")
                    self.law(oe and since_data >= t.write_setup_ns, "write data setup")
                    self.got.append(data)
                    self.got_at.append(now)
                    txe_rises = now + self.within(1, t.write_status_ns)
                    txe_falls = txe_rises + t.write_recovery_ns + self.pause()
                since_wr = 0
            if bus_valid is not None and now >= bus_valid and not rd:
                ctx.set(dut.data_i, self.give[0])
            if rxf_rises is not None and now >= rxf_rises:
                ctx.set(dut.rxf_n, 1)
                rxf_rises = None
            if txe_rises is not None and now >= txe_rises:
                ctx.set(dut.txe_n, 1)
                txe_rises = None
            if rxf_rises is None and now >= rxf_falls and self.give:
                ctx.set(dut.rxf_n, 0)
            if txe_rises is None and now >= txe_falls:
                ctx.set(dut.txe_n, 0)


def transfer(simulate, dut, chip, send, received, rng=None):
    """Send ``send`` bytes through ``dut`` while it takes what the chip gives."""
    count = len(chip.give)

    async def sends(ctx):
        await give(ctx, dut.i, send, rng, pauses=0.3)
        assert ctx.get(dut.busy) or not send
        while len(chip.got) < len(send) or len(received) < count:
            await ctx.tick()
        await ctx.tick().repeat(40)
        assert not ctx.get(dut.busy)

    async def receives(ctx):
        await take(ctx, dut.o, count, received, rng)

    simulate(dut, sends, receives, background=(chip.run,), clocks={"sync": 1 / dut.clock_hz}, limit=400_000)


@pytest.mark.parametrize("timing", [FT232H, FT245R], ids=["FT232H", "FT245R"])
@pytest.mark.parametrize("clock_hz", [48_000_000, 100_000_000])
def test_bytes_cross_and_no_law_is_broken(simulate, rng, timing, clock_hz):
    dut = Ft245Async(timing, clock_hz)
    give, send = (bytes(rng.randrange(256) for _ in range(60)) for _ in range(2))
    chip, received = Chip(dut, give, rng), []
    transfer(simulate, dut, chip, send, received, rng)
    assert not chip.laws
    assert bytes(chip.got) == send
    assert bytes(received) == give


@pytest.mark.parametrize("timing", [FT232H, FT245R], ids=["FT232H", "FT245R"])
@pytest.mark.parametrize("clock_hz", [48_000_000, 100_000_000])
def test_cycles_are_those_of_the_model(simulate, timing, clock_hz):
    """Bytes one after the other, in one direction, with the chip at the slow end of its data sheet."""
    for write in (True, False):
        dut = Ft245Async(timing, clock_hz)
        chip, received = Chip(dut, bytes(0 if write else 20), slowest=True), []
        transfer(simulate, dut, chip, bytes(20 if write else 0), received)
        assert not chip.laws
        at = chip.got_at if write else chip.taken_at
        clocks = (at[-1] - at[4]) * 1e-9 * clock_hz / (len(at) - 5)
        model = (write_cycle_clocks if write else read_cycle_clocks)(timing, clock_hz)
        # The model counts whole clocks where the chip counts from the edge: one clock at most.
        assert model - 1.01 <= clocks <= model + 0.01


@pytest.mark.parametrize("clock_hz", [48_000_000, 100_000_000])
def test_both_directions_take_turns(simulate, clock_hz):
    dut = Ft245Async(FT232H, clock_hz)
    chip, received = Chip(dut, bytes(range(40)), slowest=True), []
    transfer(simulate, dut, chip, bytes(range(40)), received)
    assert not chip.laws
    cycle = pair_cycle_clocks(FT232H, clock_hz)
    for at in (chip.got_at, chip.taken_at):
        clocks = (at[-1] - at[4]) * 1e-9 * clock_hz / (len(at) - 5)
        assert cycle - 1.01 <= clocks <= cycle + 0.01


def test_the_chips_laws_bite(simulate):
    """The chip notices a port that is built for a quicker one."""
    dut = Ft245Async(FT232H, 48_000_000)
    dut.timing = dataclasses.replace(FT232H, read_pulse_ns=1, read_data_ns=1, write_pulse_ns=1)
    chip, received = Chip(dut, bytes(4)), []
    chip.timing = FT232H
    transfer(simulate, dut, chip, bytes(4), received)
    assert {"RD# pulse", "WR# pulse"} <= set(chip.laws)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_a_chip_whose_status_is_slower_than_its_strobe_is_refused():
    with pytest.raises(ValueError, match="TXE# must follow"):
        Ft245Async(dataclasses.replace(FT232H, write_status_ns=31), 48_000_000)
    gc.collect()


def test_a_link_that_goes_away_is_told_once(simulate):
    dut = Ft245Async(FT232H, 48_000_000)
    strobes = []

    async def testbench(ctx):
        for away in (0, 1, 1, 0, 1):
            ctx.set(dut.pwren_n, away)
            for _ in range(6):
                _, _, strobe = await ctx.tick().sample(dut.link_reset)
                strobes.append(strobe)

    simulate(dut, testbench)
    assert sum(strobes) == 2
