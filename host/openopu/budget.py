"""How many projections a second link, modulator and camera allow, and which of them is the bottleneck.

Each has a rate of its own; the slowest decides. The link's is that of its bytes, by real packets of random planes and
integers; the modulator's and the camera's are those of a shot. Shots overlap: while one is read out, the next is
exposed and the one after it is sent to the panel.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from openopu_rtl.protocol import REGISTERS, Format, Link, Packet, PacketType, codec, encode_project, packets
from openopu_rtl.protocol.ft245 import FT232H, pair_cycle_clocks, read_cycle_clocks, write_cycle_clocks
from openopu_rtl.protocol.links import FT245SYNC_HZ
from openopu_rtl.protocol.registers import RESULT_BITS
from rich.console import Console
from rich.table import Table

from .errors import UsageError, whole
from .pipeline import rows_of_a_packet
from .sensors import SENSORS
from .session import uart_divisor

USB_BULK_BYTES_PER_S = 19 * 64 * 1000
"""USB 2.0 specification, table 5-9: at most 19 bulk transactions of 64 bytes in a full-speed frame of 1 ms, of both
directions together."""

OUTPUTS_MAX = 1 << 20
"""Of the command, and modes: what a device URL takes, too."""


@dataclass(frozen=True)
class Line:
    """What a link carries."""

    to_device_s: float
    """Seconds of a byte."""
    to_host_s: float
    pair_s: float
    """Seconds of a byte in each direction: their sum where they share a bus, the longer one where each has its own."""

    def seconds(self, to_device: float, to_host: float) -> float:
        """For so many bytes in each direction, as mixed as they can be."""
        pairs = min(to_device, to_host)
        return pairs * self.pair_s + (to_device - pairs) * self.to_device_s + (to_host - pairs) * self.to_host_s

    def room(self, seconds: float, to_device: float) -> float:
        """Bytes to the host for which there is room beside so many to the device, fewer than they are."""
        return (seconds - to_device * (self.pair_s - self.to_host_s)) / self.to_host_s


def line_of(link: Link, clock_hz: int, baud: int | None = None) -> Line:
    """The line of a link of a device with this system clock; ``baud`` for a UART.

    The gateware fills these rates: `make bench` measures it.
    """
    if link == Link.UART:
        rate = clock_hz // (REGISTERS["uart_divisor"].reset if baud is None else uart_divisor(baud, clock_hz))
        return Line(10 / rate, 10 / rate, 10 / rate)
    if link == Link.BYTES:
        return Line(1 / clock_hz, 1 / clock_hz, 1 / clock_hz)
    if link == Link.FT245:
        models = (read_cycle_clocks, write_cycle_clocks, pair_cycle_clocks)
        return Line(*(model(FT232H, clock_hz) / clock_hz for model in models))
    if link == Link.FT245SYNC:
        # At the pins; turns cost next to nothing where one direction has more to say. Over USB 2.0 high speed FTDI
        # promises 40 MB/s. A system clock below 60 MHz holds it up.
        byte_s = max(1 / FT245SYNC_HZ, 1 / clock_hz)
        return Line(byte_s, byte_s, 2 * byte_s)
    byte_s = 1 / USB_BULK_BYTES_PER_S
    return Line(byte_s, byte_s, 2 * byte_s)


MODULATORS: Mapping[str, float] = {
    "LCOS, 60 Hz video, 2 frames a shot": 2 / 60,
    "DLP4500 type, 24 planes in a 60 Hz frame": 1 / 1440,
    "DLP7000 type, direct bus": 1 / 22_700,
}
"""Seconds from one pattern to the next, at the least: without the settling of :mod:`openopu.modulators`."""


@dataclass(frozen=True)
class Traffic:
    """Bytes on the line for one projection, packets of several shared out."""

    to_device: float
    to_host: float
    payload: float
    """Of ``to_host``: the packed integers."""
    rows: int
    """Projections in a packet."""


def traffic(modes: int, planes: int, form: Format, store_bytes: int) -> Traffic:
    """By real packets with random planes and integers."""
    rng = np.random.default_rng(1)
    rows = rows_of_a_packet(planes * modes // 8, form.record_bytes, store_bytes)
    bits = rng.integers(0, 2, (rows, planes, modes))
    heads = rng.integers(0, 256, (rows, packets.RECORD_DTYPE.itemsize), dtype=np.uint8).view(packets.RECORD_DTYPE)
    packed = rng.integers(0, 256, (rows, codec.result_bytes(form.count, form.bits)), dtype=np.uint8)
    result = packets.PROJECT_HEADER.pack(0, rows) + packets.encode_records(heads[:, 0], packed)
    return Traffic(
        len(encode_project(1, 12345, bits)) / rows,
        len(Packet(PacketType.RESULT, 1, result).encode()) / rows,
        packed.shape[1],
        rows,
    )


def link_rate(line: Line, load: Traffic) -> float:
    """Projections a second that a link carries."""
    return 1 / line.seconds(load.to_device, load.to_host)


def shot_rate(shots: int, *shot_s: float) -> float:
    """Projections a second of so many shots, each of which takes as long as the longest of ``shot_s``."""
    return 1 / (shots * max(shot_s))


@dataclass(frozen=True)
class Budget:
    """Projections a second that each part allows."""

    link: float
    modulator: float
    camera: float

    @property
    def rate(self) -> float:
        return min(self.link, self.modulator, self.camera)

    @property
    def bottleneck(self) -> str:
        return min(("link", "modulator", "camera"), key=lambda name: float(getattr(self, name)))


def budget(
    line: Line, load: Traffic, shots: int, *, modulator_s: float, frame_s: float, exposure_s: float = 0.0
) -> Budget:
    """Projections a second.

    Parameters
    ----------
    shots
        Of one projection.
    modulator_s, frame_s
        Seconds from one pattern, or one frame of the camera, to the next.
    exposure_s
        Settling and exposure, in which the pattern must stay; the modulator's share where its patterns can follow
        each other sooner.
    """
    return Budget(link_rate(line, load), shot_rate(shots, modulator_s, exposure_s), shot_rate(shots, frame_s))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--n", type=int, default=1024, help="modes, default 1024")
    parser.add_argument("--m", default="1024,4096", help="outputs, a list; default 1024,4096")
    parser.add_argument("--bits", default="8,16", help="bits of a result, a list of 8, 12, 16; default 8,16")
    parser.add_argument("--planes", type=int, default=2, help="bit planes of a vector; default 2: ternary")
    parser.add_argument("--shots", type=int, help="shots of a projection; default two for each plane")
    parser.add_argument("--bin", type=int, default=2, help="camera pixels along each side of an output; default 2")
    parser.add_argument("--exposure-us", type=float, default=20.0, help="settling and exposure of a shot; default 20")
    parser.add_argument("--clock-hz", type=float, default=100e6, help="system clock of the device; default 100 MHz")
    parser.add_argument("--store-bytes", type=int, default=16384, help="of the pattern store; default 16384")


def _numbers(text: str, name: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"`{text}` is no list of numbers", name, "Write for example 1024,4096") from None
    return [whole(number, name, 1, OUTPUTS_MAX) for number in numbers]


LINES: Mapping[str, tuple[Link, int | None]] = {
    "UART 3 Mbaud": (Link.UART, 3_000_000),
    "UART 12 Mbaud": (Link.UART, 12_000_000),
    "FT245": (Link.FT245, None),
    "FT245 sync": (Link.FT245SYNC, None),
    "USB full speed": (Link.USB, None),
}


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Print the table; return it."""
    whole(args.n, "--n", 8, OUTPUTS_MAX)
    if args.n % 8:
        raise UsageError(f"{args.n} modes do not fill bytes", "--n", "Take a multiple of 8")
    planes = whole(args.planes, "--planes", 1, 256)
    shots = 2 * planes if args.shots is None else whole(args.shots, "--shots", 1, 256)
    if not 1e6 <= args.clock_hz <= 500e6:
        raise UsageError(f"{args.clock_hz:g} Hz is out of range", "--clock-hz", "Take 1e6 to 500e6")
    clock_hz = round(args.clock_hz)
    whole(args.bin, "--bin", 1, 64)
    store = whole(args.store_bytes, "--store-bytes", planes * args.n // 8)
    if not 0 <= args.exposure_us < float("inf"):
        raise UsageError(f"{args.exposure_us} is out of range", "--exposure-us", "Give microseconds, 0 or more")
    table = []
    for m in _numbers(args.m, "--m"):
        for bits in _numbers(args.bits, "--bits"):
            if bits not in RESULT_BITS:
                raise UsageError(
                    f"results cannot have {bits} bits", "--bits", f"Take some of: {', '.join(map(str, RESULT_BITS))}"
                )
            load = traffic(args.n, planes, Format(m, bits), store)
            side = args.bin * round(np.ceil(np.sqrt(m)))
            links: dict[str, float | None] = {}
            for name, (link, baud) in LINES.items():
                try:
                    links[name] = link_rate(line_of(link, clock_hz, baud), load)
                except UsageError:
                    links[name] = None  # no divisor of this clock is near the rate
            exposure_s = args.exposure_us * 1e-6
            modulators = {name: shot_rate(shots, shot_s, exposure_s) for name, shot_s in MODULATORS.items()}
            cameras = {
                f"{sensor.name.upper()} ({sensor.pixel_clock_hz_max / 1e6:g} MHz)":
                    shot_rate(shots, sensor.readout_s(side, side, sensor.pixel_clock_hz_max))
                for sensor in SENSORS.values()
            }  # fmt: skip
            table.append({"m": m, "bits": bits, "rows": load.rows, "payload": load.payload / load.to_host}
                         | {"links": links, "modulators": modulators, "cameras": cameras})  # fmt: skip
    if not args.json:
        _print(args.n, shots, table)
    return {"n": args.n, "shots": shots, "clock_hz": clock_hz, "projections_per_s": table}


def _print(modes: int, shots: int, table: Sequence[Mapping[str, Any]]) -> None:
    view = Table(title=f"projections/s, n = {modes}, {shots} shots; the slowest of link, modulator and camera decides")
    view.caption = "-: no divisor of the system clock is within 2 % of this rate"
    view.add_column("", no_wrap=True)
    for row in table:
        view.add_column(f"m={row['m']}\n{row['bits']} bit", justify="right")
    for kind in ("links", "modulators", "cameras"):
        for name in table[0][kind]:
            rates = [row[kind][name] for row in table]
            view.add_row(name, *("-" if rate is None else f"{rate:,.{0 if rate >= 100 else 1}f}" for rate in rates))
        view.add_section()
    Console().print(view)
