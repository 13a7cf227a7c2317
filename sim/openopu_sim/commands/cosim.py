"""Serve the simulated gateware and optics on a virtual serial port and a TCP port, until interrupted.

Any program that speaks the protocol over a serial port can talk to it; one at a time.
In lock step (the default) simulated time stands still while the host thinks and nothing is under way.
"""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path
from typing import Any

from openopu.errors import UsageError
from openopu.url import DeviceUrl

from ..bench.settings import LINKS_PLAYED
from ..device import netlist_of, settings_of

PLAIN_KEYS = ("n", "m", "bits", "geometry", "plant", "optics", "noise", "seed", "noise_seed")
"""Keys of a device URL that are options of the command too; the others go by ``--set``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--simulator", choices=("verilator", "icarus"), default="verilator", help="default: verilator")
    parser.add_argument("--waves", metavar="FILE", help="write all signals to FILE (.fst or .vcd); slow")
    parser.add_argument(
        "--link",
        choices=[link.key for link in LINKS_PLAYED],
        help="kind of link: a UART at 12 Mbaud (default), bytes handed over whole, FT245-style FIFOs",
    )
    parser.add_argument(
        "--free-running", action="store_true", help="let simulated time run on while the host thinks (no lock step)"
    )
    parser.add_argument("--fault", metavar="LIST", help="faults to inject: EXPOSURE:KIND[:ARGUMENT],...")
    parser.add_argument("--interlock", choices=("closed", "open"), help="state of the laser's interlock loop")
    for key in PLAIN_KEYS:
        meaning = "modes" if key == "n" else "outputs" if key == "m" else f"as `{key}=` in a device URL"
        parser.add_argument(f"--{key.replace('_', '-')}", dest=key, metavar="VALUE", help=meaning)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any other key of a `rtl:` URL; may be repeated"
    )


def url_of(args: argparse.Namespace) -> DeviceUrl:
    """The device URL that says the same as the command's arguments."""
    keys = {
        key: value for key in (*PLAIN_KEYS, "link", "fault", "interlock") if (value := getattr(args, key)) is not None
    }
    if args.free_running:
        keys["time"] = "free"
    if args.waves:
        keys["waves"] = str(Path(args.waves).absolute())
    for pair in args.set:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"`{pair}` is not KEY=VALUE", "--set", "Write for example --set store_bytes=8192")
        if key in keys:
            raise UsageError(f"`{key}` is given twice", "--set", "Give each key once, as an option or by --set")
        keys[key] = value
    return DeviceUrl("rtl", args.simulator, keys)


def run(args: argparse.Namespace) -> dict[str, Any]:
    from ..bench.process import Simulation

    url = url_of(args)
    settings, netlist = settings_of(url), netlist_of(url)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    print(f"building and starting the simulation ({settings.simulator}) ...", flush=True)
    try:
        with Simulation(settings, netlist) as simulation:
            ready = {"port": simulation.port, "url": simulation.url, "simulator_pid": simulation.pid}
            if args.json:
                print(json.dumps({"event": "ready", **ready}), flush=True)
            else:
                print(f"serial port  {simulation.port}   (12 Mbaud; device URL serial:{simulation.port})")
                print(f"TCP port     {simulation.url}")
                print("Press Ctrl-C to end.", flush=True)
            try:
                simulation.serve()
            except KeyboardInterrupt:
                print("interrupted; ending the simulation", flush=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    return {"simulator": settings.simulator, **ready, "waves": settings.waves}
