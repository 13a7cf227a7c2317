"""The device ``replay:FILE``: a recorded session (see :mod:`openopu.recording`) that answers as the device did.

Requests are known by their content. One that was made several times is answered in the order of then; a poll, and
whatever else is read or written, gets its last answer again once there are no more. What was not recorded is an error
that names it, so that a replay never makes a result up.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque

import numpy as np
from openopu_rtl.protocol import REGISTERS, Kind, Packet, PacketType, codec, packets

from .device import COMMON_KEYS, Device, Transport
from .errors import DeviceError, LinkLost, UrlError
from .pipeline import EXPOSURE_IDS
from .recording import Entry, load, row_request
from .session import name_at
from .url import DeviceUrl

ADVICE = "Replay what was recorded (same command, same settings), or record again"


class NotRecorded(DeviceError):
    """The recording has no answer to a request."""


class ReplayTransport(Transport):
    """Answers packets from a recording's entries."""

    def __init__(self, entries: list[Entry], where: str) -> None:
        self._where = where
        self._answers: defaultdict[bytes, deque[bytes]] = defaultdict(deque)
        self._constants: dict[int, int] = {}
        constant = {r.address for r in REGISTERS.values() if r.kind is Kind.IDENTITY}
        for request, reply in entries:
            self._answers[request].append(reply)
            if request[0] == PacketType.READ and reply[0] == PacketType.READ_REPLY:
                address, count = packets.READ_PAYLOAD.unpack_from(request, 1)
                words = np.frombuffer(reply, "<u4", count, 1).tolist()
                self._constants.update((a, w) for a, w in enumerate(words, address) if a in constant)
        self._stream, self._out = bytearray(), bytearray()
        self._shots = 0
        self._closed = False

    def write(self, data: bytes) -> None:
        if self._closed:
            raise LinkLost("the recording was closed", self._where, "Open it again")
        self._stream += data
        for encoded in packets.split(self._stream):
            try:
                packet = Packet.decode(encoded)
            except codec.CodecError:
                continue
            reply = self._answer(packet)
            self._out += Packet(reply[0], packet.sequence, reply[1:]).encode()

    def read(self, timeout_s: float) -> bytes:
        data = bytes(self._out)
        self._out.clear()
        if not data:
            time.sleep(timeout_s)  # nothing can come until the host writes again; it asked to wait
        return data

    def close(self) -> None:
        self._closed = True

    def _answer(self, packet: Packet) -> bytes:
        request = bytes([packet.type]) + packet.payload
        if packet.type == PacketType.PROJECT:
            return self._project(packet.payload)
        if packet.type == PacketType.WRITE:
            self._note(packet.payload)
        queue = self._answers.get(request)
        if queue:
            return queue.popleft() if len(queue) > 1 else queue[0]
        if packet.type == PacketType.READ and (known := self._identity(packet.payload)):
            return known
        raise NotRecorded(f"the recording holds no {_describe(packet)}", self._where, ADVICE)

    def _project(self, payload: bytes) -> bytes:
        first, count = packets.PROJECT_HEADER.unpack_from(payload)
        planes = payload[packets.PROJECT_HEADER.size :]
        size = len(planes) // max(count, 1)
        records = []
        for i in range(count):
            exposure = (first + i * self._shots) % EXPOSURE_IDS
            key = row_request(exposure, planes[i * size : (i + 1) * size])
            queue = self._answers.get(key)
            if not queue:
                again = key in self._answers
                what = "no further projection" if again else "no projection"
                raise NotRecorded(
                    f"the recording holds {what} of these planes at exposure {exposure}", self._where, ADVICE
                )
            records.append(queue.popleft())
        return bytes([PacketType.RESULT]) + packets.PROJECT_HEADER.pack(first, count) + b"".join(records)

    def _note(self, payload: bytes) -> None:
        """Keep the program's length, which tells the exposures of a packet's rows."""
        (address,) = packets.WRITE_HEADER.unpack_from(payload)
        words = np.frombuffer(payload, "<u4", offset=packets.WRITE_HEADER.size)
        at = REGISTERS["program_length"].address - address
        if 0 <= at < len(words):
            self._shots = int(words[at])

    def _identity(self, payload: bytes) -> bytes | None:
        """A read of constants in other portions than then, such as a keep-alive."""
        address, count = packets.READ_PAYLOAD.unpack(payload)
        words = [self._constants.get(a) for a in range(address, address + count)]
        known = [w for w in words if w is not None]
        if len(known) < len(words):
            return None
        return bytes([PacketType.READ_REPLY]) + np.array(known, "<u4").tobytes()


def _describe(packet: Packet) -> str:
    if packet.type == PacketType.READ and len(packet.payload) == packets.READ_PAYLOAD.size:
        address, count = packets.READ_PAYLOAD.unpack(packet.payload)
        return f"read of {_name(address)}" + (f" and {count - 1} more" if count > 1 else "")
    if packet.type == PacketType.WRITE and len(packet.payload) > packets.WRITE_HEADER.size:
        (address,) = packets.WRITE_HEADER.unpack_from(packet.payload)
        words = np.frombuffer(packet.payload, "<u4", offset=packets.WRITE_HEADER.size)
        value = str(words[0]) if len(words) == 1 else f"{len(words)} words"
        return f"write of {_name(address)} = {value}"
    return f"packet of type {packet.type:#04x}"


def _name(address: int) -> str:
    return name_at(address) or f"word {address:#x}"


def open_replay(url: DeviceUrl) -> Device:
    """Open ``replay:FILE``. Raises :class:`UrlError`, :class:`openopu.recording.RecordingFileError`."""
    url.refuse_unknown(COMMON_KEYS)
    if not url.rest:
        raise UrlError("no recording is given", str(url), "Write replay:FILE; record=FILE in any URL makes one")
    about, entries = load(url.rest)
    return Device(
        url=url,
        name=f"replay of {about['name']}",
        transport=ReplayTransport(entries, str(url)),
        arms_itself=about["arms_itself"],
        plant_source=about["plant_source"],
        realtime=about["realtime"],
        rows_per_packet=about["rows_per_packet"],
        registers=about["registers"],
        optics=about["optics"],
    )
