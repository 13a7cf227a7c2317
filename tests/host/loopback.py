"""A device at byte level, made from the declaration alone: what the host's tests talk to.

Its optics is a small real matrix instead of a medium; framing, registers, exposures and errors are the declaration's.
"""

from __future__ import annotations

import numpy as np
from openopu.device import Device, Transport
from openopu.errors import LinkLost
from openopu.url import DeviceUrl
from openopu_rtl.protocol import (
    MAGIC,
    PROTOCOL_HASH,
    REGISTERS,
    WINDOWS,
    Access,
    Code,
    ErrorReply,
    Geometry,
    Kind,
    Packet,
    PacketType,
    Shot,
    codec,
    packets,
)
from openopu_rtl.protocol.registers import RESULT_BITS, STATUS_BITS


class LoopbackDevice:
    """Bytes in, bytes out. ``fail`` maps an exposure ID to the statuses of its first tries."""

    def __init__(self, geometry: Geometry | None = None, seed: int = 1) -> None:
        self.geometry = geometry or Geometry()
        self.words = {r.address: r.reset for r in REGISTERS.values()}
        self.windows = {w.name: np.zeros(w.words(self.geometry), dtype=np.int64) for w in WINDOWS.values()}
        self.set("magic", MAGIC)
        self.set("protocol_hash", PROTOCOL_HASH)
        self.set("build", 0x1234)
        self.set("board", 16)
        self.set("clock_hz", 48_000_000)
        self.set("monitor_cycles", 500)
        for name in self.geometry.__dataclass_fields__:
            self.set(f"geometry_{name}", getattr(self.geometry, name))
        self.set("status", 1 << STATUS_BITS["interlock_closed"])
        rng = np.random.default_rng(seed)
        shape = (self.geometry.outputs, self.geometry.modes)
        self.transmission = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        self.fail: dict[int, list[int]] = {}
        self.stream = bytearray()
        self.unlocked = False
        self.arm_refusals: list[Code] = []
        """Codes with which the next second steps of arming are refused."""
        self.pattern_bytes = self.largest_in_flight = 0

    def get(self, name: str) -> int:
        return self.words[REGISTERS[name].address]

    def set(self, name: str, value: int) -> None:
        self.words[REGISTERS[name].address] = value

    def count(self, name: str, more: int = 1) -> None:
        self.set(name, self.get(name) + more)

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the host, return those to it."""
        self.stream += data
        out = b""
        for encoded in packets.split(self.stream):
            try:
                packet = Packet.decode(encoded)
            except codec.CodecError:
                self.count("packets_damaged")
                out += Packet(PacketType.ERROR, 0, ErrorReply(Code.CRC, 0).payload()).encode()
                continue
            self.count("packets_accepted")
            out += self.answer(packet).encode()
        return out

    def answer(self, packet: Packet) -> Packet:
        try:
            if packet.type == PacketType.READ:
                address, count = packets.READ_PAYLOAD.unpack(packet.payload)
                readable = {r.address for r in REGISTERS.values() if r.access is not Access.WO}
                for a in range(address, address + count):
                    if a not in readable:
                        raise Refusal(Code.ADDRESS, a)
                words = np.array([self.words[a] for a in range(address, address + count)], dtype="<u4")
                return Packet(PacketType.READ_REPLY, packet.sequence, words.tobytes())
            if packet.type == PacketType.WRITE:
                (address,) = packets.WRITE_HEADER.unpack_from(packet.payload)
                for i, w in enumerate(np.frombuffer(packet.payload[2:], dtype="<u4")):
                    self.write(address + i, int(w))
                return Packet(PacketType.WRITE_REPLY, packet.sequence, b"")
            if packet.type == PacketType.PROJECT:
                return Packet(PacketType.RESULT, packet.sequence, self.project(packet.payload))
        except Refusal as refusal:
            self.count("packets_refused")
            return Packet(PacketType.ERROR, packet.sequence, ErrorReply(*refusal.args).payload())
        raise AssertionError(packet)

    def write(self, address: int, value: int) -> None:
        for window in WINDOWS.values():
            if window.address <= address < window.address + window.words(self.geometry):
                self.windows[window.name][address - window.address] = value
                return
        register = next((r for r in REGISTERS.values() if r.address == address), None)
        if register is None:
            raise Refusal(Code.ADDRESS, address)
        if register.access is Access.RO:
            raise Refusal(Code.READ_ONLY, address)
        low, high = register.bounds(self.geometry)
        if not low <= value <= high:
            raise Refusal(Code.VALUE, address)
        on, armed = 1 << STATUS_BITS["laser_on"], 1 << STATUS_BITS["armed"]
        if register.name in ("laser_unlock", "laser_arm"):
            unlocked, self.unlocked = self.unlocked, False
            if value != PROTOCOL_HASH:
                raise Refusal(Code.ARM_KEY, 0)
            if not self.get("status") >> STATUS_BITS["interlock_closed"] & 1:
                raise Refusal(Code.INTERLOCK_OPEN, 0)
            if register.name == "laser_unlock":
                self.unlocked = True
            elif self.arm_refusals:
                raise Refusal(self.arm_refusals.pop(), 0)
            elif not unlocked:
                raise Refusal(Code.ARM_ORDER, 0)
            else:
                self.set("status", self.get("status") | on | armed)
        elif register.name == "laser_disarm":
            self.set("status", self.get("status") & ~(on | armed))
        elif register.name == "counters_clear":
            for r in REGISTERS.values():
                if r.kind in (Kind.EVENT, Kind.TIMING):
                    self.set(r.name, 0)
        else:
            self.words[address] = value
            if register.name == "exposure_base":
                self.set("exposure_next", value)

    def project(self, payload: bytes) -> bytes:
        g = self.geometry
        first, count = packets.PROJECT_HEADER.unpack_from(payload)
        length, planes = self.get("program_length"), self.get("planes")
        if not length:
            raise Refusal(Code.NO_PROGRAM, 0)
        if first != self.get("exposure_next"):
            raise Refusal(Code.EXPOSURE_MISMATCH, self.get("exposure_next"))
        body = payload[packets.PROJECT_HEADER.size :]
        if count == 0 or len(body) != count * planes * g.plane_bytes:
            raise Refusal(Code.LENGTH, PacketType.PROJECT)
        if len(body) > g.store_bytes:
            raise Refusal(Code.NO_SPACE, 0)
        self.pattern_bytes += len(body)
        bits = codec.unpack_planes(body, g.modes).reshape(count, planes, g.modes)
        shots = [Shot.from_words(self.windows["shot_table"][4 * i : 4 * i + 4].tolist()) for i in range(length)]
        self.set("exposure_next", (first + count * length) % (1 << 32))
        out = packets.PROJECT_HEADER.pack(first, count)
        for row in range(count):
            out += self.row(bits[row], shots, (first + row * length) % (1 << 32))
        return out

    def intensity(self, on: np.ndarray, cycles: int) -> np.ndarray:
        """Sums over each output's pixels for a pattern (modes,), deterministic, at most 8 bits a pixel."""
        lit = self.get("status") >> STATUS_BITS["laser_on"] & 1
        power = self.get("laser_power") / 4095 * lit
        field = self.transmission[:, on.astype(bool)].sum(axis=1)  # no BLAS: its threads would spin for tiny sums
        dn = np.abs(field) ** 2 * power * cycles / (2 * self.geometry.modes) * 0.25 + 4.0
        return np.minimum(np.rint(dn), 255 * self.geometry.bin**2).astype(np.int64)

    def row(self, planes: np.ndarray, shots: list[Shot], first: int) -> bytes:
        """A record. Readings are made up from the exposures' IDs; nothing is normalised by them."""
        readings = (first + np.arange(len(shots))) % 4096
        tail = readings.astype(packets.MONITOR_DTYPE).tobytes() if self.get("result_monitors") else b""
        g = self.geometry
        acc = np.zeros((2, g.outputs), dtype=np.int64)
        for shot in shots:
            on = planes[shot.plane] ^ shot.invert
            v = self.intensity(on, shot.exposure_cycles)
            acc[shot.bank] += (-v if shot.negative else v) << shot.shift
        status = Code.OK
        if self.fail.get(first):
            status = self.fail[first].pop(0)
        head = np.zeros(1, dtype=packets.RECORD_DTYPE)
        head["exposure"], head["status"] = first, status
        head["flags"] = self.get("status") >> STATUS_BITS["laser_on"] & 1
        if self.get("result_raw"):
            pixels = np.repeat(np.repeat(v.reshape(g.outputs_y, g.outputs_x), g.bin, 0), g.bin, 1) // g.bin**2
            frame = np.zeros((g.camera_height, g.camera_width), dtype="<u2")
            frame[g.crop_y : g.crop_y + g.crop_height, g.crop_x : g.crop_x + g.crop_width] = pixels
            start = self.get("raw_first_row")
            return record_of(head, frame[start : start + g.raw_rows].tobytes(), tail)
        selection = self.windows["selection"][: self.get("selection_length")]
        shift, width = self.get("result_shift"), RESULT_BITS[self.get("result_format")]
        values = (acc[: self.get("result_banks"), selection].T.ravel() + (1 << shift >> 1)) >> shift
        limit = 1 << (width - 1)
        clipped = np.clip(values, -limit, limit - 1)
        head["saturated"] = (clipped != values).sum()
        return record_of(head, codec.pack_results(clipped, width), tail)


