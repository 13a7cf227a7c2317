"""USB CDC-ACM: found, configured and used by a host at D+ and D-, clock by clock."""

import pytest
from amaranth.sim import Simulator
from openopu_rtl.usb import UsbSerial
from openopu_sim.usb_host import ACK, OUT, UsbHost

CLOCK_HZ = 48_000_000


def run(script, clock_hz=CLOCK_HZ):
    """Run ``script(host, ctx, received, sends)`` on a device that hands out ``received`` and sends ``sends``."""
    pytest.importorskip("luna")
    dut = UsbSerial(clock_hz, "OPU0007")
    simulator = Simulator(dut)
    simulator.add_clock(1 / 48e6, domain="usb_io")
    simulator.add_clock(1 / 12e6, phase=1 / 96e6, domain="usb")
    simulator.add_clock(1 / clock_hz, phase=1 / 200e6, domain="sync")
    received, sends, resets = bytearray(), bytearray(), []

    async def take(ctx):
        ctx.set(dut.o.ready, 1)
        while True:
            _, _, valid, byte, reset = await ctx.tick().sample(dut.o.valid, dut.o.payload, dut.link_reset)
            if valid:
                received.append(byte)
            if reset:
                resets.append(len(received))

    async def give(ctx):
        while True:
            await ctx.tick()
            if sends:
                ctx.set(dut.i.payload, sends[0])
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
                ctx.set(dut.i.valid, 0)
                del sends[0]

    async def main(ctx):
        host = UsbHost(ctx, dut)
        await script(host, ctx, received, sends, resets)

    simulator.add_testbench(take, background=True)
    simulator.add_testbench(give, background=True)
    simulator.add_testbench(main)
    simulator.run()


def test_found_configured_and_used(rng):
    """Bytes cross in both directions, in full and short packets; a reset is told; the serial number is the board's."""

    async def script(host, ctx, received, sends, resets):
        assert ctx.get(host.dut.pullup) or (await host.idle(20)) is None
        found = await host.enumerate()
        assert len(resets) == 1  # the host's first act
        assert found["serial"] == "OPU0007"
        assert found["device"][8:12] == bytes([0x09, 0x12, 0x01, 0x00])
        assert sorted(found["bulk"]) == [0x04, 0x84]
        down = bytes(rng.randrange(256) for _ in range(150))
        for start in range(0, len(down), 64):
            while await host.send_data(OUT, 4, down[start : start + 64]) != ACK:
                pass
        up = bytes(rng.randrange(1, 256) for _ in range(99)) + b"\0"
        sends += up
        got = b""
        for _ in range(60):
            got += await host.ask(4) or b""
            if len(got) == len(up):
                break
        assert got == up
        await host.idle(50)
        assert bytes(received) == down
        await host.reset()
        assert len(resets) == 2

    run(script)


def test_a_host_that_goes_away_is_told(simulate):
    """A reset, and an idle bus; the end of a packet is neither. All clocks are slow: nothing but the lines matters."""
    pytest.importorskip("luna")
    dut = UsbSerial(1_000_000, "x")
    strobes = []

    async def main(ctx):
        for level, us in (((1, 0), 10), ((0, 0), 2), ((1, 0), 20), ((0, 0), 20), ((0, 1), 10), ((1, 0), 3100)):
            ctx.set(dut.d_p_i, level[0])
            ctx.set(dut.d_n_i, level[1])
            told = 0
            for _ in range(us):
                _, _, strobe = await ctx.tick().sample(dut.link_reset)
                told += strobe
            strobes.append(told)

    simulate(dut, main, clocks=dict.fromkeys(("sync", "usb", "usb_io"), 1e-6), limit=20_000)
    assert strobes == [0, 0, 0, 1, 0, 1]
