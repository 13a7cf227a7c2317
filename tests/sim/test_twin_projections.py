"""The twin at byte level: which projections it takes, and the integers it computes."""

from __future__ import annotations

import numpy as np
import pytest
from openopu_rtl import binner, expander
from openopu_rtl.protocol import (
    REGISTERS,
    WINDOWS,
    Code,
    Format,
    Geometry,
    PacketType,
    Program,
    Shot,
    codec,
    decode_records,
    packets,
)
from openopu_rtl.protocol.registers import RESULT_BITS
from openopu_rtl.protocol.shots import complement
from openopu_sim.plant import Plant

from .twin_host import DEEP_PLANT, PLANT, SMALL, Host, planes_of, refused, split


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
