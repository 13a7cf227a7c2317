"""The cache of built things: made once, also by two at a time; nothing left of a failure; old ones go."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from openopu.errors import DeviceError
from openopu_sim.bench import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_made_once() -> None:
    calls = []

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "x").write_text("made")

    for _ in range(2):
        assert (cache.obtain("thing", "k", make) / "x").read_text() == "made"
    assert len(calls) == 1


def test_two_processes_make_it_once() -> None:
    program = """
import sys, time
from openopu_sim.bench import cache
def make(folder):
    print("made", flush=True)
    time.sleep(0.5)
    (folder / "x").touch()
assert (cache.obtain("thing", "k", make) / "x").exists()
"""
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [p.communicate(timeout=60)[0] for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert "".join(said) == "made\n"


def test_a_failure_leaves_nothing() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("out of luck")

    killed = cache.directory() / ".thing-k-x"  # as kill -9 leaves it
    killed.mkdir(parents=True)
    with pytest.raises(RuntimeError, match="out of luck"):
        cache.obtain("thing", "k", fail)
    assert not [p for p in cache.directory().iterdir() if p.is_dir()]
    assert cache.obtain("thing", "k", lambda folder: None).exists()


def test_old_entries_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "KEPT", 2)
    old = [cache.obtain("thing", str(i), lambda folder: None) for i in range(4)]
    assert all(p.exists() for p in old)  # all of today
    for i, path in enumerate(old):
        yesterday = time.time() - 2 * cache.KEPT_SECONDS + i
        os.utime(path, (yesterday, yesterday))
    newest = cache.obtain("thing", "new", lambda folder: None)
    assert [p.exists() for p in (*old, newest)] == [False, False, False, True, True]


def test_keys_tell_parts_apart() -> None:
    assert cache.key_of(["ab", "c"]) != cache.key_of(["a", "bc"])


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DeviceError, match="XDG_CACHE_HOME"):
        cache.obtain("thing", "k", lambda folder: None)
