"""Other programs, run to their end; whatever ends us, nothing of them is left running."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path


def run_to_end(
    command: Sequence[str | Path], folder: Path, seconds: float, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run ``command`` in ``folder``; returns its exit code and what it said.

    Raises ``subprocess.TimeoutExpired`` after ``seconds``. Then, and when we are interrupted, those that it started
    end with it: a shell or make that is killed alone leaves its tools at work for hours.
    """
    with (
        _interrupts_held() as release,
        subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        try:
            release()
            said, _ = process.communicate(timeout=seconds)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
            raise
    return process.returncode, said


@contextlib.contextmanager
def _interrupts_held() -> Iterator[Callable[[], None]]:
    """Interrupts wait until the function that this gives is called.

    One that came while a program is being started would leave it running, as nobody knows it yet.
    """
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():  # no other one is interrupted
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda number, _: came.append(number))

    def release() -> None:
        while before:
            signal.signal(*before.popitem())
        while came:
            signal.raise_signal(came.pop())

    try:
        yield release
    finally:
        release()
