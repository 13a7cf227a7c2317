"""What of a line's bytes is payload: each kind of link made the bottleneck of the RTL in Verilator.

The line's bytes are those that it had room for in the limiting direction, to the host, in the clocks that a projection
took in steady state, beside the bytes that crossed to the device (`budget.Line`):

- UART: baud / 10 in each direction, whatever the other does.
- FT245, asynchronous: one byte in the clocks of the data sheet's cycle, rounded up to the system clock, with the two
  clocks of the synchroniser: 7 at 48 MHz. A byte the other way costs what does not fit into a write's recovery.
- FT245, synchronous: one byte at each edge of CLKOUT, in either direction; turns count as lost.
- USB: 19 transactions of 64 bytes in a frame of 1 ms, of both directions together.

Panel, camera and program are so small that the link decides; results of 1,024 outputs and 8 bits go back, 32 planes of
64 modes (256 bytes: as two of 1,024) come.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openopu
from openopu.budget import line_of, traffic
from openopu_rtl.protocol import Link, Program, Shot

from .usb_rate import usb_rate

GEOMETRY = {
    "n": 64, "m": 1024, "macropixel": 1, "bin": 1, "camera_width": 34, "camera_height": 34, "crop_x": 1, "crop_y": 1,
    "raw_rows": 34,
}  # fmt: skip
PLANES = 32
ROWS = 1000
CASES: dict[str, tuple[Link, int, int, int]] = {
    # name: link, system clock in Hz, UART's rate, projections
    "UART 3 Mbaud": (Link.UART, 48_000_000, 3_000_000, 100),
    "UART 12 Mbaud": (Link.UART, 48_000_000, 12_000_000, ROWS),
    "FT245, 48 MHz": (Link.FT245, 48_000_000, 0, ROWS),
    "FT245, 100 MHz": (Link.FT245, 100_000_000, 0, ROWS),
    "FT245 sync, 100 MHz": (Link.FT245SYNC, 100_000_000, 0, ROWS),
}


def measure(link: Link, clock_hz: int, baud: int, rows: int) -> dict[str, Any]:
    """Cycles and bytes of one more projection, from batches of ``rows`` and of a tenth of it."""
    keys = GEOMETRY | {"link": link.key, "clock_hz": clock_hz, "camera_clock_hz": round(0.96 * clock_hz)}
    url = "rtl:verilator?" + "&".join(f"{key}={value}" for key, value in keys.items())
    program = Program((Shot(plane=PLANES - 1, settle_cycles=0, exposure_cycles=100),), planes=PLANES)
    rng = np.random.default_rng(1)
    busy = []
    with openopu.open(url) as opu:
        if baud:
            opu.set_baud(baud)
        opu.configure(program, bits=8, shift=0, laser_power=4000)
        g, form = opu.geometry, opu.settings.format(opu.geometry)
        planes = rng.integers(0, 2, (rows, PLANES, g.modes))
        for count in (1, max(rows // 10, 1), rows):
            opu.clear_counters()
            record = opu.project_raw(planes[:count])
            if not record.ok.all() or opu.repeated:
                raise RuntimeError("a projection failed while the link was measured")
            counters = opu.counters()
            busy.append(counters["cycles_busy"])
        if np.ptp(record.values) < 10:
            raise RuntimeError("the results hold no light: zeros would make COBS look better than it is")
    load = traffic(g.modes, PLANES, form, g.store_bytes)
    cycles = (busy[2] - busy[1]) / (rows - max(rows // 10, 1))
    line = line_of(link, clock_hz, baud or None)
    line_bytes = line.room(cycles / clock_hz, load.to_device)
    return {
        "cycles": cycles,
        "projections_per_s": clock_hz / cycles,
        "line_bytes": line_bytes,
        "payload_bytes": load.payload,
        "payload_share": load.payload / line_bytes,
        "rows_a_packet": load.rows,
        "both_ways_bytes": [load.to_device, load.to_host],
        "budget_cycles": line.seconds(load.to_device, load.to_host) * clock_hz,
        "shot_cycles": counters["cycles_readout"],
        "wait_results_share": counters["cycles_wait_results"] / busy[2],
    }


def link_rates() -> dict[str, Any]:
    """All cases; ``link_payload`` is the least share of payload."""
    runs = {name: measure(*case) for name, case in CASES.items()} | {"USB full speed": usb_rate()}
    return {"link_payload": min(run["payload_share"] for run in runs.values()), "links": runs}
