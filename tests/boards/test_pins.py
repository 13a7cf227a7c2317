"""A board's gateware in Amaranth's simulator, from pin to pin: how soon its laser is dark."""

import dataclasses
from types import SimpleNamespace

import pytest
from amaranth import ClockDomain, Const, Fragment, Module
from amaranth.lib import io
from amaranth.sim import Simulator
from openopu_boards.board import Clocks, board
from openopu_boards.top import BoardTop
from openopu_rtl.interlock import SYNCHRONISER_CLOCKS
from openopu_rtl.laser import CODE_CLOCKS, TRIP_CLOCKS
from openopu_rtl.protocol import PROTOCOL_HASH, REGISTERS, Geometry, Packet, PacketType
from openopu_rtl.protocol.packets import WRITE_HEADER
from openopu_rtl.spi import Mcp4921

DIVISOR = 4
"""Clocks of a bit of the line: as few as there may be."""


class Pins:
    """Stands in for the platform: every pin is a port that a testbench sets and reads."""

    def __init__(self, of):
        self.board, self.ports = of, {}

    def request(self, name, dir="-"):
        if name == "hdmi":
            return SimpleNamespace(clk=io.SimulationPort("o", 1), d=[io.SimulationPort("o", 1) for _ in range(3)])
        line = self.board.line(name)
        way = {"link_rx": "i", "link_tx": "o"}.get(name) or (line.direction if line.direction in "io" else "io")
        self.ports[name] = io.SimulationPort(way, line.width if line else 1)
        return self.ports[name]

    def get_io_buffer(self, buffer):
        # Amaranth does not simulate double data rate, which is the panel's; nobody looks at it here.
        return Module() if isinstance(buffer, io.DDRBuffer) else buffer.elaborate(None)


def simulated(name):
    """The board with small gateware, a quick line, and clocks that the simulator makes."""
    of = board(name)

    class Simulated(type(of)):
        def add_clocks(self, m, platform):
            for domain in ("sync", "slm", *(("slm_x5",) if self.dvi else ())):
                m.domains += ClockDomain(domain)
            return Clocks(self.clock_hz, self.pixel_clock_hz, Const(1))

    fields = {f.name: getattr(of, f.name) for f in dataclasses.fields(of)}
    camera = {f"{what}_{side}": 8 for what in ("camera", "crop") for side in ("width", "height")}
    fields["geometry"] = Geometry.fitting(
        64, 64, panel_kind=of.geometry.panel_kind, **camera, crop_x=0, crop_y=0, bin=1, raw_rows=8
    )
    return Simulated(**fields | {"baud": of.clock_hz // DIVISOR})


@pytest.mark.parametrize("name", ["icepi_zero", "arty_a7"])
def test_the_laser_is_dark_as_soon_as_is_said(name):
    of = simulated(name)
    dac = Mcp4921(of.clock_hz)
    dac._MustUse__silence = True
    word_clocks, dark_clocks = dac.word_clocks, dac.dark_clocks
    pins = Pins(of)
    top = BoardTop(of)
    simulator = Simulator(Fragment.get(top, pins))
    p = pins.ports
    simulator.add_clock(1 / of.clock_hz, domain="sync")
    simulator.add_clock(1 / of.pixel_clock_hz, domain="slm")
    if of.dvi:
        simulator.add_clock(0.2 / of.pixel_clock_hz, domain="slm_x5")
    adc_ends = p["adc_cs_n"].o
    codes, lit_for = {"dac": 0, "bias": 0}, []
    """What the two parts hold; clocks between the enable's fall and the last word that was not zero."""
    clocks = {}

    async def dacs(ctx):
        bits, dark, before = {n: [] for n in codes}, 0, (1, 0, 0) * 2
        pins = [p[f"{n}_{pin}"].o for n in codes for pin in ("cs_n", "sck", "sdi")]
        async for _, _, enable, *now in ctx.tick().sample(p["laser_enable"].o, *pins):
            dark = 0 if enable else dark + 1
            for i, n in enumerate(codes):
                if now[3 * i + 1] and not before[3 * i + 1]:
                    bits[n].append(str(now[3 * i + 2]))
                if now[3 * i] and not before[3 * i]:
                    # Until this word's end the part held the one before.
                    lit_for.append(dark if codes[n] else 0)
                    codes[n] = int("".join(bits[n]), 2) & 0xFFF
                    bits[n].clear()
            before = now

    async def until(ctx, signal, level):
        """Clocks until a pin has that level."""
        for clock in range(3000):
            if ctx.get(signal) == level:
                return clock
            await ctx.tick()
        raise AssertionError(f"never {level}")

    async def send(ctx, **registers):
        for register, value in registers.items():
            payload = WRITE_HEADER.pack(REGISTERS[register].address) + value.to_bytes(4, "little")
            for byte in Packet(PacketType.WRITE, 1, payload).encode():
                for bit in (0, *(byte >> i & 1 for i in range(8)), 1):
                    ctx.set(p["link_rx"].i, bit)
                    await ctx.tick().repeat(DIVISOR)

    async def script(ctx):
        ctx.set(p["link_rx"].i, 1)
        ctx.set(p["interlock_closed"].i, 1)
        async for _, in_reset in ctx.tick():
            if not in_reset:
                break
        await send(ctx, laser_power=0xFFF, laser_bias=0x123, laser_unlock=PROTOCOL_HASH, laser_arm=PROTOCOL_HASH)
        await until(ctx, p["laser_enable"].o, 1)
        # The worst moment: both parts are about to be sent light.
        await until(ctx, p["dac_cs_n"].o, 0)
        ctx.set(p["interlock_closed"].i, 0)
        clocks["loop"] = await until(ctx, p["laser_enable"].o, 0)
        await ctx.tick().repeat(3 * word_clocks)
        assert codes == {"dac": 0, "bias": 0}
        clocks["dark"] = max(lit_for)
        # More light than is allowed: the first reading comes as soon as the laser is on.
        ctx.set(p["interlock_closed"].i, 1)
        ctx.set(p["adc_dout"].i, 1)
        await send(ctx, monitor_limit=0xFFE, laser_unlock=PROTOCOL_HASH, laser_arm=PROTOCOL_HASH)
        await until(ctx, p["laser_enable"].o, 1)
        await until(ctx, adc_ends[0], 0)
        await until(ctx, adc_ends[0], 1)
        clocks["over power"] = await until(ctx, p["laser_enable"].o, 0)

    simulator.add_testbench(dacs, background=True)
    simulator.add_testbench(script)
    simulator.run()
    print(clocks)
    assert clocks["loop"] == SYNCHRONISER_CLOCKS
    assert clocks["over power"] == TRIP_CLOCKS
    assert dark_clocks - 3 <= clocks["dark"] <= dark_clocks + CODE_CLOCKS
