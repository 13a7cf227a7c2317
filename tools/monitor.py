"""``make monitor``: does the monitor of a drifting medium alarm where it should, and what does drift do to a training?

First, 100,000 projections on a medium that turns and on one that stays, with a look after every 1,000. Then trainings
on media that turn by different angles in the run, calibrated once, or anew whenever the monitor stops the run.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import openopu
from command_line import positive, run_tool
from openopu.calibration import MediumDrifted
from openopu.calibration.calibrate import QUICK, calibrate
from openopu.calibration.monitor import STOP, WARN, Monitor
from openopu.plants import DMD, save
from openopu.train.checkpoint import RunFolder
from openopu.train.command import train
from openopu.train.config import TrainConfig
from openopu.train.data import load

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PROJECTIONS, EVERY = 100_000, 1_000
SHOTS = 4
"""Exposures of a ternary projection."""
STOP_AT = 0.6
"""Share of the run at which the drifting medium reaches the threshold."""
TURNS_RAD = (0.0, 0.3, 1.0, 3.0, 10.0, 100.0)
"""Angles by which the media of the trainings turn in the run."""
HIDDEN = (64, 64)


@contextlib.contextmanager
def medium(drift_rad: float) -> Iterator[str]:
    """URL of a twin whose medium turns by ``drift_rad`` an exposure."""
    plant = dataclasses.replace(DMD, medium=dataclasses.replace(DMD.medium, drift_rad_per_exposure=drift_rad))
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "plant.toml", plant)
        yield f"twin:?n=64&m=256&plant={folder}/plant.toml"


def angle_at(correlation: float) -> float:
    """Turn of the field at which the effective matrix's correlation is that."""
    return math.acos(math.sqrt(correlation))


def watched(drift_rad: float, projections: int, every: int) -> dict[str, Any]:
    """A run of projections with a monitor, to its end or its stop."""
    with medium(drift_rad) as url, openopu.open(url) as opu:
        made = calibrate(opu, ["monitor"], effort=QUICK, dated=False).calibration
        opu.configure(components=10)
        made.apply(opu)
        monitor = Monitor(opu, made, every)
        vectors = np.random.default_rng(1).integers(-1, 2, (every, 10))
        stopped = None
        try:
            for done in range(every, projections + 1, every):
                opu.project(vectors, (done,))
                monitor.due(done)
        except MediumDrifted:
            stopped = monitor.history[-1].exposure
        looks = [(look.exposure, look.correlation) for look in monitor.history]
        warned = next((exposure for exposure, c in looks if c < WARN), None)
        error = [c - math.cos(drift_rad * exposure) ** 2 for exposure, c in looks]
        return {
            "drift_rad_per_exposure": drift_rad,
            "projections": len(looks) * every,
            "warned_at": warned,
            "stopped_at": stopped,
            "expected_warning": angle_at(WARN) / drift_rad if drift_rad else None,
            "expected_stop": angle_at(STOP) / drift_rad if drift_rad else None,
            "lowest": min(c for _, c in looks),
            "rms_error": float(np.sqrt(np.mean(np.square(error)))),
            "looks": looks,
        }


def trained(turn_rad: float, seed: int, epochs: int, again: bool) -> dict[str, Any]:
    """A training on a medium that turns by ``turn_rad`` in it; ``again``: calibrated whenever the monitor stops it."""
    config = TrainConfig(data="digits", hidden=HIDDEN, epochs=epochs, seed=seed)
    data = load(config.data)
    exposures = SHOTS * epochs * len(data.train_labels)
    calibrations = 0
    with medium(turn_rad / exposures) as url, tempfile.TemporaryDirectory() as out, RunFolder(out) as folder:
        base, resume = 0, False  # calibrated at the run's moment
        while True:
            with openopu.open(url, exposure_base=base) as opu:
                made = calibrate(opu, ["monitor"], effort=QUICK, dated=False).calibration
                calibrations += 1
                monitor = Monitor(opu, made, 500 if again else 0)
                try:
                    result = train(config, data, opu, folder, resume=resume, monitor=monitor)
                except MediumDrifted:
                    base, resume = monitor.history[-1].exposure, True
                    continue
                return {"accuracy": result["test_accuracy"], "calibrations": calibrations}


def trainings(turns: Sequence[float], seeds: int, epochs: int) -> list[dict[str, Any]]:
    rows = []
    for turn in turns:
        for again in (False, True):
            if again and not angle_at(STOP) < turn <= 10.0:
                continue  # never stops, or stops at every look
            runs = [trained(turn, seed, epochs, again) for seed in range(seeds)]
            errors = [100 * (1 - run["accuracy"]) for run in runs]
            rows.append(
                {
                    "turn_rad": turn,
                    "recalibrated": again,
                    "calibrations": float(np.mean([run["calibrations"] for run in runs])),
                    "error_percent": float(np.mean(errors)),
                    "standard_error": float(np.std(errors, ddof=1) / math.sqrt(seeds)) if seeds > 1 else None,
                    "errors_percent": errors,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def draw(runs: dict[str, dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for name, colour in (("stable", "#0072b2"), ("drifting", "#d55e00")):
        exposures, correlation = np.array(runs[name]["looks"]).T
        axes.plot(exposures / 1000, correlation, ".", color=colour, label=name, markersize=4)
        expected = np.cos(runs[name]["drift_rad_per_exposure"] * exposures) ** 2
        axes.plot(exposures / 1000, expected, color=colour, linewidth=0.8)
    for level, text in ((WARN, "warn"), (STOP, "stop")):
        axes.axhline(level, color="0.5", linestyle="--", linewidth=0.8)
        axes.annotate(text, (0, level), textcoords="offset points", xytext=(2, 2), fontsize=8)
    axes.set(xlabel="exposures / 1000", ylabel="correlation with the calibration")
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/monitor"))
    parser.add_argument("--docs", type=Path, metavar="DIR", help="also draw the picture there")
    parser.add_argument("--quick", action="store_true", help="5,000 projections, one short training")
    parser.add_argument("--seeds", type=positive, default=5)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    projections, every = (5_000, 250) if args.quick else (PROJECTIONS, EVERY)
    drift = angle_at(STOP) / (STOP_AT * projections * SHOTS)
    runs = {"stable": watched(0.0, projections, every), "drifting": watched(drift, projections, every)}
    for name, run in runs.items():
        print(name, json.dumps({k: v for k, v in run.items() if k != "looks"}), flush=True)
    rows = trainings((1.0,), 1, 1) if args.quick else trainings(TURNS_RAD, args.seeds, 20)
    result = {"runs": runs, "trainings": rows}
    (args.out / "monitor.json").write_text(json.dumps(result, indent=1) + "\n")
    for folder in (args.out, args.docs):
        if folder is not None:
            draw(runs, folder / "drift.png")
    return result


if __name__ == "__main__":
    run_tool(main)
