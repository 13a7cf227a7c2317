"""``make fuzz``: damaged packets in both directions, through the RTL's receiver and through the host's decoder."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from openopu.url import DeviceUrl
from openopu_sim.bench import fuzz
from openopu_sim.bench.process import Simulation
from openopu_sim.device import settings_of

URL = "rtl:verilator?n=64&m=64&link=bytes"
PACKETS = 120_000
BURST_RATE = 0.0012
"""With bursts of 150 bytes about a sixth of the line is damaged."""
CORRUPTED_MIN = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=PACKETS, help=f"in each direction; default {PACKETS}")
    parser.add_argument("--burst-rate", type=float, default=BURST_RATE, help="chance of a byte to begin a burst")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    args = parser.parse_args()
    runs = {}
    started = time.monotonic()
    runs["to the host"] = fuzz.fuzz_host(args.packets, args.burst_rate, args.seed)
    print(f"to the host: {time.monotonic() - started:.0f} s", flush=True)
    with Simulation(settings_of(DeviceUrl.parse(URL))) as simulation:
        started = time.monotonic()
        runs["to the device (RTL)"] = fuzz.fuzz_device(simulation.url, args.packets, args.burst_rate, args.seed)
        print(f"to the device: {time.monotonic() - started:.0f} s", flush=True)
    names = list(runs["to the host"].summary())
    print(f"\n{'':24}" + "".join(f"{name:>24}" for name in runs))
    for name in names:
        print(f"{name:24}" + "".join(f"{run.summary()[name]:>24,}" for run in runs.values()))
    args.out.mkdir(parents=True, exist_ok=True)
    summary = {name: run.summary() for name, run in runs.items()}
    (args.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    for name, run in runs.items():
        for text in run.disagreements[:10]:
            print(f"{name}: {text}")
    corrupted = sum(run.corrupted_bytes for run in runs.values())
    ok = all(not run.wrong_accepted and not run.disagreements and run.most_lost_in_a_row <= 1 for run in runs.values())
    print(f"\n{corrupted:,} bytes corrupted in all; " + ("no wrong value was accepted" if ok else "FAILED"))
    if not ok or (args.packets >= PACKETS and corrupted < CORRUPTED_MIN):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
