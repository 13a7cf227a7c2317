"""A calibration and its HDF5 file.

The file's attributes say whose calibration it is and when it was made; its groups hold datasets, each with the
attribute ``unit``. ``sha256`` covers names, types, shapes, units, values and attributes. Equal calibrations are equal
bytes: nothing in the file depends on when, where or how fast it was written but the attribute ``created``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import boards
from openopu_rtl.protocol.boards import board_name

from ..files import why_not_written, write_whole
from ..levels import ENTRIES
from ..measure import CALIBRATION_SPAN
from ..panel import Panel
from ..plants import ModulatorKind
from ..plants.optics import differences
from .errors import CalibrationFileError, CalibrationMismatch, CalibrationStale

if TYPE_CHECKING:
    from ..opu import Opu

NAME = "openopu-calibration"
VERSION = 1
MAX_BYTES = 1 << 34
"""Largest file that is read: beyond, it is no calibration of ours."""

AGAIN = "Calibrate: openopu calibrate --device URL --out FILE"


@dataclass(frozen=True)
class Quantity:
    """Values and their unit (``1`` for a pure number)."""

    values: NDArray[Any]
    unit: str


Group = Mapping[str, Quantity]


@dataclass(frozen=True)
class Calibration:
    """What was measured of one device. Arrays come by :meth:`get`, the common ones by attribute."""

    device: Mapping[str, Any]
    """See :func:`identity`."""
    geometry: Mapping[str, int]
    exposure_next: int
    """ID of the run's next exposure when the calibration was begun."""
    laser_power: int
    """Code of the DAC."""
    exposure_cycles: int
    groups: Mapping[str, Group] = field(default_factory=dict)
    created: str = ""
    """ISO 8601, UTC; empty: not told."""

    @property
    def crop(self) -> tuple[int, int, int, int]:
        """First column, first row, width and height of the camera's region, pixels."""
        g = self.geometry
        return g["crop_x"], g["crop_y"], g["crop_width"], g["crop_height"]

    def get(self, path: str) -> NDArray[Any]:
        """The array at ``group/name``. Raises :class:`CalibrationFileError` where it was not measured."""
        group, _, name = path.partition("/")
        try:
            return self.groups[group][name].values
        except KeyError:
            known = ", ".join(f"{g}/{n}" for g in sorted(self.groups) for n in sorted(self.groups[g]))
            raise CalibrationFileError(
                f"the calibration holds no {path}", "calibration", f"It holds: {known or 'nothing'}. {AGAIN}"
            ) from None

    @property
    def dark(self) -> NDArray[np.float32]:
        """(camera_height, camera_width) mean frame without light, DN."""
        return self.get("dark/mean")

    @property
    def flat(self) -> NDArray[np.float32]:
        """(camera_height, camera_width) mean frame over random patterns above the dark one, DN."""
        return self.get("flat/mean")

    @property
    def bad_pixels(self) -> NDArray[np.bool_]:
        """(camera_height, camera_width) whether a pixel is hot or dead."""
        return np.asarray((self.get("bad/hot") | self.get("bad/dead")) != 0)

    @property
    def selection(self) -> NDArray[np.intp]:
        """Outputs that are lit, respond, do not clip and hold no bad pixel, ascending: for ``configure(outputs=)``."""
        return self.get("alignment/selection").astype(np.intp)

    @property
    def row_scale(self) -> NDArray[np.float64]:
        """(outputs,) rms of the effective matrix's row for one mode, DN; proportional to |r_j| for one grain."""
        return self.get("scale/row").astype(np.float64)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(outputs, modes) effective matrix, DN for one unit on one mode, as of ``Device.exact_matrix``."""
        return self.get("matrix/effective").astype(np.float64)

    @property
    def matrix_uncertainty(self) -> NDArray[np.float64]:
        """(outputs, modes) standard error of each entry of :attr:`matrix`, DN."""
        return np.broadcast_to(
            self.get("matrix/uncertainty").astype(np.float64)[:, None], self.get("matrix/effective").shape
        )

    @property
    def complex_matrix(self) -> NDArray[np.complex64]:
        """(outputs, modes) transmission matrix from phase stepping, each row times a complex factor of its own, DN."""
        return np.asarray(self.get("matrix/real") + 1j * self.get("matrix/imag"), dtype=np.complex64)

    @property
    def level_table(self) -> NDArray[np.uint8]:
        """(256,) for :meth:`openopu.Opu.set_level_table`: phase linear in the level."""
        return self.get("levels/table").astype(np.uint8)

    @property
    def time_constant_s(self) -> float:
        """Of the modulator's approach to a new pattern, s; 0: it was there before the shortest wait ended."""
        return float(self.get("settle/time_constant"))

    @property
    def sha256(self) -> str:
        """Hash of all content, hexadecimal."""
        digest = hashlib.sha256()
        for name, value in sorted(self._attributes().items()):
            digest.update(f"{name}={value}\n".encode())
        for group in sorted(self.groups):
            for name in sorted(self.groups[group]):
                q = self.groups[group][name]
                array = np.asarray(q.values, order="C")
                digest.update(f"{group}/{name} {q.unit} {array.dtype.str} {array.shape}\n".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()

    def _attributes(self) -> dict[str, str | int]:
        return {
            "format": f"{NAME}/{VERSION}",
            "created": self.created,
            "device": json.dumps(self.device, sort_keys=True),
            "geometry": json.dumps(self.geometry, sort_keys=True),
            "crop": ",".join(map(str, self.crop)),
            "exposure_next": self.exposure_next,
            "laser_power": self.laser_power,
            "exposure_cycles": self.exposure_cycles,
        }

    def replace(self, **changes: Any) -> Calibration:
        return dataclasses.replace(self, **changes)

    # --- the file --------------------------------------------------------------------------------------------

    def content(self) -> bytes:
        """Bytes of the file; the same for the same calibration."""
        # In memory, so that no half file is ever on the disk, and without times, which HDF5 keeps unless told.
        with h5py.File("calibration", "w", driver="core", backing_store=False, libver="v110") as file:
            for name, value in self._attributes().items():
                file.attrs[name] = value
            file.attrs["sha256"] = self.sha256
            for group in sorted(self.groups):
                into = file.create_group(group)
                for name in sorted(self.groups[group]):
                    q = self.groups[group][name]
                    into.create_dataset(name, data=np.asarray(q.values, order="C"), track_times=False).attrs["unit"] = (
                        q.unit
                    )
            file.flush()
            return bytes(file.id.get_file_image())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file whole. Raises :class:`CalibrationFileError`; what was at ``path`` then stands."""
        try:
            write_whole(Path(path), self.content())
        except OSError as error:
            raise CalibrationFileError(
                f"the calibration cannot be written: {why_not_written(error)}",
                str(path),
                "What was there before is untouched; give another --out, or repeat the command",
            ) from error

    def apply(self, opu: Opu) -> None:
        """Set exposure, laser power, settling time and, of a phase panel, level table and levels, as calibrated.

        They are those of the configured program and of the following ones. A scheme chooses its levels by the level
        table when it is configured: call this before.
        """
        settle = (
            max(int(self.get("settle/cycles")), opu.settings.program.shots[0].settle_cycles)
            if "settle" in self.groups
            else None
        )
        opu.set_exposure(self.exposure_cycles, settle_cycles=settle, laser_power=self.laser_power)
        if "levels" in self.groups:
            if opu.panel is None:
                level, phase = self.get("levels/level"), self.get("levels/phase")
                opu.panel = Panel(ModulatorKind.PHASE, np.interp(np.arange(ENTRIES), level, phase))
            show_phases(opu, self.level_table)

    # --- whose it is -----------------------------------------------------------------------------------------

    def check(self, opu: Opu, max_age_s: float | None = None, max_exposures: int | None = None) -> None:
        """Raise if this is no calibration of ``opu``, or is too old.

        Exposes nothing: :meth:`openopu.calibration.monitor.Monitor.verify` compares the optics, too.

        Raises
        ------
        CalibrationMismatch
            Device, gateware, geometry or (of a simulation) optics are others; the message names the difference.
        CalibrationStale
            Older than ``max_age_s`` seconds, or further than ``max_exposures`` from the present exposure.
        """
        self._refuse_difference("device", self.device, identity(opu), ("optics",))
        if other := differences(self.device.get("optics", {}), opu.device.optics):
            raise CalibrationMismatch(f"it was made with other optics: {', '.join(other)}", "calibration", AGAIN)
        self._refuse_difference("geometry", self.geometry, dataclasses.asdict(opu.geometry))
        if max_age_s is not None and self.created:
            age = (datetime.now(UTC) - datetime.fromisoformat(self.created)).total_seconds()
            if age > max_age_s:
                raise CalibrationStale(
                    f"it was made {_span(age)} ago, at {self.created}; allowed are {_span(max_age_s)}",
                    "calibration",
                    AGAIN,
                )
        if max_exposures is not None:
            gone = (opu.exposure_next - self.exposure_next) % CALIBRATION_SPAN
            gone = min(gone, CALIBRATION_SPAN - gone)
            if gone > max_exposures:
                raise CalibrationStale(
                    f"it was made {gone} exposures from here (at {self.exposure_next}); allowed are {max_exposures}",
                    "calibration",
                    AGAIN,
                )

    def _refuse_difference(
        self, what: str, then: Mapping[str, Any], now: Mapping[str, Any], without: tuple[str, ...] = ()
    ) -> None:
        names = sorted({*then, *now} - {*without})
        other = [f"{n} {then.get(n)!r} (now {now.get(n)!r})" for n in names if then.get(n) != now.get(n)]
        if other:
            raise CalibrationMismatch(f"it was made with another {what}: {', '.join(other)}", "calibration", AGAIN)


def identity(opu: Opu) -> dict[str, Any]:
    """Whose calibration it is, JSON-able: gateware, board, size, clock, and the optics where it is simulated: its
    parameters and the medium's seed, wherever they come from, and not the noise, which differs on a bench, too.

    How a device is reached is left out, and so is whether a simulation computes the gateware (``rtl:``) or its model
    (``twin:``), which give the same integers: a calibration of one holds for the other.
    """
    return {
        "gateware": opu.gateware,
        "board": "simulation"
        if opu.identity.board in (boards.SIMULATION, boards.TWIN)
        else board_name(opu.identity.board),
        "clock_hz": opu.identity.clock_hz,
        "modes": opu.geometry.modes,
        "outputs": opu.geometry.outputs,
        "optics": dict(opu.device.optics),
    }


def show_phases(opu: Opu, table: NDArray[np.uint8]) -> None:
    """Set the level table of a phase panel, and 0 and pi as the configured program's levels."""
    opu.set_level_table(table)
    program = opu.settings.program.replace(level_on=ENTRIES // 2, level_off=0)
    opu.apply(opu.settings.replace(program=program))


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def load(path: str | os.PathLike[str]) -> Calibration:
    """Read a calibration and verify its hash. Raises :class:`CalibrationFileError` that says what is wrong with it."""
    where = str(path)
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise CalibrationFileError("the file is too large for a calibration", where, AGAIN)
        content = Path(path).read_bytes()
    except OSError as error:
        raise CalibrationFileError(
            f"the calibration cannot be read ({error.strerror or error})", where, f"Name a file that exists. {AGAIN}"
        ) from error
    try:
        # Whatever a damaged file makes HDF5 raise (it has many ways), it means one thing.
        with h5py.File(io.BytesIO(content), "r") as file:
            attributes = {name: file.attrs[name] for name in file.attrs}
            _check_format(attributes.get("format"), where)
            groups = {
                group: {n: Quantity(np.asarray(d[()]), str(d.attrs["unit"])) for n, d in datasets.items()}
                for group, datasets in file.items()
            }
            found = Calibration(
                device=json.loads(attributes["device"]),
                geometry=json.loads(attributes["geometry"]),
                exposure_next=int(attributes["exposure_next"]),
                laser_power=int(attributes["laser_power"]),
                exposure_cycles=int(attributes["exposure_cycles"]),
                groups=groups,
                created=str(attributes["created"]),
            )
            whole = found.sha256 == attributes["sha256"] and found.crop == _crop(attributes["crop"])
    except CalibrationFileError:
        raise
    except Exception as error:
        cause = (
            "it is no HDF5 file, or is cut short" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        )
        raise CalibrationFileError(
            f"the file is damaged or no calibration ({cause})", where, f"Restore it from a copy. {AGAIN}"
        ) from error
    if not whole:
        raise CalibrationFileError("the file is damaged (its hash differs)", where, f"Restore it from a copy. {AGAIN}")
    return found


def _crop(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _check_format(text: Any, where: str) -> None:
    match = re.fullmatch(rf"{NAME}/(\d+)", text) if isinstance(text, str) else None
    if match is None:
        raise CalibrationFileError("the file is HDF5, but no calibration of openopu", where, AGAIN)
    if int(match[1]) > VERSION:
        raise CalibrationFileError(
            f"the file has version {match[1]}, this program knows up to {VERSION}",
            where,
            "Update openopu, or calibrate with this version",
        )
