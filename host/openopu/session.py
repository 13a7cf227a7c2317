"""Packets over a transport: requests with retries, registers by name, identity."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import (
    ERRORS,
    MAGIC,
    PROTOCOL_HASH,
    REGISTERS,
    WINDOWS,
    Code,
    ErrorReply,
    Geometry,
    GeometryError,
    Packet,
    PacketType,
    PanelKind,
    codec,
    packets,
)
from openopu_rtl.protocol.registers import STATUS_BITS

from .device import Device
from .errors import DeviceError, DeviceRefused, DeviceSilent, IdentityMismatch, LinkGarbled, UrlError, UsageError, whole
from .url import DeviceUrl

MARGIN_S = 2.0
"""Added to every time-out: what an operating system and a USB adapter may take on top of the line."""
BRIEF_S = 0.5
"""The same where a try at another rate follows."""
SETTLE_S = 5.0
"""Device seconds that projections of an earlier host, or of before a fault, may still take."""
SILENT_TRIES = 3
"""Requests without any answer before the device counts as silent."""
DAMAGED_TRIES = 16
"""Requests that may be damaged, or find the device busy in vain, before the link counts as unusable; it also has to
be so for the time-outs' margin."""
WRITE_CHUNK_WORDS = 64
"""Words of a window in one packet: short enough that a noisy line gets most of them across."""
BITS_PER_BYTE = 10
"""On a serial line: start, 8 data, stop."""
BAUD_ERROR_MAX = 0.02
"""A UART tolerates about 2 % on each side."""
TRANSIENT = (Code.CRC, Code.FRAMING, Code.NO_SPACE, Code.EXPOSURE_MISMATCH)
"""Refusals that sending again cures."""
GARBAGE_BYTES = 1 << 20
"""Bytes without a delimiter that are kept at most; no packet is longer."""
BOARD_SIMULATION = 0
"""Value of the register ``board`` in simulation."""
SIMULATION_TIME_FACTOR = 5000.0
"""Wall seconds for one second of an RTL simulation whose pace is unknown: 48 MHz at 10,000 cycles/s."""

Sink = Callable[[Packet], None]


@dataclass(frozen=True)
class Identity:
    """What the device says that it is."""

    protocol_hash: int
    build: int
    board: int
    link: int
    clock_hz: int
    monitor_cycles: int
    """Clocks that an exposure must exceed so that its photodiode reading can normalise it."""
    geometry: Geometry

    @property
    def gateware(self) -> str:
        """Hash of the declaration and of the sources, in hexadecimal."""
        return f"{self.protocol_hash:08x}-{self.build:08x}"


