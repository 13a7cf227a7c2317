"""How fast media are, as ratios of things measured in turns in one process; the figures of docs/media.md.

Parts: ``fft`` (one projection of the size of the real machine beside the bare FFTs that it needs), ``dense`` (the
plant, from planes to integers, beside one complex product), ``counter`` (the matrix that is not stored beside the one
that is), ``panel`` (a whole panel, mirror by mirror) and ``others`` (n = 1,000, m = 10,000, beside other simulations).
FFT libraries and other simulations are taken where Python finds them: put them on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import platform
import resource
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import threadpoolctl
from openopu_rtl import binner
from openopu_rtl.protocol import Geometry
from openopu_sim.plant import DMD, Illumination, Plant
from openopu_sim.plant.cells import Cells
from openopu_sim.plant.media import THREADS, Counter, Dense, Diffuser, FieldMedium, make, memory_needed

TARGETS = {
    "fft_ratio": ("<=", 3.0),
    "fft_peak_gib": ("<", 3.0),
    "dense_vs_gemm": (">=", 1.5),
    "dense_noise_vs_gemm": (">=", 0.8),
    "dense_vs_lightonml": (">=", 1.6),
    "diffuser_vs_lightonml": (">=", 4.0),
}
Run = Callable[[], Any]

PAUSE_S = 0.3
"""Before each run that is timed."""


def times_of(runs: dict[str, Run], rounds: int, of_cpu: bool = False) -> dict[str, float]:
    """Median seconds of each, measured in turns; each ran once before.

    ``of_cpu``: seconds of all threads on a processor, which depend less on what else the machine does. Between two runs
    is a pause: threads of BLAS and OpenMP go on spinning for a while, on the processors of whoever comes next.
    """
    for run in runs.values():
        run()
    clock = time.process_time if of_cpu else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds):
        for name in sorted(runs, reverse=bool(i % 2)):
            time.sleep(PAUSE_S)
            begin = clock()
            runs[name]()
            seconds[name].append(clock() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def bare_ffts(shape: tuple[int, int]) -> dict[str, Run]:
    """One complex64 transform of ``shape`` by each library that is there, at its best settings, by name."""
    rng = np.random.default_rng(1)
    field = rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    runs: dict[str, Run] = {
        "numpy": lambda: np.fft.fft2(field, norm="ortho"),
        "scipy": lambda: scipy.fft.fft2(field, norm="ortho", overwrite_x=True, workers=THREADS),
    }
    try:
        pyfftw = import_module("pyfftw")
    except ImportError:
        pass
    else:
        for effort in ("FFTW_MEASURE", "FFTW_PATIENT"):
            buffer = pyfftw.empty_aligned(shape, dtype="complex64")
            plan = pyfftw.FFTW(buffer, buffer, axes=(0, 1), threads=THREADS, flags=(effort,), planning_timelimit=60.0)
            buffer[:] = 0  # what it holds does not matter, but must not grow
            runs[f"pyfftw, {effort}"] = plan.execute
    try:
        mkl_fft = import_module("mkl_fft")
    except ImportError:
        pass
    else:
        runs["mkl_fft"] = lambda: mkl_fft.fft2(field, norm="ortho", out=field)
    try:
        torch = import_module("torch")
    except ImportError:
        pass
    else:
        torch.set_num_threads(THREADS)
        tensor, result = torch.from_numpy(field.copy()), torch.empty(shape, dtype=torch.complex64)
        runs["torch"] = lambda: torch.fft.fft2(tensor, norm="ortho", out=result)
    return runs


def projection_vs_fft(quick: bool) -> dict[str, Any]:
    """One projection at 10**6 inputs and 2 x 10**6 outputs, over the time of the FFTs of its grid."""
    n, m, rounds = (10_000, 20_000, 3) if quick else (1_000_000, 2_000_000, 7)
    begin = time.perf_counter()
    diffuser = Diffuser(n, m)
    made_s = time.perf_counter() - begin
    x = np.random.default_rng(1).integers(0, 2, (1, n), dtype=np.uint8)
    out = np.empty((1, m), dtype=np.float32)
    diffuser.project(x, out)
    # Of this process so far, Python and libraries included.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    grid, ffts = diffuser.cascade.grid, diffuser.cascade.ffts
    seconds = times_of({"projection": lambda: diffuser.project(x, out), **bare_ffts(grid)}, rounds)
    projection = seconds.pop("projection")
    best = min(seconds, key=lambda name: seconds[name])
    return {
        "fft_ratio": projection / (ffts * seconds[best]),
        "fft_peak_gib": peak,
        "projection_s": projection,
        "made_s": made_s,
        "best": best,
        "bare_fft_s": seconds,
        "n": n,
        "m": m,
        "grid": grid,
        "ffts": ffts,
    }


def dense_vs_gemm(quick: bool) -> dict[str, Any]:
    """The plant's way from bit planes to outputs, one exposure each, over one complex64 product of that size."""
    n, m, rows, rounds = (64, 64, 64, 2) if quick else (1024, 4096, 512, 7)
    geometry = Geometry.fitting(n, m)
    rng = np.random.default_rng(1)
    planes = rng.integers(0, 2, (rows, 1, n), dtype=np.uint8)
    shot = [Illumination(0, 255, 0, 0, 0, 1000)]
    ids = np.arange(rows)
    poisson = dataclasses.replace(DMD, camera=dataclasses.replace(DMD.camera, normal_from_e=1e9))
    plants = {
        "without noise": Plant(geometry, noise=False),
        "with noise": Plant(geometry),
        "with noise, all Poisson": Plant(geometry, poisson),
    }
    pixels = geometry.crop_width * geometry.crop_height
    medium = rng.standard_normal((n, 2 * pixels), dtype=np.float32).view(np.complex64)
    shown, product = planes[:, 0].astype(np.complex64), np.empty((rows, pixels), dtype=np.complex64)
    runs: dict[str, Run] = {
        name: lambda plant=plant: plant.expose_batch(
            planes, shot, ids, 2048, lambda crops: binner.bin_crop(geometry, crops), geometry.outputs
        )
        for name, plant in plants.items()
    }
    seconds = times_of({"gemm": lambda: np.matmul(shown, medium, out=product), **runs}, rounds)
    for plant in plants.values():
        plant.close()
    return {
        "dense_vs_gemm": seconds["gemm"] / seconds["without noise"],
        "dense_noise_vs_gemm": seconds["gemm"] / seconds["with noise"],
        "dense_poisson_vs_gemm": seconds["gemm"] / seconds["with noise, all Poisson"],
        "normal_from_e": DMD.camera.normal_from_e,
        "seconds": seconds,
        "rows": rows,
        "n": n,
        "pixels": pixels,
    }


