"""Recorded sessions: what a host asked of a device, and what it answered, in one file.

``record=FILE`` in any device URL writes such a file; ``replay:FILE`` plays it as a device (:mod:`openopu.replay`).

The file is a line with its format, then a zlib stream, then the SHA-256 of all before. The stream holds a line of JSON
that describes the device, and entries: lengths of request and reply (u32 each), then both, each a packet's type and
payload without its sequence number. A projection is an entry for each row: exposure u32 and planes, and its record.
So neither the order of packets nor their size, which change with a noisy line, matters for a replay.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from openopu_rtl.protocol import Code, Packet, PacketType, codec, packets

from .device import Device, Transport
from .errors import OpenopuError, UsageError
from .files import part_of, put_in_place, why_not_written

NAME = "openopu-recording"
VERSION = 1
ENTRY = struct.Struct("<II")
ROW = struct.Struct("<I")
HASH_BYTES = hashlib.sha256().digest_size

Entry = tuple[bytes, bytes]


class RecordingError(OpenopuError):
    """A recording cannot be written."""


class RecordingFileError(UsageError):
    """A file that cannot be read, is damaged, or is no recording."""


def rows_of(request: bytes, reply: bytes) -> Iterator[Entry]:
    """Entries of the rows of a PROJECT packet that ended well, from its content and its result's."""
    _, count = packets.PROJECT_HEADER.unpack_from(request, 1)
    planes, records = request[1 + packets.PROJECT_HEADER.size :], reply[1 + packets.PROJECT_HEADER.size :]
    if not count or len(planes) % count or len(records) % count:
        return
    planes_bytes, record_bytes = len(planes) // count, len(records) // count
    if record_bytes < packets.RECORD_DTYPE.itemsize:
        return
    for i in range(count):
        record = records[i * record_bytes : (i + 1) * record_bytes]
        (head,) = np.frombuffer(record, packets.RECORD_DTYPE, 1)
        if head["status"] == Code.OK:
            yield row_request(int(head["exposure"]), planes[i * planes_bytes : (i + 1) * planes_bytes]), record


def row_request(exposure: int, planes: bytes) -> bytes:
    """What stands for the request of one row."""
    return bytes([PacketType.PROJECT]) + ROW.pack(exposure) + planes


