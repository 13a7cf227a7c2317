"""Packets of the link.

Content of a packet: type (1 byte), sequence number (1 byte), payload; then CRC-32 and COBS
(:mod:`codec`). All integers are little-endian. Every packet from the host is answered by exactly one
packet that repeats its sequence number; damaged ones by an error with sequence number 0.

=========  ===================================================  ======================================
type       payload                                              reply
=========  ===================================================  ======================================
READ       word address u16, count u16                          READ_REPLY: count words u32
WRITE      word address u16, words u32 ...                      WRITE_REPLY: empty
PROJECT    first exposure u32, count u16, count * planes        RESULT: first exposure u32, count u16,
           planes of ``plane_bytes``                            count records
FRAME      exposure u32, monitor u16, offset u32, pixels        FRAME_REPLY: exposure u32, offset u32
ERROR      (device only) code u8, detail u32
PATTERN    (device only) see below                              none
=========  ===================================================  ======================================

A record is its head, the projection's packed integers, the number of those that are saturated (14 bytes more than
the integers), and with ``result_monitors`` a u16 for each shot: the reading of the photodiode during its exposure. What
is counted while the integers are sent stands behind them. A packet from the host whose content exceeds
``COMMAND_BYTES`` (READ, WRITE, FRAME) or the pattern store (PROJECT) is refused whole.

With ``plant_source`` 1 the device sends a PATTERN, unasked and with sequence number 0, after each exposure: exposure
u32, exposure_cycles u32, ``laser_power`` u16, level of the anchor u8, of the border u8, CRC-32 of the panel's pixels in
raster order u32, offset u32, and a level u8 for each mode, all as they stood at the panel's pins. The host answers
with the sensor's pixels in raster order (u8, or u16 where a pixel has more than 8 bits) in FRAME packets. One whose
exposure or offset is not what the device waits for is not used. The reply tells which exposure and offset it waits
for; behind the frame's last pixel it is their number. The device sends the PATTERN again, with that offset, when no
pixel has come for a while.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import codec
from .errors import Code
from .geometry import Geometry
from .registers import RESULT_BITS

HEADER = struct.Struct("<BB")
READ_PAYLOAD = struct.Struct("<HH")
WRITE_HEADER = struct.Struct("<H")
PROJECT_HEADER = struct.Struct("<IH")
ERROR_PAYLOAD = struct.Struct("<BI")
PATTERN_HEADER = struct.Struct("<IIHBBII")
FRAME_HEADER = struct.Struct("<IHI")
FRAME_REPLY_PAYLOAD = struct.Struct("<II")

COMMAND_BYTES = 1024
"""Largest content of a READ, WRITE or FRAME packet, and of the device's command buffer."""
READ_WORDS_MAX = 256
"""Most words that one READ asks for."""
WRITE_WORDS_MAX = (COMMAND_BYTES - HEADER.size - WRITE_HEADER.size) // 4
"""Most words that one WRITE carries."""


class PacketType(enum.IntEnum):
    READ = 0x01
    WRITE = 0x02
    PROJECT = 0x03
    FRAME = 0x04
    READ_REPLY = 0x81
    WRITE_REPLY = 0x82
    RESULT = 0x83
    FRAME_REPLY = 0x84
    PATTERN = 0x90
    ERROR = 0xFF


RECORD_DTYPE = np.dtype(
    [
        ("exposure", "<u4"),  # ID of the projection's first exposure
        ("timestamp", "<u4"),  # system clock cycles at the end of the last frame; timing
        ("monitor", "<u2"),  # photodiode reading of the last exposure
        ("status", "u1"),  # Code
        ("flags", "u1"),  # RECORD_FLAGS
        ("saturated", "<u2"),  # returned integers held at their limit, at most 65535
    ]
)
RECORD_HEAD_BYTES = RECORD_DTYPE.itemsize - RECORD_DTYPE["saturated"].itemsize
"""Of ``RECORD_DTYPE``: they stand before the integers; ``saturated``, always its last field, stands behind them."""
MONITOR_DTYPE = np.dtype("<u2")
"""A shot's photodiode reading."""
RECORD_TIMING_FIELDS = ("timestamp",)
"""Fields that differ between twin and RTL, and are left out when they are compared."""
RECORD_FLAGS = {"laser_on": 0, "accumulator_saturated": 1}
"""laser_on: the laser was on during every exposure of the projection."""


@dataclass(frozen=True)
class Packet:
    type: int
    sequence: int
    payload: bytes

    def encode(self) -> bytes:
        """Bytes for the link, delimiter included."""
        return codec.frame(HEADER.pack(self.type, self.sequence) + self.payload)

    @classmethod
    def decode(cls, encoded: bytes) -> Packet:
        """Inverse of :meth:`encode`, without the delimiter. Raises :class:`codec.CodecError`."""
        content = codec.unframe(encoded)
        return cls(content[0], content[1], content[2:])


@dataclass(frozen=True)
class ErrorReply:
    code: int
    detail: int

    @classmethod
    def from_payload(cls, payload: bytes) -> ErrorReply:
        if len(payload) != ERROR_PAYLOAD.size:
            raise codec.CodecError("an error reply has the wrong length")
        return cls(*ERROR_PAYLOAD.unpack(payload))

    def payload(self) -> bytes:
        return ERROR_PAYLOAD.pack(self.code, self.detail)


