"""The twin: the gateware's behaviour at byte level, projections executed many at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.monitor import monitor_cycles
from openopu_rtl.protocol import Code, Packet, PacketType, Shot, codec
from openopu_rtl.protocol.packets import (
    COMMAND_BYTES,
    ERROR_PAYLOAD,
    FRAME_HEADER,
    FRAME_REPLY_PAYLOAD,
    HEADER,
    PROJECT_HEADER,
    READ_PAYLOAD,
    READ_WORDS_MAX,
    WRITE_HEADER,
    pixel_bytes,
)
from openopu_rtl.top import SIMULATION_ADC, SIMULATION_CLOCK_HZ, build_id

from .plant import ChipPlant, Plant
from .sensor import DEFAULT_SENSOR, SensorModel, SensorSettings
from .twin_program import execute, illumination
from .twin_registers import WORD, Refusal, Registers

ADDRESS = 0xFFFF
PACKET_BYTES_MIN = HEADER.size + 4
"""Bytes of the shortest packet, decoded, with its checksum."""


@dataclass(frozen=True)
class Batch:
    """A queued packet of projections. ``planes`` (count, planes * plane_bytes) uint8, packed."""

    sequence: int
    first_exposure: int
    planes: NDArray[np.uint8]


class TwinDevice:
    """Bytes from the host in (:meth:`receive`), bytes to the host out (:meth:`run` and :meth:`receive`).

    Commands are executed as they come. Projections wait in the queue, which makes the device busy, until
    :meth:`run` executes them all at once.

    ``plant`` is the optics behind the camera, or, where there is none, the medium that every gateware can hold.
    """

    def __init__(
        self, plant: Plant | ChipPlant, *, interlock_closed: bool = True, sensor: SensorSettings = DEFAULT_SENSOR
    ) -> None:
        self.geometry = plant.geometry
        self._plants: dict[str, Plant | ChipPlant] = {"chip" if isinstance(plant, ChipPlant) else "camera": plant}
        self.registers = Registers(
            plant.geometry,
            clock_hz=SIMULATION_CLOCK_HZ,
            build=build_id(),
            monitor_cycles=monitor_cycles(SIMULATION_ADC, SIMULATION_CLOCK_HZ),
            temperature=plant.temperature_reading(),
            sensor=SensorModel(sensor),
            interlock_closed=interlock_closed,
            plants=tuple({**self._plants, "chip": None} if plant.geometry.panel_shows_levels else self._plants),
        )
        self._stream = bytearray()
        self._queue: list[Batch] = []
        self._last_exposure = 0

    @property
    def plant(self) -> Plant | ChipPlant:
        """What the register ``plant_source`` says."""
        if not self.registers.simulated:
            return self._plants["camera"]
        if "chip" not in self._plants:
            self._plants["chip"] = ChipPlant(self.geometry)
        return self._plants["chip"]

    def close(self) -> None:
        """End the plants' threads. May be called twice."""
        for plant in self._plants.values():
            plant.close()

    @property
    def busy(self) -> bool:
        return bool(self._queue)

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the host; return those of the replies to whatever packets have ended."""
        self._stream += data
        end = self._stream.rfind(codec.DELIMITER)
        if end < 0:
            return b""
        whole = bytes(self._stream[:end])
        del self._stream[: end + 1]
        return b"".join(self._packet(encoded) for encoded in whole.split(codec.DELIMITER) if encoded)

    def run(self) -> bytes:
        """Execute the queued projections; return the bytes of their results."""
        if not self._queue:
            return b""
        queue, self._queue = self._queue, []
        modes, planes = self.geometry.modes, self.registers["planes"]
        length = self.registers["program_length"]
        packed = np.concatenate([batch.planes for batch in queue])
        bits = np.unpackbits(packed, axis=1, bitorder="little").reshape(len(packed), planes, modes)
        firsts = np.concatenate(
            [(b.first_exposure + np.arange(len(b.planes), dtype=np.int64) * length) & WORD for b in queue]
        )
        self._last_exposure = int(firsts[-1] + length - 1) & WORD
        records = execute(self.plant, self.registers, bits, firsts)
        out, start = [], 0
        for batch in queue:
            stop = start + len(batch.planes)
            header = PROJECT_HEADER.pack(batch.first_exposure, stop - start)
            payload = header + records.payload(start, stop)
            out.append(Packet(PacketType.RESULT, batch.sequence, payload).encode())
            start = stop
        return b"".join(out)

    def exact_matrix(self, shot: Shot) -> NDArray[np.floating]:
        """See :attr:`openopu.device.Device.exact_matrix`."""
        registers = self.registers
        return self.plant.effective_matrix(
            illumination(shot, registers), registers["laser_power"], registers["exposure_next"]
        )

    def _packet(self, encoded: bytes) -> bytes:
        try:
            packet = Packet.decode(encoded)
        except codec.CodecError:
            self.registers.count("packets_damaged")
            return _error(0, _damage(encoded), 0)
        if packet.type != PacketType.FRAME:
            self.registers.count("packets_accepted")
        try:
            reply = self._answer(packet)
        except Refusal as refusal:
            self.registers.count("packets_refused")
            return _error(packet.sequence, refusal.code, refusal.detail)
        return b"" if reply is None else reply.encode()

    def _answer(self, packet: Packet) -> Packet | None:
        """Execute a command; the reply, or None where it comes later. Raises :class:`Refusal`."""
        if packet.type == PacketType.READ:
            return Packet(PacketType.READ_REPLY, packet.sequence, self._read(packet.payload))
        if packet.type == PacketType.WRITE:
            self._write(packet.payload)
            return Packet(PacketType.WRITE_REPLY, packet.sequence, b"")
        if packet.type == PacketType.PROJECT:
            self._project(packet)
            return None
        if packet.type == PacketType.FRAME:
            return Packet(PacketType.FRAME_REPLY, packet.sequence, self._frame(packet.payload))
        raise Refusal(Code.UNKNOWN_TYPE, packet.type)

    def _read(self, payload: bytes) -> bytes:
        if len(payload) != READ_PAYLOAD.size:
            raise Refusal(Code.LENGTH, PacketType.READ)
        address, count = READ_PAYLOAD.unpack(payload)
        if not 1 <= count <= READ_WORDS_MAX:
            raise Refusal(Code.LENGTH, PacketType.READ)
        words = [self.registers.read((address + i) & ADDRESS, self.busy) for i in range(count)]
        return np.array(words, dtype="<u4").tobytes()

    def _write(self, payload: bytes) -> None:
        words, rest = divmod(len(payload) - WRITE_HEADER.size, 4)
        if words < 1 or rest or len(payload) > COMMAND_BYTES - HEADER.size:
            raise Refusal(Code.LENGTH, PacketType.WRITE)
        (address,) = WRITE_HEADER.unpack_from(payload)
        values = np.frombuffer(payload, dtype="<u4", offset=WRITE_HEADER.size).tolist()
        for i, value in enumerate(values):
            self.registers.write((address + i) & ADDRESS, value, self.busy)

    def _frame(self, payload: bytes) -> bytes:
        """A frame that nothing waits for: what the device would wait for."""
        count, rest = divmod(len(payload) - FRAME_HEADER.size, pixel_bytes(self.geometry))
        if count < 1 or rest or len(payload) > COMMAND_BYTES - HEADER.size:
            raise Refusal(Code.LENGTH, PacketType.FRAME)
        return FRAME_REPLY_PAYLOAD.pack(self._last_exposure, 0)

    def _project(self, packet: Packet) -> None:
        """Queue a packet of projections; the checks and their order are the command processor's."""
        registers, payload = self.registers, packet.payload
        if not registers["program_length"] or not (registers["selection_length"] or registers["result_raw"]):
            raise Refusal(Code.NO_PROGRAM)
        if len(payload) < PROJECT_HEADER.size:
            raise Refusal(Code.LENGTH, PacketType.PROJECT)
        first, count = PROJECT_HEADER.unpack_from(payload)
        if first != registers["exposure_next"]:
            raise Refusal(Code.EXPOSURE_MISMATCH, registers["exposure_next"])
        row_bytes = registers["planes"] * self.geometry.plane_bytes
        rows, rest = divmod(len(payload) - PROJECT_HEADER.size, row_bytes)
        # The gateware counts rows in 16 bits; a packet with so many does not fit the store.
        if not count or rest or rows & 0xFFFF != count:
            raise Refusal(Code.LENGTH, PacketType.PROJECT)
        stored = sum(batch.planes.size for batch in self._queue)
        if stored + rows * row_bytes > self.geometry.store_bytes or len(self._queue) >= self.geometry.queue_depth:
            raise Refusal(Code.NO_SPACE)
        planes = np.frombuffer(payload, dtype=np.uint8, offset=PROJECT_HEADER.size).reshape(rows, row_bytes)
        self._queue.append(Batch(packet.sequence, first, planes))
        registers["exposure_next"] = first + rows * registers["program_length"]


def _damage(encoded: bytes) -> Code:
    """What is wrong with a packet that cannot be decoded."""
    try:
        long_enough = len(codec.cobs_decode(encoded)) >= PACKET_BYTES_MIN
    except codec.CodecError:
        return Code.FRAMING
    return Code.CRC if long_enough else Code.FRAMING


def _error(sequence: int, code: Code, detail: int) -> bytes:
    return Packet(PacketType.ERROR, sequence, ERROR_PAYLOAD.pack(code, detail)).encode()
