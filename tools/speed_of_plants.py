"""What the effects of a plant cost: CPU time of the twin's optics for a projection, plant by plant, in one run."""

from __future__ import annotations

import argparse
import time

import numpy as np
from openopu.plants import find
from openopu_rtl import binner
from openopu_rtl.protocol import Geometry
from openopu_sim.plant import Illumination, Plant

PLANTS = ("dmd", "phase", "dlp4500+imx255", "dlp4500+imx255+diode", "lcos+imx255")
ROUNDS = 3


def milliseconds(plant: Plant, projections: int) -> float:
    """CPU time of a projection of a ternary complement program (4 shots), the best of some rounds."""
    g = plant.geometry
    planes = np.random.default_rng(0).integers(0, 2, (projections, 2, g.modes)).astype(np.uint8)
    pair = [(255, 0), (0, 255)]
    shots = [Illumination(p, on, off, 0, 0, 1000, 1000) for p in (0, 1) for on, off in pair]
    best = np.inf
    for _ in range(ROUNDS):
        start = time.process_time()
        plant.expose_batch(
            planes, shots, np.arange(projections) * 4, 2048, lambda crops: binner.bin_crop(g, crops), g.outputs
        )
        best = min(best, time.process_time() - start)
    return best / projections * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--projections", type=int, default=200)
    parser.add_argument("--n", type=int, default=256)
    parser.add_argument("--m", type=int, default=1024)
    args = parser.parse_args()
    geometry = Geometry.fitting(args.n, args.m)
    print(f"n = {args.n}, m = {args.m}, 4 shots; ms of CPU a projection\n")
    first = 0.0
    for name in PLANTS:
        for noise in (True, False):
            plant = Plant(geometry, find(name), noise=noise)
            spent = milliseconds(plant, args.projections)
            plant.close()
            first = first or spent
            print(f"{name:22} noise {'on ' if noise else 'off'} {spent:7.2f}   {spent / first:5.2f} x")


if __name__ == "__main__":
    main()
