"""Training through the twin: learning, kill -9 and resume, and what must not be resumed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "openopu.cli", "train", "--data", "digits", "--json"]
SHORT = ["--hidden", "24,16", "--train-images", "256", "--test-images", "50", "--epochs", "2", "--batch", "32",
         "--chunk", "16", "--checkpoint-steps", "2", "--resume"]  # fmt: skip
TIMEOUT_S = 120


def finish(*words: str) -> dict[str, Any]:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finish(*SHORT, "--out", str(tmp_path_factory.mktemp("whole")))


def test_kill_and_resume_on_the_twin(whole: dict[str, Any], tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed of the moments: {seed}")
    draw = random.Random(seed)
    checkpoint = tmp_path / "checkpoint.npz"
    killed = 0
    for _ in range(3):
        with subprocess.Popen(
            [*COMMAND, *SHORT, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as run:
            before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
            # Begin to count when this process has saved something: starting takes longer than training here.
            deadline = time.monotonic() + TIMEOUT_S
            while run.poll() is None and time.monotonic() < deadline:
                if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                    break
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.15))
            run.send_signal(signal.SIGKILL)
            run.communicate(timeout=TIMEOUT_S)
            killed += run.returncode == -signal.SIGKILL
    assert killed >= 1
    result = finish(*SHORT, "--out", str(tmp_path))
    for name in ("weights_sha256", "projections", "test_accuracy", "train_accuracy", "alignment_degrees"):
        assert result[name] == whole[name], name


def test_another_medium_cannot_resume(tmp_path: Path) -> None:
    from openopu.cli import main

    words = ["train", "--data", "digits", *SHORT, "--epochs", "1", "--out", str(tmp_path)]
    assert main(words) == 0
    assert main([*words, "--device", "twin:?noise=off"]) == 1


def test_runs_repeat_on_the_twin(whole: dict[str, Any], tmp_path: Path) -> None:
    assert finish(*SHORT, "--out", str(tmp_path))["weights_sha256"] == whole["weights_sha256"]
    assert finish(*SHORT[:-1], "--seed", "9")["weights_sha256"] != whole["weights_sha256"]


@pytest.mark.slow
def test_digits_are_learnt_through_the_twin() -> None:
    result = finish("--epochs", "20")
    assert result["test_accuracy"] >= 0.93
    assert max(result["alignment_degrees"]) < 85
    assert result["counters"]["projections_failed"] == 0