class Recorder:
    """Writes a recording; the file appears under its name when it is finished.

    Raises :class:`RecordingError` where it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], about: dict[str, Any]) -> None:
        self._path = Path(path)
        self._part = part_of(self._path)
        self._digest = hashlib.sha256()
        self._zlib = zlib.compressobj()
        if self._path.exists():  # a session that fails would take the place of one that did not
            raise RecordingError(
                "there is a file of that name", str(self._path), "Give another record=FILE, or remove it"
            )
        try:
            self._file: BinaryIO | None = self._part.open("wb")
        except OSError as error:
            raise self._trouble(error) from error
        self._put(f"{NAME}/{VERSION}\n".encode())
        self._put(self._zlib.compress(json.dumps(about, sort_keys=True).encode() + b"\n"))

    def add(self, request: bytes, reply: bytes) -> None:
        self._put(self._zlib.compress(ENTRY.pack(len(request), len(reply)) + request + reply))

    def _drop(self) -> None:
        """Leave nothing behind: half a recording is none, and may fill the disk that others need."""
        file, self._file = self._file, None
        with contextlib.suppress(OSError):  # closing writes what is buffered, and fails as the write did
            if file is not None:
                file.close()
        with contextlib.suppress(OSError):
            self._part.unlink()

    def finish(self) -> None:
        """Complete the file. May be called twice."""
        if self._file is None:
            return
        self._put(self._zlib.flush())
        file = self._file
        try:
            file.write(self._digest.digest())
            put_in_place(file, self._path)
        except OSError as error:
            self._drop()
            raise self._trouble(error) from error

    def _put(self, data: bytes) -> None:
        if self._file is None or not data:
            return
        self._digest.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            self._drop()
            raise self._trouble(error) from error

    def _trouble(self, error: OSError) -> RecordingError:
        return RecordingError(
            f"the recording cannot be written: {why_not_written(error)}", str(self._path), "Give another record=FILE"
        )


class RecordingTransport(Transport):
    """A link that also writes down what goes over it, packet by packet; damaged and repeated ones are left out."""

    def __init__(self, inner: Transport, recorder: Recorder) -> None:
        self._inner, self._recorder = inner, recorder
        self._out, self._in = bytearray(), bytearray()
        self._open: dict[int, bytes] = {}

    def write(self, data: bytes) -> None:
        self._out += data
        for packet in _packets(self._out):
            self._open[packet.sequence] = bytes([packet.type]) + packet.payload
        self._inner.write(data)

    def read(self, timeout_s: float) -> bytes:
        data = self._inner.read(timeout_s)
        self._in += data
        for packet in _packets(self._in):
            request = self._open.pop(packet.sequence, None)
            if request is None:
                continue  # a report of damage, or an answer to what was repeated meanwhile
            reply = bytes([packet.type]) + packet.payload
            if packet.type == PacketType.RESULT:
                for entry in rows_of(request, reply):
                    self._recorder.add(*entry)
            else:
                self._recorder.add(request, reply)
        return data

    def close(self) -> None:
        self._inner.close()
        self._recorder.finish()

    def reopen(self, timeout_s: float) -> None:
        self._inner.reopen(timeout_s)
        self._out.clear()
        self._in.clear()
        self._open.clear()

    def set_baud(self, baud: int) -> None:
        self._inner.set_baud(baud)


def _packets(stream: bytearray) -> Iterator[Packet]:
    for encoded in packets.split(stream):
        try:
            yield Packet.decode(encoded)
        except codec.CodecError:
            continue


def record(device: Device, path: str) -> Transport:
    """The transport of ``device``, recorded into ``path``. Closes it where the file cannot be written."""
    if not path.strip() or Path(path).is_dir():
        device.transport.close()
        raise UsageError("this is no file", f"record={path}", "Name the file to write")
    about = {
        "url": str(device.url),
        "name": device.name,
        "arms_itself": device.arms_itself,
        "plant_source": device.plant_source,
        "realtime": device.realtime,
        "rows_per_packet": device.rows_per_packet,
        "registers": dict(device.registers),
        "optics": dict(device.optics),
    }
    try:
        return RecordingTransport(device.transport, Recorder(path, about))
    except RecordingError:
        device.transport.close()
        raise


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[Entry]]:
    """What a recording says of its device, and its entries in order. Raises :class:`RecordingFileError`."""
    where = str(path)
    advice = "Restore it from a copy, or record again with record=FILE in a device's URL"
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise RecordingFileError(
            f"the recording cannot be read ({error.strerror or error})", where, "Write replay:FILE of one that exists"
        ) from error
    match = re.match(rb"%s/(\d+)\n" % NAME.encode(), content)
    if match is None:
        raise RecordingFileError("this is no recording", where, "Make one: record=FILE in a device's URL")
    if int(match[1]) > VERSION:
        raise RecordingFileError(
            f"the recording has version {int(match[1])}, this program knows up to {VERSION}", where, "Update openopu"
        )
    if hashlib.sha256(content[:-HASH_BYTES]).digest() != content[-HASH_BYTES:]:
        raise RecordingFileError("the recording is damaged or cut short (its hash differs)", where, advice)
    try:
        stream = zlib.decompress(content[match.end() : -HASH_BYTES])
        line, _, body = stream.partition(b"\n")
        return json.loads(line), list(_entries(body))
    except (zlib.error, ValueError, struct.error) as error:
        raise RecordingFileError(f"the recording is damaged ({error})", where, advice) from error


def _entries(body: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(body):
        request, reply = ENTRY.unpack_from(body, at)
        at += ENTRY.size
        yield body[at : at + request], body[at + request : at + request + reply]
        at += request + reply