def counter_vs_dense(quick: bool) -> dict[str, Any]:
    """Memory of a counter medium as the matrix grows, and the time of its products over those of a dense one."""
    sizes = ((64, 64), (256, 64)) if quick else ((1_024, 4_096), (4_096, 4_096), (16_384, 4_096))
    rows, sets = 64, []
    for n, m in sizes:
        geometry = Geometry.fitting(n, m)
        cells = Cells(geometry)
        tracemalloc.start()
        counter = Counter(geometry, cells, 1, 12)
        weights = np.random.default_rng(1).integers(0, 10, (rows, n)).astype(np.float32)
        real, imag = counter.products(weights)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        entry = {
            "n": n,
            "cells": cells.count,
            "pixels": counter.crop_pixels,
            "entry_bits": counter.bits,
            "matrix_mib": 8 * cells.count * counter.pixels / 2**20,
            "peak_mib": peak / 2**20,
            "inputs_and_outputs_mib": (real.nbytes + imag.nbytes + weights.nbytes) / 2**20,
        }
        if n == sizes[0][0]:
            dense = Dense(geometry, cells, 1, 12)
            want = dense.products(weights)
            entry["identical"] = bool(np.array_equal(want[0], real) and np.array_equal(want[1], imag))
            runs = {
                "dense": functools.partial(dense.products, weights),
                "counter": functools.partial(counter.products, weights),
            }
            entry["seconds"] = times_of(runs, 3)
            draws = 2 * cells.count * geometry.crop_height * geometry.camera_width
            alone = {"one row": functools.partial(counter.products, weights[:1])}
            entry["cpu_ns_per_draw"] = times_of(alone, 3, of_cpu=True)["one row"] * 1e9 / draws
        sets.append(entry)
    return {"sizes": sets, "rows": rows}


