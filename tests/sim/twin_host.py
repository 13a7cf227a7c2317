"""The least that talks to a twin, and what the tests of the twin share."""

from __future__ import annotations

import dataclasses

import numpy as np
from openopu_rtl.protocol import (
    PROTOCOL_HASH,
    REGISTERS,
    WINDOWS,
    Code,
    ErrorReply,
    Geometry,
    Packet,
    PacketType,
    Program,
    codec,
    packets,
)
from openopu_rtl.protocol.registers import STATUS_BITS
from openopu_sim.plant import Plant
from openopu_sim.twin_device import TwinDevice

SMALL = Geometry.fitting(64, 64, queue_depth=4)
PLANT = Plant(SMALL)
"""Shared: it holds no state but its buffers."""
DEEP_PLANT = Plant(dataclasses.replace(SMALL, pixel_bits=12))


class Host:
    """The least that talks to a twin."""

    def __init__(self, plant: Plant = PLANT, **options) -> None:
        self.twin = TwinDevice(plant, **options)
        self.sequence = 0

    def send(self, kind: int, payload: bytes) -> bytes:
        self.sequence = self.sequence % 255 + 1
        return self.twin.receive(Packet(kind, self.sequence, payload).encode())

    def ask(self, kind: int, payload: bytes) -> Packet:
        (packet,) = split(self.send(kind, payload))
        assert packet.sequence == self.sequence
        return packet

    def read(self, name: str) -> int:
        reply = self.ask(PacketType.READ, packets.READ_PAYLOAD.pack(REGISTERS[name].address, 1))
        assert reply.type == PacketType.READ_REPLY
        return int.from_bytes(reply.payload, "little")

    def write(self, address: int, *words: int) -> Packet:
        payload = packets.WRITE_HEADER.pack(address) + np.array(words, dtype="<u4").tobytes()
        return self.ask(PacketType.WRITE, payload)

    def set(self, **values: int) -> None:
        for name, value in values.items():
            assert self.write(REGISTERS[name].address, value).type == PacketType.WRITE_REPLY, name

    def fill(self, window: str, words: np.ndarray) -> None:
        for at in range(0, len(words), 128):
            reply = self.write(WINDOWS[window].address + at, *words[at : at + 128].tolist())
            assert reply.type == PacketType.WRITE_REPLY

    def configure(self, program: Program, **settings: int) -> None:
        self.fill("shot_table", program.words())
        self.set(program_length=len(program), planes=program.planes, selection_length=SMALL.outputs, result_format=2)
        self.set(laser_power=2048, laser_unlock=PROTOCOL_HASH, laser_arm=PROTOCOL_HASH, **settings)

    def project(self, planes: np.ndarray, first: int | None = None) -> bytes:
        header = packets.PROJECT_HEADER.pack(self.read("exposure_next") if first is None else first, len(planes))
        return self.send(PacketType.PROJECT, header + codec.pack_planes(planes))

    def status(self) -> set[str]:
        word = self.read("status")
        return {name for name, bit in STATUS_BITS.items() if word >> bit & 1}


def split(data: bytes) -> list[Packet]:
    stream = bytearray(data)
    found = [Packet.decode(encoded) for encoded in packets.split(stream)]
    assert not stream
    return found


def refused(packet: Packet, code: Code, detail: int) -> None:
    assert packet.type == PacketType.ERROR
    assert ErrorReply.from_payload(packet.payload) == ErrorReply(code, detail)


def planes_of(count: int, planes: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (count, planes, SMALL.modes))
