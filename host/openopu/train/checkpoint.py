"""A run's folder: files that are whole or absent, and checkpoints that are verified before use.

Every file is written beside its place, flushed to the disk, and renamed over the old one: a reader, or the run
after a power cut, sees the old file or the new one and nothing between. Checkpoints are NumPy archives without
pickled objects, so that reading one runs no code.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openopu.errors import OpenopuError
from openopu.files import why_not_written, write_whole
from openopu.lock import LOCK_FILE, try_lock

CHECKPOINT_FILE = "checkpoint.npz"
CHECKPOINT_VERSION = 1
RECORD_FILE = "run.json"

_META, _HASH = "meta", "sha256"


class CheckpointError(OpenopuError):
    """A folder that cannot be written, or a checkpoint that cannot be used; the message says what to do."""


def array_sha256(arrays: dict[str, NDArray[Any]]) -> str:
    """Hash of named arrays: names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` whole, or leave what was there. Raises :class:`CheckpointError`."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    kept = "what was saved before is untouched, repeat the command with --resume afterwards"
    return f"{why_not_written(error)}; {kept}"


class RunFolder:
    """The output folder of one run, held by one process at a time. Use it as a context manager.

    Raises :class:`CheckpointError` where it cannot be made or written, or another run holds it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self._lock: Any = None

    def __enter__(self) -> RunFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / LOCK_FILE, "ab")
        except FileExistsError as error:
            raise CheckpointError(f"{self.path} is a file: give --out a folder") from error
        except OSError as error:
            raise CheckpointError(f"cannot write into {self.path}: {_reason(error)}") from error
        if not try_lock(self._lock):
            self._lock.close()
            raise CheckpointError(f"another run is writing into {self.path}: wait for it, or take another --out")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT_FILE

    @property
    def record(self) -> Path:
        return self.path / RECORD_FILE

    def begin(self, *, resume: bool) -> bool:
        """Return whether there is a run to resume. Raises :class:`CheckpointError` rather than overwrite one."""
        if not self.checkpoint.exists():
            return False
        if not resume:
            raise CheckpointError(
                f"{self.path} holds a run: continue it with --resume, or take another folder with --out"
            )
        return True

    def save(self, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Replace the checkpoint. Raises :class:`CheckpointError`."""
        save(self.checkpoint, meta, arrays)

    def load(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The checkpoint's ``(meta, arrays)``. Raises :class:`CheckpointError`."""
        return load(self.checkpoint)

    def calibration(self) -> dict[str, Any] | None:
        """What the run record says of the calibration; None where there is no record, or no whole one."""
        try:
            found = json.loads(self.record.read_text())["calibration"]
        except (OSError, ValueError, TypeError, KeyError):
            return None  # nothing that comes out of the run depends on it
        return found if isinstance(found, dict) and isinstance(found.get("warnings"), list) else None

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace the run record. Raises :class:`CheckpointError`."""
        write_atomic(self.record, (json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def save(path: Path, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a checkpoint: JSON-able ``meta``, named arrays, and the hash of both. Raises :class:`CheckpointError`."""
    text = json.dumps({"version": CHECKPOINT_VERSION, **meta}, sort_keys=True, allow_nan=False)
    content = {**arrays, _META: np.frombuffer(text.encode(), np.uint8)}
    digest = np.frombuffer(bytes.fromhex(array_sha256(content)), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **content, **{_HASH: digest})
    write_atomic(path, buffer.getvalue())


def load(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a checkpoint and verify it. Raises :class:`CheckpointError` for one that is not whole."""
    advice = "restore it from a copy, or begin the run again in another folder"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        # Whatever a damaged archive raises (zip, zlib, NumPy, JSON and memory errors all occur), it means one thing.
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        stored = arrays.pop(_HASH).tobytes().hex()
        meta = json.loads(arrays[_META].tobytes())
    except Exception as error:
        raise CheckpointError(f"{path} is damaged ({error}): {advice}") from error
    if array_sha256(arrays) != stored:
        raise CheckpointError(f"{path} is damaged (its hash differs): {advice}")
    if meta.get("version") != CHECKPOINT_VERSION:
        raise CheckpointError(
            f"{path} has version {meta.get('version')}, this program writes {CHECKPOINT_VERSION}: "
            "continue it with the program that wrote it"
        )
    del arrays[_META]
    return meta, arrays
