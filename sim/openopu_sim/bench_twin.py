"""How fast the twin is, against the complex product that a simulation cannot do without."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from openopu.url import DeviceUrl
from openopu_rtl.protocol import PROTOCOL_HASH, REGISTERS, WINDOWS, Packet, PacketType, codec
from openopu_rtl.protocol.packets import WRITE_HEADER, WRITE_WORDS_MAX, encode_project
from openopu_rtl.protocol.shots import complement

from .options import geometry_of, plant_of
from .twin_device import TwinDevice

STORE_BYTES = 1 << 15
"""A store that takes many projections, so that few packets bring them."""


def twin_vs_gemm(modes: int = 1024, outputs: int = 4096, projections: int = 256, rounds: int = 5) -> dict[str, Any]:
    """Rate of the twin over that of one complex64 product, in turns in one process.

    The twin takes packets of ternary projections (complement pairs, 4 exposures each) with noise on, and gives
    back packets of results. The product maps the planes shown, (4 x projections, modes), to the crop's pixels.
    Returns the ratio of the median times (1: as fast as the product alone) and the times in seconds behind it.
    """
    url = DeviceUrl.parse(f"twin:?n={modes}&m={outputs}&store_bytes={STORE_BYTES}&noise=on")
    geometry = geometry_of(url)
    twin = TwinDevice(plant_of(url, geometry))
    program = complement(2)
    configure(twin, program.words(), program_length=len(program), planes=program.planes, outputs=outputs)
    rng = np.random.default_rng(1)
    planes = rng.integers(0, 2, (projections, program.planes, modes))
    at_once = STORE_BYTES // (program.planes * geometry.plane_bytes)
    shown = np.concatenate([np.concatenate([p, 1 - p]) for p in planes]).astype(np.complex64)
    pixels = geometry.crop_width * geometry.crop_height
    medium = rng.standard_normal((modes, 2 * pixels), dtype=np.float32).view(np.complex64)
    product = np.empty((len(shown), pixels), dtype=np.complex64)

    def run_twin() -> float:
        seconds = 0.0
        for start in range(0, projections, at_once):
            packet = encode_project(1, twin.registers["exposure_next"], planes[start : start + at_once])
            begin = time.perf_counter()
            refused = twin.receive(packet)
            results = twin.run()
            seconds += time.perf_counter() - begin
            if refused or not results:
                raise RuntimeError("the twin refused the projections of the measurement")
        return seconds

    def run_product() -> float:
        begin = time.perf_counter()
        np.matmul(shown, medium, out=product)
        return time.perf_counter() - begin

    times: dict[str, list[float]] = {"twin_s": [], "gemm_s": []}
    runs = {"twin_s": run_twin, "gemm_s": run_product}
    for run in runs.values():
        run()  # memory is touched, caches and clock are warm
    for round_ in range(rounds):
        for name in sorted(runs, reverse=bool(round_ % 2)):
            times[name].append(runs[name]())
    twin.close()
    return {
        "twin_vs_gemm": statistics.median(times["gemm_s"]) / statistics.median(times["twin_s"]),
        **times,
        "modes": modes,
        "outputs": outputs,
        "projections": projections,
        "exposures": projections * len(program),
    }


def configure(twin: TwinDevice, shot_words: np.ndarray, *, program_length: int, planes: int, outputs: int) -> None:
    """Write a program over the link, all outputs at 16 bits, half the laser's power, and arm it."""
    settings = {
        "program_length": program_length,
        "planes": planes,
        "selection_length": outputs,
        "result_format": 2,
        "laser_power": 2048,
        "laser_unlock": PROTOCOL_HASH,
        "laser_arm": PROTOCOL_HASH,
    }
    base = WINDOWS["shot_table"].address
    writes = [
        (base + i, shot_words[i : i + WRITE_WORDS_MAX].tolist()) for i in range(0, len(shot_words), WRITE_WORDS_MAX)
    ]
    writes += [(REGISTERS[name].address, [value]) for name, value in settings.items()]
    for address, words in writes:
        payload = WRITE_HEADER.pack(address) + np.array(words, dtype="<u4").tobytes()
        reply = Packet.decode(twin.receive(Packet(PacketType.WRITE, 1, payload).encode()).rstrip(codec.DELIMITER))
        if reply.type != PacketType.WRITE_REPLY:
            raise RuntimeError(f"the twin refused to write {words} at {address:#06x}")
