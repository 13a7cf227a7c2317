"""Which optics a device has that is not real: what a calibration of it holds for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..url import DeviceUrl
from .devices import compose
from .file import find
from .named import NAMED
from .parameters import PlantFileError, PlantParameters

DEFAULT_PLANT, DEFAULT_SEED = "dmd", 1
"""Of a simulation's URL that does not say."""

Optics = Mapping[str, Any]
"""JSON-able: ``frames`` (camera, host or chip), ``plant`` (``name`` and ``sha256`` of its parameters) and the medium's
``seed``; of the chip's medium, which has no parameters, only ``frames``. Empty: real."""


def optics_of(url: DeviceUrl, simulated: bool) -> Optics:
    """What a device's URL says of its optics, with the keys that are not given. ``simulated``: its camera is not real.

    Two are the same optics where :func:`differences` finds nothing. Raises :class:`openopu.errors.UsageError`.
    """
    frames = url.parameters.get("plant", "camera")
    if frames == "chip":
        return {"frames": frames}
    if frames == "host":
        name = url.parameters.get("optics", DEFAULT_PLANT)
    elif simulated:
        frames, name = "camera", url.parameters.get("plant", DEFAULT_PLANT)
    else:
        return {}
    return {
        "frames": frames,
        "plant": {"name": _shown(name), "sha256": fingerprint(find(name))},
        "seed": url.get_int("seed", DEFAULT_SEED, 0, (1 << 64) - 1),
    }


def fingerprint(parameters: PlantParameters) -> str:
    """Hash of a plant's values and the content of a measured medium's file. Raises :class:`PlantFileError`."""
    tables = dataclasses.asdict(parameters)
    if path := parameters.medium.file:
        try:
            with Path(path).open("rb") as file:
                tables["medium"]["file"] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise PlantFileError(
                f"the medium's file cannot be read ({error.strerror or error})", path, "Name a file that exists"
            ) from None
    for table in tables.values():
        for name, value in table.items():
            if isinstance(value, float):
                table[name] = value + 0.0  # -0.0 is 0.0
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()


def differences(then: Optics, now: Optics) -> list[str]:
    """In words, what differs; names of equal plants do not matter."""
    out = []
    for key in sorted({*then, *now}):
        a, b = then.get(key), now.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if a.get("sha256") != b.get("sha256"):
                changed = " (changed)" if a.get("name") == b.get("name") else ""
                out.append(f"{key}: {a.get('name')} there, {b.get('name')}{changed} here")
        elif a != b:
            out.append(f"{key}: {_word(a)} there, {_word(b)} here")
    return out


def _shown(name: str) -> str:
    """As people know it, wherever the file is."""
    if name in NAMED:
        return name
    return name.replace(" ", "+") if compose(name) else Path(name).name


def _word(value: Any) -> str:
    if value is None:
        return "none"
    return str(value["name"]) if isinstance(value, Mapping) and "name" in value else str(value)
