"""The measurements of docs/schemes.md: SNR against light, bias and cost of every scheme, on the twin.

Writes ``OUT/schemes.json``, and pictures where ``--docs`` says. With ``--train`` instead trainings, which take
minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import openopu
from command_line import positive, run_tool
from openopu import Encoding, Opu, plants
from openopu.encoding import Encoded
from openopu.schemes import Anchor, Complement, Intensity, LinearScheme, Phase, Scheme, Stepping
from openopu.schemes.theory import Light, correlation, snr
from openopu.settings import lossless
from openopu.train.command import train
from openopu.train.config import TrainConfig
from openopu.train.data import load
from openopu.train.pictures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from openopu_rtl.protocol import Geometry

MODES, OUTPUTS = 256, 1024
ELECTRONS = (3, 10, 30, 100, 300, 1000, 1500, 2700)
DEFAULT_ELECTRONS = 1284
"""Of the exposure that training sets: a fill of 0.12 of the IMX255's full well."""
WIDTHS = (3, 6, 9, 18, 33, 48)
"""Of the anchor, panel pixels: whole macropixels beside 48 pixels of modes."""
SIGN = Encoding("sign", "threshold")
TERNARY = Encoding("ternary", "threshold")
CASES: dict[str, Scheme] = {
    "complement, signs": Complement(SIGN),
    "complement, ternary": Complement(TERNARY),
    "complement, 4 bits": Complement(Encoding("bits", "threshold", bits=4)),
    "anchor, signs": Anchor(SIGN),
    "phase, signs": Phase(SIGN),
    "stepping, signs": Stepping(SIGN),
    "intensity": Intensity(),
}
COLOURS = dict(zip(CASES, (BLUE, SKY, PURPLE, VERMILION, GREEN, ORANGE, "black"), strict=True))
MARKS = dict(zip(CASES, ("o", "s", "x", "v", "D", "+", "."), strict=True))
FASHION_IMAGES = 12_000
TRAININGS: dict[str, dict[str, Any]] = {
    "complement, stochastic ternary": {},
    "complement, stochastic sign": {"encoding": "sign"},
    "complement, stochastic 2 bits": {"encoding": "bits", "bits": 2},
    "complement, stochastic 4 bits": {"encoding": "bits", "bits": 4},
    "complement, nearest of 4 bits": {"encoding": "bits", "bits": 4, "rounding": "threshold"},
    "anchor, stochastic ternary": {"scheme": "anchor"},
    "phase, stochastic ternary": {"scheme": "phase"},
    "stepping, stochastic ternary": {"scheme": "stepping"},
}


def lcos(folder: Path) -> Path:
    """A plant file: the phase panel of the plant ``phase``, with 256 levels over a turn."""
    path = folder / "lcos.toml"
    modulator = dataclasses.replace(plants.PHASE.modulator, levels=256, phase_max_rad=2 * np.pi * 255 / 256)
    plants.save(path, dataclasses.replace(plants.PHASE, modulator=modulator))
    return path


def plant_of(scheme: Scheme, folder: Path) -> str:
    return str(lcos(folder)) if isinstance(scheme, Phase | Stepping) else "dmd"


