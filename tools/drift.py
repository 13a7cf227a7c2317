"""A long run on a drifting medium: does the monitor see it, and what does drift do to training?

Calibrates the reference patterns, runs projections with the monitor between them until the end or the alarm, on a
medium that drifts and on a stable one; then trains on the stable medium, on a drifting one, and on a drifting one that
is calibrated anew whenever the monitor would stop the run.

    python tools/drift.py

Takes a few minutes; --quick a few seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import openopu
from openopu import Encoding, Opu, plants
from openopu.calibration import MediumDrifted
from openopu.calibration.calibrate import calibrate
from openopu.calibration.monitor import STOP, WARN, Monitor
from openopu.train.command import make_feedback
from openopu.train.config import TrainConfig
from openopu.train.data import load
from openopu.train.optical import OpticalFeedback
from openopu.train.trainer import Trainer

SHOTS = 2
CHUNK = 1000


def open_drifting(out: Path, rate: float, geometry: str) -> Opu:
    """The default plant with a medium that drifts at ``rate``, rad per exposure."""
    p = plants.DMD
    file = out / f"drift-{rate:g}.toml"
    plants.save(file, dataclasses.replace(p, medium=dataclasses.replace(p.medium, drift_rad_per_exposure=rate)))
    return openopu.open(f"twin:?plant={file}&{geometry}")


def watched(opu: Opu, projections: int, every: int) -> dict[str, Any]:
    """Run with the monitor; when it warned and stopped, in projections, and all that it saw."""
    opu.expose_to()
    monitor = Monitor(opu, calibrate(opu, only=["monitor"]).calibration, every)
    opu.configure(components=10, encoding=Encoding("sign", "stochastic"))
    opu.exposure_next = 0
    errors = np.random.default_rng(1).standard_normal((CHUNK, 10))
    warned: int | None = None
    stopped: int | None = None
    for done in range(CHUNK, projections + 1, CHUNK):
        opu.project(errors)
        try:
            look = monitor.due(done)
        except MediumDrifted:
            stopped = done
            break
        if look is not None and look.correlation < monitor.warn and warned is None:
            warned = done
    return {
        "warned": warned, "stopped": stopped, "projections": done,
        "correlation": [(look.exposure, look.correlation) for look in monitor.history],
    }  # fmt: skip


def taught(opu: Opu, seed: int, epochs: int, every: int | None) -> dict[str, Any]:
    """Train; with ``every``, a monitor looks after so many updates and calibrates anew below its threshold."""
    digits = load("digits")
    config = TrainConfig(hidden=(64, 64), epochs=epochs, seed=seed)
    feedback = make_feedback(config, opu, digits.classes)
    assert isinstance(feedback, OpticalFeedback)
    feedback.prepare(config.fill)
    trainer = Trainer(config, digits, feedback)
    calibrations = 0

    def fresh() -> Monitor:
        """Calibrate, and go on as before."""
        settings, following = opu.settings, opu.exposure_next
        made = calibrate(opu, only=["monitor"]).calibration
        opu.apply(settings)
        opu.exposure_next = following
        return Monitor(opu, made)

    monitor = fresh()
    while trainer.epoch < config.epochs:
        trainer.run(stop_after=every or 50)
        if every is not None:
            look = monitor.look()
            if look.correlation < STOP:
                monitor = fresh()
                calibrations += 1
    return {
        "accuracy": 100 * trainer.history[-1]["test_accuracy"], "calibrations": calibrations,
        "correlation_at_the_end": monitor.look().correlation, "exposures": opu.exposure_next,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/drift"))
    parser.add_argument("--projections", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=2000, help="projections between two looks")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.projections, args.every, args.seeds, args.epochs = 5000, 1000, 1, 1
    args.out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("openopu").setLevel(logging.ERROR)
    geometry = "n=64&m=128"
    # The warning's correlation is reached after 40 % of the run: cos(angle)**2 = WARN.
    rate = math.acos(math.sqrt(WARN)) / (0.4 * args.projections * SHOTS)
    summary: dict[str, Any] = {"rate": rate}
    for name, r in (("drifting", rate), ("stable", 0.0)):
        with open_drifting(args.out, r, geometry) as opu:
            found = summary[name] = watched(opu, args.projections, args.every)
        lowest = min(c for _, c in found["correlation"])
        print(f"{name}: {found['projections']:,} projections, warned at {found['warned']}, stopped at "
              f"{found['stopped']}, lowest correlation {lowest:.4f}", flush=True)  # fmt: skip
    for threshold in (WARN, STOP):
        print(f"a correlation of {threshold} is at projection {math.acos(math.sqrt(threshold)) / rate / SHOTS:,.0f}")
    # A training of so many exposures turns the medium by one radian.
    steep = 1 / (1437 * 4 * args.epochs)
    summary["training"] = {}
    for name, r, every in (("stable", 0.0, None), ("drifting", steep, None), ("drifting, recalibrated", steep, 10)):
        runs = []
        for seed in range(1, args.seeds + 1):
            with open_drifting(args.out, r, geometry) as opu:
                runs.append(taught(opu, seed, args.epochs, every))
        summary["training"][name] = runs
        accuracy = [run["accuracy"] for run in runs]
        each = " ".join(f"{a:.2f}" for a in accuracy)
        print(f"training, {name}: accuracy {np.mean(accuracy):.2f} % ({each}), "
              f"{np.mean([run['calibrations'] for run in runs]):.1f} calibrations, correlation with the last at the "
              f"end {np.mean([run['correlation_at_the_end'] for run in runs]):.3f}", flush=True)  # fmt: skip
    (args.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
