"""Built things on disk, each under the hash of all that it was made from."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from openopu.errors import DeviceError

KEPT = 24
"""Entries that are kept, the latest used,"""
KEPT_SECONDS = 24 * 3600.0
"""and whatever was used so lately."""


def directory() -> Path:
    """Where built things lie: ``$XDG_CACHE_HOME/openopu``, by default ``~/.cache/openopu``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "openopu"


def key_of(parts: Iterable[str | bytes]) -> str:
    """Hash of all ``parts``; no two lists of parts share one."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:24]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def obtain(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder ``kind-key``, made by ``make(folder)`` if it is not there yet.

    Two processes that want the same thing at once make it once; a failed or killed ``make`` leaves
    nothing behind under that name.
    """
    root = directory()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(
            f"the folder for built simulators cannot be made ({error})",
            str(root),
            "Point XDG_CACHE_HOME to a folder that you can write",
        ) from error
    final = root / f"{kind}-{key}"
    with _locked(root / f"{kind}-{key}.lock"):
        if not final.exists():
            for left in root.glob(f".{kind}-{key}-*"):  # by one that was killed: nobody else makes this now
                shutil.rmtree(left, ignore_errors=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{kind}-{key}-", dir=root))
            try:
                make(temporary)
                temporary.rename(final)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        os.utime(final)
    _forget_old(root)
    return final


def _forget_old(root: Path) -> None:
    """Drop the entries that were not used for longest. A program that still runs survives its file."""
    entries = []
    for path in root.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            with contextlib.suppress(OSError):
                entries.append((path.stat().st_mtime, path))
    for used, path in sorted(entries)[:-KEPT]:
        if time.time() - used > KEPT_SECONDS:
            # Its lock stays: another process may just be waiting for it.
            shutil.rmtree(path, ignore_errors=True)
