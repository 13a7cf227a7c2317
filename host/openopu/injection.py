"""Frames from the host: hardware in the loop without optics (``plant=host`` in a device URL).

The device sends what its panel's pins show during each exposure; an optical model answers with the camera's frame,
which the device processes as if the camera had sent it. Everything else passes through, so that pipelines, training and
commands know nothing of it.

The model comes from an entry point of the group ``openopu.plants``, named ``optical``: a factory
``(geometry, options, clock_hz) -> OpticalModel``. ``options`` are those keys of the URL that describe it
(``OPTION_KEYS``).
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Code, ErrorReply, Geometry, Packet, PacketType, codec, packets
from openopu_rtl.protocol.packets import Pattern
from openopu_rtl.protocol.patterns import panel_crc, panel_frame
from openopu_rtl.protocol.registers import PLANT_SOURCES

from .device import Device, Transport
from .errors import DeviceError, UrlError
from .panel import Panel
from .session import BITS_PER_BYTE, Session
from .url import DeviceUrl

PLANTS_GROUP = "openopu.plants"
MODEL = "optical"
OPTION_KEYS = ("optics", "noise", "seed", "noise_seed")
PLANT_KEYS = ("plant", *OPTION_KEYS)
"""Keys that the URL of a real device takes for loops without optics."""
ANSWER_S = 4.0
"""Time of the device's clock, on top of the line's, in which the host answers a pattern."""
CHUNK_BYTES = (64, packets.COMMAND_BYTES - packets.HEADER.size - packets.FRAME_HEADER.size)
"""Fewest and most bytes of pixels in a packet: fewer as packets get damaged."""
WINDOW = 8
"""FRAME packets that wait for their reply."""
LARGEST_READING = 4095
"""Of the photodiode's 12-bit ADC."""

Frame = NDArray[np.uint16]


class PatternMismatch(DeviceError):
    """The panel's pins showed another pattern than the device said."""


class ModelError(DeviceError):
    """The optical model gave no usable frame."""


class OpticalModel(Protocol):
    panel: Panel
    """What its panel makes of levels."""

    def expose_frame(
        self, levels: NDArray[np.uint8], exposure_id: int, exposure_cycles: int, laser_code: int
    ) -> tuple[Frame, int]:
        """Frame (camera_height, camera_width) in DN and photodiode reading for a panel (slm_height, slm_width)."""

    def close(self) -> None:
        """End what it runs. May be called twice."""


ModelFactory = Callable[[Geometry, Mapping[str, str], int], OpticalModel]


