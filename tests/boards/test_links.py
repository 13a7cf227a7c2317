"""Links of a board: what is at its pins reaches the device, for each kind that a board can be made with."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import io, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from openopu import cli
from openopu.errors import UsageError
from openopu_boards.board import MODULES, board, with_link
from openopu_boards.build import NAME, _clocks, named_by_driver
from openopu_boards.link import DOMAINS, PINS, add_link
from openopu_boards.top import BoardTop
from openopu_rtl.interlock import Interlock
from openopu_rtl.protocol import PROTOCOL_HASH, Link
from openopu_rtl.protocol.links import FT245SYNC_HZ
from openopu_rtl.protocol.registers import TRIP_CAUSES
from openopu_rtl.shapes import LINK
from openopu_sim.usb_host import UsbHost

from .test_boards import small

CLOCK_HZ = 48_000_000
DIVISOR = 8
KINDS = sorted(PINS)


class Echo(wiring.Component):
    """Stands where the device stands behind a link: sends back what it receives, and has the real interlock."""

    link_i: In(stream.Signature(8))
    link_o: Out(stream.Signature(8))
    link_kind: In(LINK)
    link_reset: In(1)
    uart_divisor: Out(16, init=DIVISOR)
    clock_hz = CLOCK_HZ

    def elaborate(self, platform):
        m = Module()
        m.submodules.interlock = self.interlock = interlock = Interlock()
        byte = stream.Signature(8).create()
        m.d.comb += [
            self.link_o.payload.eq(byte.payload),
            self.link_o.valid.eq(byte.valid),
            self.link_i.ready.eq(~byte.valid),
            interlock.interlock_closed.eq(1),
            interlock.heartbeat_cycles.eq(1 << 31),
            interlock.refresh.eq(1),
            interlock.key.eq(PROTOCOL_HASH),
            interlock.link_reset.eq(self.link_reset),
        ]
        with m.If(self.link_i.valid & self.link_i.ready):
            m.d.sync += [byte.payload.eq(self.link_i.payload), byte.valid.eq(1)]
        with m.Elif(self.link_o.ready):
            m.d.sync += byte.valid.eq(0)
        return m


class Bench(Elaboratable):
    """A board's link with its pins in the open."""

    def __init__(self, kind):
        self.kind = kind
        self.echo = Echo()
        for name, direction in PINS[kind].items():
            setattr(self, name, io.SimulationPort(direction, 8 if name == "link_data" else 1, name=name))

    def request(self, name, dir):
        return getattr(self, name)

    def elaborate(self, platform):
        m = Module()
        m.submodules.echo = self.echo
        add_link(m, self, self.kind, self.echo, "OPU0007")
        return m