def whole_panel(quick: bool) -> dict[str, Any]:
    """Every mirror of a DLP4500 a cell, before 2,048 x 1,088 pixels: memory by kind, a diffuser's time for a field."""
    large = {"slm_width": 912, "slm_height": 1140, "camera_width": 2048, "camera_height": 1088}
    geometry = dataclasses.replace(Geometry(), macropixel=1, **({} if quick else large))
    kinds = {kind: dataclasses.replace(DMD.medium, kind=kind) for kind in ("dense", "diffuser")}
    cells = Cells(geometry)
    medium = make(geometry, cells, kinds["diffuser"], 1)
    assert isinstance(medium, FieldMedium)
    lit = np.ones(cells.count, dtype=np.float32)
    return {
        "needed_gib": {kind: memory_needed(geometry, table) / 2**30 for kind, table in kinds.items()},
        "field_s": times_of({"field": lambda: medium.field(lit, crop=False)}, 2 if quick else 7)["field"],
        "cells": cells.count,
        "pixels": medium.pixels,
    }


def lightonml_opu(n: int, m: int, shown: Any) -> tuple[str, Run]:
    """Its simulated OPU, or the line that it consists of where the package cannot be had; and which of both."""
    try:
        for name, value in (("float", float), ("int", int), ("bool", bool), ("object", object)):
            if name not in np.__dict__:
                setattr(np, name, value)  # it was written for an older NumPy
        OPU = import_module("lightonml.opu").OPU
        device = import_module("lightonml.internal.simulated_device").SimulatedOpuDevice()
        opu = OPU(opu_device=device, n_components=m, verbose_level=0)
        opu.fit1d(n_features=n)
        opu.transform(shown[:2])
    except Exception as error:
        rng = np.random.default_rng(1)
        matrix = rng.standard_normal((n, 2 * m), dtype=np.float32).view(np.complex64)
        inputs = shown.astype(np.complex64)
        return f"its line, as the package failed ({error!r})", lambda: np.abs(inputs @ matrix) ** 2
    version = import_module("importlib.metadata").version("lightonml")
    return f"the package, {version}", lambda: opu.transform(shown)


def deepinv_operator(n: int, m: int, shown: Any) -> tuple[str, Run] | None:
    """Its structured random operator (two layers) on the same inputs, or None."""
    try:
        torch, physics = import_module("torch"), import_module("deepinv.physics")
        torch.set_num_threads(THREADS)
        side_in, side_out = round(n**0.5), round(m**0.5)
        operator = physics.StructuredRandomPhaseRetrieval(
            (1, side_in, side_in), (1, side_out, side_out), n_layers=2, dtype=torch.complex64
        )
        x = torch.from_numpy(np.ascontiguousarray(shown[:, : side_in**2]).astype(np.complex64))
        x = x.reshape(-1, 1, side_in, side_in)
        with torch.no_grad():
            got = operator(x)
    except Exception as error:
        print(f"deepinv: not measured ({error!r})", file=sys.stderr)
        return None
    version = import_module("importlib.metadata").version("deepinv")

    def run() -> None:
        with torch.no_grad():
            operator(x)

    return f"deepinv {version}, {side_in**2} inputs, {tuple(got.shape[1:])} outputs, 2 layers", run


