"""Where results go."""

from __future__ import annotations

import tempfile
from pathlib import Path

from openopu.errors import OpenopuError, UsageError
from openopu.files import why_not_written, write_whole


def folder_of(name: str) -> Path:
    """The folder of --out, made where it is absent. Raises :class:`UsageError` before minutes of measuring."""
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(
            f"the folder cannot be written ({why_not_written(error)})", name, "Name another with --out"
        ) from None
    return folder


def save(path: Path, content: bytes) -> None:
    """Write a result whole. Raises :class:`OpenopuError`."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise OpenopuError(
            f"it cannot be written: {why_not_written(error)}", str(path), "Repeat the command, or name another --out"
        ) from None
