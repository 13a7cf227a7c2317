"""USB full speed: how much of the bulk transactions that a host asks for is payload, in Amaranth's simulator.

The device is :class:`openopu_rtl.usb.UsbSerial` alone; results of projections wait at its port, as behind a gateware
that is never the slower one. The host asks without a pause, and sends patterns in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from openopu.budget import traffic
from openopu_rtl.protocol import Format, Packet, PacketType, codec, encode_project, packets

from ..usb_host import ACK, OUT, UsbHost

BITS_A_FRAME = 12_000
"""Bit times of 1 ms."""
OUTPUTS, MODES, PLANES = 1024, 1024, 2
STORE_BYTES = 16384
TRANSACTIONS = 60
TRANSACTIONS_A_FRAME = 19
"""USB 2.0 specification, table 5-9: bulk transactions of 64 bytes that fit into a frame."""


def usb_rate(transactions: int = TRANSACTIONS) -> dict[str, Any]:
    """Payload of the device's packets over the bytes of the transactions that went its way."""
    from amaranth.sim import Simulator
    from openopu_rtl.usb import UsbSerial

    rng = np.random.default_rng(1)
    load = traffic(MODES, PLANES, Format(OUTPUTS, 8), STORE_BYTES)
    heads = np.zeros(load.rows, dtype=packets.RECORD_DTYPE)
    waiting = bytearray()
    while len(waiting) < 64 * (transactions + 4):
        packed = rng.integers(0, 256, (load.rows, codec.result_bytes(OUTPUTS, 8)), dtype=np.uint8)
        payload = packets.PROJECT_HEADER.pack(0, load.rows) + packets.encode_records(heads, packed)
        waiting += Packet(PacketType.RESULT, 1, payload).encode()
    patterns = encode_project(1, 0, rng.integers(0, 2, (load.rows, PLANES, MODES)))
    share = load.payload / load.to_host
    dut = UsbSerial(48_000_000, "RATE")
    simulator = Simulator(dut)
    simulator.add_clock(1 / 48e6, domain="usb_io")
    simulator.add_clock(1 / 12e6, phase=1 / 96e6, domain="usb")
    simulator.add_clock(1 / 48e6, phase=1 / 200e6)
    found: dict[str, Any] = {}

    async def give(ctx: Any) -> None:
        ctx.set(dut.i.valid, 1)
        for byte in waiting:
            ctx.set(dut.i.payload, byte)
            taken = 0
            while not taken:
                _, _, taken = await ctx.tick().sample(dut.i.ready)

    async def take(ctx: Any) -> None:
        ctx.set(dut.o.ready, 1)

    async def main(ctx: Any) -> None:
        host = UsbHost(ctx, dut)
        await host.enumerate()
        await host.idle(2000)  # the first packet is gathered
        start, host.naks = host.bits, 0
        got, sent, down = b"", 0, 0
        for number in range(transactions):
            if number % (TRANSACTIONS_A_FRAME + 1) == 0:
                await host.start_of_frame(number // TRANSACTIONS_A_FRAME)
            if number % 5 == 4:  # a byte comes for every four that go
                part = patterns[sent % len(patterns) :][:64]
                if await host.send_data(OUT, 4, part) == ACK:
                    sent += len(part)
                    down += 1
            else:
                got += await host.ask(4) or b""
        if got != waiting[: len(got)]:
            raise RuntimeError("bytes were lost or changed on the way")
        bits = host.bits - start
        found.update(
            {
                "payload_share": share * len(got) / (64 * (transactions - down)),
                "transactions_a_frame": transactions / bits * BITS_A_FRAME,
                "refused": host.naks,
                "bytes_to_host": len(got),
                "bytes_to_device": sent,
            }
        )

    simulator.add_testbench(give, background=True)
    simulator.add_testbench(take, background=True)
    simulator.add_testbench(main)
    simulator.run()
    return found
