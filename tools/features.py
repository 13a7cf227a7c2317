"""The table of docs/features.md: ridge regression on optical random features of Fashion-MNIST.

An image is thresholded to bits, 16 further bits are always on, and a feature is the intensity of one camera pixel in
one exposure, ``|t . b|**2`` (degree 2). Beside the mathematics alone stand a whole bench and its effects, one by one.
Protocol and published figures: https://github.com/joneswack/opu-kernel-experiments (threshold 10, bias 4, targets of
-1 and +1, no intercept, alpha 10,000 for features over the square root of their number).

One run is one case at one number of features; what has ended is kept in --out and not repeated. Times are of one
thread: 1,000 features take some seconds, 10,000 some two minutes, 100,000 (--cases ... --features 100000) the better
part of an hour, and 7 (8 bit) or 14 GiB of memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from command_line import positive, run_tool
from feature_cases import BENCH, CASES, HARD_BENCH, LASER_CODE, MATHEMATICS, WARM, Case
from numpy.typing import NDArray
from openopu.measure import CALIBRATION_EXPOSURES
from openopu.sklearn import OpticalRandomFeatures
from openopu.train.data import Dataset, load
from openopu.url import DeviceUrl
from openopu_rtl.protocol import Geometry
from openopu_sim.plant import DMD, Plant
from openopu_sim.plant.plant import Illumination
from ridge import Integers, cholesky, conjugate_gradients, targets_of

Reals = NDArray[np.float32]

THRESHOLD = 10
"""Pixels above are bits that are on."""
BIAS_BITS = 16
"""Inputs that are always on: the published bias of 4 is one input of that amplitude, which adds 4**2 to the power."""
ALPHA = 1e4
REGION = 10_000
"""Most features of one plant; more are further regions of the sensor, each with rows of its own."""
ROWS = 2000
"""Images at a time."""
BATCH = 100
"""Images that the plant exposes at a time."""
SCALE_ROWS = 256
"""Images that exposure and scale are measured with."""
SAMPLE, TOLERANCE, MOST_PASSES = 6000, 3e-4, 150
"""Of the conjugate gradients: rows that precondition, residual, limit."""
PUBLISHED = {1_000: ("85.1", "83.7-84.3"), 10_000: ("88.2", "86.6-87.8"), 100_000: ("88.7", "87.25")}
"""Test accuracy in % by features: simulation, and machine."""


def bits_of(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(rows, inputs) of 0 and 1: the thresholded pixels, and the inputs that are always on."""
    ones = np.ones((len(images), BIAS_BITS), np.uint8)
    return np.hstack([(images > THRESHOLD).astype(np.uint8), ones])


@dataclasses.dataclass(frozen=True)
class Problem:
    """Bits of the images, (rows, inputs), targets of the training, labels of the test."""

    train: NDArray[np.uint8]
    test: NDArray[np.uint8]
    targets: Reals
    labels: NDArray[np.uint8]