class InjectingTransport(Transport):
    """A device's link on which patterns are answered with frames, whenever the host reads from it.

    The device repeats a pattern that is not answered, which is all that makes up for lost packets; damaged ones are
    noticed sooner, as replies tell which pixel the device waits for.

    Parameters
    ----------
    line : the link; closed with this one.
    geometry : of the device.
    model : the optics; closed with the link too.
    where : names the device in errors.
    """

    def __init__(self, line: Transport, geometry: Geometry, model: OpticalModel, where: str) -> None:
        self._line, self._geometry, self._model, self._where = line, geometry, model, where
        self._stream = bytearray()
        self._pattern: Pattern | None = None
        self._frame: Frame = np.zeros(0, dtype=np.uint16)
        self._monitor = 0
        self._next = geometry.camera_pixels
        """Pixel that the next FRAME packet begins with."""
        self._awaited: deque[tuple[int, int]] = deque()
        """Sequence number and first pixel of FRAME packets without a reply, in order."""
        self._sequence = 0
        self._chunk = CHUNK_BYTES[1]
        self._held: list[bytes] = []
        """Reports of damage, until a reply tells whether they were about frames."""
        self.repeated = 0
        """Times that a part of a frame was sent again."""

    def write(self, data: bytes) -> None:
        self._line.write(data)

    def read(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while True:
            data = self._line.read(max(deadline - time.monotonic(), 0.0))
            self._stream += data
            out = b"".join(self._take(encoded) for encoded in packets.split(self._stream))
            if out or (not data and time.monotonic() >= deadline):
                return out

    def close(self) -> None:
        self._line.close()
        self._model.close()

    def reopen(self, timeout_s: float) -> None:
        self._line.reopen(timeout_s)
        for held in (self._stream, self._awaited, self._held):
            held.clear()
        self._pattern, self._next = None, self._geometry.camera_pixels

    def set_baud(self, baud: int) -> None:
        self._line.set_baud(baud)

    def _take(self, encoded: bytes) -> bytes:
        """Handle a packet from the device, or return it for the host."""
        passed = encoded + codec.DELIMITER
        try:
            packet = Packet.decode(encoded)
        except codec.CodecError:
            # Ours are made up for by the device's repeating; the type comes first, and is seldom what was damaged.
            ours = encoded[1:2] in (bytes([PacketType.PATTERN]), bytes([PacketType.FRAME_REPLY]))
            return b"" if ours else passed
        if packet.type == PacketType.PATTERN:
            self._answer(packet)
        elif packet.type == PacketType.FRAME_REPLY:
            return self._replied(packet)
        elif packet.type == PacketType.ERROR and packet.sequence == 0 and self._awaited:
            code = ErrorReply.from_payload(packet.payload).code
            if code not in (Code.CRC, Code.FRAMING):
                return passed
            self._held.append(passed)
            self._go_back(self._awaited[0][1])
        else:
            return passed
        return b""

    # Patterns

    def _answer(self, packet: Packet) -> None:
        """Begin to answer a pattern, or go on where the device says that it waits."""
        try:
            pattern = Pattern.from_payload(packet.payload, self._geometry)
        except codec.CodecError as error:
            raise PatternMismatch(
                f"a whole PATTERN packet does not fit the geometry ({error})", self._where, "Reopen the device"
            ) from error
        if self._pattern is None or not same(pattern, self._pattern):
            self._pattern = None
            self._frame, self._monitor = self._expose(pattern)
            self._pattern = pattern
            self._next = pattern.offset
            self._send()
        elif pattern.offset != self._geometry.camera_pixels:
            self._go_back(pattern.offset)

    def _expose(self, pattern: Pattern) -> tuple[Frame, int]:
        g = self._geometry
        panel = panel_frame(g, pattern.levels, pattern.anchor, pattern.border)
        if panel_crc(panel) != pattern.crc:
            raise PatternMismatch(
                f"in exposure {pattern.exposure} the panel's pins showed another pattern than was asked "
                f"(CRC-32 {pattern.crc:08x}, not {panel_crc(panel):08x})",
                self._where,
                "The way from the pattern store to the panel is faulty: run `openopu selftest`",
            )
        frame, monitor = self._model.expose_frame(panel, pattern.exposure, pattern.exposure_cycles, pattern.laser_power)
        shape, full = (g.camera_height, g.camera_width), (1 << g.pixel_bits) - 1
        if frame.shape != shape or frame.dtype.kind not in "ui" or frame.min() < 0 or frame.max() > full:
            raise ModelError(
                f"the optical model gave a frame of {frame.shape} {frame.dtype}, up to {frame.max(initial=0)}; "
                f"the sensor has {shape}, up to {full}",
                self._where,
                "Take optics made for this geometry",
            )
        if not 0 <= monitor <= LARGEST_READING:
            raise ModelError(
                f"the optical model gave a photodiode reading of {monitor}", self._where, f"Give 0 to {LARGEST_READING}"
            )
        return frame, monitor

    # Frames

    def _send(self) -> None:
        """Send what the window allows."""
        pattern, total = self._pattern, self._geometry.camera_pixels
        while pattern is not None and self._next < total and len(self._awaited) < WINDOW:
            stop = min(self._next + self._chunk // packets.pixel_bytes(self._geometry), total)
            self._sequence = self._sequence % 255 + 1
            payload = packets.frame_payload(
                pattern.exposure, self._monitor, self._frame, self._next, stop, self._geometry
            )
            self._line.write(Packet(PacketType.FRAME, self._sequence, payload).encode())
            self._awaited.append((self._sequence, self._next))
            self._next = stop

    def _go_back(self, offset: int) -> None:
        """Send again from a pixel on."""
        self.repeated += 1
        self._chunk = max(self._chunk // 2, CHUNK_BYTES[0])
        self._next = offset
        # What is on the way is still answered, in order; a packet more than the window carries the repetition.
        while len(self._awaited) >= WINDOW:
            self._awaited.popleft()
        self._send()

    def _replied(self, packet: Packet) -> bytes:
        """Take a reply; returns the reports of damage that were not about frames."""
        position = next((i for i, (s, _) in enumerate(self._awaited) if s == packet.sequence), None)
        if position is None or len(packet.payload) != packets.FRAME_REPLY_PAYLOAD.size:
            return b""
        exposure, offset = packets.FRAME_REPLY_PAYLOAD.unpack(packet.payload)
        # Replies come in order: those before it have been lost, or were reports of damage.
        lost = list(self._awaited)[:position]
        _, start = self._awaited[position]
        for _ in range(position + 1):
            self._awaited.popleft()
        passed = b"".join(self._held[len(lost) :])
        self._held.clear()
        if self._pattern is not None and exposure == self._pattern.exposure:
            if offset < start and not any(first <= offset for _, first in self._awaited):
                self._go_back(offset)
            elif offset == self._geometry.camera_pixels:
                self._chunk = min(2 * self._chunk, CHUNK_BYTES[1])
            else:
                self._send()
        return passed


def same(a: Pattern, b: Pattern) -> bool:
    """Whether two patterns are of one exposure, wherever its frame stands."""
    values = [dataclasses.replace(p, offset=0).payload() for p in (a, b)]
    return values[0] == values[1]


def plant_source(url: DeviceUrl) -> str:
    """Where the frames of a real device shall come from: camera, host or chip. Raises :class:`UrlError`."""
    source = url.parameters.get("plant", "camera")
    if source not in PLANT_SOURCES:
        raise UrlError(
            f"plant={source} cannot be used", str(url), "A device has its own optics; without: plant=host or plant=chip"
        )
    for key in OPTION_KEYS:
        if key in url.parameters and source != "host":
            raise UrlError(f"`{key}=` describes the optics of plant=host", str(url), "Leave it out, or add plant=host")
    return source


def inject(device: Device) -> Device:
    """``device`` with frames from an optical model on this host.

    Raises
    ------
    UsageError
        The options are wrong.
    DeviceError
        The device does not answer, or nothing installed can model the optics.
    """
    entries = entry_points(group=PLANTS_GROUP, name=MODEL)
    if not entries:
        raise DeviceError(
            "nothing installed can model the optics", str(device.url), "Install it: pip install 'openopu[sim]'"
        )
    try:
        session = Session(device)
        session.flush()
        identity = session.identify()
        factory: ModelFactory = next(iter(entries)).load()
        options = {key: value for key, value in device.url.parameters.items() if key in OPTION_KEYS}
        model = factory(identity.geometry, options, identity.clock_hz)
    except BaseException:
        device.transport.close()
        raise
    g = identity.geometry
    line_s = 2 * BITS_PER_BYTE * g.camera_pixels * packets.pixel_bytes(g) / session.baud
    return dataclasses.replace(
        device,
        transport=InjectingTransport(device.transport, g, model, str(device.url)),
        plant_source=PLANT_SOURCES["host"],
        panel=model.panel,
        arms_itself=False,
        rows_per_packet=1,
        registers={"frame_timeout_cycles": min(round((ANSWER_S + line_s) * identity.clock_hz), (1 << 32) - 1)},
    )
