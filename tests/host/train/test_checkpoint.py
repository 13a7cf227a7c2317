"""Checkpoints: whole or refused, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from openopu.train import checkpoint
from openopu.train.checkpoint import CheckpointError, RunFolder, load, save

META = {"position": {"epoch": 3}, "feedback": {"exposure_next": 12345}}


def arrays(value: float = 1.0) -> dict[str, np.ndarray]:
    return {"parameters": np.full(1000, value, np.float32), "optimiser.mean": np.arange(6.0).reshape(2, 3)}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    save(path, META, arrays())
    meta, content = load(path)
    assert meta == {**META, "version": checkpoint.CHECKPOINT_VERSION}
    assert content.keys() == arrays().keys()
    for name, array in arrays().items():
        assert np.array_equal(content[name], array)
        assert content[name].dtype == array.dtype
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


@pytest.mark.parametrize("position", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_one_flipped_bit_is_refused_or_harmless(tmp_path: Path, position: float) -> None:
    path = tmp_path / "c.npz"
    save(path, META, arrays())
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 0x10
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        # The archive holds a few bytes that carry nothing, such as dates: then nothing is lost.
        _, loaded = load(path)
        assert checkpoint.array_sha256(loaded) == checkpoint.array_sha256(arrays())
        return
    with pytest.raises(CheckpointError, match=r"is damaged .* begin the run again"):
        load(path)


@pytest.mark.parametrize("kept", [0, 10, 2000, -1])
def test_truncated_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "c.npz"
    save(path, META, arrays())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="is damaged"):
        load(path)


def test_changed_content_with_valid_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    save(path, META, arrays())
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    content["parameters"][3] = 2
    np.savez(path, **content)
    with pytest.raises(CheckpointError, match="its hash differs"):
        load(path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    np.savez(path, parameters=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CheckpointError, match="is damaged"):
        load(path)


def test_other_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.npz"
    monkeypatch.setattr(checkpoint, "CHECKPOINT_VERSION", 99)
    save(path, META, arrays())
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has version 99"):
        load(path)


FULL_DISK = """
import resource, signal, sys
import numpy as np
from openopu.train.checkpoint import RunFolder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
with RunFolder(sys.argv[1]) as folder:
    folder.save({"n": 1}, {"parameters": np.ones(1000, np.float32)})
    folder.save({"n": 2}, {"parameters": np.ones(100000, np.float32)})
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of file size are POSIX")
def test_full_disk_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    # A limit on file size stands in for a full disk: the write fails in the middle in the same way.
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert "--resume" in done.stderr
    meta, _ = load(tmp_path / checkpoint.CHECKPOINT_FILE)
    assert meta["n"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [checkpoint.CHECKPOINT_FILE, checkpoint.LOCK_FILE]


def test_failed_rename_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.npz"
    save(path, META, arrays())

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save(path, {}, arrays(2))
    assert load(path)[1]["parameters"][0] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "locked"
    target.mkdir()
    target.chmod(0o500)
    if os.access(target, os.W_OK):  # root may write anywhere: answer as the system would answer others

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(CheckpointError, match=r"cannot write into .*: not allowed"), RunFolder(target):
        pass


def test_out_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(CheckpointError, match="is a file"), RunFolder(tmp_path / "f"):
        pass


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with RunFolder(tmp_path), pytest.raises(CheckpointError, match="another run is writing"), RunFolder(tmp_path):
        pass
    with RunFolder(tmp_path):
        pass


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        assert not folder.begin(resume=False)
        assert not folder.begin(resume=True)
        folder.save({}, arrays())
        assert folder.begin(resume=True)
        with pytest.raises(CheckpointError, match="continue it with --resume"):
            folder.begin(resume=False)


def test_record_is_json(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.write_record({"a": 1})
        assert json.loads(folder.record.read_text()) == {"a": 1}
        with pytest.raises(ValueError, match="not JSON compliant"):
            folder.write_record({"a": float("nan")})
        assert json.loads(folder.record.read_text()) == {"a": 1}