@dataclass(frozen=True)
class Format:
    """How the integers of one record are packed: what ``result_*`` and ``selection_length`` say."""

    count: int
    """Integers of one projection: outputs * banks, or the pixels of a raw readout."""
    bits: int
    raw: bool = False
    monitors: int = 0
    """Photodiode readings that follow: one for each shot of the program, or none."""

    def __post_init__(self) -> None:
        if self.bits not in RESULT_BITS:
            raise ValueError(f"results have 8, 12 or 16 bits, not {self.bits}")

    @property
    def record_bytes(self) -> int:
        return (
            RECORD_DTYPE.itemsize + codec.result_bytes(self.count, self.bits) + MONITOR_DTYPE.itemsize * self.monitors
        )


@dataclass(frozen=True)
class Record:
    """The records of one RESULT packet, column by column."""

    head: np.ndarray
    """(count,) of ``RECORD_DTYPE``."""
    values: np.ndarray
    """(count, integers) int32; raw pixels are unsigned."""
    monitors: np.ndarray | None = None
    """(count, shots) uint16, DN: photodiode readings, where they were asked for; 0 for a shot that was not exposed."""

    @property
    def ok(self) -> np.ndarray:
        """(count,) whether each projection ended well."""
        return np.asarray(self.head["status"] == Code.OK)


def encode_project(sequence: int, first_exposure: int, planes: np.ndarray) -> bytes:
    """A PROJECT packet for (count, planes, modes) truthy planes."""
    header = PROJECT_HEADER.pack(first_exposure, planes.shape[0])
    return Packet(PacketType.PROJECT, sequence, header + codec.pack_planes(planes)).encode()


def encode_records(heads: np.ndarray, packed: np.ndarray, monitors: np.ndarray | None = None) -> bytes:
    """The records of a RESULT packet.

    ``heads`` (count,) of ``RECORD_DTYPE``; packed integers (count, bytes) uint8; ``monitors`` the bytes of the shots'
    readings, (count, bytes) uint8.
    """
    fields = heads.view(np.uint8).reshape(len(heads), RECORD_DTYPE.itemsize)
    parts = [fields[:, :RECORD_HEAD_BYTES], packed, fields[:, RECORD_HEAD_BYTES:]]
    return np.concatenate(parts if monitors is None else [*parts, monitors], axis=1).tobytes()


def decode_records(payload: bytes, form: Format) -> tuple[int, Record]:
    """Return (first exposure, records) of a RESULT packet's payload. Raises :class:`codec.CodecError`."""
    if len(payload) < PROJECT_HEADER.size:
        raise codec.CodecError("a result is cut short")
    first, count = PROJECT_HEADER.unpack_from(payload)
    body = payload[PROJECT_HEADER.size :]
    if len(body) != count * form.record_bytes:
        raise codec.CodecError(f"a result of {count} records has {len(body)} bytes, not {count * form.record_bytes}")
    rows = np.frombuffer(body, dtype=np.uint8).reshape(count, form.record_bytes)
    monitors_at = form.record_bytes - MONITOR_DTYPE.itemsize * form.monitors
    tail_at = monitors_at - (RECORD_DTYPE.itemsize - RECORD_HEAD_BYTES)
    head = np.concatenate([rows[:, :RECORD_HEAD_BYTES], rows[:, tail_at:monitors_at]], axis=1).view(RECORD_DTYPE)[:, 0]
    packed = np.ascontiguousarray(rows[:, RECORD_HEAD_BYTES:tail_at])
    values = codec.unpack_results(packed, form.count, form.bits)
    monitors = np.ascontiguousarray(rows[:, monitors_at:]).view(MONITOR_DTYPE) if form.monitors else None
    return first, Record(head, values & 0xFFFF if form.raw else values, monitors)


@dataclass(frozen=True)
class Pattern:
    """What the panel showed during an exposure: payload of a PATTERN packet."""

    exposure: int
    exposure_cycles: int
    laser_power: int
    anchor: int
    border: int
    crc: int
    offset: int
    """Pixel of the frame that the device waits for."""
    levels: np.ndarray
    """(modes,) uint8."""

    def payload(self) -> bytes:
        fields = (self.exposure, self.exposure_cycles, self.laser_power, self.anchor, self.border, self.crc)
        return PATTERN_HEADER.pack(*fields, self.offset) + self.levels.astype(np.uint8).tobytes()

    @classmethod
    def from_payload(cls, payload: bytes, geometry: Geometry) -> Pattern:
        """Raises :class:`codec.CodecError`."""
        if len(payload) != PATTERN_HEADER.size + geometry.modes:
            raise codec.CodecError(f"a pattern of {geometry.modes} modes cannot have {len(payload)} bytes")
        levels = np.frombuffer(payload, dtype=np.uint8, offset=PATTERN_HEADER.size)
        return cls(*(*PATTERN_HEADER.unpack_from(payload), levels))


def pixel_bytes(geometry: Geometry) -> int:
    """Bytes of one pixel in a FRAME packet."""
    return 1 if geometry.pixel_bits == 8 else 2


def frame_payload(exposure: int, monitor: int, frame: np.ndarray, start: int, stop: int, geometry: Geometry) -> bytes:
    """Payload of a FRAME packet that carries pixels ``start`` to ``stop`` of a frame (camera_height, camera_width)."""
    pixels = frame.reshape(-1)[start:stop].astype(f"<u{pixel_bytes(geometry)}")
    return FRAME_HEADER.pack(exposure, monitor, start) + pixels.tobytes()


def split(stream: bytearray) -> Iterator[bytes]:
    """Take every whole packet (without delimiter, empty ones dropped) from the front of ``stream``."""
    while (end := stream.find(0)) >= 0:
        encoded = bytes(stream[:end])
        del stream[: end + 1]
        if encoded:
            yield encoded
