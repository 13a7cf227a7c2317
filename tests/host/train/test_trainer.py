"""Training runs: what they learn, that they repeat, and that they go on where they were stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_double import DoubleOpu
from openopu.schemes import Complement
from openopu.train.checkpoint import CheckpointError, RunFolder
from openopu.train.command import train
from openopu.train.config import TrainConfig
from openopu.train.data import Dataset, load
from openopu.train.feedback import Backpropagation, MatrixFeedback, NoFeedback
from openopu.train.optical import OpticalFeedback
from openopu.train.trainer import Diverged, Trainer

SMALL: dict[str, Any] = {"hidden": (24, 16), "batch": 64, "chunk": 32, "epochs": 2, "seed": 7, "checkpoint_steps": 3}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def test_feedback_alignment_learns_and_the_last_layer_alone_does_not(digits: Dataset) -> None:
    config: dict[str, Any] = {"hidden": (64, 64), "epochs": 10, "learning_rate": 4e-3, "batch": 32, "seed": 3}
    accuracy = {
        name: train(TrainConfig(feedback=name, **config), digits, DoubleOpu(noise=15.0))["test_accuracy"]
        for name in ("optical", "ideal", "backprop", "none")
    }
    assert accuracy["optical"] > 0.92
    assert accuracy["ideal"] > 0.94
    assert accuracy["backprop"] > 0.94
    assert accuracy["none"] < accuracy["optical"] - 0.02


@pytest.mark.parametrize("encoding", ["sign", "ternary"])
@pytest.mark.parametrize("rounding", ["stochastic", "threshold"])
def test_every_encoding_teaches(digits: Dataset, encoding: str, rounding: str) -> None:
    config = TrainConfig(
        encoding=encoding, rounding=rounding, hidden=(64,), epochs=4, seed=1, learning_rate=5e-3, batch=32
    )
    result = train(config, digits, DoubleOpu())
    assert result["train_accuracy"] > 0.75
    assert result["alignment_degrees"][0] < 88


def test_equal_runs_have_equal_weights(digits: Dataset) -> None:
    config = TrainConfig(**SMALL)
    first = train(config, digits, DoubleOpu())
    assert first["weights_sha256"] == train(config, digits, DoubleOpu())["weights_sha256"]
    others = [(TrainConfig(**(SMALL | {"seed": 8})), DoubleOpu()), (config, DoubleOpu(noise_seed=9))]
    for other, opu in others:
        assert first["weights_sha256"] != train(other, digits, opu)["weights_sha256"]


def test_images_are_standardised(digits: Dataset) -> None:
    trainer = Trainer(TrainConfig(**(SMALL | {"batch": 1437})), digits, NoFeedback())
    trainer.train_step(np.arange(1437))
    assert trainer.workspace.inputs.mean() == pytest.approx(0, abs=1e-4)
    assert trainer.workspace.inputs.std() == pytest.approx(1, abs=1e-4)


def test_results_do_not_depend_on_the_devices_unit(digits: Dataset) -> None:
    dim, bright = DoubleOpu(noise=0.0), DoubleOpu(noise=0.0)
    bright.full *= 1024.0  # a power of two: exact in floating point
    config = TrainConfig(**SMALL)
    assert train(config, digits, dim)["weights_sha256"] == train(config, digits, bright)["weights_sha256"]


def test_all_chunks_are_under_way_before_the_first_is_awaited(digits: Dataset) -> None:
    class Watched(DoubleOpu):
        def submit(self, errors: np.ndarray, key: tuple[int, ...]) -> Any:
            pending = super().submit(errors, key)
            result = pending.result

            def logged() -> np.ndarray:
                self.log.append("collect")
                return result()

            pending.result = logged  # type: ignore[method-assign]
            return pending

    opu = Watched()
    config = TrainConfig(**(SMALL | {"chunk": 24}))
    feedback = OpticalFeedback(opu, config.hidden, 10, Complement())  # type: ignore[arg-type]
    feedback.prepare(0.1)
    opu.log.clear()
    Trainer(config, digits, feedback).train_step(np.arange(64))
    assert opu.log == ["submit 24", "submit 24", "submit 16", "collect", "collect", "collect"]


def test_chunks_change_nothing_but_rounding(digits: Dataset) -> None:
    matrix = np.random.default_rng(0).standard_normal((40, 10))
    gradients = []
    for chunk in (64, 10):
        feedback = MatrixFeedback(matrix, (24, 16))
        feedback.streams = True
        trainer = Trainer(TrainConfig(**(SMALL | {"chunk": chunk, "optimiser": "sgd"})), digits, feedback)
        trainer.train_step(np.arange(64))
        gradients.append(trainer.network.gradients.copy())
    assert np.abs(gradients[0] - gradients[1]).max() < 1e-6 * np.abs(gradients[0]).max()


def test_without_feedback_only_the_last_layer_moves(digits: Dataset) -> None:
    trainer = Trainer(TrainConfig(**SMALL), digits, NoFeedback())
    before = trainer.network.parameters.copy()
    trainer.train_step(np.arange(64))
    last = trainer.network.spans[-1]
    assert np.array_equal(trainer.network.parameters[: last.start], before[: last.start])
    assert not np.array_equal(trainer.network.parameters[last], before[last])


def test_alignment_angles(digits: Dataset) -> None:
    config = TrainConfig(**(SMALL | {"hidden": (24,)}))
    trainer = Trainer(config, digits, Backpropagation())
    assert trainer.alignment() == [pytest.approx(0, abs=0.1)]
    # Feedback through the transposed weights is back-propagation, through their negative its opposite.
    weights = trainer.network.weights[1]
    assert Trainer(config, digits, MatrixFeedback(weights, (24,))).alignment() == [pytest.approx(0, abs=0.1)]
    assert Trainer(config, digits, MatrixFeedback(-weights, (24,))).alignment() == [pytest.approx(180, abs=0.1)]
    wide = TrainConfig(**(SMALL | {"hidden": (400,)}))
    matrix = np.random.default_rng(1).standard_normal((400, 10))
    assert Trainer(wide, digits, MatrixFeedback(matrix, (400,))).alignment() == [pytest.approx(90, abs=12)]
    assert Trainer(config, digits, NoFeedback()).alignment() == [None]


def test_divergence_is_an_error(digits: Dataset) -> None:
    config = TrainConfig(
        **(SMALL | {"feedback": "backprop", "optimiser": "sgd", "learning_rate": 1e30, "activation": "relu"})
    )
    with np.errstate(all="ignore"), pytest.raises(Diverged, match="Lower --learning-rate"):
        train(config, digits)


# Resuming


def begin(config: TrainConfig, data: Dataset, opu: DoubleOpu) -> Trainer:
    feedback = OpticalFeedback(opu, config.hidden, data.classes, Complement())  # type: ignore[arg-type]
    return Trainer(config, data, feedback)


@pytest.mark.parametrize("steps", [0, 1, 23, 30])
def test_resumed_weights_and_exposures_are_those_of_an_unbroken_run(
    digits: Dataset, tmp_path: Path, steps: int
) -> None:
    config = TrainConfig(**SMALL)
    whole = begin(config, digits, unbroken := DoubleOpu())
    whole.feedback.prepare(0.1)  # type: ignore[attr-defined]
    whole.run()
    with RunFolder(tmp_path) as folder:
        part = begin(config, digits, DoubleOpu())
        part.feedback.prepare(0.1)  # type: ignore[attr-defined]
        part.run(stop_after=steps)
        part.save(folder)
        rest = begin(config, digits, resumed := DoubleOpu())
        rest.restore(*folder.load())
    assert (rest.epoch, rest.step) == divmod(steps, 23)
    rest.run()
    assert rest.weights_sha256() == whole.weights_sha256()
    assert resumed.exposure_next == unbroken.exposure_next
    assert rest.feedback.projections == whole.feedback.projections
    timeless = [[{k: v for k, v in e.items() if k != "seconds"} for e in t.history] for t in (rest, whole)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize(
    ("changes", "opu", "message"),
    [
        ({"learning_rate": 5e-3}, DoubleOpu(), r"begun with learning_rate 0.001 \(now 0.005\)"),
        ({"seed": 8, "epochs": 3}, DoubleOpu(), r"begun with epochs 2 \(now 3\), seed 7 \(now 8\)"),
        ({}, DoubleOpu(seed=5), "matrix is another than at the run's beginning"),
        ({"train_images": 500}, DoubleOpu(), "train_images"),
    ],
)
def test_what_cannot_be_resumed(
    digits: Dataset, tmp_path: Path, changes: dict[str, Any], opu: DoubleOpu, message: str
) -> None:
    with RunFolder(tmp_path) as folder:
        train(TrainConfig(**SMALL), digits, DoubleOpu(), folder)
        config = TrainConfig(**(SMALL | changes))
        with pytest.raises(CheckpointError, match=message):
            train(config, digits.head(config.train_images), opu, folder, resume=True)


def test_another_device_cannot_resume(digits: Dataset, tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        train(TrainConfig(**SMALL), digits, DoubleOpu(), folder)
        other = DoubleOpu()
        other.gateware = "00000001-00000003"
        with pytest.raises(
            CheckpointError, match=r"another device: gateware '00000001-00000002' .now '00000001-00000003'"
        ):
            train(TrainConfig(**SMALL), digits, other, folder, resume=True)


def test_other_data_cannot_resume(digits: Dataset, tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        train(TrainConfig(**SMALL), digits, DoubleOpu(), folder)
        with pytest.raises(CheckpointError, match="begun on other data"):
            train(TrainConfig(**SMALL), digits.head(1400), DoubleOpu(), folder, resume=True)


def test_a_finished_run_resumes_to_its_results(digits: Dataset, tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        first = train(TrainConfig(**SMALL), digits, DoubleOpu(), folder)
        record = json.loads(folder.record.read_text())
        again = train(TrainConfig(**SMALL), digits, DoubleOpu(), folder, resume=True)
    assert again["weights_sha256"] == first["weights_sha256"]
    assert again["projections"] == first["projections"]
    assert record["results"]["weights_sha256"] == first["weights_sha256"]
    assert record["calibration"]["exposure_cycles"] == 1500
    assert [e["epoch"] for e in record["history"]] == [1, 2]
    assert record["config"]["seed"] == 7
    assert {"numpy", "blas", "openopu"} <= record["versions"].keys()


RUN = """
import sys
from device_double import DoubleOpu
from openopu.train.checkpoint import RunFolder
from openopu.train.command import train
from openopu.train.config import TrainConfig
from openopu.train.data import load
config = TrainConfig(hidden=(24, 16), batch=32, chunk=16, epochs=3, seed=7, checkpoint_steps=2)
with RunFolder(sys.argv[1]) as folder:
    resume = folder.begin(resume=True)
    print("started", flush=True)
    print(train(config, load("digits"), DoubleOpu(), folder, resume=resume)["weights_sha256"])
"""


def start(folder: Path) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_kill_at_random_moments_and_resume(tmp_path: Path) -> None:
    with start(tmp_path / "whole") as whole:
        assert whole.stdout is not None
        assert whole.stdout.readline() == "started\n"
        began_s = time.monotonic()
        output, _ = whole.communicate(timeout=60)
        whole_s = time.monotonic() - began_s
    expected = output.split()[-1]
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed of the moments: {seed}")
    draw = random.Random(seed)
    killed = 0
    for _ in range(40):
        with start(tmp_path / "killed") as run:
            assert run.stdout is not None
            assert run.stdout.readline() == "started\n"
            if killed < 4:
                # Four parts of a run: the first falls into it also where this one is three times as quick.
                time.sleep(draw.uniform(0.0, 0.3) * whole_s)
                run.send_signal(signal.SIGKILL)
            output, _ = run.communicate(timeout=60)
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL
        killed += 1
    assert killed >= 1
    assert output.split()[-1] == expected
