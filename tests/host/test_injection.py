"""Frames from the host: what the transport answers, passes on and refuses, on a line that loses and damages packets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from loopback import FaultyTransport
from openopu import UrlError
from openopu.device import Transport
from openopu.injection import InjectingTransport, ModelError, PatternMismatch, plant_source
from openopu.url import DeviceUrl
from openopu_rtl.protocol import Code, ErrorReply, Geometry, Packet, PacketType, codec, packets
from openopu_rtl.protocol.packets import FRAME_HEADER, FRAME_REPLY_PAYLOAD, Pattern, pixel_bytes
from openopu_rtl.protocol.patterns import panel_crc, panel_frame

GEOMETRIES = {bits: Geometry.fitting(64, 256, pixel_bits=bits) for bits in (8, 12)}


class Waiting(Transport):
    """The device's end: it waits for frames as the declaration says."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.rng = np.random.default_rng(7)
        self.pattern: Pattern | None = None
        self.pixels: list[int] = []
        self.monitor = -1
        self.others: list[Packet] = []
        self.damaged = 0
        self.closed = False
        self._in, self._out = bytearray(), bytearray()

    def expose(self, exposure: int) -> None:
        g = self.geometry
        levels = self.rng.integers(0, 256, g.modes).astype(np.uint8)
        anchor, border = 7, 200
        crc = panel_crc(panel_frame(g, levels, anchor, border))
        self.pattern = Pattern(exposure, 1000, 55, anchor, border, crc, 0, levels)
        self.pixels = []
        self.ask()

    @property
    def waits(self) -> bool:
        return self.pattern is not None and len(self.pixels) < self.geometry.camera_pixels

    def ask(self) -> None:
        assert self.pattern
        pattern = dataclasses.replace(self.pattern, offset=len(self.pixels))
        self.say(Packet(PacketType.PATTERN, 0, pattern.payload()))

    def say(self, packet: Packet) -> None:
        self._out += packet.encode()

    def write(self, data: bytes) -> None:
        self._in += data
        for encoded in packets.split(self._in):
            try:
                packet = Packet.decode(encoded)
            except codec.CodecError:
                self.damaged += 1
                self.say(Packet(PacketType.ERROR, 0, ErrorReply(Code.CRC, 0).payload()))
                continue
            if packet.type == PacketType.FRAME:
                self.take(packet)
            else:
                self.others.append(packet)
                self.say(Packet(PacketType.READ_REPLY, packet.sequence, packet.payload))

    def take(self, packet: Packet) -> None:
        exposure, monitor, offset = FRAME_HEADER.unpack_from(packet.payload)
        assert self.pattern
        if self.waits and (exposure, offset) == (self.pattern.exposure, len(self.pixels)):
            pixels = np.frombuffer(packet.payload, f"<u{pixel_bytes(self.geometry)}", offset=FRAME_HEADER.size)
            self.pixels += pixels.tolist()[: self.geometry.camera_pixels - len(self.pixels)]
            self.monitor = monitor
        self.say(
            Packet(
                PacketType.FRAME_REPLY,
                packet.sequence,
                FRAME_REPLY_PAYLOAD.pack(self.pattern.exposure, len(self.pixels)),
            )
        )

    def read(self, timeout_s: float) -> bytes:
        if not self._out and self.waits:
            self.ask()
        data = bytes(self._out[:37])
        del self._out[:37]
        return data

    def close(self) -> None:
        self.closed = True


class Model:
    """Optics: a frame that depends on all it is given."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.exposures: list[int] = []
        self.closed = False

    def expose_frame(self, levels, exposure_id, exposure_cycles, laser_code):
        g = self.geometry
        self.exposures.append(exposure_id)
        key = (int(levels.astype(np.int64).ravel() @ np.arange(levels.size)), exposure_id, exposure_cycles, laser_code)
        shape = (g.camera_height, g.camera_width)
        return np.random.default_rng(key).integers(0, 1 << g.pixel_bits, shape, dtype=np.uint16), exposure_id % 4096

    def close(self) -> None:
        self.closed = True


def connect(bits=8, rate=0.0, seed=0):
    device = Waiting(GEOMETRIES[bits])
    line = FaultyTransport(device, rate, seed)
    line.on = True
    model = Model(device.geometry)
    return device, model, InjectingTransport(line, device.geometry, model, "test")


def pump(transport: Transport) -> None:
    """Read for good: until it raises."""
    while True:
        transport.read(0.0)


def whole(device: Waiting) -> bool:
    """The frame that the device got is the model's."""
    p, g = device.pattern, device.geometry
    frame, monitor = Model(g).expose_frame(
        panel_frame(g, p.levels, p.anchor, p.border), p.exposure, p.exposure_cycles, p.laser_power
    )
    return device.pixels == frame.ravel().tolist() and device.monitor == monitor