async def uart(ctx, pins, byte):
    """Send a byte; return what comes back."""
    ctx.set(pins.link_rx.i, 1)
    await ctx.tick().repeat(2 * DIVISOR)
    for bit in (0, *(byte >> k & 1 for k in range(8)), 1):
        ctx.set(pins.link_rx.i, bit)
        await ctx.tick().repeat(DIVISOR)
    while ctx.get(pins.link_tx.o):
        await ctx.tick()
    await ctx.tick().repeat(DIVISOR // 2)
    back = 0
    for k in range(8):
        await ctx.tick().repeat(DIVISOR)
        back |= ctx.get(pins.link_tx.o) << k
    return back


async def fifo(ctx, pins, byte):
    """The same by RD# and WR#, asynchronous."""
    ctx.set(pins.link_data.i, byte)
    ctx.set(pins.link_rxf_n.i, 0)
    while ctx.get(pins.link_rd_n.o):
        await ctx.tick()
    assert not ctx.get(pins.link_data.oe)
    while not ctx.get(pins.link_rd_n.o):
        await ctx.tick()
    ctx.set(pins.link_rxf_n.i, 1)
    ctx.set(pins.link_data.i, 0)
    ctx.set(pins.link_txe_n.i, 0)
    while ctx.get(pins.link_wr_n.o):
        await ctx.tick()
    assert ctx.get(pins.link_data.oe) == 0xFF
    return ctx.get(pins.link_data.o)


async def clocked_fifo(ctx, pins, byte):
    """The same at the edges of CLKOUT."""
    ctx.set(pins.link_rxf_n.i, 0)
    ctx.set(pins.link_txe_n.i, 0)
    while True:
        _, _, rd_n, wr_n, oe_n, drives, data = await ctx.tick("ft").sample(
            pins.link_rd_n.o, pins.link_wr_n.o, pins.link_oe_n.o, pins.link_data.oe, pins.link_data.o
        )
        ctx.set(pins.link_data.i, 0 if oe_n else byte)
        if not rd_n:
            assert not oe_n
            ctx.set(pins.link_rxf_n.i, 1)
        if not wr_n:
            assert drives == 0xFF
            return data


def usb_lines(pins):
    """The bench's pins under the names of the port."""
    return SimpleNamespace(
        d_p_i=pins.link_d_p.i,
        d_n_i=pins.link_d_n.i,
        d_p_o=pins.link_d_p.o,
        d_n_o=pins.link_d_n.o,
        d_oe=pins.link_d_p.oe,
        pullup=pins.link_pullup.o,
    )


async def usb(ctx, pins, byte):
    """The device answers a host's first question, which moves no byte of the link: the descriptor's first eight."""
    host = UsbHost(ctx, usb_lines(pins))
    await host.reset()
    assert ctx.get(pins.link_pullup.o)
    first = await host.control(bytes([0x80, 6, 0, 1, 0, 0, 8, 0]), 8)
    return byte if first[:2] == bytes([18, 1]) else None


async def break_uart(ctx, pins):
    ctx.set(pins.link_rx.i, 0)
    await ctx.tick().repeat(30 * DIVISOR)


async def lose_chip(ctx, pins):
    ctx.set(pins.link_pwren_n.i, 1)
    await ctx.tick().repeat(20)


async def reset_bus(ctx, pins):
    await UsbHost(ctx, usb_lines(pins)).reset()


MOVES = {Link.UART: uart, Link.FT245: fifo, Link.FT245SYNC: clocked_fifo, Link.USB: usb}
RESETS = {Link.UART: break_uart, Link.FT245: lose_chip, Link.FT245SYNC: lose_chip, Link.USB: reset_bus}


@pytest.mark.parametrize("kind", KINDS)
def test_the_link_of_the_board_reaches_the_device_and_its_reset_the_laser(kind):
    if kind is Link.USB:
        pytest.importorskip("luna")
    pins = Bench(kind)
    simulator, over = Simulator(pins), []
    # No two edges at once, but those of USB's clocks, of which one is made of the other.
    simulator.add_clock(1 / CLOCK_HZ, phase=1 / 200e6, domain="sync")
    if kind is Link.USB:
        simulator.add_clock(1 / 48e6, domain="usb_io")
        simulator.add_clock(1 / 12e6, phase=1 / 96e6, domain="usb")

    async def clkout(ctx):
        while kind is Link.FT245SYNC:
            for level in (0, 1):
                ctx.set(pins.link_clk.i, level)
                await ctx.delay(0.5 / FT245SYNC_HZ)

    async def idle(ctx):
        """The lines of a link at rest."""
        for name in ("link_rx", "link_rxf_n", "link_txe_n", "link_d_p"):
            if hasattr(pins, name):
                ctx.set(getattr(pins, name).i, 1)
        await ctx.tick().repeat(10)

    async def main(ctx):
        await idle(ctx)
        assert ctx.get(pins.echo.link_kind) == kind
        assert await MOVES[kind](ctx, pins, 0xA6) == 0xA6
        interlock = pins.echo.interlock
        for step in (interlock.unlock, interlock.arm):
            ctx.set(step, 1)
            await ctx.tick()
            ctx.set(step, 0)
        await ctx.tick().repeat(200)
        assert ctx.get(interlock.laser_on)
        await RESETS[kind](ctx, pins)
        assert not ctx.get(interlock.laser_on)
        assert ctx.get(interlock.cause) == 1 << TRIP_CAUSES["link_reset"]
        over.append(True)

    simulator.add_testbench(clkout, background=True)
    simulator.add_testbench(main)
    for _ in range(200_000):
        if over:
            break
        simulator.advance()
    assert over


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {Link.UART}))
def test_the_gateware_elaborates_with_each_link(kind):
    if kind is Link.USB:
        pytest.importorskip("luna")
    of = with_link(small(board("ulx3s")), kind.key)
    top = BoardTop(of)
    plan = of.platform().prepare(top, NAME, emit_src=False)
    constraints = str(plan.files[f"{NAME}.lpf"])
    for line in of.links[kind]:
        assert f'"{line.port}_0__io' in constraints
    assert '"link_rx_0__io"' not in constraints
    assert ('FREQUENCY PORT "link_clk_0__io" 60000000' in constraints) == (kind is Link.FT245SYNC)
    assert top.clocks.link_hz == (DOMAINS[Link.USB] if kind is Link.USB else {})


