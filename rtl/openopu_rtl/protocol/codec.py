"""Bytes of the link: COBS framing, CRC-32, and the packing of results and planes.

COBS: Cheshire and Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Trans. Networking 7(2), 1999.
CRC-32: that of IEEE 802.3 (reflected, polynomial 0x04C11DB7), little-endian at the end of the packet.
"""

from __future__ import annotations

import zlib

import numpy as np

DELIMITER = b"\0"
"""Ends every packet; an empty packet is ignored, so it may also be sent to start afresh."""


_LONG_BYTES = 256
"""From this length on it pays to encode with array operations."""


class CodecError(ValueError):
    """Bytes that are no packet."""


def cobs_encode(data: bytes) -> bytes:
    """Return ``data`` without zero bytes, at most ``len(data) // 254 + 1`` bytes longer. No delimiter."""
    if len(data) >= _LONG_BYTES:
        source = np.frombuffer(data, dtype=np.uint8)
        zeros = np.flatnonzero(source == 0)
        codes = np.diff(zeros, prepend=-1, append=len(source))
        if codes.max() < 255:
            # No group is full: each zero becomes the code of the group behind it.
            encoded = np.empty(len(source) + 1, dtype=np.uint8)
            encoded[1:] = source
            encoded[0] = codes[0]
            encoded[zeros + 1] = codes[1:]
            return encoded.tobytes()
    out = bytearray()
    groups = data.split(b"\0")
    last = len(groups) - 1
    for i, group in enumerate(groups):
        start = 0
        while len(group) - start >= 254:
            out.append(255)
            out += group[start : start + 254]
            start += 254
            if start == len(group) and i == last:
                return bytes(out)
        out.append(len(group) - start + 1)
        out += group[start:]
    return bytes(out)


def cobs_decode(data: bytes) -> bytes:
    """Inverse of :func:`cobs_encode`. Raises :class:`CodecError` for a zero byte or a group cut short."""
    if b"\0" in data:
        raise CodecError("the packet holds a zero byte")
    starts = []
    position, end = 0, len(data)
    while position < end:
        starts.append(position)
        position += data[position]
    if position != end:
        raise CodecError("the packet is cut short")
    if not starts:
        return b""
    # A code stands for the zero before its group; there is none before the first group and behind a full one.
    out = np.frombuffer(data, dtype=np.uint8).copy()
    at = np.array(starts)
    drop = np.flatnonzero(out[at[:-1]] == 255) + 1
    out[at] = 0
    if len(drop) == 0:
        return out[1:].tobytes()
    return np.delete(out, np.append(at[drop], 0)).tobytes()


def frame(content: bytes) -> bytes:
    """Checksum, encode and delimit one packet's content."""
    return cobs_encode(content + zlib.crc32(content).to_bytes(4, "little")) + DELIMITER


def unframe(encoded: bytes) -> bytes:
    """Content of one packet (without its delimiter). Raises :class:`CodecError`."""
    data = cobs_decode(encoded)
    if len(data) < 6:
        raise CodecError(f"a packet of {len(data)} bytes is too short")
    content, crc = data[:-4], int.from_bytes(data[-4:], "little")
    if zlib.crc32(content) != crc:
        raise CodecError("the packet's checksum is wrong")
    return content


def pack_results(values: np.ndarray, bits: int) -> bytes:
    """Pack (count,) signed integers of 8, 12 or 16 bits, little-endian, the last byte padded with zeros."""
    if bits == 8:
        return values.astype(np.int8).tobytes()
    if bits == 16:
        return values.astype("<i2").tobytes()
    v = values.astype(np.int32) & 0xFFF
    if odd := len(v) % 2:
        v = np.append(v, 0)
    low, high = v[0::2], v[1::2]
    out = np.stack([low & 0xFF, low >> 8 | (high & 0xF) << 4, high >> 4], axis=1).astype(np.uint8).ravel()
    return out[: len(out) - odd].tobytes()


def result_bytes(count: int, bits: int) -> int:
    """Bytes that ``count`` packed results take."""
    return (count * bits + 7) // 8


def unpack_results(data: np.ndarray, count: int, bits: int) -> np.ndarray:
    """Inverse of :func:`pack_results` for (..., bytes) uint8 rows; returns (..., count) int32."""
    if data.shape[-1] != result_bytes(count, bits):
        raise CodecError(f"{data.shape[-1]} bytes do not hold {count} results of {bits} bits")
    if bits == 8:
        return data.view(np.int8).astype(np.int32)
    if bits == 16:
        return np.ascontiguousarray(data).view("<i2").astype(np.int32)
    padded = data if count % 2 == 0 else np.concatenate([data, np.zeros_like(data[..., :1])], axis=-1)
    triples = padded.reshape(*padded.shape[:-1], -1, 3).astype(np.int32)
    low = triples[..., 0] | (triples[..., 1] & 0xF) << 8
    high = triples[..., 1] >> 4 | triples[..., 2] << 4
    both = np.stack([low, high], axis=-1).reshape(*padded.shape[:-1], -1)[..., :count]
    return (both ^ 0x800) - 0x800


def pack_planes(planes: np.ndarray) -> bytes:
    """Pack (..., n) truthy planes, n a multiple of 8, mode 0 in bit 0 of byte 0."""
    return np.packbits(np.ascontiguousarray(planes, dtype=bool), axis=-1, bitorder="little").tobytes()


def unpack_planes(data: bytes, modes: int) -> np.ndarray:
    """Inverse of :func:`pack_planes`; returns (planes, modes) uint8 of 0 and 1."""
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, modes // 8)
    return np.unpackbits(rows, axis=-1, bitorder="little")
