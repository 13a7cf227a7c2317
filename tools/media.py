"""``make media``: the statistics of every medium beside theory; plots and tables of docs/media.md.

Distances are Kolmogorov's, between the sample and the distribution that theory gives; beside each stands the bound that
independent draws of that number keep with a probability of 99.9 %.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import matplotlib
import numpy as np
from command_line import run_tool, whole_seed
from openopu_rtl.protocol import Geometry
from openopu_sim.plant.cells import Cells
from openopu_sim.plant.media import Cascade, Counter, Dense, Diffuser, DiffuserMedium, Measured, Medium, statistics

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"dense": "#0072b2", "counter": "#56b4e9", "measured": "#cc79a7", "diffuser": "#d55e00", "thin": "#009e73"}
DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- made by tools/media.py: {} -->", "<!-- end -->"


@dataclasses.dataclass(frozen=True)
class Sample:
    """What is looked at of a medium: entries (inputs, pixels), and intensities of random half lit patterns."""

    entries: np.ndarray
    intensities: np.ndarray
    power: float


def media(geometry: Geometry, seed: int, oversampling: float) -> dict[str, Medium]:
    """One medium of each kind, of the same seed; the measured one from a file of one complex Gaussian matrix."""
    cells = Cells(geometry)
    rng = np.random.default_rng([seed, 1])
    matrix = rng.standard_normal((2, geometry.crop_width * geometry.crop_height, geometry.modes))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.h5"
        with h5py.File(path, "w") as file:
            for name, part in zip(("real", "imag"), matrix, strict=True):
                file.create_dataset(f"matrix/{name}", data=part).attrs["unit"] = "DN**0.5"
        measured = Measured(geometry, cells, path, 12, seed)
    return {
        "dense": Dense(geometry, cells, seed, 12),
        "counter": Counter(geometry, cells, seed, 12),
        "measured": measured,
        "diffuser": DiffuserMedium(geometry, cells, seed, 2, oversampling),
        "thin": DiffuserMedium(geometry, cells, seed, 1, oversampling),
    }


def sample_of(medium: Medium, modes: int, patterns: int, seed: int) -> Sample:
    entries = medium.columns(0, modes)
    shown = np.random.default_rng(seed).integers(0, 2, (patterns, modes)).astype(np.float32)
    return Sample(entries, np.abs(shown @ entries) ** 2, medium.power)


def figures_of(sample: Sample, share: float) -> dict[str, float]:
    entries = sample.entries
    n, m = entries.shape
    values = statistics.spectrum(entries.T)
    return {
        "power": float(np.mean(np.abs(entries) ** 2) / sample.power),
        "kurtosis": statistics.kurtosis(entries),
        "normal": max(statistics.normal_distance(part) for part in (entries.real, entries.imag)),
        "rayleigh": statistics.rayleigh_distance(entries),
        "entries_bound": statistics.ks_bound(entries.size),
        "exponential": statistics.exponential_distance(sample.intensities),
        "contrast": float(sample.intensities.std() / sample.intensities.mean()),
        "spectrum_variance": float(values.var()),
        "marchenko_pastur": statistics.distance(values, statistics.marchenko_pastur(values, n / m)),
        "unitary_block": statistics.distance(values, statistics.unitary_block(values, n / m, share)),
    }


def kernels_of(project: Callable[[np.ndarray], np.ndarray], n: int, seed: int) -> list[dict[str, float]]:
    """Mean product of two intensities, over the outputs, beside the kernel, for pairs of several overlaps."""
    rng = np.random.default_rng(seed)
    rows = []
    for overlap in np.linspace(-1, 1, 9):
        x = rng.standard_normal(n)
        y = overlap * x + np.sqrt(1 - overlap**2) * rng.standard_normal(n)
        a, b = (v.astype(np.float64) for v in project(np.stack([x, y]).astype(np.float32)))
        want = statistics.kernel(x, y)
        products = a * b / want
        rows.append(
            {
                "cosine": float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)),
                "norms": float((x @ x) * (y @ y)),
                "ratio": float(products.mean()),
                "error": float(products.std() / len(products) ** 0.5),
            }
        )
    return rows


def grains(seed: int, quick: bool) -> list[dict[str, float]]:
    """Grain asked for and found, of a dense medium and of a diffuser."""
    side, inputs = (48, 32) if quick else (96, 64)
    geometry = dataclasses.replace(
        Geometry.fitting(64, 64), camera_width=side, camera_height=side, raw_rows=side,
        crop_x=0, crop_y=0, crop_width=side, crop_height=side,
    )  # fmt: skip
    cells, rows = Cells(geometry), []
    for grain in (1.0, 1.5, 2.0, 3.0, 4.0):
        found = {}
        for name, medium in (
            ("dense", Dense(geometry, cells, seed, 12, grain)),
            ("diffuser", DiffuserMedium(geometry, cells, seed, 2, 4.0, grain)),
        ):
            found[name] = statistics.grain(medium.columns(0, inputs).reshape(inputs, side, side))
        rows.append({"asked": grain, **found})
    return rows


def spectra(seed: int, quick: bool) -> list[dict[str, float]]:
    """Spectra of diffusers of more and more layers and oversampling."""
    n, m = (60, 150) if quick else (400, 1000)
    rows = []
    for layers in (1, 2, 3):
        for oversampling in (1.5, 2.0, 4.0, 8.0, 16.0):
            d = Diffuser(n, m, seed, layers, oversampling)
            entries = d.field(np.eye(n, dtype=np.float32)).T
            values = statistics.spectrum(entries)
            share = m / (d.cascade.grid[0] * d.cascade.grid[1])
            rows.append(
                {
                    "layers": layers,
                    "oversampling": oversampling,
                    "variance": float(values.var()),
                    "block_variance": n / m * (1 - share),
                    "gaussian_variance": n / m,
                    "marchenko_pastur": statistics.distance(values, statistics.marchenko_pastur(values, n / m)),
                    "unitary_block": statistics.distance(values, statistics.unitary_block(values, n / m, share)),
                    "exponential": statistics.exponential_distance(np.abs(entries) ** 2),
                    "bound": statistics.ks_bound(entries.size),
                    "kurtosis": statistics.kurtosis(entries),
                }
            )
    return rows


def memory_curves(seed: int) -> dict[str, list[float]]:
    curves = {}
    for name, layers in (("thin", 1), ("diffuser", 2)):
        fields = Cascade((16, 16), (128, 128), (256, 256), seed, layers).entries(0, 16)
        curves[name] = statistics.memory_effect(np.abs(fields) ** 2).tolist()
    return curves


# Plots.


def _save(figure: Any, folder: Path, name: str) -> None:
    figure.tight_layout()
    figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def plot_entries(samples: dict[str, Sample], folder: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4))
    for name, s in samples.items():
        scale = np.sqrt(np.mean(np.abs(s.entries) ** 2))
        for axis, values, edges in (
            (axes[0], s.entries.real / scale * np.sqrt(2), np.linspace(-4, 4, 61)),
            (axes[1], np.abs(s.entries) / scale, np.linspace(0, 3, 61)),
            (axes[2], s.intensities / s.intensities.mean(), np.linspace(0, 10, 51)),
        ):
            counts, _ = np.histogram(values, edges, density=True)
            axis.plot((edges[1:] + edges[:-1]) / 2, counts, ".", ms=4, color=COLOURS[name], label=name)
    x = np.linspace(-4, 4, 200)
    axes[0].plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), "k", lw=1, label="normal")
    axes[0].set(xlabel="real part of an entry / its rms", ylabel="density", title="entries")
    x = np.linspace(0, 3, 200)
    axes[1].plot(x, 2 * x * np.exp(-(x**2)), "k", lw=1, label="Rayleigh")
    axes[1].set(xlabel="amplitude of an entry / its rms", title="amplitudes")
    x = np.linspace(0, 10, 200)
    axes[2].plot(x, np.exp(-x), "k", lw=1, label="exponential")
    axes[2].set(xlabel="intensity / its mean", yscale="log", title="speckle of half lit patterns")
    for axis in axes:
        axis.legend(fontsize=7)
    _save(figure, folder, "entries")


def plot_spectra(samples: dict[str, Sample], share: float, seed: int, folder: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    for name in ("dense", "measured", "diffuser", "thin"):
        entries = samples[name].entries
        values = statistics.spectrum(entries.T)
        axes[0].step(values, np.arange(1, len(values) + 1) / len(values), color=COLOURS[name], lw=1, label=name)
    ratio = len(entries) / entries.shape[1]
    x = np.linspace(0, 2.2, 400)
    axes[0].plot(x, statistics.marchenko_pastur(x, ratio), "k--", lw=1, label="Marchenko-Pastur")
    axes[0].set(
        xlabel="squared singular value / mean",
        ylabel="share below",
        title=f"{len(entries)} inputs, {entries.shape[1]} pixels",
    )
    n = m = 400
    for oversampling, colour in ((2.0, "#e69f00"), (4.0, "#d55e00"), (16.0, "#7f3b08")):
        d = Diffuser(n, m, seed, 2, oversampling)
        values = statistics.spectrum(d.field(np.eye(n, dtype=np.float32)).T)
        share = m / (d.cascade.grid[0] * d.cascade.grid[1])
        label = f"oversampling {oversampling:g}"
        axes[1].step(values, np.arange(1, n + 1) / n, color=colour, lw=1.5, label=label)
        axes[1].plot(x * 2, statistics.unitary_block(x * 2, 1.0, share), "k:", lw=1)
    axes[1].plot(x * 2, statistics.marchenko_pastur(x * 2, 1.0), "k--", lw=1, label="Marchenko-Pastur")
    axes[1].set(xlabel="squared singular value / mean", title="square, 2 layers; dotted: block of a unitary matrix")
    for axis in axes:
        axis.legend(fontsize=7)
    _save(figure, folder, "spectra")


def plot_kernels(kernels: dict[str, list[dict[str, float]]], folder: Path) -> None:
    figure, axis = plt.subplots(figsize=(5, 3.4))
    for i, (name, rows) in enumerate(kernels.items()):
        axis.errorbar(
            [r["cosine"] + 0.01 * (i - 1.5) for r in rows], [r["ratio"] * (1 + r["cosine"] ** 2) for r in rows],
            [3 * r["error"] * (1 + r["cosine"] ** 2) for r in rows], fmt=".", color=COLOURS[name], label=name,
        )  # fmt: skip
    x = np.linspace(-1, 1, 200)
    axis.plot(x, 1 + x**2, "k", lw=1, label="$1 + \\cos^2$")
    axis.set(xlabel="cosine between x and y", ylabel="kernel / ($|x|^2 |y|^2$)", title="bars: 3 standard errors")
    axis.legend(fontsize=7)
    _save(figure, folder, "kernel")


def plot_lengths(rows: list[dict[str, float]], curves: dict[str, list[float]], folder: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    asked = [r["asked"] for r in rows]
    axes[0].plot([1, 4], [1, 4], "k", lw=1)
    for name, marker in (("dense", "o"), ("diffuser", "x")):
        axes[0].plot(asked, [r[name] for r in rows], marker, color=COLOURS[name], label=name)
    axes[0].set(xlabel="grain asked for, pixels", ylabel="grain found, pixels", title="speckle grain")
    for name, curve in curves.items():
        axes[1].plot(curve, ".-", color=COLOURS[name], label=name)
    axes[1].set(xlabel="inputs apart", ylabel="correlation", ylim=(-0.1, 1.1), title="memory effect")
    for axis in axes:
        axis.legend(fontsize=7)
    _save(figure, folder, "lengths")


# Tables.


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]) + "\n"


def tables(result: dict[str, Any]) -> dict[str, str]:
    media_rows = [
        [
            name, f"{f['power']:.4f}", f"{f['kurtosis']:.4f}", f"{f['normal']:.4f}", f"{f['rayleigh']:.4f}",
            f"{f['entries_bound']:.4f}", f"{f['contrast']:.3f}", f"{f['exponential']:.4f}",
            f"{f['marchenko_pastur']:.4f}", f"{f['unitary_block']:.4f}",
        ]
        for name, f in result["media"].items()
    ]  # fmt: skip
    spectra_rows = [
        [
            str(r["layers"]), f"{r['oversampling']:g}", f"{r['variance'] / r['gaussian_variance']:.3f}",
            f"{r['block_variance'] / r['gaussian_variance']:.3f}", f"{r['marchenko_pastur']:.4f}",
            f"{r['unitary_block']:.4f}", f"{r['exponential']:.4f}", f"{r['kurtosis']:.3f}",
        ]
        for r in result["spectra"]
    ]  # fmt: skip
    names = list(result["kernels"])
    kernel_rows = [
        [f"{result['kernels'][names[0]][i]['cosine']:.2f}"]
        + [f"{r['ratio']:.4f} ± {r['error']:.4f}" for r in (result["kernels"][name][i] for name in names)]
        for i in range(len(result["kernels"][names[0]]))
    ]
    grain_rows = [[f"{r['asked']:g}", f"{r['dense']:.3f}", f"{r['diffuser']:.3f}"] for r in result["grains"]]
    return {
        "media": table(
            ["medium", "power / claimed", "kurtosis (2)", "to normal", "to Rayleigh", "bound of both", "contrast (1)",
             "to exponential", "to Marchenko-Pastur", "to block of unitary"], media_rows,
        ),
        "spectra": table(
            ["layers", "oversampling", "variance / Gaussian", "1 - 1/oversampling", "to Marchenko-Pastur",
             "to block of unitary", "intensities to exponential", "kurtosis (2)"], spectra_rows,
        ),
        "kernel": table(["cosine", *names], kernel_rows),
        "grain": table(["asked, pixels", "dense", "diffuser"], grain_rows),
    }  # fmt: skip


def write_page(page: Path, parts: dict[str, str]) -> None:
    """Put each table between its marks."""
    text = page.read_text()
    for name, part in parts.items():
        begin = BEGIN.format(name)
        head, _, rest = text.partition(begin)
        tail = rest.partition(END)[2]
        if not rest:
            raise SystemExit(f"{page} has no mark {begin}")
        text = f"{head}{begin}\n\n{part}\n{END}{tail}"
    page.write_text(text)


def measure(seed: int, quick: bool) -> tuple[dict[str, Any], dict[str, Sample], float]:
    """Every figure; the samples behind the plots; the pixels' share of the diffuser's grid."""
    n, m, outputs = (64, 64, 2_000) if quick else (256, 1024, 40_000)
    geometry = Geometry.fitting(n, m)
    made = media(geometry, seed, 4.0)
    grid = made["diffuser"].cascade.grid
    share = geometry.crop_width * geometry.crop_height / (grid[0] * grid[1])
    samples = {name: sample_of(medium, n, 40, seed) for name, medium in made.items()}

    def product(entries: np.ndarray, power: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: np.abs(x @ entries) ** 2 / power

    projections: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        name: product(s.entries, s.power) for name, s in samples.items() if name in ("dense", "measured")
    }
    projections["diffuser"] = Diffuser(n, outputs, seed).project
    projections["thin"] = Diffuser(n, outputs, seed, layers=1).project
    result = {
        "seed": seed,
        "modes": n,
        "pixels": geometry.crop_width * geometry.crop_height,
        "same": bool(np.array_equal(samples["dense"].entries, samples["counter"].entries)),
        "media": {name: figures_of(s, share if name in ("diffuser", "thin") else 0.0) for name, s in samples.items()},
        "spectra": spectra(seed, quick),
        "kernels": {name: kernels_of(project, n, seed) for name, project in projections.items()},
        "grains": grains(seed, quick),
        "memory_effect": memory_curves(seed),
    }
    return result, samples, share


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/media"), help="folder of statistics.json and the plots")
    parser.add_argument("--seed", type=whole_seed, default=1)
    parser.add_argument("--quick", action="store_true", help="small samples")
    parser.add_argument("--page", action="store_true", help="plots and tables into docs/media.md")
    args = parser.parse_args(arguments)
    plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
    plots = DOCS / "media" if args.page else args.out
    for folder in (args.out, plots):
        folder.mkdir(parents=True, exist_ok=True)
    result, samples, share = measure(args.seed, args.quick)
    (args.out / "statistics.json").write_text(json.dumps(result, indent=2) + "\n")
    plot_entries(samples, plots)
    plot_spectra(samples, share, args.seed, plots)
    plot_kernels(result["kernels"], plots)
    plot_lengths(result["grains"], result["memory_effect"], plots)
    parts = tables(result)
    for part in parts.values():
        print(part)
    if args.page:
        write_page(DOCS / "media.md", parts)
    print(f"dense and counter the same bits: {result['same']}; plots: {plots}")
    return result


if __name__ == "__main__":
    run_tool(main)