def vectors(scheme: Scheme, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors that the scheme's encoding holds exactly."""
    shape = (rows, MODES)
    if isinstance(scheme, Intensity):
        return rng.integers(0, 2, shape).astype(float)
    assert isinstance(scheme, LinearScheme)
    kind = scheme.encoding.kind
    if kind == "ternary":
        return rng.integers(-1, 2, shape).astype(float)
    if kind == "sign":
        return rng.integers(0, 2, shape) * 2.0 - 1
    largest = (1 << scheme.encoding.bits) - 1
    out = (2.0 * rng.integers(0, largest + 1, shape) - largest) / largest
    out[:, 0] = 1.0  # the scale is 1
    return out


def url_of(scheme: Scheme, plant: str, bits: int, **keys: Any) -> str:
    more = "".join(f"&{name}={value}" for name, value in keys.items())
    return f"twin:?n={MODES}&m={OUTPUTS}&bits={bits}&plant={plant}{more}"


class Machine:
    """A noisy twin, and how bright its frames are."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opu = openopu.open(url)
        self.opu.configure()
        cycles = self.opu.expose_to(0.05).exposure_cycles
        self.well = plants.DMD.camera.full_well_e / (1 - plants.DMD.camera.black_level_share)
        # The few patterns of `expose_to` light some 5 % more or fewer modes than a half.
        self.opu.configure(scheme="intensity")
        bits = np.random.default_rng(2).permuted(np.arange(MODES) % 2 * np.ones((400, 1)), axis=1)
        g = self.opu.geometry
        fill = self.opu.project(bits).mean() / g.bin**2 / ((1 << g.pixel_bits) - 1)
        self._electrons_per_cycle = float(fill) * self.well / cycles

    def light(self, electrons: float) -> tuple[int, Light]:
        """Cycles of an exposure of about so many electrons in a pixel, and what it gives."""
        g, camera = self.opu.geometry, plants.DMD.camera
        cycles = max(1, round(electrons / self._electrons_per_cycle))
        step = self.well / ((1 << g.pixel_bits) - 1)
        rin = plants.DMD.laser.relative_noise_rms
        return cycles, Light(
            cycles * self._electrons_per_cycle, camera.read_noise_e, step, rin, camera.full_well_e, g.bin**2
        )

    def exact(self, scheme: Scheme, coded: Encoded) -> np.ndarray:
        """Results without noise and rounding, in the scheme's unit, at the exposure of the device."""
        opu, shot = self.opu, self.opu.settings.program.shots[0]
        if isinstance(scheme, Intensity):
            # As bright as 12 bits hold without clipping, scaled.
            with openopu.open(re.sub("bits=[0-9]+", "bits=12", self.url) + "&noise=off") as quiet:
                cycles = self.light(0.04 * self.well)[0]
                quiet.configure(scheme=scheme, exposure_cycles=cycles)
                finer = 4095 / ((1 << opu.geometry.pixel_bits) - 1)
                bits = coded.planes[:, 0].astype(float)
                return quiet.project(bits) * (shot.exposure_cycles / cycles / finer)
        known = opu.device.exact_matrix
        assert known is not None
        reference = None
        if isinstance(scheme, Anchor):
            # Which outputs are masked is up to the measured reference.
            scheme, reference = dataclasses.replace(scheme, dark=0.0), known(shot).sum(axis=1)
        matrix = scheme.matrix(opu.settings.program, known, reference) @ opu.layout.matrix()
        return coded.decoded() @ matrix.T

    def measure(self, scheme: Scheme, electrons: float, rows: int, share: float) -> dict[str, float]:
        """SNR, slope and offset of results against the exact ones, and what theory says."""
        cycles, light = self.light(electrons)
        opu, rng = self.opu, np.random.default_rng(1)
        opu.configure(scheme=scheme, exposure_cycles=cycles)
        opu.exposure_next = 0
        given = vectors(scheme, rows, rng)
        coded = scheme.encode(given, (1,))
        results = np.asarray(opu.project(given, (1,)), dtype=np.complex128)
        exact = self.exact(scheme, coded)
        if isinstance(scheme, Anchor):
            lit = scheme.lit(opu.reference)
            results, exact = results[:, lit], exact[:, lit]
        mean = exact.mean() if isinstance(scheme, Intensity) else 0.0
        signal = float(np.mean(np.abs(exact - mean) ** 2))
        slope = float(np.mean((np.conj(exact - mean) * (results - mean)).real)) / signal
        error = float(np.mean(np.abs(results - exact) ** 2))
        mean_square = float(np.square(coded.decoded()).mean()) if isinstance(scheme, LinearScheme) else 1.0
        theory = snr(scheme, light, mean_square=mean_square, reference_share=share)
        return {
            "electrons": light.electrons,
            "snr": signal / error,
            "theory": theory,
            "correlation": correlation(signal / error),
            "slope": slope,
            "offset": float(abs((results - exact).mean())) / signal**0.5,
        }


def reference_share(opu: Opu) -> float:
    """Share of a phase panel that is not the modes'."""
    g = opu.geometry
    return 1 - g.signal_width * g.signal_height / (g.slm_width * g.slm_height)


def sweep(folder: Path, bits: int, electrons: tuple[float, ...], rows: int) -> dict[str, list[dict[str, float]]]:
    """Every case at every exposure."""
    machines: dict[str, Machine] = {}
    out = {}
    for name, scheme in CASES.items():
        plant = plant_of(scheme, folder)
        if plant not in machines:
            machines[plant] = Machine(url_of(scheme, plant, bits))
        machine = machines[plant]
        share = reference_share(machine.opu)
        out[name] = [machine.measure(scheme, e, rows, share) for e in electrons]
    for machine in machines.values():
        machine.opu.close()
    return out


def shares(folder: Path, electrons: float, rows: int) -> list[dict[str, float]]:
    """The phase scheme on panels whose anchor has other shares, and which have no border."""
    out = []
    side = 3 * 16
    for width in WIDTHS:
        keys = {
            **{"slm_width": side + width, "slm_height": side, "signal_x": 0, "signal_y": 0},
            **{"anchor_x": side, "anchor_y": 0, "anchor_width": width, "anchor_height": side},
        }
        scheme = Phase(SIGN)
        machine = Machine(url_of(scheme, plant_of(scheme, folder), 12, **keys))
        share = reference_share(machine.opu)
        out.append({"share": share, **machine.measure(scheme, electrons, rows, share)})
        machine.opu.close()
    return out


def anchors(electrons: float, rows: int) -> list[dict[str, float]]:
    """The anchor scheme by grains of an output and by the mask of dark anchors."""
    out = []
    for side in (1, 2):
        machine = Machine(url_of(Anchor(), "dmd", 12, bin=side))
        for dark in (0.0, 0.02, 0.1, 0.3):
            scheme = Anchor(SIGN, dark=dark)
            point = machine.measure(scheme, electrons, rows, 0.5)
            masked = 1 - float(scheme.lit(machine.opu.reference).mean())
            out.append({"grains": side**2, "dark": dark, "masked": masked, **point})
        machine.opu.close()
    return out


def costs(rows: int) -> dict[str, dict[str, float]]:
    """Shots, bits on the link and host time of one vector."""
    geometry = Geometry.fitting(MODES, OUTPUTS)
    out = {}
    for name, scheme in CASES.items():
        width, _ = lossless(scheme.program(), geometry, banks=scheme.banks)
        given = vectors(scheme, rows, np.random.default_rng(1))
        layout = scheme.layout(MODES, MODES)
        values = np.ones((rows, OUTPUTS, scheme.banks), dtype=np.int32)
        seconds = np.inf
        for _ in range(5):
            started = time.perf_counter()
            coded = scheme.encode(given, (1,))
            layout.expand(coded.planes)
            scheme.decode(values, coded.scale, np.ones(OUTPUTS)).astype(scheme.dtype)
            seconds = min(seconds, time.perf_counter() - started)
        out[name] = {
            "shots": scheme.shots,
            "bits_down": scheme.planes * MODES,
            "bits_up": OUTPUTS * scheme.banks * width,
            "numbers": OUTPUTS * scheme.banks,
            "host_us": 1e6 * seconds / rows,
        }
    return out


def trainings(folder: Path, data_name: str, seeds: int, fills: tuple[float, ...]) -> dict[str, Any]:
    """Test error in % of every seed, by training and exposure."""
    fashion = data_name == "fashion-mnist"
    settings: dict[str, Any] = {"hidden": (128, 128), "epochs": 10, "batch": 32, "learning_rate": 2e-3}
    if fashion:
        settings = {"hidden": (256, 256, 256), "epochs": 3, "batch": 128, "chunk": 128}
    data, out = load(data_name).head(FASHION_IMAGES if fashion else None, None), {}
    for name, changes in TRAININGS.items():
        plant = str(lcos(folder)) if changes.get("scheme") in ("phase", "stepping") else "dmd"
        row: dict[str, Any] = {}
        for fill in fills:
            errors = []
            for seed in range(1, seeds + 1):
                config = TrainConfig(data=data_name, seed=seed, fill=fill, **settings, **changes)
                with openopu.open(f"twin:?{'m=768' if fashion else 'n=64&m=256'}&plant={plant}") as opu:
                    result = train(config, data, opu)
                    shots = opu.scheme.shots * result["projections"]
                errors.append(result["test_error_percent"])
            row[str(fill)] = {"errors": errors, "projections": result["projections"], "shots": shots}
        out[name] = row
        print(f"| {name} | " + " | ".join(_errors(row[str(f)]) for f in fills) + f" | {shots:,} |", flush=True)
    return out


def _errors(entry: dict[str, Any]) -> str:
    return f"{np.mean(entry['errors']):.2f} ({' '.join(f'{e:.2f}' for e in entry['errors'])})"


def draw(results: dict[str, Any], folder: Path) -> None:
    """``snr.svg`` and ``share.svg``."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "openopu"
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(7.5, 5), layout="constrained")
    for name, points in results["sweep"].items():
        electrons = [p["electrons"] for p in points]
        axes.plot(electrons, [p["theory"] / p["electrons"] for p in points], color=COLOURS[name], lw=1.2)
        axes.plot(
            electrons, [p["snr"] / p["electrons"] for p in points], MARKS[name], ms=6, color=COLOURS[name], label=name
        )
    axes.set(xscale="log", xlabel="mean electrons per pixel and frame", ylim=(0, 1.5),
             ylabel="SNR (signal variance / error variance) per electron",
             title="Twin (points) and theory (lines), 12 bits, full well 10,700 electrons")  # fmt: skip
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(folder / "snr.svg", metadata={"Date": None})
    plt.close(figure)
    figure, axes = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
    fine = np.linspace(0.02, 0.98, 200)
    scale = np.mean([p["theory"] / (4 * p["share"] * (1 - p["share"])) for p in results["shares"]])
    axes.plot(fine, 4 * fine * (1 - fine) * scale, color=GREEN, label="theory, 4 a (1 - a) N")
    axes.plot([p["share"] for p in results["shares"]], [p["snr"] for p in results["shares"]], "o", color=BLUE,
              label="twin")  # fmt: skip
    axes.set(xlabel="anchor's share a of the panel", ylabel="signal variance / error variance", ylim=(0, None),
             title="Phase panel at 300 electrons")  # fmt: skip
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(folder / "share.svg", metadata={"Date": None})
    plt.close(figure)


def report(results: dict[str, Any]) -> str:
    """Tables in Markdown."""
    lines = ["| scheme | electrons | SNR | theory | correlation | slope - 1, % | offset, % |", "|" + " --- |" * 7]
    for name, points in results["sweep"].items():
        for p in points:
            lines.append(
                f"| {name} | {p['electrons']:.0f} | {p['snr']:.3g} | {p['theory']:.3g} | {p['correlation']:.4f} "
                f"| {100 * (p['slope'] - 1):+.2f} | {100 * p['offset']:.2f} |"
            )
    lines += ["", "| scheme, 8 bits | electrons | SNR | theory | correlation |", "|" + " --- |" * 5]
    for name, points in results["sweep_8_bit"].items():
        for p in points:
            row = f"{p['electrons']:.0f} | {p['snr']:.3g} | {p['theory']:.3g} | {p['correlation']:.4f}"
            lines.append(f"| {name} | {row} |")
    lines += ["", "| scheme | shots | bits down | bits up | numbers | host, us |", "|" + " --- |" * 6]
    for name, c in results["costs"].items():
        row = f"{c['shots']} | {c['bits_down']:,} | {c['bits_up']:,} | {c['numbers']:,} | {c['host_us']:.0f}"
        lines.append(f"| {name} | {row} |")
    lines += ["", "| anchor's share | SNR | theory |", "|" + " --- |" * 3]
    lines += [f"| {p['share']:.2f} | {p['snr']:.4g} | {p['theory']:.4g} |" for p in results["shares"]]
    lines += ["", "| grains | dark | masked, % | SNR | theory |", "|" + " --- |" * 5]
    for p in results["anchors"]:
        row = f"{p['dark']:g} | {100 * p['masked']:.1f} | {p['snr']:.4g} | {p['theory']:.4g}"
        lines.append(f"| {p['grains']} | {row} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/schemes"))
    parser.add_argument("--docs", type=Path, metavar="DIR", help="also draw the pictures there")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--quick", action="store_true", help="one exposure, few vectors")
    only.add_argument("--train", choices=("digits", "fashion-mnist"), help="only trainings, by scheme and encoding")
    parser.add_argument("--seeds", type=positive, default=3, help="of --train: seeds 1 to SEEDS")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.train:
        fills = (0.12,) if args.train == "fashion-mnist" else (0.12, 0.003)
        results = {"trainings": trainings(args.out, args.train, args.seeds, fills)}
        (args.out / f"{args.train}.json").write_text(json.dumps(results, indent=1) + "\n")
        return
    rows = 40 if args.quick else 300
    results = {
        "sweep": sweep(args.out, 12, (300,) if args.quick else ELECTRONS, rows),
        "sweep_8_bit": sweep(args.out, 8, (DEFAULT_ELECTRONS,), rows),
        "costs": costs(rows),
        "shares": shares(args.out, 300, rows),
        "anchors": anchors(300, rows),
    }
    (args.out / "schemes.json").write_text(json.dumps(results, indent=1) + "\n")
    print(report(results))
    if args.docs is not None:
        draw(results, args.docs)


if __name__ == "__main__":
    run_tool(main)