def record_of(head: np.ndarray, packed: bytes, monitors: bytes) -> bytes:
    parts = (np.frombuffer(part, dtype=np.uint8)[None] for part in (packed, monitors))
    return packets.encode_records(head, *parts)


class Refusal(Exception):
    """(code, detail) of an error reply."""


class LoopbackTransport(Transport):
    def __init__(self, device: LoopbackDevice) -> None:
        self.device = device
        self.inbox: list[tuple[bytes, int]] = []
        self.closed = False
        self.outstanding = 0
        """Bytes of patterns that wait for their result's arrival."""

    def write(self, data: bytes) -> None:
        if self.closed:
            raise LinkLost("the link was lost", "loopback", "Open it again")
        before = self.device.pattern_bytes
        answer = self.device.receive(data)
        stored = self.device.pattern_bytes - before
        self.outstanding += stored
        self.device.largest_in_flight = max(self.device.largest_in_flight, self.outstanding)
        if answer:
            self.inbox.append((answer, stored))

    def read(self, timeout_s: float) -> bytes:
        if self.closed:
            raise LinkLost("the link was lost", "loopback", "Open it again")
        if not self.inbox:
            return b""
        data, stored = self.inbox.pop(0)
        self.outstanding -= stored
        return data

    def close(self) -> None:
        self.closed = True