class Optics:
    """Features of one region of the sensor; the case's parameters None: the mathematics alone, in float32."""

    def __init__(self, case: Case, inputs: int, features: int, seed: int) -> None:
        self.ideal = case.plant is None
        geometry = Geometry.fitting(inputs, features, case.bits, bin=case.bin)
        self.plant = Plant(geometry, case.plant or DMD, seed=seed, noise_seed=seed)
        self.count = features
        self._bin = case.bin
        self.black = 0.0 if self.ideal else self.plant.camera.black_dn * case.bin**2
        self.scale = 1.0
        self._fill = case.fill * self.plant.camera.largest * case.bin**2
        self._shot = Illumination(0, 255, 0, 0, 0, 1000)
        if self.ideal:
            entries = self.plant.medium.columns(0, inputs)
            self._parts = np.ascontiguousarray(entries.real), np.ascontiguousarray(entries.imag)

    def calibrate(self, bits: NDArray[np.uint8]) -> None:
        """Choose the exposure for these rows, and find what one lit input adds to the mean of a feature."""
        lit = bits.sum(axis=1, dtype=np.float64)[:, None]
        for _ in range(1 if self.ideal else 6):
            raw = self.raw(bits, CALIBRATION_EXPOSURES).astype(np.float64) - self.black
            if not self.ideal:
                cycles = max(1, round(self._shot.exposure_cycles * self._fill / raw.mean()))
                settled = abs(cycles / self._shot.exposure_cycles - 1) < 0.02
                self._shot = dataclasses.replace(self._shot, exposure_cycles=cycles)
                if settled:
                    break
        self.scale = 1.0 / float((raw / lit).mean())

    def raw(self, bits: NDArray[np.uint8], first: int) -> NDArray[Any]:
        """(rows, features): integers of the camera, the rows exposed from ID ``first`` on, or (ideal) intensities."""
        if self.ideal:
            rows = bits.astype(np.float32)
            out = np.square(rows @ self._parts[0])
            out += np.square(rows @ self._parts[1])
            return out
        out = np.empty((len(bits), self.count), np.int32)
        for row in range(0, len(bits), BATCH):
            planes = bits[row : row + BATCH, None, :]
            ids = first + row + np.arange(len(planes))
            values, _ = self.plant.expose_batch(planes, [self._shot], ids, LASER_CODE, self._outputs, self.count)
            out[row : row + BATCH] = values[:, 0]
        return out

    def _outputs(self, crops: NDArray[np.uint16]) -> NDArray[np.int32]:
        count, height, width = crops.shape
        b = self._bin
        return crops.reshape(count, height // b, b, width // b, b).sum(axis=(2, 4), dtype=np.int32).reshape(count, -1)


def accuracy(scores: NDArray[Any], labels: NDArray[np.uint8]) -> float:
    return float((scores.argmax(axis=1) == labels).mean())


def run(case: Case, features: int, seed: int, data: Dataset, gradients: bool) -> dict[str, Any]:
    """One case; the result for its JSON file."""
    start = time.monotonic()
    problem = Problem(
        bits_of(data.train_images), bits_of(data.test_images), targets_of(data.train_labels, data.classes),
        data.test_labels,
    )  # fmt: skip
    way = _many if features > REGION or (gradients and case.plant) else _few
    result = way(case, features, seed, problem)
    return result | {"case": case.name, "features": features, "seed": seed, "seconds": round(time.monotonic() - start)}


def _few(case: Case, features: int, seed: int, problem: Problem) -> dict[str, Any]:
    train, test = problem.train, problem.test
    optics = Optics(case, train.shape[1], features, seed)
    optics.calibrate(train[:SCALE_ROWS])

    def blocks(bits: NDArray[np.uint8], first: int) -> Iterator[Reals]:
        scale = np.float32(optics.scale / np.sqrt(features))
        for row in range(0, len(bits), ROWS):
            block = optics.raw(bits[row : row + ROWS], first + row).astype(np.float32)
            block -= np.float32(optics.black)
            block *= scale
            yield block

    weights = cholesky(blocks(train, 0), problem.targets, ALPHA).astype(np.float32)
    scores = np.vstack([block @ weights for block in blocks(test, len(train))])
    return {"accuracy": accuracy(scores, problem.labels), "solver": "Cholesky"}


def _many(case: Case, features: int, seed: int, problem: Problem) -> dict[str, Any]:
    """All training features as the camera's integers in memory; those of the test are made in the end."""
    if case.plant is None:
        raise SystemExit("the mathematics alone has no integers to keep: take `12 bit, no noise` beyond 10,000")
    train, test = problem.train, problem.test
    regions = -(-features // REGION)
    kind = np.uint8 if case.bits <= 8 else np.uint16
    needed = len(train) * features * kind(0).nbytes + 4 * min(SAMPLE, features // 3) * features
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    print(f"{case.name}: {needed / 2**30:.1f} GiB needed, {have / 2**30:.1f} free", file=sys.stderr, flush=True)
    values = np.empty((len(train), features), kind)
    parts = []
    for i in range(regions):
        optics = Optics(case, train.shape[1], min(REGION, features - i * REGION), seed + 1000 * i)
        optics.calibrate(train[:SCALE_ROWS])
        parts.append(optics)
        for row in range(0, len(train), ROWS):
            rows, columns = slice(row, row + ROWS), slice(i * REGION, i * REGION + optics.count)
            values[rows, columns] = optics.raw(train[rows], row)
        print(f"{case.name}: region {i + 1} of {regions}", file=sys.stderr, flush=True)
    # One exposure for the whole sensor, so one scale.
    scale = float(np.mean([o.scale for o in parts])) / np.sqrt(features)
    kept = Integers(values, parts[0].black, scale)
    passes = 0
    residual = 1.0

    def report(i: int, worst: float) -> None:
        nonlocal passes, residual
        passes, residual = i, worst
        print(f"{case.name}: pass {i}, residual {worst:.2e}", file=sys.stderr, flush=True)

    weights = conjugate_gradients(
        kept,
        problem.targets,
        ALPHA,
        sample=min(SAMPLE, features // 3),
        tolerance=TOLERANCE,
        most=MOST_PASSES,
        report=report,
    ).astype(np.float32)
    scores = np.zeros((len(test), problem.targets.shape[1]), np.float32)
    for i, optics in enumerate(parts):
        for row in range(0, len(test), ROWS):
            rows = slice(row, row + ROWS)
            block = (optics.raw(test[rows], len(train) + row) - optics.black).astype(np.float32) * np.float32(scale)
            scores[rows] += block @ weights[i * REGION : i * REGION + optics.count]
    return {
        "accuracy": accuracy(scores, problem.labels),
        "solver": "conjugate gradients",
        "passes": passes,
        "residual": residual,
    }


def through_device(url: str, features: int, data: Dataset) -> dict[str, Any]:
    """The same through the transformer and a device: bits, exposure, packets, records and all."""
    start = time.monotonic()
    optical = OpticalRandomFeatures(
        features, device=url, encoder="threshold", threshold=THRESHOLD, bias_bits=BIAS_BITS, random_state=0
    )
    with optical:
        y = optical.fit_transform(data.train_images)
        weights = cholesky([y], targets_of(data.train_labels, data.classes), ALPHA)
        reached = accuracy(optical.transform(data.test_images) @ weights, data.test_labels)
    seconds = round(time.monotonic() - start)
    return {"accuracy": reached, "case": url, "features": features, "seed": 0, "solver": "Cholesky", "seconds": seconds}


def kept(folder: Path, name: str, make: Any) -> dict[str, Any]:
    """The result in ``folder``, made if it is not there."""
    path = folder / (name.translate(str.maketrans(" ,%:?&=/", "--p_____")) + ".json")
    if not path.exists():
        result = make()
        path.write_text(json.dumps(result) + "\n")
        print(json.dumps(result), file=sys.stderr, flush=True)
    return dict(json.loads(path.read_text()))


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row for each case, a column for each number of features; the mean where there are several seeds."""
    counts = sorted({r["features"] for r in results})
    lines = [f"| case | {' | '.join(f'{c:,}' for c in counts)} |", "| --- |" + " --- |" * len(counts)]
    lines.append("| published simulation | " + " | ".join(PUBLISHED.get(c, ("", ""))[0] for c in counts) + " |")
    lines.append("| published machine | " + " | ".join(PUBLISHED.get(c, ("", ""))[1] for c in counts) + " |")
    for name in dict.fromkeys(r["case"] for r in results):
        cells = []
        for count in counts:
            found = [100 * r["accuracy"] for r in results if (r["case"], r["features"]) == (name, count)]
            cells.append(f"{np.mean(found):.2f}" + (f" ({len(found)})" if len(found) > 1 else "") if found else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against features, and what each case costs at the number of features that most cases have."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cases = {c: {r["case"] for r in results if r["features"] == c} for c in sorted({r["features"] for r in results})}
    most = max(cases, key=lambda count: len(cases[count]))
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.5), width_ratios=(1, 1.3), layout="constrained")
    for column, label, mark in ((0, "published simulation", "_"), (1, "published machine", "|")):
        for count, figures in PUBLISHED.items():
            low, _, high = figures[column].partition("-")
            ends = [float(low), float(high or low)]
            left.plot([count] * 2, ends, color=f"C{column}", marker=mark, markersize=12, label=label, lw=4, alpha=0.6)
            label = None  # once in the legend
    for i, name in enumerate((MATHEMATICS, BENCH, WARM, HARD_BENCH)):
        mine = sorted((r["features"], 100 * r["accuracy"]) for r in results if r["case"] == name)
        if mine:
            left.plot(*zip(*mine, strict=True), "o", color=f"C{i + 2}", fillstyle="none", label=name)
    left.set(xscale="log", xlabel="features", ylabel="test accuracy, %", ylim=(81, 89.2))
    left.legend(fontsize=7, loc="lower right")
    at_most = {r["case"]: [] for r in results if r["features"] == most}
    for r in results:
        if r["features"] == most:
            at_most[r["case"]].append(100 * r["accuracy"])
    reference = float(np.mean(at_most.pop(MATHEMATICS)))
    names = list(at_most)[::-1]
    right.barh(names, [np.mean(at_most[n]) - reference for n in names], color="C2")
    right.axvline(0, color="black", lw=0.8)
    right.set(xlabel=f"points, against {reference:.2f} %", title=f"against the mathematics alone, {most:,} features")
    right.tick_params(axis="y", labelsize=7)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/features"))
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--features", type=positive, nargs="+", default=[1000, 10_000])
    known = "; ".join(CASES)
    of = f"of: {known.replace('%', '%%')}; or `all`"
    parser.add_argument("--cases", nargs="+", default=[MATHEMATICS, BENCH], help=of)
    parser.add_argument("--seeds", type=positive, default=1, help="media 1 to SEEDS")
    parser.add_argument("--device", help="also through this device, with the first of --features")
    parser.add_argument(
        "--gradients", action="store_true", help="conjugate gradients at any number of features: half of the time"
    )
    parser.add_argument("--plot", type=Path, help="a picture of the table, .png or .svg")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="to see that it runs: 1,750 images, and 100 features whatever --features says",
    )
    args = parser.parse_args()
    names = list(CASES) if args.cases == ["all"] else args.cases
    for name in names:
        if name not in CASES:
            parser.error(f"there is no case {name!r}; take of: {known}")
    if args.plot and MATHEMATICS not in names:
        parser.error(f"--plot compares with the case {MATHEMATICS!r}: name it in --cases, too")
    if args.plot and args.plot.suffix not in (".png", ".svg"):
        parser.error(f"--plot draws .png or .svg, not {args.plot.name!r}")
    if args.device:
        DeviceUrl.parse(args.device)  # before the cases, which take hours
    args.out.mkdir(parents=True, exist_ok=True)
    data = load(args.data)
    if args.quick:
        data, args.features = data.head(1400, 350), [100]
        print("quick: 1,750 images, --features 100", file=sys.stderr)
    results = []
    for name in names:
        for count in args.features:
            for seed in range(1, args.seeds + 1):
                case = CASES[name]
                results.append(
                    kept(
                        args.out,
                        f"{name}-{count}-{seed}",
                        lambda c=case, m=count, s=seed: run(c, m, s, data, args.gradients),
                    )
                )
    if args.device:
        count = args.features[0]
        results.append(kept(args.out, f"{args.device}-{count}", lambda: through_device(args.device, count, data)))
    print(table(results))
    if args.plot:
        draw(results, args.plot)


if __name__ == "__main__":
    run_tool(main)
