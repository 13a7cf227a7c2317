"""The whole gateware, small, in Amaranth's simulator: what leaves it for the laser."""

import numpy as np
from openopu_rtl.laser import TRIP_CLOCKS
from openopu_rtl.protocol import PROTOCOL_HASH, Code, ErrorReply, Format
from openopu_rtl.protocol.registers import REGISTERS, TRIP_CAUSES
from openopu_rtl.protocol.shots import intensity

from .opu_bench import SMALL, TIMING, Bench


def test_power_and_bias_are_zero_while_the_laser_is_off():
    codes: dict[str, int] = {}

    async def dacs(ctx):
        pins = [getattr(opu, f"{name}_{pin}") for name in ("dac", "bias") for pin in ("cs_n", "sck", "sdi")]
        bits, before = {"dac": [], "bias": []}, (1, 0, 0, 1, 0, 0)
        async for _, _, *now in ctx.tick().sample(*pins):
            for i, name in enumerate(bits):
                if now[3 * i + 1] and not before[3 * i + 1]:
                    bits[name].append(now[3 * i + 2])
                if now[3 * i] and not before[3 * i]:
                    word = int("".join(map(str, bits[name])), 2)
                    assert (len(bits[name]), word >> 12) == (16, 0b0011)
                    codes[name] = word & 0xFFF
                    bits[name].clear()
            before = now

    bench = Bench(background=(dacs,))
    opu = bench.opu

    async def script(host):
        await host.write(laser_power=0x456, laser_bias=0x123)
        assert codes == {"dac": 0, "bias": 0}
        assert await host.arm() is None
        await host.ctx.tick().repeat(150)
        assert codes == {"dac": 0x456, "bias": 0x123}
        host.ctx.set(opu.interlock_closed, 0)
        await host.ctx.tick().repeat(150)
        assert codes == {"dac": 0, "bias": 0}

    bench.run(script)


def test_laser_is_dark_until_armed_and_its_flag_tells():
    bench = Bench()
    opu = bench.opu

    async def script(host):
        await host.write(**TIMING)
        await host.configure(intensity(exposure_cycles=50), selection=[0])
        records = await host.project(0, np.ones((1, 1, SMALL.modes)), Format(1, 16))
        assert records.head["flags"].tolist() == [0]
        assert not host.ctx.get(opu.laser_enable)
        await host.write(laser_power=1234, laser_unlock=PROTOCOL_HASH, laser_arm=PROTOCOL_HASH)
        assert host.ctx.get(opu.laser_enable)
        records = await host.project(1, np.ones((1, 1, SMALL.modes)), Format(1, 16))
        assert records.head["flags"].tolist() == [1]
        host.ctx.set(opu.interlock_closed, 0)
        await host.ctx.tick().repeat(8)
        assert not host.ctx.get(opu.laser_enable)
        assert await host.read("trip_cause") == 1 << TRIP_CAUSES["interlock_open"]
        assert await host.read("laser_trips") == 1
        assert (await host.arm()).code == Code.INTERLOCK_OPEN
        host.ctx.set(opu.interlock_closed, 1)
        await host.ctx.tick().repeat(8)
        address = REGISTERS["laser_arm"].address
        for _ in range(2):
            reply = await host.try_write(address, [PROTOCOL_HASH])
            assert ErrorReply.from_payload(reply.payload) == ErrorReply(Code.ARM_ORDER, address)
        assert not host.ctx.get(opu.laser_enable)

        async def arm_and(event):
            assert await host.arm() is None
            assert host.ctx.get(opu.laser_enable)
            await event()
            assert not host.ctx.get(opu.laser_enable)
            return await host.read("trip_cause")

        async def link_reset():
            host.ctx.set(opu.link_reset, 1)
            await host.ctx.tick().repeat(TRIP_CLOCKS - 1)
            assert host.ctx.get(opu.laser_enable)
            await host.ctx.tick()
            host.ctx.set(opu.link_reset, 0)

        async def over_power():
            # The photodiode's ADC reads all ones after each exposure; the limit is below from the second one on.
            host.ctx.set(opu.adc_dout, 1)
            for first, limit in ((2, 4095), (3, 4094)):
                await host.write(monitor_limit=limit)
                records = await host.project(first, np.ones((1, 1, SMALL.modes)), Format(1, 16))
                assert records.head["flags"].tolist() == [1]
                assert records.head["monitor"].tolist() == [4095]
            host.ctx.set(opu.adc_dout, 0)

        async def panel_stalls():
            await host.write(panel_timeout_cycles=400)
            bench.panel_runs, bench.stalled = False, True
            records = await host.project(4, np.ones((1, 1, SMALL.modes)), Format(1, 16))
            assert records.head["status"].tolist() == [Code.PANEL_STALLED]
            assert (await host.arm()).code == Code.ARM_FAULT
            bench.panel_runs = True
            await host.ctx.tick().repeat(200)

        for cause, event in (
            ("link_reset", link_reset), ("over_power", over_power), ("sequencer_fault", panel_stalls)
        ):  # fmt: skip
            assert await arm_and(event) == 1 << TRIP_CAUSES[cause], cause

    bench.run(script)