class FaultyTransport(Transport):
    """Flips, drops and doubles bytes with probability ``rate`` each third, in both directions, once ``on``."""

    def __init__(self, inner: Transport, rate: float, seed: int) -> None:
        self.inner, self.rate, self.on = inner, rate, False
        self.rng = np.random.default_rng(seed)
        self.faults = 0

    def damage(self, data: bytes) -> bytes:
        if not self.on or not data:
            return data
        out = bytearray()
        hit = self.rng.random(len(data)) < self.rate
        for byte, damaged in zip(data, hit, strict=True):
            kind = self.rng.integers(3) if damaged else 3
            self.faults += bool(damaged)
            if kind == 0:
                out.append(byte ^ 1 << int(self.rng.integers(8)))
            elif kind == 2:
                out += bytes([byte, byte])
            elif kind == 3:
                out.append(byte)
        return bytes(out)

    def write(self, data: bytes) -> None:
        self.inner.write(self.damage(data))

    def read(self, timeout_s: float) -> bytes:
        return self.damage(self.inner.read(timeout_s))

    def close(self) -> None:
        self.inner.close()


def loopback(geometry: Geometry | None = None, **options: object) -> tuple[Device, LoopbackDevice]:
    """An opened device, and its other end."""
    end = LoopbackDevice(geometry)
    options = {"arms_itself": True, "realtime": False} | options
    return Device(DeviceUrl("loopback"), "loopback", LoopbackTransport(end), **options), end  # type: ignore[arg-type]