def beside_others(quick: bool) -> dict[str, Any]:
    """``|Tx|**2`` of binary inputs, n = 1,000, m = 10,000, in batches, without noise."""
    n, m, rows, rounds = (200, 1_000, 20, 2) if quick else (1_000, 10_000, 512, 7)
    shown = np.random.default_rng(1).integers(0, 2, (rows, n), dtype=np.uint8)
    diffuser, thin = Diffuser(n, m), Diffuser(n, m, layers=1)
    # One pixel an output, and a panel that is all signal: the same size.
    geometry = _fitting(n, m)
    plant = Plant(geometry, noise=False)
    medium = plant.medium
    weights, buffers = shown.astype(np.float32), (np.empty((rows, m), np.float32), np.empty((rows, m), np.float32))

    def dense() -> None:
        # What its neighbours do: from bits to intensities in float32.
        np.copyto(weights, shown)
        real, imag = medium.products(weights[:, : geometry.modes], True, buffers)
        np.multiply(real, real, out=real)
        np.multiply(imag, imag, out=imag)
        real += imag

    planes = np.ascontiguousarray(shown[:, None, : geometry.modes])
    shot = [Illumination(0, 255, 0, 0, 0, 1000)]

    def exposed() -> None:
        plant.expose_batch(
            planes, shot, np.arange(rows), 2048, lambda c: binner.bin_crop(geometry, c), geometry.outputs
        )

    out = np.empty((rows, m), dtype=np.float32)
    kind, opu = lightonml_opu(n, m, shown)
    runs: dict[str, Run] = {
        "lightonml": opu,
        "dense": dense,
        "dense, to the camera's integers": exposed,
        "diffuser": lambda: diffuser.project(shown, out),
        "diffuser, thin": lambda: thin.project(shown, out),
    }
    structured = deepinv_operator(n, m, shown)
    if structured:
        runs["deepinv"] = structured[1]
    seconds, cpu = times_of(runs, rounds), times_of(runs, rounds, of_cpu=True)
    plant.close()
    result = {
        "dense_vs_lightonml": seconds["lightonml"] / seconds["dense"],
        "exposed_vs_lightonml": seconds["lightonml"] / seconds["dense, to the camera's integers"],
        "diffuser_vs_lightonml": seconds["lightonml"] / seconds["diffuser"],
        "thin_diffuser_vs_lightonml": seconds["lightonml"] / seconds["diffuser, thin"],
        "dense_vs_lightonml_cpu": cpu["lightonml"] / cpu["dense"],
        "diffuser_vs_lightonml_cpu": cpu["lightonml"] / cpu["diffuser"],
        "lightonml": kind,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "projections_per_s": {name: rows / value for name, value in seconds.items()},
        "grids": {"diffuser": diffuser.cascade.grid, "thin": thin.cascade.grid},
        "n": n,
        "m": m,
        "rows": rows,
    }
    if structured:
        result["deepinv"] = structured[0]
        result["diffuser_vs_deepinv"] = seconds["deepinv"] / seconds["diffuser"]
        result["thin_diffuser_vs_deepinv"] = seconds["deepinv"] / seconds["diffuser, thin"]
    return result


def _fitting(n: int, m: int) -> Geometry:
    """n modes that fill the panel, m outputs of one pixel that fill the sensor."""
    modes_y, outputs_y = 25 if n == 1_000 else 10, 100 if m == 10_000 else 25
    width, height = m // outputs_y, outputs_y
    return Geometry(
        slm_width=n // modes_y, slm_height=modes_y, macropixel=1, modes_x=n // modes_y, modes_y=modes_y,
        signal_x=0, signal_y=0, anchor_x=0, anchor_y=0, anchor_width=0, anchor_height=0,
        camera_width=width, camera_height=height, crop_x=0, crop_y=0, crop_width=width, crop_height=height,
        bin=1, raw_rows=height,
    )  # fmt: skip


PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "fft": projection_vs_fft,
    "dense": dense_vs_gemm,
    "counter": counter_vs_dense,
    "panel": whole_panel,
    "others": beside_others,
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/media"), help="folder of speed.json")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only this part (may be repeated)")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    runs = {}
    with threadpoolctl.threadpool_limits(THREADS):
        for name, measure in PARTS.items():
            if args.only is None or name in args.only:
                print(f"measuring: {name}", flush=True)
                runs[name] = measure(args.quick)
                print(json.dumps(runs[name], indent=2), flush=True)
    machine = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    figures = {key: value for run in runs.values() for key, value in run.items() if key in TARGETS}
    summary = {**figures, "runs": runs, "threads": THREADS, "machine": machine}
    (args.out / "speed.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\n{'figure':24} {'measured':>10}" + ("   (no targets: --quick)" if args.quick else "   target"))
    for key, value in figures.items():
        if args.quick:
            print(f"{key:24} {value:10.3f}")
            continue
        sign, target = TARGETS[key]
        met = value < target if sign == "<" else value <= target if sign == "<=" else value >= target
        print(f"{key:24} {value:10.3f}   {sign} {target}{'' if met else '   NOT MET'}")
    return summary


if __name__ == "__main__":
    main()
