"""The plant file: TOML with one table per part, in which every field must be given. :func:`save` writes a complete one,
with units and sources as comments, to start from."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import why_not_written, write_whole
from .devices import CAMERAS, LASERS, MODULATORS, PHOTODIODE, SHAPE, compose, names
from .named import NAMED
from .parameters import (
    CameraParameters,
    Checked,
    LaserParameters,
    MediumParameters,
    ModulatorParameters,
    PhotodiodeParameters,
    PlantFileError,
    PlantParameters,
    ThermometerParameters,
)

TABLES: dict[str, type[Checked]] = {
    table.TABLE: table
    for table in (
        LaserParameters,
        ModulatorParameters,
        MediumParameters,
        CameraParameters,
        PhotodiodeParameters,
        ThermometerParameters,
    )
}
"""The parts of a plant by the name of their table."""


def is_file(name: str) -> bool:
    """Whether :func:`find` takes ``name`` for a file's. Raises :class:`PlantFileError`."""
    return name not in NAMED and compose(name) is None


def find(name: str) -> PlantParameters:
    """The plant of a name (``dmd``, ``phase``), of named parts (``dlp4500+imx255``), or of a file.

    Raises :class:`PlantFileError`.
    """
    if name in NAMED:
        return NAMED[name]
    return compose(name) or load(name)


def load(path: str | Path) -> PlantParameters:
    """Read a plant file. Raises :class:`PlantFileError` that names the table and the field."""
    where = str(path)
    step = "Write a complete one with `openopu.plants.save(path, openopu.plants.DMD)` and change it"
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        what = f"the plant file cannot be read ({error.strerror or error})"
        raise PlantFileError(what, where, f"Named plants: {', '.join(NAMED)}, {SHAPE} ({names()}). {step}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlantFileError(f"the plant file is no TOML: {error}", where, step) from None
    for name in tables:
        if name not in TABLES:
            raise PlantFileError(f"unknown table [{name}]", where, f"Known: {', '.join(TABLES)}")
    parts: dict[str, Any] = {name: _read_table(where, name, cls, tables.get(name)) for name, cls in TABLES.items()}
    medium = parts["medium"]
    beside = Path(path).parent / medium.file
    if medium.file and beside.is_file():
        parts["medium"] = dataclasses.replace(medium, file=str(beside.resolve()))
    return PlantParameters(**parts)


def _read_table(where: str, name: str, cls: type[Checked], values: Any) -> Checked:
    if not isinstance(values, dict):
        raise PlantFileError(f"the table [{name}] is missing", where, "Every table and field must be given")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise PlantFileError(f"[{name}] has no field {key}", where, f"It has: {', '.join(fields)}")
    for key, f in fields.items():
        if key not in values:
            raise PlantFileError(
                f"[{name}] lacks {key}", where, f"Give it in {f.metadata['unit']}; there is no default on purpose"
            )
    try:
        floats = {k: float(v) if isinstance(v, int) and fields[k].type == "float" and not isinstance(v, bool) else v
                  for k, v in values.items()}  # fmt: skip
        return cls(**floats)
    except OverflowError:
        raise PlantFileError(
            f"[{name}] holds a number too large for a double", where, "Give it in the unit of its comment"
        ) from None
    except PlantFileError as error:
        raise PlantFileError(f"[{error.where}] {error.what}", where, error.next_step) from None


def dumps(parameters: PlantParameters) -> str:
    """The text of a plant file, with unit and source of each field as comments: of a named device where a value comes
    from, else where to find it."""
    devices = [
        *((d.parameters, d.sources) for d in CAMERAS.values()),
        *((d.parameters, d.sources) for d in MODULATORS.values()),
        *((d.parameters, d.sources) for d in LASERS.values()),
        (PHOTODIODE.parameters, PHOTODIODE.sources),
    ]
    lines = ["# Plant of an optical processing unit. SI units; every field is required.", ""]
    for table in TABLES:
        part = getattr(parameters, table)
        lines.append(f"[{table}]")
        sources: Mapping[str, str] = next((told for device, told in devices if device == part), {})
        for f in dataclasses.fields(part):
            value = getattr(part, f.name)
            # A JSON string is a TOML string.
            text = json.dumps(str(value), ensure_ascii=False) if isinstance(value, str) else repr(value)
            source = sources.get(f.name, f.metadata["source"])
            lines += [f"# [{f.metadata['unit']}] {source}", f"{f.name} = {text}"]
        lines.append("")
    return "\n".join(lines)


def save(path: str | Path, parameters: PlantParameters) -> None:
    """Write a plant file that :func:`load` reads back. Raises :class:`PlantFileError`; what was there then stands."""
    try:
        write_whole(Path(path), dumps(parameters).encode())
    except OSError as error:
        raise PlantFileError(
            f"the plant file cannot be written ({why_not_written(error)})", str(path), "Name a folder you may write to"
        ) from None
