"""The twin at byte level: what it answers and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openopu.device import open_device
from openopu.errors import LinkLost, UrlError
from openopu_rtl.protocol import (
    MAGIC,
    PROTOCOL_HASH,
    REGISTERS,
    WINDOWS,
    Access,
    Code,
    Kind,
    Packet,
    PacketType,
    Shot,
    codec,
    packets,
)
from openopu_rtl.protocol.shots import complement
from openopu_sim.twin_device import TwinDevice

from .twin_host import PLANT, SMALL, Host, planes_of, refused, split

# Registers.


def test_identity(host):
    want = {"magic": MAGIC, "protocol_hash": PROTOCOL_HASH, "board": 1, "link": 1, "clock_hz": 48_000_000}
    want |= {f"geometry_{n}": getattr(SMALL, n) for n in SMALL.__dataclass_fields__}
    assert {name: host.read(name) for name in want} == want


def test_every_register_reads_its_reset_or_refuses(host):
    for r in REGISTERS.values():
        if r.access is Access.WO:
            refused(host.ask(PacketType.READ, packets.READ_PAYLOAD.pack(r.address, 1)), Code.ADDRESS, r.address)
        elif r.kind is Kind.SETTING:
            assert host.read(r.name) == r.reset


def test_every_setting_keeps_its_bounds(host):
    for r in REGISTERS.values():
        if r.kind is Kind.SETTING:
            low, high = r.bounds(SMALL)
            host.set(**{r.name: low})
            host.set(**{r.name: high})
            assert host.read(r.name) == high
            for value in [v for v in (low - 1, high + 1) if 0 <= v < 2**32]:
                refused(host.write(r.address, value), Code.VALUE, r.address)
            assert host.read(r.name) == high
        elif r.access is Access.RO:
            refused(host.write(r.address, 0), Code.READ_ONLY, r.address)


def test_a_read_of_many_words_and_one_that_leaves_the_map(host):
    first = REGISTERS["magic"].address
    reply = host.ask(PacketType.READ, packets.READ_PAYLOAD.pack(first, 3))
    assert np.frombuffer(reply.payload, "<u4").tolist() == [MAGIC, PROTOCOL_HASH, host.read("build")]
    beyond = max(r.address for r in REGISTERS.values()) + 1
    refused(host.ask(PacketType.READ, packets.READ_PAYLOAD.pack(beyond - 1, 2)), Code.ADDRESS, beyond)
    refused(host.ask(PacketType.READ, packets.READ_PAYLOAD.pack(0x8000, 1)), Code.ADDRESS, 0x8000)


def test_words_before_the_failing_one_stay(host):
    first = REGISTERS["link_gap_cycles"].address
    assert REGISTERS["program_length"].address == first + 2
    refused(host.write(first, 100, 77, SMALL.shot_depth + 1, 1), Code.VALUE, first + 2)
    assert (host.read("link_gap_cycles"), host.read("exposure_base"), host.read("exposure_next")) == (100, 77, 77)
    refused(host.write(0xFFFF, 1), Code.ADDRESS, 0xFFFF)


def test_windows_check_bounds_and_length(host):
    for w in WINDOWS.values():
        last = w.address + w.words(SMALL) - 1
        assert host.write(last, w.bounds(SMALL)[1]).type == PacketType.WRITE_REPLY
        refused(host.write(last + 1, 0), Code.ADDRESS, last + 1)
        if w.bounds(SMALL)[1] < 2**32 - 1:
            refused(host.write(w.address, w.bounds(SMALL)[1] + 1), Code.VALUE, w.address)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (PacketType.READ, b""),
        (PacketType.READ, packets.READ_PAYLOAD.pack(0, 0)),
        (PacketType.READ, packets.READ_PAYLOAD.pack(0, packets.READ_WORDS_MAX + 1)),
        (PacketType.READ, packets.READ_PAYLOAD.pack(0, 1) + b"\0"),
        (PacketType.WRITE, b""),
        (PacketType.WRITE, b"\0\0"),
        (PacketType.WRITE, bytes(2 + 5)),
        (PacketType.WRITE, bytes(2 + 4 * packets.WRITE_WORDS_MAX + 4)),
    ],
)
def test_wrong_lengths(host, kind, payload):
    refused(host.ask(kind, payload), Code.LENGTH, kind)


def test_unknown_types(host):
    for kind in (0, 5, PacketType.READ_REPLY, PacketType.ERROR):
        refused(host.ask(kind, b"abc"), Code.UNKNOWN_TYPE, kind)


# Framing.


def test_damaged_packets_are_answered_and_the_next_one_works(host):
    good = Packet(PacketType.READ, 9, packets.READ_PAYLOAD.pack(0, 1)).encode()
    bad = bytearray(good)
    bad[2] ^= 0x40  # the sequence number
    for data, code in (
        (bytes(bad), Code.CRC),
        (b"\x05ab\0", Code.FRAMING),
        (codec.cobs_encode(b"12345") + b"\0", Code.FRAMING),
    ):
        error, reply = split(host.twin.receive(data + good))
        assert error.sequence == 0
        refused(error, code, 0)
        assert (reply.type, reply.sequence) == (PacketType.READ_REPLY, 9)
    assert host.read("packets_damaged") == 3


def test_bytes_may_come_in_any_portions(host):
    whole = b"\0\0" + b"".join(Packet(PacketType.READ, i, packets.READ_PAYLOAD.pack(0, 1)).encode() for i in (1, 2, 3))
    out = b"".join(host.twin.receive(whole[i : i + 1]) for i in range(len(whole)))
    assert [p.sequence for p in split(out)] == [1, 2, 3]
    assert host.read("packets_damaged") == 0


def test_accepted_and_refused_packets_are_counted(host):
    host.ask(9, b"")
    host.ask(PacketType.READ, packets.READ_PAYLOAD.pack(0xFFFF, 1))
    assert host.read("packets_refused") == 2
    assert host.read("packets_accepted") == 4


# Robustness.


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(
                lambda kind, sequence, payload: Packet(kind, sequence, payload).encode(),
                st.sampled_from([0, 1, 2, 3, 4, 0x81, 0xFF]), st.integers(0, 255), st.binary(max_size=60),
            ),
            st.builds(
                lambda address, words: Packet(
                    PacketType.WRITE, 1, packets.WRITE_HEADER.pack(address) + np.array(words, dtype="<u4").tobytes()
                ).encode(),
                st.sampled_from([r.address for r in REGISTERS.values()] + [w.address for w in WINDOWS.values()]),
                st.lists(st.sampled_from([0, 1, 2, 3, 255, 4095, 2**32 - 1]), min_size=1, max_size=6),
            ),
            st.builds(
                lambda first, count, rows: Packet(
                    PacketType.PROJECT, 1, packets.PROJECT_HEADER.pack(first, count) + bytes(range(8)) * rows
                ).encode(),
                st.integers(0, 9), st.integers(0, 3), st.integers(0, 3),
            ),
            st.just(None),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_any_bytes_are_survived(messages):
    """Whatever comes, the twin answers with whole packets, and the next valid packet works."""
    host = Host()
    program = complement(1)
    host.configure(program)
    out = b""
    for message in messages:
        out += host.twin.run() if message is None else host.twin.receive(message)
    split(out + host.twin.receive(b"\0") + host.twin.run())
    assert host.read("magic") == MAGIC
    host.set(plant_source=0)
    host.configure(program, result_raw=0, result_banks=1, exposure_base=5)
    assert host.project(planes_of(1, 1)) == b""
    assert len(split(host.twin.run())) == 1


# The device.


def test_the_url_opens_a_device():
    device = open_device("twin:?n=64&m=64&noise=off&seed=3")
    assert device.name == "twin"
    assert device.arms_itself
    assert not device.realtime
    link = device.transport
    assert link.read(0.0) == b""
    link.write(Packet(PacketType.READ, 1, packets.READ_PAYLOAD.pack(0, 1)).encode())
    assert split(link.read(1.0))[0].type == PacketType.READ_REPLY
    assert device.exact_matrix is not None
    link.close()
    link.close()
    with pytest.raises(LinkLost):
        link.write(b"\0")


def test_the_exact_matrix_follows_power_and_levels():
    twin = TwinDevice(PLANT)
    twin.registers["laser_power"] = 1000
    one = twin.exact_matrix(Shot())
    assert one.shape == (SMALL.outputs, SMALL.modes)
    twin.registers["laser_power"] = 2000
    np.testing.assert_allclose(twin.exact_matrix(Shot()), 2 * one)
    assert not twin.exact_matrix(Shot(level_on=100)).any()


@pytest.mark.parametrize("bad", ["twin:?colour=red", "twin:?interlock=ajar", "twin:?baud=9600"])
def test_bad_urls(bad):
    with pytest.raises(UrlError):
        open_device(bad)
