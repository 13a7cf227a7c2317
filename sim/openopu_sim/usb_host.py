"""A USB host at the lines D+ and D-: full speed, enough of it to find a device and to move bulk bytes."""

from __future__ import annotations

from typing import Any

Level = tuple[int, int]
"""Of D+ and D-."""

CLOCKS_A_BIT = 4
J, K, SE0 = (1, 0), (0, 1), (0, 0)
OUT, IN, SOF, SETUP = 0x1, 0x9, 0x5, 0xD
DATA0, DATA1 = 0x3, 0xB
ACK, NAK, STALL = 0x2, 0xA, 0xE
TURNAROUND_BITS = 18
"""A device answers within 16 to 18 bit times (USB 2.0 specification, 7.1.19)."""


def bits_of(value: int, count: int) -> list[int]:
    return [value >> k & 1 for k in range(count)]


def crc(bits: list[int], polynomial: int, width: int) -> list[int]:
    """Checksum of bits in the order in which they are sent, itself in that order (8.3.5)."""
    register = (1 << width) - 1
    for bit in bits:
        high = register >> (width - 1) & 1
        register = register << 1 & ((1 << width) - 1)
        if high ^ bit:
            register ^= polynomial
    register ^= (1 << width) - 1
    return [register >> k & 1 for k in reversed(range(width))]


def levels_of(content: list[int]) -> list[Level]:
    """Line states of a packet, a bit each: sync pattern, stuffed content, end."""
    state, ones = 1, 0
    levels: list[Level] = []
    for bit in [0, 0, 0, 0, 0, 0, 0, 1, *content]:
        if not bit:
            state ^= 1
        levels.append(J if state else K)
        ones = ones + 1 if bit else 0
        if ones == 6:
            state ^= 1
            levels.append(J if state else K)
            ones = 0
    return [*levels, SE0, SE0, J]


def pid_bits(pid: int) -> list[int]:
    return bits_of(pid | (pid ^ 0xF) << 4, 8)


def token(pid: int, address: int, endpoint: int) -> list[int]:
    body = bits_of(address, 7) + bits_of(endpoint, 4)
    return pid_bits(pid) + body + crc(body, 0x05, 5)


def data_packet(pid: int, data: bytes) -> list[int]:
    body = [bit for byte in data for bit in bits_of(byte, 8)]
    return pid_bits(pid) + body + crc(body, 0x8005, 16)


class UsbError(AssertionError):
    """The device broke the rules, or did not answer."""


