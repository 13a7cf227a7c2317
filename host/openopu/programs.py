"""Other programs, run to their end; whatever ends us, nothing of them is left running."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_to_end(
    command: Sequence[str | Path], folder: Path, seconds: float, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run ``command`` in ``folder``; returns its exit code and what it said.

    Raises ``subprocess.TimeoutExpired`` after ``seconds``. Then, and when we are interrupted, those that it started
    end with it: a shell or make that is killed alone leaves its tools at work for hours.
    """
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=folder,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
            raise
    return process.returncode, said
