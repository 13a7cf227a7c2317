"""Packets through a line that flips, drops and doubles bytes, alone and in bursts.

A referee that shares no code with ours (packages ``cobs`` and ``fastcrc``) says which packets of the damaged line are
whole; the receiver must agree on every one. A packet that is whole but was never sent is a collision of the checksum:
it is counted, not explained away.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import REGISTERS, WINDOWS, Packet, PacketType, codec, packets
from openopu_rtl.protocol.packets import HEADER, READ_PAYLOAD, WRITE_HEADER

SINGLE_RATE = 1e-3
"""Of bytes that are damaged alone."""
BURST_BYTES = 150
"""Mean length of a burst, in which every byte is damaged."""
CHUNK_PACKETS = 200


@dataclass(frozen=True)
class Damage:
    """A line's bytes after damage."""

    line: bytes
    corrupted: int
    """Bytes that were flipped, dropped or doubled."""
    intact: NDArray[np.bool_]
    """(packets,) whether no byte of a packet, nor its delimiter, was touched."""


def damage(sent: list[bytes], rng: np.random.Generator, burst_rate: float) -> Damage:
    """Damage the encoded packets ``sent``; ``burst_rate`` is the chance of a byte to begin a burst."""
    clean = np.frombuffer(b"".join(sent), dtype=np.uint8)
    hit = rng.random(len(clean)) < SINGLE_RATE
    for start in np.flatnonzero(rng.random(len(clean)) < burst_rate):
        hit[start : start + rng.geometric(1 / BURST_BYTES)] = True
    kind = np.where(hit, rng.integers(0, 3, len(clean)), 3)
    out = np.where(kind == 0, clean ^ rng.integers(1, 256, len(clean), dtype=np.uint8), clean)
    line = np.repeat(out, np.array([1, 0, 2, 1])[kind]).tobytes()
    owner = np.repeat(np.arange(len(sent)), [len(p) for p in sent])
    intact = np.bincount(owner, weights=hit, minlength=len(sent)) == 0
    return Damage(line, int(hit.sum()), intact)


def referee(line: bytes) -> Iterator[bytes | None]:
    """Content of every packet on a line, None for a damaged one; empty ones are none."""
    import cobs.cobs
    import fastcrc

    for encoded in line.split(b"\0")[:-1]:
        if not encoded:
            continue
        try:
            decoded = cobs.cobs.decode(encoded)
        except cobs.cobs.DecodeError:
            yield None
            continue
        whole = len(decoded) >= HEADER.size + 4
        whole = whole and fastcrc.crc32.iso_hdlc(decoded[:-4]) == int.from_bytes(decoded[-4:], "little")
        yield decoded[:-4] if whole else None


@dataclass
class Tally:
    """What was found."""

    packets: int = 0
    intact: int = 0
    accepted: int = 0
    corrupted_bytes: int = 0
    damaged_packets: int = 0
    """As the receiver saw them."""
    wrong_accepted: int = 0
    """Accepted, but never sent so."""
    intact_lost: int = 0
    """Not touched, but swallowed together with damage before."""
    most_lost_in_a_row: int = 0
    recovery_bytes: int = 0
    """Most bytes from the last touched one to the end of the next packet that was accepted."""
    expected_collisions: float = 0.0
    disagreements: list[str] = field(default_factory=list)
    """Where receiver and referee differ."""

    def add(self, sent: list[bytes], hurt: Damage, accepted: list[bytes], verdicts: list[bytes | None]) -> None:
        """Judge one chunk: ``accepted`` are the contents that the receiver took, in order."""
        whole = [v for v in verdicts if v is not None]
        if accepted != whole:
            self.disagreements.append(f"{len(accepted)} packets were accepted where {len(whole)} are whole")
        contents = [codec.cobs_decode(p[:-1])[:-4] for p in sent]
        self.packets += len(sent)
        self.intact += int(hurt.intact.sum())
        self.corrupted_bytes += hurt.corrupted
        self.accepted += len(accepted)
        broken = sum(v is None for v in verdicts)
        self.damaged_packets += broken
        self.expected_collisions += broken / 2**32
        # Which of the packets sent was each accepted one? Contents are unique within a chunk.
        place = {content: i for i, content in enumerate(contents)}
        got = {place[c] for c in accepted if c in place}
        self.wrong_accepted += sum(c not in place for c in accepted)
        run = away = 0
        for i, untouched in enumerate(hurt.intact):
            if not untouched:
                run = away = 0
                continue
            away += len(sent[i])
            if i in got:
                self.recovery_bytes = max(self.recovery_bytes, away)
                run, away = 0, -(1 << 60)  # until the next damage
            else:
                run += 1
                self.intact_lost += 1
                self.most_lost_in_a_row = max(self.most_lost_in_a_row, run)

    def summary(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "disagreements"} | {
            "disagreements": len(self.disagreements)
        }