def test_the_clocks_of_each_link_are_judged():
    """Whatever names nextpnr gives to their nets."""
    nets = {"ft": "$glbnet$link_clk.buf.i", "usb": "$glbnet$link.device.usb_clk", "usb_io": "$glbnet$a.async_ff_clk"}
    cells = {
        "link_clk$7.buf.buf0": {"type": "TRELLIS_IO", "connections": {"B": [9], "O": [1]}},
        "pll_sync": {"type": "EHXPLLL", "connections": {"CLKOP": [5], "CLKI": [6]}},
        "pll_usb": {"type": "EHXPLLL", "connections": {"CLKOP": [3], "CLKOS": [2], "CLKI": [5], "RST": []}},
    }
    names = {net.removeprefix("$glbnet$"): {"bits": [k + 1]} for k, net in enumerate(nets.values())}
    names |= {"else": {"bits": [4]}, "clk": {"bits": [5]}}
    nets |= {"sync": "$glbnet$clk"}
    netlist = {"modules": {NAME: {"cells": cells, "netnames": names}}}
    wanted = DOMAINS[Link.FT245SYNC] | DOMAINS[Link.USB] | {"sync": 50_000_000}
    report = {
        "fmax": {nets[name]: {"achieved": 50.0, "constraint": hz / 1e6} for name, hz in wanted.items()},
        "critical_paths": [{"from": "<async>", "to": f"posedge {nets['ft']}", "path": [{"delay": 7.5}]}],
    }
    found = _clocks(named_by_driver(report, netlist), wanted)
    assert found["ft"]["pins_in_ns"] == 7.5
    assert {name: c["met"] for name, c in found.items()} == {"ft": False, "usb_io": True, "usb": True, "sync": True}


def test_which_board_has_which_link():
    assert {name: [kind.key for kind in board(name).links] for name in MODULES} == {
        "ulx3s": ["uart", "ft245", "ft245sync", "usb"],
        "icepi_zero": ["uart"],
        "arty_a7": ["uart"],
    }
    assert board("ulx3s").link is Link.UART
    assert board("ulx3s", "usb").link is Link.USB


def test_a_link_that_does_not_meet_the_usual_clock_takes_its_own():
    usual = board("ulx3s").clock_hz
    clocks = {kind.key: board("ulx3s", kind.key).clock_hz for kind in board("ulx3s").links}
    assert clocks == {"uart": usual, "ft245": usual, "ft245sync": 80_000_000, "usb": 80_000_000}
    assert usual > 80_000_000


@pytest.mark.parametrize(("name", "link"), [("ulx3s", "bytes"), ("ulx3s", "USB"), ("arty_a7", "ft245"), ("ulx3s", "")])
def test_a_link_that_the_board_has_not_is_refused(name, link, tmp_path, capsys):
    with pytest.raises(UsageError, match=f"{name} has no link `{link}`"):
        board(name, link)
    words = ["bitstream", "--board", name, "--link", link, "--out", str(tmp_path), "--json"]
    assert cli.main(words) == cli.EXIT_USAGE
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["where"] == "--link"
    assert "uart" in said["next_step"]


def test_lines_that_make_no_such_link_are_refused():
    of = small(board("ulx3s", "ft245sync"))
    links = {**of.links, Link.FT245SYNC: of.links[Link.FT245]}
    with pytest.raises(ValueError, match="do not make a link of the kind `ft245sync`"):
        BoardTop(dataclasses.replace(of, links=links))
