"""Execution of queued projections: planes in, records out, for many projections at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl import accumulator, binner, expander, normaliser, results
from openopu_rtl.monitor import UNITY, weight
from openopu_rtl.protocol import Code, Geometry, Shot, codec
from openopu_rtl.protocol.packets import MONITOR_DTYPE, RECORD_DTYPE, RECORD_FLAGS, encode_records
from openopu_rtl.protocol.registers import RESULT_BITS
from openopu_rtl.protocol.shots import SHOT_FIELDS, SHOT_WORDS

from .plant import ChipPlant, Illumination, Plant
from .twin_registers import WORD, Registers


@dataclass(frozen=True)
class LoadedShot:
    """An entry of the shot table as the loader takes it."""

    shot: Shot
    """With zero ``frames`` and ``exposure_cycles`` raised to 1, as the gateware runs them."""
    fault: Code
    """Why the projection fails, or OK."""
    illumination: Illumination

    @property
    def invalid(self) -> bool:
        return self.fault != Code.OK


@dataclass(frozen=True)
class Records:
    """The records of some projections: heads (count,) of ``RECORD_DTYPE``, packed integers (count, bytes) uint8, and
    the bytes of the readings that follow, (count, bytes) uint8."""

    heads: NDArray[np.void]
    packed: NDArray[np.uint8]
    monitors: NDArray[np.uint8]

    def payload(self, start: int, stop: int) -> bytes:
        """The bytes of records ``start`` to ``stop`` in a RESULT packet."""
        return encode_records(self.heads[start:stop], self.packed[start:stop], self.monitors[start:stop])


@dataclass
class Exposed:
    """What camera and photodiode saw of some projections."""

    binned: NDArray[np.int32]
    """(projections, shots, outputs)."""
    monitors: NDArray[np.uint16]
    """(projections, shots)."""
    pixels: NDArray[np.int32] | None
    """Of a raw readout, (projections, pixels)."""

    def darken(self, row: int, shot: int, first: int, dark: Exposed) -> None:
        """Take from ``dark``, which begins with projection ``row``: readings behind that of its shot ``shot``, and
        frames from its shot ``first`` on."""
        for mine, other, start in (
            (self.binned, dark.binned, first),
            (self.monitors, dark.monitors, shot + 1),
        ):
            mine[row, start:] = other[0, start:]
            mine[row + 1 :] = other[1:]
        if self.pixels is not None and dark.pixels is not None:
            start = int(first == self.monitors.shape[1])  # the rows are those of the last shot
            self.pixels[row + start :] = dark.pixels[start:]


def load_shots(registers: Registers) -> list[LoadedShot]:
    """The program in the shot table."""
    words = registers.windows["shot_table"].reshape(-1, SHOT_WORDS)[: registers["program_length"]].tolist()
    return [_load_shot(entry, registers) for entry in words]


def _load_shot(words: list[int], registers: Registers) -> LoadedShot:
    fields: dict[str, Any] = {
        name: words[word] >> low & ((1 << width) - 1) for name, (word, low, width) in SHOT_FIELDS.items()
    }
    fault = Code.OK
    if fields["plane"] >= registers["planes"] or fields["frames"] == 0 or fields["exposure_cycles"] == 0:
        fault = Code.BAD_SHOT
    elif registers["normalise"] and fields["exposure_cycles"] <= registers["monitor_cycles"]:
        fault = Code.MONITOR_LATE
    fields["frames"] = max(fields["frames"], 1)
    fields["exposure_cycles"] = max(fields["exposure_cycles"], 1)
    shot = Shot(**{n: bool(v) if n in ("invert", "negative") else v for n, v in fields.items()})
    return LoadedShot(shot, fault, illumination(shot, registers, blank=fault != Code.OK))


def illumination(shot: Shot, registers: Registers, blank: bool = False) -> Illumination:
    """What the optics sees of a shot, through the level table. ``blank``: all modes are 0 (before inversion)."""
    table = registers.windows["level_table"]
    on, off = (shot.level_off, shot.level_on) if shot.invert else (shot.level_on, shot.level_off)
    return Illumination(
        None if blank else shot.plane,
        int(table[on]),
        int(table[off]),
        int(table[shot.level_anchor]),
        int(table[shot.level_border]),
        shot.exposure_cycles,
        shot.settle_cycles,
    )


def execute(
    plant: Plant | ChipPlant, registers: Registers, planes: NDArray[np.uint8], first_exposures: NDArray[np.int64]
) -> Records:
    """Run the program for each projection and count its events.

    ``planes`` (projections, planes, modes) of 0 and 1; ``first_exposures`` (projections,).
    """
    g = plant.geometry
    loaded = load_shots(registers)
    shots = [entry.shot for entry in loaded]
    count = len(planes)
    raw = bool(registers["result_raw"])

    def expose(start: int, laser_code: int) -> Exposed:
        """All shots of the projections from ``start`` on."""
        rows = planes[start:], first_exposures[start:], laser_code
        if raw:
            return _expose_frames(plant, registers, loaded, *rows)
        binned, monitors = plant.expose_batch(
            rows[0],
            [entry.illumination for entry in loaded],
            *rows[1:],
            lambda crops: binner.bin_crop(g, crops),
            g.outputs,
        )
        return Exposed(binned, monitors, None)

    exposed = expose(0, registers.laser_code)
    lit = np.full(count, registers.laser_on)
    if (tripping := _over_power(registers, exposed.monitors)) is not None:
        row, shot = tripping
        # The reading comes while a long exposure is still under way, and after a short one. (One that is about as long
        # as a reading takes may go either way in the gateware.)
        first = shot if shots[shot].exposure_cycles > registers["monitor_cycles"] else shot + 1
        exposed.darken(row, shot, first, expose(row, 0))
        lit[row + (first == len(loaded)) :] = False
    binned, monitors = exposed.binned, exposed.monitors
    if registers["normalise"]:
        valid = np.array([not entry.invalid for entry in loaded])
        weights = np.where(valid, weight(monitors, registers["monitor_reference"]), UNITY)
        binned = normaliser.model(binned, weights)
    sums, saturations = accumulator.model(shots, binned)
    if raw:
        assert exposed.pixels is not None
        bits, clipped, saturated = 16, exposed.pixels, np.zeros(count, dtype=np.int64)
    else:
        bits = RESULT_BITS[registers["result_format"]]
        clipped, saturated = results.model(
            sums,
            selection=registers.windows["selection"][: registers["selection_length"]],
            banks=registers["result_banks"],
            shift=registers["result_shift"],
            bits=bits,
        )
    heads = np.zeros(count, dtype=RECORD_DTYPE)
    heads["exposure"] = first_exposures
    heads["saturated"] = np.minimum(saturated, 0xFFFF)
    heads["monitor"] = monitors[:, -1]
    status = next((entry.fault for entry in loaded if entry.invalid), Code.OK)
    failed = status != Code.OK
    heads["status"] = status
    heads["flags"] = (lit | registers.simulated).astype(np.uint8) << RECORD_FLAGS["laser_on"] | (
        saturations > 0
    ).astype(np.uint8) << (RECORD_FLAGS["accumulator_saturated"])
    registers.count("projections", count)
    registers.count("projections_failed", count if failed else 0)
    registers.count("exposures", count * len(loaded))
    registers.count("frames", count * len(loaded))
    registers.count("accumulator_saturations", int(saturations.sum()))
    registers.count("result_saturations", int(saturated.sum()))
    registers["monitor"] = int(monitors[-1, -1])
    readings = monitors.astype(MONITOR_DTYPE) if registers["result_monitors"] else np.empty((count, 0), MONITOR_DTYPE)
    return Records(heads, _pack(clipped, bits), readings.view(np.uint8))


def _over_power(registers: Registers, monitors: NDArray[np.uint16]) -> tuple[int, int] | None:
    """Row and shot of the first reading that trips the laser, which has then tripped; None: no reading does."""
    over = np.flatnonzero(monitors > registers["monitor_limit"])
    if not len(over) or not registers.laser_on:
        return None
    registers.trip_over_power()
    row, shot = divmod(int(over[0]), monitors.shape[1])
    return row, shot


def _expose_frames(
    plant: Plant | ChipPlant,
    registers: Registers,
    loaded: list[LoadedShot],
    planes: NDArray[np.uint8],
    first_exposures: NDArray[np.int64],
    laser_code: int,
) -> Exposed:
    """As :meth:`Plant.expose_batch`, with the rows of each projection's last frame that a raw readout returns."""
    g: Geometry = plant.geometry
    table = registers.windows["level_table"].astype(np.uint8)
    binned = np.empty((len(planes), len(loaded), g.outputs), dtype=np.int32)
    monitors = np.empty((len(planes), len(loaded)), dtype=np.uint16)
    pixels = np.empty((len(planes), g.raw_rows * g.camera_width), dtype=np.int32)
    rows = slice(registers["raw_first_row"], registers["raw_first_row"] + g.raw_rows)
    dark = np.zeros(g.modes, dtype=np.uint8)
    for b, first in enumerate(first_exposures.tolist()):
        for s, entry in enumerate(loaded):
            levels = expander.model(
                g,
                dark if entry.invalid else planes[b, entry.shot.plane],
                invert=entry.shot.invert,
                level_on=entry.shot.level_on,
                level_off=entry.shot.level_off,
                level_anchor=entry.shot.level_anchor,
                level_border=entry.shot.level_border,
                table=table,
            )
            frame, monitors[b, s] = plant.expose_frame(
                levels, (first + s) & WORD, entry.shot.exposure_cycles, laser_code, entry.shot.settle_cycles
            )
            binned[b, s] = binner.model(g, frame)
        pixels[b] = frame[rows].ravel()
    return Exposed(binned, monitors, pixels)


def _pack(values: NDArray[np.int32], bits: int) -> NDArray[np.uint8]:
    """Pack each row of integers; (rows, bytes) uint8."""
    if bits == 12 and values.shape[1] % 2:
        rows = [np.frombuffer(codec.pack_results(row, bits), dtype=np.uint8) for row in values]
        return np.stack(rows)
    # Rows fill whole bytes, so they can be packed in one go.
    return np.frombuffer(codec.pack_results(values.ravel(), bits), dtype=np.uint8).reshape(len(values), -1)
