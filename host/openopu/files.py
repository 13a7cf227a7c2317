"""Files that are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path``, flush it to the disk, and rename it over what was there.

    A reader, or whoever comes after a power cut, sees the old file or the new one and nothing between.
    Raises ``OSError``; the old file then stands.
    """
    part = part_of(path)
    try:
        with open(part, "wb") as file:
            file.write(content)
            put_in_place(file, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def part_of(path: Path) -> Path:
    """Where the file of that name is written until it is whole; what a killed process left there is written over."""
    return path.with_name(f".{path.name}.part")


def put_in_place(part: BinaryIO, path: Path) -> None:
    """Flush ``part``, the open file at :func:`part_of` ``path``, to the disk, close it, and rename it to ``path``."""
    part.flush()
    os.fsync(part.fileno())
    part.close()
    os.replace(part_of(path), path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # The rename itself must reach the disk. Windows cannot open folders and does this by itself.
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def why_not_written(error: OSError) -> str:
    """Cause and remedy of a failed write, one clause."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no space left ({error.strerror}): free some"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"not allowed ({error.strerror}): take a folder that you may write, or change its permissions"
    return str(error.strerror or error)
