"""The protocol's codec, packets, shots and geometry; referees: the packages `cobs` and `fastcrc`."""

import dataclasses
import zlib

import fastcrc
import numpy as np
import pytest
from cobs import cobs as cobs_referee
from hypothesis import given
from hypothesis import strategies as st
from openopu_rtl.protocol import (
    ErrorReply,
    Format,
    Geometry,
    GeometryError,
    Packet,
    PacketType,
    Program,
    ProgramError,
    Shot,
    codec,
    decode_records,
    encode_project,
    geometry,
    packets,
    shots,
)
from openopu_rtl.protocol.packets import RECORD_DTYPE

# Runs of one value, so that groups of 254 bytes and more come up often.
runs = st.lists(st.tuples(st.sampled_from([0, 0, 1, 255]) | st.integers(0, 255), st.integers(1, 300)), max_size=8)
data = st.binary(max_size=600) | runs.map(lambda pairs: b"".join(bytes([value]) * count for value, count in pairs))


@given(data)
def test_cobs_equals_referee(content):
    encoded = codec.cobs_encode(content)
    assert encoded == cobs_referee.encode(content)
    assert 0 not in encoded
    assert len(encoded) <= len(content) + len(content) // 254 + 1
    assert codec.cobs_decode(encoded) == content


@pytest.mark.parametrize("length", [0, 1, 253, 254, 255, 507, 508, 509])
@pytest.mark.parametrize("tail", [b"", b"\0", b"\0\x01", b"\x01"])
def test_cobs_equals_referee_around_whole_groups(length, tail):
    content = b"\x07" * length + tail
    assert codec.cobs_encode(content) == cobs_referee.encode(content)
    assert codec.cobs_decode(codec.cobs_encode(content)) == content


@given(st.binary(max_size=40) | st.lists(st.integers(0, 6), max_size=30).map(bytes))
def test_cobs_refuses_what_the_referee_refuses(encoded):
    try:
        expected = cobs_referee.decode(encoded)
    except cobs_referee.DecodeError:
        with pytest.raises(codec.CodecError):
            codec.cobs_decode(encoded)
    else:
        assert codec.cobs_decode(encoded) == expected


@given(st.binary(min_size=2, max_size=300))
def test_frame_is_cobs_of_content_and_crc(content):
    framed = codec.frame(content)
    assert framed[-1:] == codec.DELIMITER
    inside = cobs_referee.decode(framed[:-1])
    assert inside[:-4] == content
    assert int.from_bytes(inside[-4:], "little") == fastcrc.crc32.iso_hdlc(content) == zlib.crc32(content)
    assert codec.unframe(framed[:-1]) == content


@given(st.binary(min_size=2, max_size=60), st.data())
def test_unframe_notices_every_single_bit(content, choice):
    encoded = bytearray(codec.frame(content)[:-1])
    encoded[choice.draw(st.integers(0, len(encoded) - 1))] ^= 1 << choice.draw(st.integers(0, 7))
    with pytest.raises(codec.CodecError):
        codec.unframe(bytes(encoded))


@pytest.mark.parametrize("length", range(6))
def test_unframe_refuses_short_packets(length):
    with pytest.raises(codec.CodecError, match="too short"):
        codec.unframe(codec.cobs_encode(b"\x01" * length))


@given(st.lists(st.binary(min_size=2, max_size=20), max_size=5), st.binary(max_size=5), st.integers(0, 3))
def test_split_takes_whole_packets_only(contents, rest, empty):
    rest = rest.replace(b"\0", b"\x01")
    stream = bytearray(codec.DELIMITER * empty + b"".join(codec.frame(c) for c in contents) + rest)
    assert [codec.unframe(encoded) for encoded in packets.split(stream)] == contents
    assert stream == rest


@pytest.mark.parametrize("bits", [8, 12, 16])
@given(choice=st.data())
def test_results_survive_packing(bits, choice):
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    rows = choice.draw(st.integers(1, 3))
    count = choice.draw(st.integers(0, 9))
    values = np.array(
        choice.draw(st.lists(st.integers(low, high), min_size=rows * count, max_size=rows * count)), dtype=np.int32
    ).reshape(rows, count)
    packed = [codec.pack_results(row, bits) for row in values]
    assert {len(row) for row in packed} == {codec.result_bytes(count, bits)}
    # Little-endian: the integers, one after the other, are the digits of one number.
    number = sum((int(v) & ((1 << bits) - 1)) << (bits * k) for k, v in enumerate(values[0]))
    assert int.from_bytes(packed[0], "little") == number
    both = np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(rows, -1)
    np.testing.assert_array_equal(codec.unpack_results(both, count, bits), values)


