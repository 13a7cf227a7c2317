"""What runs inside the simulator: wakes on the bench's ``attention``, answers, and goes back to sleep.

A cocotb test module; the same for every simulator. All that it does takes no simulated time.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import cocotb
import numpy as np
from numpy.typing import NDArray
from openopu.url import DeviceUrl
from openopu_rtl.protocol import PanelKind

from ..plant.thermometer import Thermometer
from .endpoints import Door, Ports, Replay
from .faults import Fault, Faults, Play
from .settings import SETTINGS_VARIABLE, UART_DIVISOR, BenchSettings

INPUT_BYTES = 16384
"""Size of the buffer in ``hdl/link.v``."""
TICK_CYCLES = {"verilator": 50_000, "icarus": 5_000}
"""Clocks without an event after which Python looks at the host again: some 10 to 50 ms of wall clock."""
VIDEO_LAWS = (
    "panel: a line has too few or too many pixels",
    "panel: a frame has too few or too many lines",
    "panel: HSYNC has the wrong width",
    "panel: HSYNC is misplaced",
    "panel: VSYNC has the wrong width",
    "panel: VSYNC is misplaced",
    "panel: a pixel came during HSYNC or VSYNC, or continuous video has one in the wrong place",
    "panel: the pattern changed during an exposure",
)
ROW_LAWS = (
    "panel: the bus paused within a row cycle",
    "panel: the modes changed within a row cycle",
    "panel: a row address is out of range",
    "panel: a row was written while the mirrors settled",
    "panel: a reset came while the one before it was active or the mirrors settled",
    "panel: an unknown block mode",
    "panel: a reset came before every row had been written, once",
    "panel: the pattern changed during an exposure",
)
"""Of the panel, by kind."""
LAWS = (
    "link: a byte that had been offered was withdrawn or changed, or a law of the FIFO's bus was broken",
    "DAC: SCK is too quick for the part",
    "ADC: CLK is too quick for the part, or CS was high for too short a time",
    "camera: a third exposure ended before the first was read out",
    "exposure: the ID changed during an exposure, or was not valid",
    "bias DAC: SCK is too quick for the part",
)
"""What each bit of ``broken`` in ``hdl/bench.v`` means, after the panel's eight."""


class LawBroken(Exception):
    """The device broke a law of its interfaces; the simulation ends."""


class PlantLike(Protocol):
    def expose_frame(
        self, levels: NDArray[np.uint8], exposure_id: int, exposure_cycles: int, laser_code: int, settle_cycles: int
    ) -> tuple[NDArray[np.uint16], int]: ...

    def monitor_reading(self, exposure_id: int | None, laser_code: int) -> int: ...

    def temperature_reading(self) -> int: ...


class NoOptics:
    """Where frames come from elsewhere, the camera is never triggered, and no laser is on."""

    def __init__(self, temperature: int) -> None:
        self._temperature = temperature

    def expose_frame(
        self, levels: NDArray[np.uint8], exposure_id: int, exposure_cycles: int, laser_code: int, settle_cycles: int
    ) -> tuple[NDArray[np.uint16], int]:
        raise LawBroken(f"exposure {exposure_id} triggered the camera, whose light is simulated")

    def monitor_reading(self, exposure_id: int | None, laser_code: int) -> int:
        return 0

    def temperature_reading(self) -> int:
        return self._temperature


class Signals:
    """Signals of the bench by name, past cocotb's value objects: one is read or written in about a microsecond."""

    _NOW = 3  # GPI's action "no delay"

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        self._handles: dict[str, Any] = {}

    def _handle(self, name: str) -> Any:
        if name not in self._handles:
            self._handles[name] = getattr(self._dut, name)._handle
        return self._handles[name]

    def get(self, name: str) -> int:
        """Value as an unsigned integer of at most 32 bits."""
        return int(self._handle(name).get_signal_val_long()) & 0xFFFFFFFF

    def put(self, name: str, value: int) -> None:
        self._handle(name).set_signal_val_int(self._NOW, value)


