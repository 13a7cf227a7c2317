"""Programs that we run: nothing of them is left when we are interrupted, or they take too long."""

import contextlib
import signal
import subprocess
import sys
import time

import pytest
from openopu.subprocesses import run_to_end

GRANDCHILD = "sleep 600 & echo $! > pid.part; mv pid.part pid; wait"
"""As make and shells do: the work is done by a child of the program that was started."""
WAITING = f"""
from pathlib import Path
from openopu.subprocesses import run_to_end
run_to_end(["sh", "-c", {GRANDCHILD!r}], Path.cwd(), 600)
"""


def wait_for(what, seconds=60):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid):
    """Whether no such process runs; one that nobody has waited for yet counts as gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"
    return True


def test_an_interrupt_leaves_nothing_running(tmp_path):
    with subprocess.Popen([sys.executable, "-c", WAITING], cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        wait_for((tmp_path / "pid").exists)
        pid = int((tmp_path / "pid").read_text())
        assert not gone(pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
    wait_for(lambda: gone(pid))


def test_an_interrupt_while_it_starts_leaves_nothing_running(tmp_path, monkeypatch):
    started = []

    class InterruptedPopen(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", InterruptedPopen)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_to_end(["sleep", "60"], tmp_path, 60)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(FileNotFoundError):
            run_to_end(["no-such-program"], tmp_path, 60)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(lambda: gone(started[0]), 10)


def test_code_output_and_time(tmp_path):
    assert run_to_end(["sh", "-c", "pwd; echo bad >&2; exit 3"], tmp_path, 60) == (3, f"{tmp_path}\nbad\n")
    with pytest.raises(subprocess.TimeoutExpired):
        run_to_end(["sleep", "600"], tmp_path, 0.1)