def test_unpack_results_refuses_a_wrong_length():
    with pytest.raises(codec.CodecError, match="do not hold"):
        codec.unpack_results(np.zeros((2, 4), np.uint8), 3, 12)


@given(st.integers(1, 4), st.integers(1, 5), st.data())
def test_planes_survive_packing(planes, octets, choice):
    modes = 8 * octets
    bits = choice.draw(st.lists(st.booleans(), min_size=planes * modes, max_size=planes * modes))
    array = np.array(bits).reshape(planes, modes)
    packed = codec.pack_planes(array)
    assert len(packed) == planes * octets
    assert [packed[j // 8] >> j % 8 & 1 for j in range(modes)] == list(array[0])  # mode 0 in bit 0 of byte 0
    np.testing.assert_array_equal(codec.unpack_planes(packed, modes), array)


@given(st.sampled_from(PacketType), st.integers(0, 255), st.binary(max_size=100))
def test_packets_survive(kind, sequence, payload):
    packet = Packet(kind, sequence, payload)
    assert Packet.decode(packet.encode()[:-1]) == packet


@given(st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_error_replies_survive(code, detail):
    assert ErrorReply.from_payload(ErrorReply(code, detail).payload()) == ErrorReply(code, detail)
    with pytest.raises(codec.CodecError):
        ErrorReply.from_payload(ErrorReply(code, detail).payload()[:-1])


def test_project_packet():
    planes = np.arange(2 * 3 * 16).reshape(2, 3, 16) % 3 == 0
    packet = Packet.decode(encode_project(7, 0x01020304, planes)[:-1])
    assert (packet.type, packet.sequence) == (PacketType.PROJECT, 7)
    assert packet.payload[:6] == bytes([4, 3, 2, 1, 2, 0])
    np.testing.assert_array_equal(codec.unpack_planes(packet.payload[6:], 16).reshape(2, 3, 16), planes)


@pytest.mark.parametrize(("bits", "raw"), [(8, False), (12, False), (16, False), (16, True)])
def test_result_packet(bits, raw):
    generator = np.random.default_rng(bits)
    form = Format(5, bits, raw)
    head = np.zeros(3, RECORD_DTYPE)
    head["exposure"], head["monitor"], head["status"] = [10, 12, 14], 4095, [0, 38, 0]
    values = generator.integers(-(1 << bits - 1), 1 << bits - 1, (3, 5))
    head["saturated"] = [1, 0x203, 0]
    body = b"".join(
        h.tobytes()[:-2] + codec.pack_results(v, bits) + h.tobytes()[-2:] for h, v in zip(head, values, strict=True)
    )
    packed = np.array([list(codec.pack_results(v, bits)) for v in values], dtype=np.uint8)
    assert packets.encode_records(head, packed) == body
    payload = packets.PROJECT_HEADER.pack(10, 3) + body
    assert len(body) == 3 * form.record_bytes
    first, record = decode_records(payload, form)
    assert first == 10
    np.testing.assert_array_equal(record.head, head)
    np.testing.assert_array_equal(record.values, values & 0xFFFF if raw else values)
    assert list(record.ok) == [True, False, True]
    for wrong in (payload[:-1], payload + b"\0", payload[:5]):
        with pytest.raises(codec.CodecError):
            decode_records(wrong, form)


def test_format_refuses_other_widths():
    with pytest.raises(ValueError, match="8, 12 or 16"):
        Format(1, 10)


def shot_strategy(planes=256):
    fields = {
        name: st.integers(1 if name in ("frames", "exposure_cycles") else 0, (1 << width) - 1)
        for name, (_, _, width) in shots.SHOT_FIELDS.items()
    }
    fields |= {"invert": st.booleans(), "negative": st.booleans(), "plane": st.integers(0, planes - 1)}
    return st.builds(Shot, **fields)


@given(shot_strategy())
def test_shots_survive(shot):
    words = shot.words()
    assert len(words) == shots.SHOT_WORDS
    assert all(0 <= w < 1 << 32 for w in words)
    assert Shot.from_words(words) == shot


def test_shot_fields_do_not_overlap():
    used = [0] * shots.SHOT_WORDS
    for word, low, width in shots.SHOT_FIELDS.values():
        mask = ((1 << width) - 1) << low
        assert mask < 1 << 32
        assert not used[word] & mask
        used[word] |= mask
    assert set(shots.SHOT_FIELDS) == {f.name for f in dataclasses.fields(Shot)}


@pytest.mark.parametrize("name", list(shots.SHOT_FIELDS))
def test_shot_refuses_out_of_range(name):
    _, _, width = shots.SHOT_FIELDS[name]
    with pytest.raises(ProgramError, match=name):
        Shot(**{name: 1 << width})
    with pytest.raises(ProgramError, match=name):
        Shot(**{name: -1})
    if name in ("frames", "exposure_cycles"):
        with pytest.raises(ProgramError, match=name):
            Shot(**{name: 0})


@given(st.lists(shot_strategy(planes=4), min_size=1, max_size=5))
def test_programs_survive(sequence):
    program = Program(tuple(sequence), 4)
    words = program.words()
    assert words.dtype == np.uint32
    table = words.reshape(len(program), shots.SHOT_WORDS)
    assert [Shot.from_words(int(w) for w in row) for row in table] == sequence == list(program)
    assert {s.settle_cycles for s in program.replace(settle_cycles=9)} == {9}


def test_programs_refuse_nonsense():
    with pytest.raises(ProgramError, match="at least one shot"):
        Program(())
    with pytest.raises(ProgramError, match="planes must be"):
        Program((Shot(),), 257)
    with pytest.raises(ProgramError, match="shot 1 shows plane 2"):
        Program((Shot(), Shot(plane=2)), 2)


@pytest.mark.parametrize("planes", [1, 2, 5])
def test_complement_is_balanced_and_drift_free(planes):
    program = shots.complement(planes)
    assert program.balanced
    assert not shots.intensity().balanced
    signs = np.array([-1 if s.negative else 1 for s in program])
    assert all(s.negative == s.invert for s in program)
    assert [s.plane for s in program] == [p for p in range(planes) for _ in (0, 1)]
    if planes % 2 == 0:
        assert signs @ np.arange(len(signs)) == 0


def test_geometry_of_the_simulation():
    g = Geometry()
    assert (g.modes, g.outputs, g.plane_bytes) == (256, 1024, 32)
    assert g.slm_frame_clocks == 80 * 68
    assert Geometry.fitting() == g


@pytest.mark.parametrize("name", list(geometry.PRESETS))
def test_presets_fit(name):
    g = geometry.PRESETS[name]
    assert g.modes % 8 == 0
    assert g.outputs <= 1 << 15


@given(
    st.sampled_from([64, 128, 256, 512, 1024, 4096, 65536]),
    st.sampled_from([256, 768, 1024, 4096]),
    st.sampled_from([8, 10, 12]),
)
def test_fitting_has_the_counts(modes, outputs, pixel_bits):
    g = Geometry.fitting(modes, outputs, pixel_bits)
    assert (g.modes, g.outputs, g.pixel_bits) == (modes, outputs, pixel_bits)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"slm_width": 0}, "slm_width"),
        ({"slm_width": 1 << 16}, "slm_width"),
        ({"macropixel": 2.5}, "macropixel"),
        ({"signal_x": 20}, "signal region"),
        ({"anchor_width": 20}, "anchor region leaves"),
        ({"anchor_x": 48}, "overlaps"),
        ({"crop_x": 17}, "crop leaves"),
        ({"bin": 3}, "whole number of bins"),
        ({"pixel_bits": 9}, "pixel_bits"),
        ({"modes_x": 15, "modes_y": 15}, "multiple of 8"),
        ({"store_bytes": 5000}, "power of two"),
        ({"queue_depth": 12}, "power of two"),
        ({"store_bytes": 64}, "at least 4 planes"),
        ({"raw_rows": 73}, "raw_rows"),
        ({"shot_depth": 257}, "shot_depth"),
        ({"crop_width": 512, "crop_height": 256, "camera_width": 600, "camera_height": 300, "bin": 1}, "32,768"),
    ],
)
def test_geometry_refuses(fields, message):
    with pytest.raises(GeometryError, match=message):
        Geometry(**fields)


def test_fitting_refuses_counts_without_a_shape():
    with pytest.raises(GeometryError, match="no factors near"):
        Geometry.fitting(modes=1009)