class Bench:
    def __init__(self, dut: Any, settings: BenchSettings, plant: PlantLike, door: Door) -> None:
        self.signals = Signals(dut)
        self.settings = settings
        self.plant = plant
        self.door = door
        self.faults = Faults.parse(settings.faults)
        g = settings.geometry
        self._shape = (g.slm_height, g.slm_width)
        self._usual = Play(play_times=1, play_delay=settings.camera_delay_clocks, play_lines=g.camera_height)
        self._playing = self._usual
        self._exposures = self._outputs = self._asks = 0
        self._frame_toggle = self._input_toggle = self._light_toggle = 0
        self._ahead_code = -1
        self._levels_of_faults = {
            "interlock": ("interlock_closed", int(settings.interlock_closed), 0),
            "link_break": ("line_break", 0, 1),
        }
        """Faults that last from the end of one exposure to that of another: signal, its usual and its faulty level."""
        self._lasting: dict[str, int] = {}
        """Exposures for which each of them lasts."""
        self._divisor = UART_DIVISOR
        # Opened once: the simulator rewrites the same files. The working folder is the run's own.
        Path("levels.bin").touch()
        Path("output.bin").touch()
        self._levels = os.open("levels.bin", os.O_RDONLY)
        self._output = os.open("output.bin", os.O_RDONLY)
        self._frame = os.open("frame.bin", os.O_RDWR | os.O_CREAT, 0o600)
        self._input = os.open("input.bin", os.O_RDWR | os.O_CREAT, 0o600)

    def start(self) -> None:
        """Set up the models. Not before simulated time has begun: initial blocks would undo it."""
        s = self.settings
        for name, value in {
            "link_kind": int(s.link),
            "interlock_closed": int(s.interlock_closed),
            "host_divisor": UART_DIVISOR,
            "tick_cycles": TICK_CYCLES[s.simulator],
            "line_gap": s.camera_line_gap_clocks,
            "fval_lead": s.camera_frame_gap_clocks,
            **{f"sensor_{n}": int(v) for n, v in dataclasses.asdict(s.sensor).items() if n != "name"},
            "temperature": self.plant.temperature_reading(),
            **self._usual.__dict__,
        }.items():
            self.signals.put(name, value)

    def wake(self) -> bool:
        """Attend to all that has happened. Returns False when the bench shall end."""
        status = self.signals.get("status")
        self._check_laws()
        exposures, outputs = status & 0xFF, status >> 8 & 0xFF
        input_empty, at_rest, laser_on, relit = (bool(status >> bit & 1) for bit in (16, 17, 18, 19))
        asks = status >> 20 & 0xFF
        if asks != self._asks:
            self._asks = asks
            self._shine(self.signals.get("exposed_id"), laser_on)
        elif relit:
            self._shine(None, laser_on)
        if exposures != self._exposures:
            if exposures != (self._exposures + 1) & 0xFF:
                raise RuntimeError("the bench slept through an exposure")
            self._exposures = exposures
            self._expose(laser_on)
        if outputs != self._outputs:
            # A quick host may answer at once, a slow one later. So that both are heard at the same simulated
            # time, neither is now: if all comes to rest, then, else at the tick that follows soon.
            self._outputs = outputs
            self.door.send(self._read_output())
            return True
        going = self.door.poll(0)
        given = input_empty and self._give_input()
        if self.settings.free_running or not at_rest:
            return going
        # Lock step: time stands still while nothing is under way and the host thinks. When it has gone with
        # the laser on, time runs on until the interlock has tripped.
        while going and not given and (self.door.attached or not laser_on):
            going = self.door.poll(self.door.next_partial_s())
            given = self._give_input()
        return going

    def _check_laws(self) -> None:
        if broken := self.signals.get("broken"):
            panel = ROW_LAWS if self.settings.geometry.panel_kind == PanelKind.ROW_BUS else VIDEO_LAWS
            names = "; ".join(text for bit, text in enumerate(panel + LAWS) if broken >> bit & 1)
            raise LawBroken(f"after {self.signals.get('cycles')} cycles: {names}")

    def _shine(self, exposure: int | None, laser_on: bool) -> None:
        """Set what the photodiode reads from now on: in an exposure that has begun, or (None) between two."""
        code = self._laser_code(laser_on)
        self.signals.put("light", self.plant.monitor_reading(exposure, code))
        self.signals.put("light_code", code)
        self.signals.put("light_exposure", exposure is not None)
        self._light_toggle ^= 1
        self.signals.put("light_set", self._light_toggle)

    def _laser_code(self, laser_on: bool) -> int:
        return self.signals.get("dac_code") if laser_on else 0

    def _expose(self, laser_on: bool) -> None:
        """An exposure has ended: compute what the camera saw, and foresee what the photodiode will read in the next."""
        signals = self.signals
        exposure = signals.get("exposed_id")
        cycles = signals.get("exposed_cycles")
        code = self._laser_code(laser_on)
        height, width = self._shape
        levels = np.frombuffer(os.pread(self._levels, height * width, 0), dtype=np.uint8).reshape(self._shape)
        frame, _ = self.plant.expose_frame(levels, exposure, cycles, code, signals.get("exposed_settle"))
        os.pwrite(self._frame, frame.astype(">u2").tobytes(), 0)
        signals.put("ahead_light", self.plant.monitor_reading((exposure + 1) & 0xFFFFFFFF, code))
        if code != self._ahead_code:
            self._ahead_code = code
            signals.put("ahead_code", code)
        self._play(self.faults.at(exposure))
        self._frame_toggle ^= 1
        signals.put("frame_load", self._frame_toggle)

    def _play(self, fault: Fault | None) -> None:
        """Set how the camera plays this frame; what has not changed is not written again."""
        play = fault.play(self._usual, self.settings.geometry) if fault else self._usual
        if play != self._playing:
            for name, value in play.__dict__.items():
                self.signals.put(name, value)
            self._playing = play
        for kind, (signal, usual, faulty) in self._levels_of_faults.items():
            if fault and fault.kind == kind:
                self._lasting[kind] = fault.argument
                self.signals.put(signal, faulty)
            elif self._lasting.get(kind):
                self._lasting[kind] -= 1
                if not self._lasting[kind]:
                    self.signals.put(signal, usual)

    def _read_output(self) -> bytes:
        words = np.frombuffer(os.pread(self._output, 1 << 16, 0), dtype=np.uint32)
        return words[1:].tobytes()[: int(words[0])]

    def _give_input(self) -> bool:
        """Hand bytes of the host over; the model's buffer is empty. Returns whether there were any."""
        data = self.door.take(self.settings.free_running, INPUT_BYTES)
        if not data:
            return False
        self._follow_baud()
        os.pwrite(self._input, data, 0)
        self.signals.put("input_count", len(data))
        self._input_toggle ^= 1
        self.signals.put("input_load", self._input_toggle)
        return True

    def _follow_baud(self) -> None:
        baud = self.door.baud()
        divisor = min(max(round(self.settings.clock_hz / baud), 1), 0xFFFF) if baud else UART_DIVISOR
        if divisor != self._divisor:
            self._divisor = divisor
            self.signals.put("host_divisor", divisor)


