"""Built things on disk, each under the hash of all that it was made from."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

KEPT = 24
"""Entries that are kept, the latest used."""


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
    root.mkdir(parents=True, exist_ok=True)
    final = root / f"{kind}-{key}"
    with _locked(root / f"{kind}-{key}.lock"):
        if not final.exists():
            temporary = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=root))
            try:
                make(temporary)
                os.rename(temporary, final)
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
    for _, path in sorted(entries)[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
        path.with_name(path.name + ".lock").unlink(missing_ok=True)