class UsbHost:
    """Drives a :class:`openopu_rtl.usb.UsbSerial` in Amaranth's simulator; ``ctx`` is a testbench's."""

    def __init__(self, ctx: Any, dut: Any) -> None:
        self.ctx, self.dut = ctx, dut
        self.address = 0
        self.toggles: dict[tuple[str, int], int] = {}
        self.bits = 0.0
        """Bit times gone by."""
        self.naks = 0

    async def clock(self, drive: Level | None = None) -> tuple[Level, bool]:
        """One clock; returns what is on the bus, and whether the device drives it."""
        dut = self.dut
        oe = self.ctx.get(dut.d_oe)
        if oe and drive not in (None, J):
            raise UsbError("host and device drive the bus")
        bus: Level = (self.ctx.get(dut.d_p_o), self.ctx.get(dut.d_n_o)) if oe else drive or J
        self.ctx.set(dut.d_p_i, bus[0])
        self.ctx.set(dut.d_n_i, bus[1])
        await self.ctx.tick("usb_io")
        return bus, oe

    async def idle(self, bits: float, level: Level | None = None) -> None:
        for _ in range(round(bits * CLOCKS_A_BIT)):
            await self.clock(level)
        self.bits += bits

    async def send(self, content: list[int]) -> None:
        for level in levels_of(content):
            for _ in range(CLOCKS_A_BIT):
                await self.clock(level)
            self.bits += 1

    async def receive(self) -> tuple[int, bytes]:
        """The device's packet: (PID, data). Raises :class:`UsbError` where none comes in time, or a broken one."""
        waited = 0
        bus, oe = await self.clock()
        while not oe or bus == J:
            waited += 1
            if waited > TURNAROUND_BITS * CLOCKS_A_BIT + 40:  # and the delay of two PHYs and cables
                raise UsbError("no answer")
            bus, oe = await self.clock()
        # Sampled in the middle of each bit, aligned anew at each change.
        states: list[Level] = []
        before, phase = J, 0
        while oe:
            phase = 0 if bus != before else (phase + 1) % CLOCKS_A_BIT
            before = bus
            if phase == CLOCKS_A_BIT // 2:
                states.append(bus)
            bus, oe = await self.clock()
        self.bits += len(states) + waited / CLOCKS_A_BIT
        if SE0 not in states:
            raise UsbError("a packet without an end")
        raw: list[int] = []
        level = J
        for state in states[: states.index(SE0)]:
            raw.append(int(state == level))
            level = state
        if raw[:8] != [0, 0, 0, 0, 0, 0, 0, 1]:
            raise UsbError(f"not the sync pattern: {raw[:8]}")
        bits: list[int] = []
        ones = 1
        for bit in raw[8:]:
            if ones == 6:
                if bit:
                    raise UsbError("bit stuffing")
                ones = 0
                continue
            bits.append(bit)
            ones = ones + 1 if bit else 0
        if len(bits) % 8 or [a ^ b for a, b in zip(bits[:4], bits[4:8], strict=True)] != [1] * 4:
            raise UsbError("no whole bytes, or a broken PID")
        pid, body = sum(b << k for k, b in enumerate(bits[:4])), bits[8:]
        if pid in (DATA0, DATA1):
            if crc(body[:-16], 0x8005, 16) != body[-16:]:
                raise UsbError("a wrong checksum")
            body = body[:-16]
        data = bytes(sum(b << k for k, b in enumerate(body[i : i + 8])) for i in range(0, len(body), 8))
        await self.idle(3)
        return pid, data

    # Transactions

    async def reset(self, us: float = 30.0) -> None:
        await self.idle(us * 12, SE0)
        await self.idle(40)
        self.address = 0
        self.toggles.clear()

    async def start_of_frame(self, number: int) -> None:
        await self.send(token(SOF, number & 0x7F, number >> 7 & 0xF))
        await self.idle(3)

    async def send_data(self, pid: int, endpoint: int, data: bytes) -> int:
        """A SETUP or OUT transaction; returns the handshake's PID."""
        await self.send(token(pid, self.address, endpoint))
        await self.idle(3)
        toggle = 0 if pid == SETUP else self.toggles.setdefault(("out", endpoint), 0)
        await self.send(data_packet(DATA1 if toggle else DATA0, data))
        answer, _ = await self.receive()
        if answer == ACK and pid == OUT:
            self.toggles["out", endpoint] = toggle ^ 1
        self.naks += answer == NAK
        return answer

    async def ask(self, endpoint: int) -> bytes | None:
        """An IN transaction; None for NAK."""
        await self.send(token(IN, self.address, endpoint))
        pid, data = await self.receive()
        if pid == NAK:
            self.naks += 1
            return None
        expected = self.toggles.setdefault(("in", endpoint), 0)
        if pid != (DATA1 if expected else DATA0):
            raise UsbError(f"PID {pid:#x} where toggle {expected} was due")
        await self.send(pid_bits(ACK))
        await self.idle(3)
        self.toggles["in", endpoint] = expected ^ 1
        return data

    async def control(self, request: bytes, length: int = 0) -> bytes:
        """A control transfer that reads ``length`` bytes, or none."""
        if await self.send_data(SETUP, 0, request) != ACK:
            raise UsbError("SETUP was not acknowledged")
        self.toggles["in", 0] = self.toggles["out", 0] = 1
        data = b""
        while len(data) < length:
            part = await self.ask(0)
            if part is None:
                continue
            data += part
            if len(part) < 64:
                break
        if length:
            self.toggles["out", 0] = 1
            while await self.send_data(OUT, 0, b"") == NAK:
                pass
        else:
            while await self.ask(0) is None:
                pass
        return data

    async def enumerate(self) -> dict[str, Any]:
        """Reset, address, descriptors, configuration; returns what a host learns."""
        await self.reset()
        device = await self.control(bytes([0x80, 6, 0, 1, 0, 0, 18, 0]), 18)
        await self.control(bytes([0, 5, 7, 0, 0, 0, 0, 0]))
        self.address = 7
        await self.idle(30)
        head = await self.control(bytes([0x80, 6, 0, 2, 0, 0, 9, 0]), 9)
        length = head[2] | head[3] << 8
        configuration = await self.control(bytes([0x80, 6, 0, 2, 0, 0, length & 255, length >> 8]), length)
        number = await self.control(bytes([0x80, 6, device[16], 3, 9, 4, 255, 0]), 255)
        await self.control(bytes([0, 9, configuration[5], 0, 0, 0, 0, 0]))
        endpoints: list[int] = []
        at = 0
        while at < len(configuration):
            size, kind = configuration[at], configuration[at + 1]
            if kind == 5 and configuration[at + 3] & 3 == 2:
                endpoints.append(configuration[at + 2])
            at += size
        return {"device": device, "serial": number[2:].decode("utf-16-le"), "bulk": endpoints}