def make_plant(settings: BenchSettings) -> PlantLike:
    """The optics of this run."""
    if settings.optics:
        module, _, name = settings.optics.partition(":")
        made: PlantLike = getattr(importlib.import_module(module), name)(settings)
        return made
    from ..options import parameters_of, plant_from_options, plant_source_of

    url = DeviceUrl("rtl", parameters=settings.plant)
    if (source := plant_source_of(url)) != "camera":
        return NoOptics(Thermometer(parameters_of(url).thermometer).reading() if source == "host" else 0)
    return plant_from_options(settings.geometry, settings.plant, settings.clock_hz)


def announce(**values: Any) -> None:
    """One line of JSON for whoever started the simulator."""
    print(json.dumps(values), flush=True)


@cocotb.test()
async def serve(dut: Any) -> None:
    settings = BenchSettings.loads(os.environ[SETTINGS_VARIABLE])
    ports = None if settings.replay else Ports(settings.reset_baud)
    door: Door = ports or Replay(Path(settings.replay))
    bench = Bench(dut, settings, make_plant(settings), door)
    change = dut.attention.value_change
    while bench.signals.get("cycles") == 0:
        await change
    bench.start()
    started = time.perf_counter()
    if ports:
        announce(event="ready", port=ports.path, url=ports.url, pid=os.getpid())
    try:
        await change
        while bench.wake():
            await change
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise
    finally:
        door.close()
    if isinstance(door, Replay):
        cycles = bench.signals.get("cycles")
        announce(event="replayed", cycles=cycles, wall_s=time.perf_counter() - started, answers=door.answers.hex())