class Session:
    """Requests and replies on one device. Used by one thread at a time.

    Parameters
    ----------
    device
        The opened device; the session does not close it.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.where = str(device.url)
        self.realtime = device.realtime
        self.time_factor = device.time_factor
        self.margin_s = MARGIN_S
        self.silent_tries = SILENT_TRIES
        self.baud = 1_000_000  # until the identity is read: only time-outs depend on it
        self.chosen_baud: int | None = None
        """Rate that :meth:`set_baud` has set."""
        self.last_sent_s = time.monotonic()
        self.damaged = 0
        """Packets that arrived damaged, in all."""
        self.received_bytes = 0
        self._stream = bytearray()
        self._pending: list[bytes] = []
        self._sequence = 0
        self._geometry: Geometry | None = None

    # Packets

    def next_sequence(self) -> int:
        """1 to 255 in turn; 0 is kept for the device's reports of damaged packets."""
        self._sequence = self._sequence % 255 + 1
        return self._sequence

    def send(self, encoded: bytes) -> None:
        """Write one encoded packet."""
        self.device.transport.write(encoded)
        self.last_sent_s = time.monotonic()

    def receive(self, timeout_s: float) -> Packet | None:
        """Next valid packet, or None after ``timeout_s``. Raises :class:`codec.CodecError` for a damaged one."""
        deadline = time.monotonic() + timeout_s
        while not self._pending:
            data = self.device.transport.read(max(deadline - time.monotonic(), 0.0))
            if data:
                self.received_bytes += len(data)
                self._stream += data
                self._pending = list(packets.split(self._stream))
                if len(self._stream) > GARBAGE_BYTES:
                    self._stream.clear()
            elif time.monotonic() >= deadline:
                return None
        try:
            return Packet.decode(self._pending.pop(0))
        except codec.CodecError:
            self.damaged += 1
            raise

    @contextlib.contextmanager
    def brief(self) -> Iterator[None]:
        """Within it, one short try decides that a device is silent."""
        before = self.margin_s, self.silent_tries
        self.margin_s, self.silent_tries = BRIEF_S, 1
        try:
            yield
        finally:
            self.margin_s, self.silent_tries = before

    def line_seconds(self, count: int) -> float:
        """Seconds that ``count`` bytes take on the line, in device time."""
        return count * BITS_PER_BYTE / self.baud

    def timeout_s(self, device_seconds: float) -> float:
        """Wall seconds to wait for what takes ``device_seconds`` of the device's clock."""
        return self.margin_s + 2.0 * device_seconds * self.time_factor

    def flush(self) -> None:
        """End a packet that an earlier host may have left half sent, and drop what is under way to us."""
        self.device.transport.write(codec.DELIMITER)
        while self.device.transport.read(0.02 if self.realtime else 0.0):
            pass
        self._stream.clear()
        self._pending.clear()

    def request(self, kind: PacketType, payload: bytes, reply_bytes: int = 0, sink: Sink | None = None) -> Packet:
        """Send a READ or WRITE until it is answered; both may be repeated without harm.

        Results that arrive meanwhile go to ``sink``. Raises :class:`DeviceRefused` for an error that repeating
        cannot cure, :class:`DeviceSilent` or :class:`LinkGarbled` when no answer comes.
        """
        expected = PacketType.READ_REPLY if kind == PacketType.READ else PacketType.WRITE_REPLY
        silent = 0
        received = self.received_bytes
        busy_until: float | None = None
        trouble = ""
        tries, first_s = 0, time.monotonic()
        # Reports of damage do not say whose packet it was. What an earlier host left may be reported many times,
        # quickly: hence the time beside the count.
        while tries < DAMAGED_TRIES or time.monotonic() < first_s + self.margin_s:
            tries += 1
            sequence = self.next_sequence()
            encoded = Packet(kind, sequence, payload).encode()
            self.send(encoded)
            wait = self.timeout_s(self.line_seconds(len(encoded) + reply_bytes + 64))
            deadline = time.monotonic() + wait
            while True:
                try:
                    packet = self.receive(deadline - time.monotonic())
                except codec.CodecError as error:
                    trouble = str(error)
                    break
                if packet is None:
                    silent += 1
                    trouble = "no answer"
                    # A packet whose delimiter was lost swallows the next one: end it first.
                    self.device.transport.write(codec.DELIMITER)
                    break
                if packet.type == PacketType.ERROR:
                    error_reply = self.error_of(packet)
                    if error_reply is None or (packet.sequence == 0 and error_reply.code in TRANSIENT):
                        trouble = "the device received it damaged"
                        break
                    if packet.sequence == sequence:
                        if error_reply.code == Code.BUSY:
                            # The result's last byte may reach us a moment before the device is idle.
                            now = time.monotonic()
                            busy_until = busy_until or now + self.margin_s
                            if now < busy_until:
                                trouble = "the device stayed busy"
                                time.sleep(0.001)
                                break
                        if error_reply.code not in TRANSIENT:
                            raise self.refusal(error_reply)
                        trouble = "the device received it damaged"
                        break
                elif packet.sequence == sequence and packet.type == expected:
                    return packet
                elif packet.type == PacketType.RESULT and sink is not None:
                    sink(packet)
            if silent >= self.silent_tries:
                break
        if self.received_bytes == received:
            raise DeviceSilent(
                f"the device did not answer ({silent} requests, {wait:.1f} s each)",
                self.where,
                f"Check power and cable, or ask `openopu doctor --device {self.where}`",
            )
        raise LinkGarbled(
            f"bytes arrive, but no answer gets through ({trouble})",
            self.where,
            f"Check the baud rate and the cable; `openopu doctor --device {self.where}` tries other rates",
        )

    def error_of(self, packet: Packet) -> ErrorReply | None:
        """What an ERROR packet says, or None if it cannot be read."""
        try:
            return ErrorReply.from_payload(packet.payload)
        except codec.CodecError:
            return None

    def refusal(self, reply: ErrorReply) -> DeviceRefused:
        """The exception for an error reply."""
        try:
            code = Code(reply.code)
            explanation = ERRORS[code]
        except (ValueError, KeyError):
            return DeviceRefused(
                f"unknown error code {reply.code}", self.where, "Host and gateware differ: reflash", reply.code
            )
        what = explanation.what.format(detail=reply.detail)
        if "word address" in explanation.what and (name := name_at(reply.detail)):
            what += f" ({name})"
        return DeviceRefused(f"{code.name}: {what}", self.where, sentence(explanation.next_step), int(code))

    # Registers

    def read(self, *names: str, sink: Sink | None = None) -> dict[str, int]:
        """Values of these registers; neighbours are read in one packet, at one moment."""
        for name in names:
            if name not in REGISTERS:
                raise UsageError(f"there is no register `{name}`", "registers", "See the register map")
        ordered = sorted(REGISTERS[n].address for n in dict.fromkeys(names))
        by_address: dict[int, int] = {}
        start = 0
        for i, address in enumerate(ordered):
            run = i - start + 1
            last = i + 1 == len(ordered) or ordered[i + 1] != address + 1 or run == packets.READ_WORDS_MAX
            if last:
                payload = packets.READ_PAYLOAD.pack(ordered[start], run)
                reply = self.request(PacketType.READ, payload, 4 * run, sink)
                if len(reply.payload) != 4 * run:
                    raise DeviceError(
                        f"a read of {run} words was answered by {len(reply.payload)} bytes", self.where, "Reflash"
                    )
                words = np.frombuffer(reply.payload, dtype="<u4")
                by_address.update({ordered[start] + k: int(w) for k, w in enumerate(words)})
                start = i + 1
        return {n: by_address[REGISTERS[n].address] for n in names}

    def write(self, **values: int) -> None:
        """Write registers by name, in this order, one packet each. Checked here before they are sent.

        Raises
        ------
        UsageError
            An unknown name, or a value out of the register's bounds.
        DeviceRefused
            The device refused.
        """
        for name, value in values.items():
            self.check_register(name, value)
        for name, value in values.items():
            self._write_words(REGISTERS[name].address, [value])

    def check_register(self, name: str, value: int) -> None:
        """Raise :class:`UsageError` if the register does not exist or ``value`` is out of its bounds."""
        if name not in REGISTERS:
            raise UsageError(f"there is no register `{name}`", "registers", "See the register map")
        low, high = REGISTERS[name].bounds(self._geometry or Geometry())
        whole(value, name, low, high)

    def write_window(self, name: str, words: Sequence[int] | NDArray[np.integer], offset: int = 0) -> None:
        """Write ``words`` into a window, in several packets. Raises like :meth:`write`."""
        window = WINDOWS[name]
        geometry = self._geometry or Geometry()
        low, high = window.bounds(geometry)
        values = np.asarray(words, dtype=np.int64)
        if offset + len(values) > window.words(geometry):
            raise UsageError(
                f"{len(values)} words at {offset} do not fit", name, f"It holds {window.words(geometry)} words"
            )
        if len(values) and not (low <= values.min() and values.max() <= high):
            raise UsageError("a word is out of range", name, f"Take {low} to {high}")
        for start in range(0, len(values), WRITE_CHUNK_WORDS):
            self._write_words(window.address + offset + start, values[start : start + WRITE_CHUNK_WORDS].tolist())

    def _write_words(self, address: int, words: Iterable[int]) -> None:
        body = np.asarray(list(words), dtype="<u4").tobytes()
        self.request(PacketType.WRITE, packets.WRITE_HEADER.pack(address) + body)

    # The device as a whole

    def identify(self) -> Identity:
        """Read and check the identity.

        Raises :class:`IdentityMismatch` when the device is no openopu or was built from another declaration.
        """
        names = [f.name for f in dataclasses.fields(Geometry)]
        fixed = self.read("magic", "protocol_hash")
        if fixed["magic"] != MAGIC:
            raise IdentityMismatch(
                f"the device answers, but its magic is {fixed['magic']:#010x}, not {MAGIC:#010x}: it is no openopu",
                self.where,
                "Choose another port",
            )
        if fixed["protocol_hash"] != PROTOCOL_HASH:
            raise IdentityMismatch(
                f"the gateware's declaration is {fixed['protocol_hash']:08x}, the host's {PROTOCOL_HASH:08x}",
                self.where,
                "Flash the gateware of this version, or install the host library that came with the gateware",
            )
        values = self.read("build", "board", "link", "clock_hz", "monitor_cycles", *(f"geometry_{n}" for n in names))
        try:
            geometry = Geometry(**{n: values[f"geometry_{n}"] for n in names})
        except GeometryError as error:
            raise IdentityMismatch(
                f"the device reports an impossible geometry ({error})", self.where, "Reflash"
            ) from error
        self._geometry = geometry
        if values["board"] == BOARD_SIMULATION and self.realtime:
            # A simulator behind an ordinary port: its clock stands still while the host thinks.
            self.realtime = False
            self.time_factor = max(self.time_factor, SIMULATION_TIME_FACTOR)
        divisor = self.read("uart_divisor")["uart_divisor"]
        self.baud = max(values["clock_hz"] // max(divisor, 1), 1)
        return Identity(
            fixed["protocol_hash"],
            values["build"],
            values["board"],
            values["link"],
            values["clock_hz"],
            values["monitor_cycles"],
            geometry,
        )

    def set_baud(self, baud: int, clock_hz: int) -> None:
        """Change the line's rate to the nearest that the device can make."""
        divisor = uart_divisor(baud, clock_hz)
        actual = clock_hz // divisor
        # The answer may be lost in the change; reading at the new rate is the proof.
        with contextlib.suppress(DeviceSilent, LinkGarbled):
            self.write(uart_divisor=divisor)
        self.device.transport.set_baud(actual)
        self.baud = self.chosen_baud = actual
        self.read("magic")

    def wait_idle(
        self, device_seconds: float = SETTLE_S, sink: Sink | None = None, giving_up: Callable[[], bool] = lambda: False
    ) -> None:
        """Return once the device is not busy, or when ``giving_up``; at most ``device_seconds`` of its clock.

        Raises :class:`DeviceSilent` if it stays busy.
        """
        deadline = time.monotonic() + self.timeout_s(device_seconds)
        while True:
            status = self.read("status", sink=sink)["status"]
            if not status >> STATUS_BITS["busy"] & 1 or giving_up():
                return
            if time.monotonic() > deadline:
                raise DeviceSilent(
                    "the device stays busy", self.where, "Reset the board; if it repeats, report its counters"
                )
            time.sleep(0.0005 if self.realtime else 0.0)


def uart_divisor(baud: int, clock_hz: int) -> int:
    """Divisor of the system clock for a rate. Raises :class:`UsageError` where the nearest is off by more than 2 %."""
    register = REGISTERS["uart_divisor"]
    low, high = register.minimum, int(register.maximum)
    divisor = min(max(round(clock_hz / whole(baud, "baud", 1)), low), high)
    actual = clock_hz // divisor
    if abs(actual - baud) > BAUD_ERROR_MAX * baud:
        raise UsageError(f"{baud} baud cannot be made from {clock_hz} Hz", "baud", f"The nearest is {actual}")
    return divisor


def sentence(text: str) -> str:
    """``text`` with a capital first letter."""
    return text[:1].upper() + text[1:]


def name_at(address: int) -> str:
    """Name of the register, or window and index, at a word address; empty where there is none."""
    for register in REGISTERS.values():
        if register.address == address:
            return register.name
    owner = [w for w in WINDOWS.values() if w.address <= address]
    return f"{owner[-1].name}[{address - owner[-1].address}]" if owner else ""


def check_plant(url: DeviceUrl, geometry: Geometry) -> None:
    """Raise :class:`UrlError` where a URL asks for frames that cannot be made with this panel."""
    source = url.parameters.get("plant")
    if source in ("host", "chip") and not geometry.panel_shows_levels:
        kind = PanelKind(geometry.panel_kind)
        raise UrlError(
            f"plant={source} reads patterns back from the panel's pins, which it cannot for a panel of kind "
            f"{kind:d} ({kind.name})",
            str(url),
            "Leave out `plant=`, or take a geometry with panel_kind=0 or 1",
        )


def check_geometry(url: DeviceUrl, identity: Identity) -> None:
    """Raise :class:`UsageError` where the device is not what its URL asks for, or cannot be used so."""
    check_plant(url, identity.geometry)
    for key, actual in (("n", identity.geometry.modes), ("m", identity.geometry.outputs)):
        wanted = url.get_int(key, actual, 1)
        if wanted != actual:
            raise UsageError(
                f"{key}={wanted} was asked for, but the device has {actual}",
                str(url),
                f"Write {key}={actual}, or use gateware built for {wanted}",
            )
