"""What one run of the bench is: everything that the simulator's process must know."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openopu.errors import UsageError
from openopu_rtl.protocol import REGISTERS, Geometry, Link, PanelKind
from openopu_rtl.protocol.links import FT245SYNC_HZ

from ..sensor import DEFAULT_SENSOR, SensorSettings
from .faults import Faults

SIMULATORS = ("verilator", "icarus")
CLOCK_HZ = 48_000_000
"""System clock of the simulation."""
SLM_CLOCK_HZ = 46_500_000
"""Default pixel clock of the simulated panel: no simple ratio to the system clock."""
CAMERA_CLOCK_HZ = 44_100_000
"""Default pixel clock of the simulated camera: no simple ratio either, and below the system clock."""
RESET_S, MIRROR_SETTLE_S = 4.5e-6, 8e-6
"""How long a DMD controller's RST_ACTIVE lasts, and how long after it no row may be written (TI E2E 322935)."""
SECONDS_PS = 10**12
UART_DIVISOR = REGISTERS["uart_divisor"].reset
LINKS_PLAYED = (Link.UART, Link.BYTES, Link.FT245, Link.FT245SYNC)
"""Links that the bench has a model of the other end for."""
SETTINGS_VARIABLE = "OPENOPU_BENCH"
"""Environment variable that carries :meth:`BenchSettings.dumps` into the simulator."""


def link_keys() -> str:
    """The links of the bench, for people."""
    return " or ".join(link.key for link in LINKS_PLAYED)


@dataclass(frozen=True)
class BenchSettings:
    simulator: str = "verilator"
    geometry: Geometry = field(default_factory=Geometry)
    plant: Mapping[str, str] = field(default_factory=dict)
    """Options of the plant, as in a device URL; see :mod:`openopu_sim.options`."""
    link: Link = Link.UART
    clock_hz: int = CLOCK_HZ
    """System clock; another than the default means another build of the gateware."""
    free_running: bool = False
    """True: simulated time runs on while the host thinks."""
    faults: str = ""
    """Faults to inject; see :mod:`openopu_sim.bench.faults`."""
    interlock_closed: bool = True
    sensor: SensorSettings = DEFAULT_SENSOR
    """The model behind the I2C."""
    slm_clock_hz: int = SLM_CLOCK_HZ
    camera_clock_hz: int = CAMERA_CLOCK_HZ
    camera_delay_clocks: int = 16
    """Camera clocks from the end of the exposure to FVAL."""
    camera_line_gap_clocks: int = 4
    """Camera clocks between two lines."""
    camera_frame_gap_clocks: int = 4
    """Camera clocks between FVAL and the first line, and after the last."""
    waves: str = ""
    """Absolute path of the waveform file (.fst or .vcd), or nothing."""
    replay: str = ""
    """File of packets to play into the link instead of serving a port; see :class:`endpoints.Replay`."""
    optics: str = ""
    """``module:factory`` of other optics than the plant's, called with these settings, or nothing."""

    def __post_init__(self) -> None:
        if self.simulator not in SIMULATORS:
            raise UsageError(f"no simulator `{self.simulator}`", "rtl bench", f"Take one of: {', '.join(SIMULATORS)}")
        if self.link not in LINKS_PLAYED:
            raise UsageError(f"the bench does not play link `{self.link.key}`", "rtl bench", f"Take {link_keys()}")
        for name in ("slm_clock_hz", "camera_clock_hz", "clock_hz"):
            value = getattr(self, name)
            if not 1_000_000 <= value <= 500_000_000:
                raise UsageError(f"{name} = {value} is out of range", "rtl bench", "Take 1 MHz to 500 MHz")
        if self.geometry.panel_kind == PanelKind.VIDEO_CONTINUOUS and self.slm_clock_hz > CLOCK_HZ:
            raise UsageError(
                f"a pixel clock of {self.slm_clock_hz} Hz outruns the system clock, so that the panel lacks pixels",
                "rtl bench",
                f"Take slm_clock_hz up to {CLOCK_HZ}",
            )
        if self.waves and not self.waves.endswith((".fst", ".vcd")):
            raise UsageError("waves go to a .fst or .vcd file", self.waves, "Name the file accordingly")
        Faults.parse(self.faults)

    @property
    def half_periods_ps(self) -> dict[str, int]:
        """Half period of each clock, by the name of the simulator's plus argument."""
        return {
            name: round(SECONDS_PS / (2 * hz))
            for name, hz in (
                ("clk_half", self.clock_hz),
                ("slm_half", self.slm_clock_hz),
                ("cam_half", self.camera_clock_hz),
            )
        } | {"ft_half": round(SECONDS_PS / (2 * FT245SYNC_HZ)) if self.link == Link.FT245SYNC else 0}

    @property
    def reset_baud(self) -> int:
        """Rate of the device's UART after reset."""
        return self.clock_hz // UART_DIVISOR

    @property
    def parameters(self) -> dict[str, int]:
        """Parameters of the Verilog module ``openopu_bench``."""
        g = self.geometry
        names = ("width", "height", "h_front", "h_sync", "h_back", "v_front", "v_sync", "v_back")
        panel: dict[str, int] = {"SLM_KIND": int(g.panel_kind)}
        if g.panel_kind == PanelKind.PACKED_PLANES:
            panel["SLM_BUS_BITS"] = 24
        elif g.panel_kind == PanelKind.ROW_BUS:
            panel |= {
                "SLM_BUS_BITS": g.row_word_bits + 20,
                "ROW_WORD_BITS": g.row_word_bits,
                "RST_CLOCKS": math.ceil(RESET_S * self.slm_clock_hz),
                "SETTLE_CLOCKS": math.ceil(MIRROR_SETTLE_S * self.slm_clock_hz),
            }
        return {
            "CLOCK_HZ": self.clock_hz,
            **panel,
            **{f"SLM_{name.upper()}": int(getattr(g, f"slm_{name}")) for name in names},
            "CAMERA_WIDTH": g.camera_width,
            "CAMERA_HEIGHT": g.camera_height,
            "PIXEL_BITS": g.pixel_bits,
        }

    def dumps(self) -> str:
        """As text; inverse of :meth:`loads`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def loads(cls, text: str) -> BenchSettings:
        values: dict[str, Any] = json.loads(text)
        values["geometry"] = Geometry(**values["geometry"])
        values["sensor"] = SensorSettings(**values["sensor"])
        values["link"] = Link(values["link"])
        return cls(**values)
