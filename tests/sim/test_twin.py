"""The twin at byte level: what it answers, what it refuses, and the integers it computes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openopu.device import open_device
from openopu.errors import LinkLost, UrlError
from openopu_rtl import binner, expander
from openopu_rtl.protocol import (
    MAGIC,
    PROTOCOL_HASH,
    REGISTERS,
    WINDOWS,
    Access,
    Code,
    ErrorReply,
    Format,
    Geometry,
    Kind,
    Packet,
    PacketType,
    Program,
    Shot,
    codec,
    decode_records,
    packets,
)
from openopu_rtl.protocol.registers import RESULT_BITS, STATUS_BITS, TRIP_CAUSES
from openopu_rtl.protocol.shots import complement
from openopu_sim.plant import Plant
from openopu_sim.twin_device import TwinDevice

SMALL = Geometry.fitting(64, 64, queue_depth=4)
PLANT = Plant(SMALL)
"""Shared: it holds no state but its buffers."""
DEEP_PLANT = Plant(dataclasses.replace(SMALL, pixel_bits=12))


class Host:
    """The least that talks to a twin."""

    def __init__(self, plant: Plant = PLANT, **options) -> None:
        self.twin = TwinDevice(plant, **options)
        self.sequence = 0

    def send(self, kind: int, payload: bytes) -> bytes:
        self.sequence = self.sequence % 255 + 1
        return self.twin.receive(Packet(kind, self.sequence, payload).encode())

    def ask(self, kind: int, payload: bytes) -> Packet:
        (packet,) = split(self.send(kind, payload))
        assert packet.sequence == self.sequence
        return packet

    def read(self, name: str) -> int:
        reply = self.ask(PacketType.READ, packets.READ_PAYLOAD.pack(REGISTERS[name].address, 1))
        assert reply.type == PacketType.READ_REPLY
        return int.from_bytes(reply.payload, "little")

    def write(self, address: int, *words: int) -> Packet:
        payload = packets.WRITE_HEADER.pack(address) + np.array(words, dtype="<u4").tobytes()
        return self.ask(PacketType.WRITE, payload)

    def set(self, **values: int) -> None:
        for name, value in values.items():
            assert self.write(REGISTERS[name].address, value).type == PacketType.WRITE_REPLY, name

    def fill(self, window: str, words: np.ndarray) -> None:
        for at in range(0, len(words), 128):
            reply = self.write(WINDOWS[window].address + at, *words[at : at + 128].tolist())
            assert reply.type == PacketType.WRITE_REPLY

    def configure(self, program: Program, **settings: int) -> None:
        self.fill("shot_table", program.words())
        self.set(program_length=len(program), planes=program.planes, selection_length=SMALL.outputs, result_format=2)
        self.set(laser_power=2048, laser_unlock=PROTOCOL_HASH, laser_arm=PROTOCOL_HASH, **settings)

    def project(self, planes: np.ndarray, first: int | None = None) -> bytes:
        header = packets.PROJECT_HEADER.pack(self.read("exposure_next") if first is None else first, len(planes))
        return self.send(PacketType.PROJECT, header + codec.pack_planes(planes))

    def status(self) -> set[str]:
        word = self.read("status")
        return {name for name, bit in STATUS_BITS.items() if word >> bit & 1}


def split(data: bytes) -> list[Packet]:
    stream = bytearray(data)
    found = [Packet.decode(encoded) for encoded in packets.split(stream)]
    assert not stream
    return found


def refused(packet: Packet, code: Code, detail: int) -> None:
    assert packet.type == PacketType.ERROR
    assert ErrorReply.from_payload(packet.payload) == ErrorReply(code, detail)


def planes_of(count: int, planes: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (count, planes, SMALL.modes))


@pytest.fixture
def host() -> Host:
    return Host()


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


# Projections.


def test_no_program(host):
    refused(host.ask(PacketType.PROJECT, bytes(6)), Code.NO_PROGRAM, 0)
    host.configure(complement(2))
    host.set(selection_length=0)
    (error,) = split(host.project(planes_of(1)))
    refused(error, Code.NO_PROGRAM, 0)
    host.set(result_raw=1)
    assert host.project(planes_of(1)) == b""


def test_exposure_mismatch_names_the_next(host):
    host.configure(complement(2), exposure_base=1000)
    (error,) = split(host.project(planes_of(1), first=999))
    refused(error, Code.EXPOSURE_MISMATCH, 1000)
    assert host.project(planes_of(3), first=1000) == b""
    assert host.read("exposure_next") == 1012
    assert host.read("exposure_base") == 1000


def test_project_lengths(host):
    host.configure(complement(2))
    row = codec.pack_planes(planes_of(1))
    for payload in (b"", bytes(5), bytes(6), bytes(6) + row, packets.PROJECT_HEADER.pack(0, 2) + row,
                    packets.PROJECT_HEADER.pack(0, 1) + row + row,
                    packets.PROJECT_HEADER.pack(0, 1) + row[:-1]):  # fmt: skip
        refused(host.ask(PacketType.PROJECT, payload), Code.LENGTH, PacketType.PROJECT)
    assert not host.twin.busy


def test_store_and_queue_are_finite(host):
    host.configure(complement(2))
    fits = SMALL.store_bytes // (2 * SMALL.plane_bytes)
    (error,) = split(host.project(planes_of(fits + 1)))
    refused(error, Code.NO_SPACE, 0)
    assert host.project(planes_of(fits - 1)) == b""
    (error,) = split(host.project(planes_of(2)))
    refused(error, Code.NO_SPACE, 0)
    assert host.project(planes_of(1)) == b""
    assert [p.payload[4] for p in split(host.twin.run())] == [(fits - 1) & 0xFF, 1]
    for _ in range(SMALL.queue_depth):
        assert host.project(planes_of(1)) == b""
    (error,) = split(host.project(planes_of(1)))
    refused(error, Code.NO_SPACE, 0)
    assert len(split(host.twin.run())) == SMALL.queue_depth
    assert host.read("projections") == fits + SMALL.queue_depth


def test_busy_refuses_what_only_an_idle_device_takes(host):
    host.configure(complement(2))
    host.project(planes_of(1))
    assert "busy" in host.status()
    for r in REGISTERS.values():
        if r.idle_only:
            refused(host.write(r.address, r.minimum), Code.BUSY, r.address)
    for w in WINDOWS.values():
        refused(host.write(w.address, 0), Code.BUSY, w.address)
    host.set(heartbeat_cycles=100)
    host.twin.run()
    assert "busy" not in host.status()
    host.set(planes=1)


def test_sequence_and_order_of_results(host):
    host.configure(complement(2), exposure_base=2**32 - 6)
    sequences = []
    for count in (1, 3, 2):
        assert host.project(planes_of(count)) == b""
        sequences.append(host.sequence)
    results = split(host.twin.run())
    assert [p.sequence for p in results] == sequences
    form = Format(SMALL.outputs, 16)
    firsts = [decode_records(p.payload, form)[1].head["exposure"].tolist() for p in results]
    assert firsts == [[2**32 - 6], [2**32 - 2, 2, 6], [10, 14]]
    assert host.read("exposure_next") == 18


# Integers.


def reference(
    plant: Plant, shots: list[Shot], planes: np.ndarray, first: int, code: int, table, selection, banks, shift, bits
):
    """One projection in plain Python, a frame at a time. Returns integers, saturations of both kinds, last frame."""
    sums = [[0] * SMALL.outputs, [0] * SMALL.outputs]
    accumulator_saturations = 0
    for i, shot in enumerate(shots):
        levels = expander.model(
            SMALL, planes[shot.plane], invert=shot.invert, level_on=shot.level_on, level_off=shot.level_off,
            level_anchor=shot.level_anchor, level_border=shot.level_border, table=table,
        )  # fmt: skip
        frame, monitor = plant.expose_frame(levels, (first + i) % 2**32, shot.exposure_cycles, code)
        for j, value in enumerate(binner.model(SMALL, frame).tolist()):
            total = sums[shot.bank][j] + (-1 if shot.negative else 1) * (value << shot.shift)
            held = min(max(total, -(2**31)), 2**31 - 1)
            accumulator_saturations += held != total
            sums[shot.bank][j] = held
    values, saturated = [], 0
    for j in selection:
        for bank in range(banks):
            rounded = (sums[bank][j] + (1 << shift - 1 if shift else 0)) >> shift
            high = (1 << bits - 1) - 1
            values.append(min(max(rounded, -high - 1), high))
            saturated += values[-1] != rounded
    return values, saturated, accumulator_saturations, frame, monitor


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_give_the_integers_of_plain_arithmetic(seed):
    rng = np.random.default_rng(seed)
    wild = seed % 3 == 0  # sums that leave 32 bits
    plant = DEEP_PLANT if wild else PLANT
    host = Host(plant)
    planes_count = int(rng.integers(1, 4))
    shots = [
        Shot(
            plane=int(rng.integers(planes_count)), invert=bool(rng.integers(2)), bank=int(rng.integers(2)),
            negative=bool(rng.integers(4 if wild else 2) == 0), shift=15 if wild else int(rng.integers(4)),
            level_on=int(rng.integers(256)), level_off=int(rng.integers(256)), level_anchor=int(rng.integers(256)),
            level_border=int(rng.integers(256)), exposure_cycles=int(rng.integers(1, 5000)) * (3 if wild else 1),
        )
        for _ in range(20 if wild else rng.integers(1, 9))
    ]  # fmt: skip
    banks, form, shift = int(rng.integers(1, 3)), int(rng.integers(3)), int(rng.integers(32))
    shift = 16 if wild else shift % 6
    selection = rng.integers(0, SMALL.outputs, int(rng.integers(1, SMALL.outputs + 1)))
    table = rng.permutation(256).astype(np.uint8)
    first = int(rng.integers(2**32))
    host.configure(
        Program(tuple(shots), planes_count), result_banks=banks, result_shift=shift, result_format=form,
        exposure_base=first, selection_length=len(selection),
    )  # fmt: skip
    host.fill("selection", selection)
    host.fill("level_table", table)
    planes = planes_of(3, planes_count, seed)
    host.project(planes)
    (result,) = split(host.twin.run())
    got_first, record = decode_records(result.payload, Format(len(selection) * banks, RESULT_BITS[form]))
    assert got_first == first
    totals = np.zeros(2, dtype=int)
    for b in range(3):
        exposure = (first + b * len(shots)) % 2**32
        values, saturated, held, _, monitor = reference(
            plant, shots, planes[b], exposure, 2048, table, selection, banks, shift, RESULT_BITS[form]
        )
        assert record.values[b].tolist() == values
        head = record.head[b]
        assert (head["exposure"], head["saturated"], head["monitor"]) == (exposure, saturated, monitor)
        assert (head["status"], head["flags"]) == (Code.OK, 1 | (held > 0) << 1)
        totals += (saturated, held)
    assert (host.read("result_saturations"), host.read("accumulator_saturations")) == tuple(totals)
    assert (host.read("exposures"), host.read("frames")) == (3 * len(shots),) * 2
    assert host.read("monitor") == monitor
    assert (totals[1] > 0) == wild


def test_raw_readout_is_the_last_frame():
    geometry = Geometry.fitting(64, 64, raw_rows=5)
    plant = Plant(geometry)
    host = Host(plant)
    program = complement(1)
    host.configure(program, result_raw=1, raw_first_row=7, exposure_base=5)
    planes = planes_of(2, 1)
    host.project(planes)
    (result,) = split(host.twin.run())
    _, record = decode_records(result.payload, Format(5 * geometry.camera_width, 16, raw=True))
    for b in range(2):
        _, _, _, frame, monitor = reference(
            plant, list(program), planes[b], 5 + 2 * b, 2048, np.arange(256), [0], 1, 0, 16
        )
        assert record.values[b].tolist() == frame[7:12].ravel().tolist()
        assert record.head["monitor"][b] == monitor
    assert record.head["saturated"].tolist() == [0, 0]
    refused(host.write(REGISTERS["raw_first_row"].address, geometry.camera_height - 4), Code.VALUE,
            REGISTERS["raw_first_row"].address)  # fmt: skip


@pytest.mark.parametrize("fault", ["plane", "frames", "exposure_cycles"])
def test_an_invalid_shot_fails_the_projection_and_keeps_the_ids(host, fault):
    program = complement(2)
    host.configure(program)
    words = program.words()[4:8].tolist()
    if fault == "plane":
        words[0] |= 7
    elif fault == "frames":
        words[0] &= ~(0xFF << 16)
    else:
        words[3] = 0
    host.write(WINDOWS["shot_table"].address + 4, *words)
    planes = planes_of(2)
    host.project(planes)
    (result,) = split(host.twin.run())
    _, record = decode_records(result.payload, Format(SMALL.outputs, 16))
    assert record.head["status"].tolist() == [Code.BAD_SHOT] * 2
    assert record.head["exposure"].tolist() == [0, 4]
    assert host.read("projections_failed") == 2
    assert host.read("exposure_next") == 8
    # All modes 0 before the inversion, for one cycle where it was 0.
    shots = list(program)
    planes = np.concatenate([planes, np.zeros((2, 1, SMALL.modes), dtype=int)], axis=1)
    cycles = 1 if fault == "exposure_cycles" else shots[1].exposure_cycles
    shots[1] = Shot(plane=2, invert=True, negative=True, exposure_cycles=cycles)
    for b in range(2):
        values, *_ = reference(PLANT, shots, planes[b], 4 * b, 2048, np.arange(256), range(SMALL.outputs), 1, 0, 16)
        assert record.values[b].tolist() == values


def test_counters_clear(host):
    host.configure(complement(2))
    host.project(planes_of(2))
    host.twin.run()
    assert host.read("projections") == 2
    host.set(counters_clear=0)
    assert [host.read(n) for n in ("projections", "exposures", "frames", "packets_refused")] == [0] * 4
    # The write that cleared was counted before; the reads since were 4.
    assert host.read("packets_accepted") == 5


def test_accepted_and_refused_packets_are_counted(host):
    host.ask(9, b"")
    host.ask(PacketType.READ, packets.READ_PAYLOAD.pack(0xFFFF, 1))
    assert host.read("packets_refused") == 2
    assert host.read("packets_accepted") == 4


# Laser.


def test_laser_is_dark_until_armed():
    host = Host()
    program = complement(1).replace(exposure_cycles=3000)
    host.configure(program)
    host.set(laser_disarm=0)
    refused(host.write(REGISTERS["laser_arm"].address, PROTOCOL_HASH ^ 1), Code.ARM_KEY, REGISTERS["laser_arm"].address)
    assert host.status() == {"interlock_closed", "heartbeat_fresh"}
    form = Format(SMALL.outputs, 16)
    records = []
    for arm in (False, True):
        if arm:
            host.set(laser_unlock=PROTOCOL_HASH, laser_arm=PROTOCOL_HASH)
            assert host.status() == {"interlock_closed", "heartbeat_fresh", "armed", "laser_on"}
        host.project(planes_of(1, 1))
        (result,) = split(host.twin.run())
        records.append(decode_records(result.payload, form)[1])
    dark, lit = records
    assert dark.head["flags"] == 0
    assert lit.head["flags"] == 1
    assert lit.head["monitor"] > 1000 > 10 >= dark.head["monitor"]
    assert np.abs(lit.values).mean() > 10 * np.abs(dark.values).mean()


def test_arming_takes_two_steps(host):
    unlock, arm = REGISTERS["laser_unlock"].address, REGISTERS["laser_arm"].address
    refused(host.write(arm, PROTOCOL_HASH), Code.ARM_ORDER, arm)
    refused(host.write(unlock, PROTOCOL_HASH ^ 1), Code.ARM_KEY, unlock)
    refused(host.write(arm, PROTOCOL_HASH), Code.ARM_ORDER, arm)
    host.set(laser_unlock=PROTOCOL_HASH, laser_disarm=0)
    refused(host.write(arm, PROTOCOL_HASH), Code.ARM_ORDER, arm)
    host.set(laser_unlock=PROTOCOL_HASH)
    refused(host.write(arm, PROTOCOL_HASH ^ 1), Code.ARM_KEY, arm)
    refused(host.write(arm, PROTOCOL_HASH), Code.ARM_ORDER, arm)
    # No single packet holds both steps in their order.
    assert unlock > arm
    assert "armed" not in host.status()
    host.set(laser_unlock=PROTOCOL_HASH, laser_power=1, laser_arm=PROTOCOL_HASH)
    assert {"laser_on", "armed"} <= host.status()


def test_interlock_trips_and_latches(host):
    host.configure(complement(1))
    host.twin.registers.set_interlock(False)
    assert host.status() == {"heartbeat_fresh", "tripped"}
    assert host.read("trip_cause") == 1 << TRIP_CAUSES["interlock_open"]
    assert host.read("laser_trips") == 1
    for name in ("laser_unlock", "laser_arm"):
        address = REGISTERS[name].address
        refused(host.write(address, PROTOCOL_HASH), Code.INTERLOCK_OPEN, address)
    host.twin.registers.set_interlock(True)
    assert "laser_on" not in host.status()
    host.set(laser_unlock=PROTOCOL_HASH, laser_arm=PROTOCOL_HASH)
    assert {"laser_on", "armed"} <= host.status()
    assert host.read("trip_cause") == 0


def test_over_power_trips_where_armed(host):
    # Too short for a reading to come, and darken it, while it lasts.
    host.configure(complement(1, exposure_cycles=400), monitor_limit=10)
    peaks = []
    for _ in range(2):
        host.project(planes_of(2, 1))
        (result,) = split(host.twin.run())
        record = decode_records(result.payload, Format(SMALL.outputs, 16))[1]
        # The records' readings are those of the last exposures: only the very first was lit, and it tripped.
        assert record.head["flags"].tolist() == [0, 0]
        assert (record.head["monitor"] <= 10).all()
        peaks.append(np.abs(record.values).max(axis=1))
        assert host.read("laser_trips") == 1
    assert peaks[0][0] > 10 * max(peaks[0][1], *peaks[1])
    assert host.status() == {"interlock_closed", "heartbeat_fresh", "tripped"}
    assert host.read("trip_cause") == 1 << TRIP_CAUSES["over_power"]


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
