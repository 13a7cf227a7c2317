"""I2C master against register slaves that stretch, refuse and hang, on wires that check the bus' timing."""

from __future__ import annotations

import gc
import random
from dataclasses import dataclass, field

import pytest
from openopu_rtl.i2c import RECOVERY_CLOCKS, I2cMaster, events, levels
from openopu_rtl.protocol.registers import I2C_STATES

CLOCK_HZ = 8_000_000
STRETCH_CLOCKS = 600
NAMES = {value: name for name, value in I2C_STATES.items()}


@dataclass
class Slave:
    """A register file behind I2C; ``stretch`` is the chance that it holds SCL low after a falling edge.

    ``nack_at`` refuses the byte of that number of a transfer. ``hold_sda`` and ``hold_scl`` pull the wire low, the
    first one until so many falling edges of SCL have been seen.
    """

    address: int
    wide_register: bool
    wide_value: bool
    random: random.Random
    stretch: float = 0.0
    nack_at: int | None = None
    hold_sda: int = 0
    hold_scl: bool = False
    memory: dict[int, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    sda: int = 1
    scl: int = 1

    def __post_init__(self) -> None:
        self._before = (1, 1)
        self._state, self._new = "idle", False
        self._bits: list[int] = []
        self._count = 0
        self._head: list[int] = []
        self._out: list[int] = []
        self._release = 0

    def step(self, scl: int, sda: int) -> None:
        """The wires of this clock."""
        before, self._before = self._before, (scl, sda)
        if self._release:
            self._release -= 1
            if not self._release:
                self.scl = 1
        if self.hold_scl:
            self.scl = 0
        if before[0] and scl and before[1] != sda:
            self.log.append("P" if sda else "S")
            self._state, self._bits, self._new = ("idle" if sda else "byte"), [], not sda
        if not before[0] and scl:
            self._rise(sda)
        if before[0] and not scl:
            self._fall()

    def _rise(self, sda: int) -> None:
        if self._state in ("byte", "send"):
            self._bits.append(sda)

    def _fall(self) -> None:
        if self.hold_sda:
            self.hold_sda -= 1
            self.sda = int(not self.hold_sda)
            return
        if self.random.random() < self.stretch:
            self.scl, self._release = 0, self.random.randint(1, 60)
        if self._state == "idle":
            return
        if self._state == "byte":
            if len(self._bits) == 8:
                self._take(int("".join(map(str, self._bits)), 2))
            elif len(self._bits) == 9:
                self.sda, self._bits = 1, []
                if self._out:
                    self._state = "send"
                    self._next_bit()
        elif self._state == "send":
            self._next_bit()

    def _take(self, byte: int) -> None:
        self.log.append(f"w:{byte:02x}")
        if self._new:
            self._new = False
            if byte >> 1 != self.address or self.nack_at == self._count:
                self._state = "idle"
                return
            if byte & 1:
                value = self.memory.get(self._register(), 0)
                self._out = [value >> 8 & 0xFF, value & 0xFF] if self.wide_value else [value & 0xFF]
            else:
                self._head = []
        else:
            if self.nack_at == self._count:
                self._state = "idle"
                return
            self._head.append(byte)
            wide, size = 1 + self.wide_register, 2 + self.wide_register + self.wide_value
            if len(self._head) == size:
                value = int.from_bytes(bytes(self._head[wide:]), "big")
                self.memory[self._register()] = value
        self._count += 1
        self.sda = 0

    def _register(self) -> int:
        return int.from_bytes(bytes(self._head[: 1 + self.wide_register]), "big")

    def _next_bit(self) -> None:
        if len(self._bits) == 9:
            acknowledged = not self._bits[8]
            self.log.append("r" if acknowledged else "r/")
            self._bits = []
            if not acknowledged:
                self._state, self._out = "idle", []
                return
        if len(self._bits) == 8:
            self._out.pop(0)
            self.sda = 1
            return
        self.sda = self._out[0] >> (7 - len(self._bits)) & 1 if self._out else 1


@dataclass
class Wires:
    """Open drain, and what UM10204, table 10, asks of both lines (Fast-mode), in nanoseconds."""

    clock_hz: int
    now_ns: float = 0.0
    changes: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._last = (1, 1)
        self._at = {"rise": -1e9, "fall": -1e9, "sda": -1e9, "start": -1e9, "stop": -1e9}
        self.checked = 0

    def step(self, scl: int, sda: int) -> None:
        self.now_ns += 1e9 / self.clock_hz
        before, self._last = self._last, (scl, sda)
        if before == (scl, sda):
            return
        self.changes.append((scl, sda))
        at, now = self._at, self.now_ns
        if not before[0] and scl:
            assert now - at["fall"] >= 1300, "tLOW"
            assert now - at["sda"] >= 100, "tSU;DAT"
            at["rise"] = now
        if before[0] and not scl:
            assert now - at["rise"] >= 600, "tHIGH"
            assert now - at["start"] >= 600, "tHD;STA"
            at["fall"] = now
            self.checked += 1
        if before[1] != sda:
            if scl and before[0]:
                if sda:
                    assert now - at["rise"] >= 600, "tSU;STO"
                    at["stop"] = now
                else:
                    assert now - at["rise"] >= 600, "tSU;STA"
                    assert now - at["stop"] >= 1300, "tBUF"
                    at["start"] = now
            else:
                assert not (scl and not before[0]), "SDA changed with SCL"
            at["sda"] = now


class Bus:
    """Master, slave and wires, clock by clock."""

    def __init__(self, ctx, dut, slave, wires=None):
        self.ctx, self.dut, self.slave, self.wires = ctx, dut, slave, wires or Wires(CLOCK_HZ)
        self.clocks = 0
        self.other_sda = lambda: 1

    async def clock(self):
        ctx, dut, slave = self.ctx, self.dut, self.slave
        scl = int(not ctx.get(dut.scl_oe)) & slave.scl
        sda = int(not ctx.get(dut.sda_oe)) & slave.sda & self.other_sda()
        self.wires.step(scl, sda)
        slave.step(scl, sda)
        ctx.set(dut.scl_i, scl)
        ctx.set(dut.sda_i, sda)
        await ctx.tick()
        self.clocks += 1

    async def transfer(self, *, read, target, register, value=0, wide_register, wide_value, limit=60_000):
        """Returns (name of the state, result, clocks busy)."""
        ctx, dut = self.ctx, self.dut
        self.slave._count = 0
        for name, setting in {
            "read": read, "target": target, "register": register, "value": value,
            "wide_register": wide_register, "wide_value": wide_value, "start": 1,
        }.items():  # fmt: skip
            ctx.set(getattr(dut, name), int(setting))
        await self.clock()
        ctx.set(dut.start, 0)
        clocks = 0
        while ctx.get(dut.busy):
            assert NAMES[ctx.get(dut.state)] == "busy"
            await self.clock()
            clocks += 1
            assert clocks < limit, "the master hangs"
        return NAMES[ctx.get(dut.state)], ctx.get(dut.result), clocks


def master(**options) -> I2cMaster:
    return I2cMaster(CLOCK_HZ, stretch_clocks=STRETCH_CLOCKS, **options)


@pytest.mark.parametrize("stretch", [0.0, 0.3])
@pytest.mark.parametrize(("wide_register", "wide_value"), [(0, 1), (1, 1), (0, 0), (1, 0)])
def test_registers_are_written_and_read(rng, simulate, stretch, wide_register, wide_value):
    dut = master()
    slave = Slave(rng.randrange(8, 120), bool(wide_register), bool(wide_value), rng, stretch)
    widths = {"wide_register": wide_register, "wide_value": wide_value}
    memory = {}

    async def script(ctx):
        bus = Bus(ctx, dut, slave)
        for _ in range(8):
            register, value = rng.getrandbits(8 + 8 * wide_register), rng.getrandbits(8 + 8 * wide_value)
            read = bool(memory) and rng.random() < 0.5
            if read:
                register = rng.choice(list(memory))
            slave.log.clear()
            changes = len(bus.wires.changes)
            # Upper bits of what the widths leave out must not matter.
            noise = {"register": register | (0 if wide_register else rng.getrandbits(8) << 8)}
            noise["value"] = value | (0 if wide_value else rng.getrandbits(8) << 8)
            got = await bus.transfer(read=read, target=slave.address, **noise, **widths)
            want = events(slave.address, register, value, read=read, **{k: bool(v) for k, v in widths.items()})
            assert slave.log == want
            assert got[:2] == ("ok", memory[register] if read else 0)
            answer = memory.get(register, 0)
            answers = iter([answer >> 8, answer & 0xFF] if wide_value else [answer])
            assert merged(bus.wires.changes[changes:]) == merged(list(levels(want, answers)))
            if not stretch:
                assert got[2] == dut.clocks(want)
            if not read:
                memory[register] = value
            assert slave.memory == memory
            for _ in range(rng.choice((0, 0, 40))):
                await bus.clock()
        assert bus.wires.checked > 100

    simulate(dut, script)


def merged(changes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What a slave can tell apart: SDA at SCL's edges, and SDA's edges while SCL is high."""
    out: list[tuple[int, int]] = []
    for scl, sda in changes:
        if scl or not out or out[-1][0]:
            out.append((scl, sda if scl else 0))
    return [c for i, c in enumerate(out) if not i or c != out[i - 1]]


@pytest.mark.parametrize(("nack_at", "name"), [(0, "nack_address"), (1, "nack_data"), (2, "nack_data")])
def test_what_a_slave_does_not_acknowledge_is_named(rng, simulate, nack_at, name):
    dut = master()
    slave = Slave(0x48, False, True, rng, nack_at=nack_at)
    widths = {"wide_register": 0, "wide_value": 1}

    async def script(ctx):
        bus = Bus(ctx, dut, slave)
        assert (await bus.transfer(read=False, target=0x48, register=7, value=0x1234, **widths))[0] == name
        assert slave.log[-1] == "P"
        assert not slave.memory
        slave.nack_at = None
        assert (await bus.transfer(read=False, target=0x48, register=7, value=0x1234, **widths))[0] == "ok"
        assert (await bus.transfer(read=True, target=0x49, register=7, **widths))[0] == "nack_address"
        assert (await bus.transfer(read=True, target=0x48, register=7, **widths))[:2] == ("ok", 0x1234)
        slave.nack_at = 2  # its address, after the repeated START
        assert (await bus.transfer(read=True, target=0x48, register=7, **widths))[0] == "nack_address"

    simulate(dut, script)


@pytest.mark.parametrize("clocks", [1, 4, RECOVERY_CLOCKS])
def test_a_slave_that_holds_sda_is_clocked_free(rng, simulate, clocks):
    """It was interrupted in a byte: as many clocks as it needs, a STOP, then the transfer."""
    dut = master()
    slave = Slave(0x10, True, True, rng, hold_sda=clocks)
    slave.sda = 0

    async def script(ctx):
        bus = Bus(ctx, dut, slave)
        for _ in range(20):
            await bus.clock()
        got = await bus.transfer(read=False, target=0x10, register=0x3012, value=0x40, wide_register=1, wide_value=1)
        assert got[0] == "ok"
        assert slave.memory == {0x3012: 0x40}

    simulate(dut, script)


def test_lines_that_stay_low_are_named_and_both_are_let_go(rng, simulate):
    dut = master()
    slave = Slave(0x10, True, True, rng)
    request = {"read": False, "target": 0x10, "register": 1, "value": 2, "wide_register": 1, "wide_value": 1}

    async def script(ctx):
        bus = Bus(ctx, dut, slave, Wires(CLOCK_HZ))
        slave.hold_sda, slave.sda = 1000, 0
        for _ in range(20):
            await bus.clock()
        name, _, clocks = await bus.transfer(**request)
        assert name == "bus_stuck"
        assert clocks < (RECOVERY_CLOCKS + 1) * (CLOCK_HZ // 400_000 + 8)
        slave.hold_sda, slave.sda = 0, 1
        for _ in range(20):
            await bus.clock()
        assert (await bus.transfer(**request))[0] == "ok"
        slave.hold_scl = True
        for _ in range(6):
            await bus.clock()
        name, _, clocks = await bus.transfer(**request)
        assert name == "clock_stuck"
        assert clocks <= STRETCH_CLOCKS + 10
        assert not ctx.get(dut.scl_oe)
        assert not ctx.get(dut.sda_oe)

    simulate(dut, script)


def test_a_clock_held_low_in_mid_transfer_ends_it(rng, simulate):
    dut = master()
    slave = Slave(0x10, True, True, rng)

    async def script(ctx):
        bus = Bus(ctx, dut, slave)

        left = 700
        step = slave.step

        def stepped(scl, sda):
            nonlocal left
            left -= 1
            slave.hold_scl |= left < 0 and not scl
            step(scl, sda)

        slave.step = stepped
        name, _, _ = await bus.transfer(read=True, target=0x10, register=1, wide_register=1, wide_value=1)
        assert name == "clock_stuck"

    simulate(dut, script)


def test_another_master_wins_the_arbitration(rng, simulate):
    """It sends a 0 where we send a 1: we let go at once and say so."""
    dut = master()
    slave = Slave(0x7F, False, False, rng)

    async def script(ctx):
        bus = Bus(ctx, dut, slave)
        bus.other_sda = lambda: int(bus.clocks < 60)
        name, _, clocks = await bus.transfer(read=False, target=0x7F, register=0, wide_register=0, wide_value=0)
        assert name == "arbitration_lost"
        assert clocks < 120
        assert not ctx.get(dut.sda_oe)
        assert not ctx.get(dut.scl_oe)

    simulate(dut, script)


@pytest.mark.parametrize(
    ("read", "falls", "name"),
    [(True, 37, "arbitration_lost"), (True, 19, "bus_stuck"), (False, 28, "bus_stuck")],
    ids=["last acknowledge", "repeated START", "STOP"],
)
def test_sda_low_where_it_should_rise_is_named(rng, simulate, read, falls, name):
    """Something else pulls SDA after so many falls of SCL: where the last byte read is not acknowledged, and where a
    START or STOP needs it high. The bus is let go, and works again."""
    dut = master()
    slave = Slave(0x22, False, False, rng)
    request = {"target": 0x22, "register": 5, "value": 9, "wide_register": 0, "wide_value": 0}

    async def script(ctx):
        bus = Bus(ctx, dut, slave)
        bus.other_sda = lambda: int(bus.wires.checked != falls)
        got = await bus.transfer(read=read, **request)
        assert got[0] == name
        assert not ctx.get(dut.sda_oe)
        assert not ctx.get(dut.scl_oe)
        bus.other_sda = lambda: 1
        for _ in range(40):
            await bus.clock()
        assert (await bus.transfer(read=False, **request))[0] == "ok"
        assert slave.memory == {5: 9}

    simulate(dut, script)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_a_clock_that_is_too_slow_is_refused():
    with pytest.raises(ValueError, match="take at most 62500"):
        I2cMaster(1_000_000)
    I2cMaster(1_000_000, scl_hz=62_500)
    gc.collect()