@pytest.mark.parametrize("bits", GEOMETRIES)
def test_each_pattern_is_answered_by_its_frame(bits):
    device, model, transport = connect(bits)
    for exposure in (5, 6, 6, 0xFFFFFFFF):  # an ID may come again with another pattern
        device.expose(exposure)
        while device.waits:
            assert transport.read(0.0) == b""
        assert whole(device)
    assert model.exposures == [5, 6, 6, 0xFFFFFFFF]
    assert transport.repeated == 0
    transport.close()
    assert device.closed
    assert model.closed


@pytest.mark.parametrize("seed", range(3))
def test_a_bad_line_costs_time_but_no_pixel(seed):
    device, model, transport = connect(rate=1e-3, seed=seed)
    for exposure in range(8):
        device.expose(exposure)
        for _ in range(20_000):
            transport.read(0.0)
            if not device.waits:
                break
        assert not device.waits
        assert whole(device)
    assert transport.repeated > 3
    assert model.exposures == list(range(8))  # the optics has to do nothing twice


def test_what_is_not_about_frames_passes_untouched():
    device, _, transport = connect()
    mine = [Packet(PacketType.READ, i, bytes([i, 0, 1, 0])).encode() for i in range(1, 5)]
    got = b""
    device.expose(0)
    for packet in mine:
        transport.write(packet)
        got += transport.read(0.0) + transport.read(0.0)
    while device.waits:
        got += transport.read(0.0)
    device._out += b"\1garbage\0"
    while data := transport.read(0.0):
        got += data
    assert [p.sequence for p in device.others] == [1, 2, 3, 4]
    replies, garbage = got[: -len(b"\1garbage\0")], got[-len(b"\1garbage\0") :]
    assert [Packet.decode(e).sequence for e in packets.split(bytearray(replies))] == [1, 2, 3, 4]
    assert garbage == b"\1garbage\0"


def test_reports_of_damage_reach_whom_they_concern():
    device, model, transport = connect()
    bad = bytearray(Packet(PacketType.READ, 1, b"\0\0\1\0").encode())
    bad[1] ^= 0x40

    def errors(data: bytes) -> int:
        return sum(Packet.decode(e).type == PacketType.ERROR for e in packets.split(bytearray(data)))

    transport.write(bytes(bad))
    assert errors(transport.read(0.0)) == 1  # no frame is under way
    expose_frame = model.expose_frame

    def expose_meanwhile(*arguments):
        transport.write(bytes(bad))  # its report comes when frames have been sent
        return expose_frame(*arguments)

    model.expose_frame = expose_meanwhile
    device.expose(0)
    got = b""
    while device.waits or device._out:
        got += transport.read(0.0)
    assert errors(got) == 1
    assert whole(device)


def test_other_pins_than_asked_are_named():
    device, model, transport = connect()
    device.expose(3)
    device.pattern = dataclasses.replace(device.pattern, crc=device.pattern.crc ^ 1)
    device._out.clear()
    with pytest.raises(PatternMismatch, match=r"exposure 3 the panel's pins showed another pattern.*selftest"):
        pump(transport)
    assert not model.exposures
    assert not device.pixels


@pytest.mark.parametrize(
    ("frame", "reading", "message"),
    [
        (np.zeros((3, 4), dtype=np.uint16), 0, r"frame of \(3, 4\).*optics made for this geometry"),
        (np.zeros((40, 48)), 0, "float64"),
        (np.full((40, 48), 256), 0, "up to 256"),
        (np.zeros((40, 48), dtype=np.uint16), 4096, "reading of 4096"),
    ],
)
def test_optics_that_do_not_fit_are_named(frame, reading, message):
    device, model, transport = connect()
    assert (device.geometry.camera_height, device.geometry.camera_width) == (40, 48)
    model.expose_frame = lambda *_: (frame, reading)
    device.expose(0)
    for _ in range(2):  # also when the device asks again
        with pytest.raises(ModelError, match=message):
            pump(transport)
    assert not device.pixels


def test_a_pattern_of_another_geometry_is_named():
    device, _, transport = connect()
    device.say(Packet(PacketType.PATTERN, 0, bytes(30)))
    with pytest.raises(PatternMismatch, match="does not fit the geometry"):
        pump(transport)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("serial:/dev/null?plant=dmd", "A device has its own optics"),
        ("serial:/dev/null?plant=chip&seed=3", "describes the optics of plant=host"),
        ("socket://h:1?noise=off", "describes the optics of plant=host"),
    ],
)
def test_urls(url, message):
    with pytest.raises(UrlError, match=message):
        plant_source(DeviceUrl.parse(url))
    assert plant_source(DeviceUrl.parse("serial:p?plant=chip")) == "chip"
    assert plant_source(DeviceUrl.parse("serial:p?plant=host&optics=phase&seed=2")) == "host"
    assert plant_source(DeviceUrl.parse("serial:p")) == "camera"
