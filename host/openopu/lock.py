"""Folders that one process at a time may write into."""

from __future__ import annotations

from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows, where two processes in one folder are not told apart
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = "lock"
"""What a folder's owner opens and locks; the empty file may stay."""


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file, or return False where another holds it.

    The lock ends when the file is closed, and with the process, also by kill -9.
    """
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True