def commands(rng: np.random.Generator, count: int) -> list[bytes]:
    """Encoded packets for an idle device: writes of the level table and of a setting, and reads; up to 255 differ."""
    out = []
    for i in range(count):
        sequence = i % 255 + 1
        kind = rng.integers(4)
        if kind == 0:
            payload = READ_PAYLOAD.pack(int(rng.integers(REGISTERS["clock_hz"].address)), int(rng.integers(1, 5)))
            packet = Packet(PacketType.READ, sequence, payload)
        elif kind == 1:
            address = REGISTERS["camera_readout_cycles"].address
            words = rng.integers(0, 1 << 32, 1, dtype=np.uint32)
            packet = Packet(PacketType.WRITE, sequence, WRITE_HEADER.pack(address) + words.astype("<u4").tobytes())
        else:
            words = rng.integers(0, 256, int(rng.integers(1, 17)), dtype=np.uint32)
            address = WINDOWS["level_table"].address + int(rng.integers(256 - len(words)))
            packet = Packet(PacketType.WRITE, sequence, WRITE_HEADER.pack(address) + words.astype("<u4").tobytes())
        out.append(packet.encode())
    return out


def results(rng: np.random.Generator, count: int) -> list[bytes]:
    """Encoded packets as a device sends them: small results, replies to reads."""
    out = []
    for i in range(count):
        size = int(rng.integers(4, 80))
        payload = rng.integers(0, 256, size, dtype=np.uint8) * (rng.random(size) < 0.7)
        kind = PacketType.RESULT if rng.random() < 0.7 else PacketType.READ_REPLY
        out.append(Packet(kind, i % 255 + 1, payload.astype(np.uint8).tobytes()).encode())
    return out


def fuzz_host(count: int, burst_rate: float, seed: int) -> Tally:
    """``count`` packets to the host's decoder."""
    rng, tally = np.random.default_rng([seed, 1]), Tally()
    stream = bytearray()
    for size in _chunks(count):
        sent = results(rng, size)
        hurt = damage(sent, rng, burst_rate)
        line = hurt.line + codec.DELIMITER
        accepted = []
        for start in range(0, len(line), 777):  # as a port hands them over, in pieces
            stream += line[start : start + 777]
            for encoded in packets.split(stream):
                try:
                    packet = Packet.decode(encoded)
                except codec.CodecError:
                    continue
                accepted.append(HEADER.pack(packet.type, packet.sequence) + packet.payload)
        tally.add(sent, hurt, accepted, list(referee(line)))
    return tally


def fuzz_device(url: str, count: int, burst_rate: float, seed: int) -> Tally:
    """``count`` packets to the device behind ``url`` (``socket://HOST:PORT``), which answers each with one packet."""
    rng, tally = np.random.default_rng([seed, 2]), Tally()
    host, _, port = url.removeprefix("socket://").partition(":")
    with socket.create_connection((host, int(port)), timeout=120) as wire:
        device = _Wire(wire)
        setting = 0
        for size in _chunks(count):
            sent = commands(rng, size)
            hurt = damage(sent, rng, burst_rate)
            line = hurt.line + codec.DELIMITER
            verdicts = list(referee(line))
            answers = device.ask(line, len(verdicts))
            accepted = []
            for verdict, answer in zip(verdicts, answers, strict=True):
                reply = Packet.decode(answer)
                damaged = reply.type == PacketType.ERROR and reply.sequence == 0
                if damaged != (verdict is None):
                    tally.disagreements.append(f"{answer.hex()} answers {verdict!r}")
                elif verdict is not None:
                    if reply.sequence != verdict[1]:
                        tally.disagreements.append(f"sequence {reply.sequence} answers {verdict[1]}")
                    accepted.append(verdict)
                    if verdict[0] == PacketType.WRITE and reply.type == PacketType.WRITE_REPLY:
                        (address,) = WRITE_HEADER.unpack_from(verdict, HEADER.size)
                        if address == REGISTERS["camera_readout_cycles"].address:
                            setting = int.from_bytes(verdict[HEADER.size + WRITE_HEADER.size :], "little")
            tally.add(sent, hurt, accepted, verdicts)
            payload = READ_PAYLOAD.pack(REGISTERS["camera_readout_cycles"].address, 1)
            (answer,) = device.ask(Packet(PacketType.READ, 1, payload).encode(), 1)
            if Packet.decode(answer).payload != setting.to_bytes(4, "little"):
                tally.disagreements.append("the setting is not the last one that was accepted")
    return tally


class _Wire:
    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._stream = bytearray()

    def ask(self, line: bytes, answers: int) -> list[bytes]:
        """Send bytes, return so many packets."""
        self._wire.sendall(line)
        got: list[bytes] = []
        while len(got) < answers:
            data = self._wire.recv(1 << 16)
            if not data:
                raise ConnectionError("the device hung up")
            self._stream += data
            got += packets.split(self._stream)
        if len(got) != answers or self._stream:
            raise ConnectionError(f"{len(got)} answers to {answers} packets")
        return got


def _chunks(count: int) -> Iterator[int]:
    for start in range(0, count, CHUNK_PACKETS):
        yield min(CHUNK_PACKETS, count - start)
