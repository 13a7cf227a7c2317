"""Timing diagrams of the panel's interfaces, for ``timing.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth import ClockDomain, Module
from openopu_rtl.dvi import CLOCK_LANE, DviOutput, DviSerialiser
from openopu_rtl.exposer import Exposer
from openopu_rtl.panel import Driver
from openopu_rtl.planepanel import PackedPlanesDriver
from openopu_rtl.protocol import Geometry, PanelKind
from openopu_rtl.protocol.codec import pack_planes
from openopu_rtl.rowpanel import RowBusDriver
from openopu_rtl.rowport import BlockMode, RowMode
from openopu_rtl.shapes import PLANES
from openopu_rtl.tmds import CONTROL_WORDS
from openopu_rtl.video import VideoPort
from recording import Diagram, first, levels, only, record
from waveforms import Mark, Trace

SMALL = Geometry.fitting(
    64, 16, macropixel=1, slm_width=12, slm_height=8, anchor_x=9, anchor_y=0, anchor_width=2, anchor_height=8,
    signal_x=0, signal_y=0, slm_h_front=2, slm_h_sync=2, slm_h_back=3, slm_v_front=1, slm_v_sync=1, slm_v_back=1,
)  # fmt: skip
"""So few pixels that a frame can be drawn."""


def video() -> Diagram:
    """Three lines of a frame on demand, and its vertical sync, held back until the exposure has ended."""
    dut = VideoPort(SMALL)
    sent = iter(range(1 << 30))

    def stimulus(ctx, clock):
        if clock == 0 or ctx.get(dut.i.ready):
            number = next(sent)
            ctx.set(dut.i.p.level, number % 256)
        ctx.set(dut.i.p.await_latch, 1)
        ctx.set(dut.i.p.final, 1)
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.grant, clock > 190)

    signals = {"de": dut.de, "hsync": dut.hsync, "vsync": dut.vsync, "level": dut.level, "grant": dut.grant}
    found = record(dut, signals | {"latched": dut.latched}, stimulus, 240, "slm")
    start = 120
    cut = {name: samples[start:] for name, samples in found.items()}
    cut["level"] = only(cut["level"], cut["de"])
    rise = first(cut["vsync"], 1)
    return Diagram(
        "Panel port, video on demand: a frame's end; its vertical sync waits for `grant`, `latched` toggles with it",
        levels(cut, "level"),
        [Mark("vsync", rise, first(cut["vsync"], 0, rise), "v_sync lines")],
        "pixel clock",
    )


def video_to_dvi() -> tuple[Module, VideoPort, DviOutput]:
    """A frame on demand on its way to DVI, all in the pixel clock."""
    top = Module()
    top.submodules.video = port = VideoPort(SMALL)
    top.submodules.dvi = dvi = DviOutput()
    top.d.comb += [
        port.i.valid.eq(1),
        dvi.de.eq(port.de),
        dvi.hsync.eq(port.hsync),
        dvi.vsync.eq(port.vsync),
        dvi.pixel.eq(port.level),
    ]
    return top, port, dvi


def word_name(word: int) -> str:
    """Of a blanking word its control bits (C1, C0); else its ten bits in hexadecimal."""
    return f"C{CONTROL_WORDS.index(word):02b}" if word in CONTROL_WORDS else f"{word:03x}"


def dvi_line() -> Diagram:
    """A line ends and the next one begins, as ten-bit words."""
    top, port, dvi = video_to_dvi()

    def stimulus(ctx, clock):
        ctx.set(port.i.p.level, (37 * clock) % 256)

    signals = {"de": port.de, "hsync": port.hsync, "level": port.level}
    signals |= {f"channel {i}": dvi.words[i] for i in range(CLOCK_LANE)} | {"clock": dvi.words[CLOCK_LANE]}
    found: dict[str, Any] = record(top, signals, stimulus, 60, "slm")
    end = first(found["de"], 0, first(found["de"], 1))
    start, stop = end - 4, end + 18
    cut = {name: samples[start:stop] for name, samples in found.items()}
    rise = first(cut["de"], 1, 5)
    data = next(i for i in range(rise, len(cut["clock"])) if cut["channel 0"][i] not in CONTROL_WORDS)
    assert data - rise == dvi.LATENCY
    cut["level"] = only(cut["level"], cut["de"])
    for i in range(CLOCK_LANE):
        cut[f"channel {i}"] = [word_name(word) for word in cut[f"channel {i}"]]
    return Diagram(
        "DVI: a line ends, the next begins. `C..`: blanking words by (C1, C0), which are vsync and hsync in channel 0",
        levels(cut, "level", "channel 0", "channel 1", "channel 2", "clock"),
        [Mark("de", rise, data, f"{data - rise} clocks")],
        "pixel clock",
    )


def dvi_bits() -> Diagram:
    """Words on the serialiser: two bits a clock of five times the pixel clock."""
    top, port, dvi = video_to_dvi()
    top.submodules.serialiser = serialiser = DviSerialiser()
    top.d.comb += serialiser.words.eq(dvi.words)
    top.domains.slm = slm = ClockDomain()
    clocks = iter(range(1 << 30))

    def stimulus(ctx, clock):
        if clock % 5 == 0:
            ctx.set(port.i.p.level, (37 * next(clocks)) % 256)

    signals = {"pixel clock": slm.clk, "word": dvi.words[0], "pair": serialiser.o[0]}
    signals["clock pair"] = serialiser.o[CLOCK_LANE]
    periods = {"slm_x5": 2e-9, "slm": 10e-9}
    found = record(top, signals, stimulus, 200, "slm_x5", periods)
    # The first pixel's word after a blanking, once the serialiser has found the pixel clock.
    words = found["word"]
    begins = next(i for i in range(60, 150) if words[i] not in CONTROL_WORDS and words[i - 1] in CONTROL_WORDS)

    def sent(at: int) -> int:
        """The word that leaves in the five clocks from ``at`` on."""
        return sum(pair << 2 * i for i, pair in enumerate(found["pair"][at : at + 5]))

    leaves = next(i for i in range(begins, begins + 10) if sent(i) == words[begins])
    window = range(begins - 5, begins + 15)

    def bits(name: str) -> list[int]:
        return [found[name][i] >> half & 1 for i in window for half in range(2)]

    traces = [
        Trace("pixel clock", [found["pixel clock"][i] for i in window for _ in range(2)]),
        Trace("word, channel 0", [f"{words[i]:010b}" for i in window for _ in range(2)], bus=True),
        Trace("slm_x5", [1, 0] * len(window)),
        Trace("pair, channel 0", [f"{found['pair'][i]:02b}" for i in window for _ in range(2)], bus=True, every=2),
        Trace("D0", bits("pair")),
        Trace("CLK", bits("clock pair")),
    ]
    start = 2 * (begins - window[0])
    wait = leaves - begins
    return Diagram(
        "DVI: a word leaves in five clocks of slm_x5, bit 0 first (a pair: bit 1, bit 0); D0, CLK: DDR outputs",
        traces,
        [
            Mark("word, channel 0", start, start + 2 * wait, f"{wait} clocks"),
            Mark("D0", start + 2 * wait, start + 2 * wait + 10, "the word"),
        ],
        "bits: half clocks of slm_x5",
    )


def add_exposer(top: Module, driver: Any, settle_cycles: int, exposure_cycles: int) -> Exposer:
    """An exposer beside a panel's driver; link, camera, laser and accumulators are always ready."""
    top.submodules.driver = driver
    top.submodules.exposer = exposer = Exposer()
    top.d.comb += [
        driver.start.eq(1),
        driver.shot.level_on.eq(255),
        driver.final.eq(1),
        driver.await_latch.eq(1),
        driver.grant.eq(exposer.grant),
        driver.exposed.eq(exposer.o.valid),
        exposer.latched.eq(driver.latched),
        exposer.i.valid.eq(1),
        exposer.i.p.shot.settle_cycles.eq(settle_cycles),
        exposer.i.p.shot.exposure_cycles.eq(exposure_cycles),
        exposer.panel_timeout.eq(1 << 20),
        exposer.showing_cycles.eq(driver.showing_cycles),
        exposer.none_due.eq(1),
        exposer.analog_ready.eq(1),
    ]
    return exposer


class Store:
    """The pattern store before a driver. Shot k lights mode k alone, so that it can be told on the pins."""

    def __init__(self, geometry: Geometry, driver: Driver):
        self.geometry, self.driver = geometry, driver
        self._bytes = pack_planes(np.eye(geometry.modes, dtype=int))
        self._shot, self._address, self._busy = -1, 0, 0

    def clock(self, ctx) -> None:
        ctx.set(self.driver.r_data, self._bytes[self._address % len(self._bytes)])
        self._address = ctx.get(self.driver.r_addr)
        busy = ctx.get(self.driver.busy)
        self._shot += self._busy and not busy
        self._busy = busy
        ctx.set(self.driver.plane_address, (self._shot + 1) % self.geometry.modes * self.geometry.plane_bytes)


class PlanesPanel:
    """A board of mirrors fed with video (see ``packed_panel.v``): shows a frame's planes while the next is sent.

    ``shows``: plane on show, or None.
    """

    DARK_SHARE = 6

    def __init__(self, geometry: Geometry, driver: Driver):
        self.geometry, self.driver = geometry, driver
        self.line = geometry.slm_width + geometry.slm_h_front + geometry.slm_h_sync + geometry.slm_h_back
        self.period = geometry.slm_frame_clocks // PLANES
        self.on = self.period - self.period // self.DARK_SHARE
        self.frames: list[list[int]] = []
        self.shows: int | None = None
        self._pixels: list[int] = []
        self._until, self._since, self._vsync = 0, PLANES * self.period, 1

    def clock(self, ctx) -> None:
        vsync = ctx.get(self.driver.slm_vsync)
        if ctx.get(self.driver.slm_de):
            self._pixels.append(ctx.get(self.driver.slm_pixel))
        self._since += 1
        if vsync and not self._vsync:
            self.frames.append(self.shots(self._pixels))
            self._pixels, self._until = [], self.line
        self._vsync = vsync
        self._until -= self._until > 0
        if self._until == 1:
            self._since = 0
        plane, clock = divmod(self._since, self.period)
        lit = plane < PLANES and clock < self.on
        self.shows = plane if lit else None
        ctx.set(self.driver.slm_trigger, lit)

    def shots(self, pixels: list[int]) -> list[int]:
        """Of each plane of a frame, which mode is lit, as the first pixel of its macropixel says."""
        g, shown = self.geometry, np.array(pixels, dtype=int)
        if not shown.any():
            return []
        modes = shown.reshape(-1, g.slm_width)[g.signal_y :: g.macropixel, g.signal_x :: g.macropixel]
        modes = modes[: g.modes_y, : g.modes_x].ravel()
        return [int(np.flatnonzero(modes >> plane & 1)[0]) for plane in range(PLANES)]


def packed_planes() -> Diagram:
    """A frame of 24 planes on show; each shot is exposed in its slot."""
    geometry = Geometry(
        panel_kind=PanelKind.PACKED_PLANES, slm_width=52, slm_height=30, slm_h_front=4, slm_h_sync=4, slm_h_back=4,
        slm_v_front=1, slm_v_sync=1, slm_v_back=4, macropixel=3, modes_x=16, modes_y=9, signal_x=2, signal_y=2,
        anchor_x=0, anchor_y=0, anchor_width=0, anchor_height=0,
    )  # fmt: skip
    top, driver = Module(), PackedPlanesDriver(geometry)
    exposer = add_exposer(top, driver, settle_cycles=8, exposure_cycles=36)
    store, panel = Store(geometry, driver), PlanesPanel(geometry, driver)
    planes: list[int | None] = []

    def stimulus(ctx, clock):
        store.clock(ctx)
        panel.clock(ctx)
        planes.append(panel.shows)

    signals = {
        "vsync": driver.slm_vsync,
        "de": driver.slm_de,
        "trigger": driver.slm_trigger,
        "exposure": exposer.trigger,
        "ID": exposer.exposure_id,
    }
    frame = geometry.slm_frame_clocks
    found = record(top, signals, stimulus, 5 * frame + 200, periods={"sync": 1e-8, "slm": 1e-8})
    # The frame that is sent from the fourth vertical sync on, and the one before, which is on show.
    start = [i for i in range(1, len(planes)) if found["vsync"][i] > found["vsync"][i - 1]][3]
    shown, sent = panel.frames[3:5]
    window = slice(start - 100, start + frame + 100)
    cut = {name: samples[window] for name, samples in found.items()}
    slots = planes[window]
    first_de, last_de = first(cut["de"], 1, 200), len(cut["de"]) - cut["de"][:-110][::-1].index(1) - 110
    pixels = [
        f"24 planes of a pixel: shots {sent[0]} to {sent[-1]}" if first_de <= i < last_de else None
        for i in range(len(slots))
    ]
    trigger = slots.index(0)
    for i in range(trigger, trigger + PLANES * panel.period):
        plane = slots[i]
        assert not cut["exposure"][i] or (plane is not None and cut["ID"][i] == shown[plane])
    off = first(cut["trigger"], 0, trigger)
    on = first(cut["trigger"], 1, off)
    exposed = first(cut["exposure"], 1, on)
    traces = [
        Trace("vsync", cut["vsync"]),
        Trace("de", cut["de"]),
        Trace("pixels sent", pixels, bus=True),
        Trace("plane on show", slots, bus=True, base=10),
        Trace("trigger out", cut["trigger"]),
        Trace("exposure", cut["exposure"]),
        Trace("exposure ID", cut["ID"], bus=True, base=10),
    ]
    return Diagram(
        f"Packed planes: while a frame is sent, the panel shows the planes of the one before (shots {shown[0]} to "
        f"{shown[-1]}), bit 0 first",
        traces,
        [
            Mark("vsync", 100, 100 + frame, "one video frame"),
            Mark("trigger out", off, on, "dark"),
            Mark("exposure", on, exposed, "settles"),
        ],
        "pixel clock (of a panel of 52 x 30; the share of dark time is the model's)",
    )


class RowPanel:
    """A controller of mirrors (see ``dmd.v``): after a reset it is busy for some clocks."""

    BUSY_CLOCKS, LATENCY = 24, 4

    def __init__(self, driver: Driver):
        self.driver = driver
        self._left, self._in_reset = 0, False

    def clock(self, ctx) -> None:
        resets = ctx.get(self.driver.slm_block_mode) == BlockMode.GROUP
        if self._in_reset and not resets:
            self._left = self.BUSY_CLOCKS + self.LATENCY
        self._in_reset = resets
        ctx.set(self.driver.slm_rst_active, 0 < self._left <= self.BUSY_CLOCKS)
        self._left -= self._left > 0


def row_bus() -> Diagram:
    """A pattern is written by rows, waits for the exposure before it, and is shown by one reset of all mirrors."""
    geometry = Geometry(
        panel_kind=PanelKind.ROW_BUS, row_word_bits=8, slm_width=16, slm_height=8, slm_v_back=4, macropixel=2,
        modes_x=8, modes_y=2, signal_x=0, signal_y=2, anchor_x=0, anchor_y=0, anchor_width=0, anchor_height=0,
        store_bytes=64,
    )  # fmt: skip
    top, driver = Module(), RowBusDriver(geometry)
    exposer = add_exposer(top, driver, settle_cycles=8, exposure_cycles=44)
    store, panel = Store(geometry, driver), RowPanel(driver)

    def stimulus(ctx, clock):
        store.clock(ctx)
        panel.clock(ctx)

    signals = {
        "valid": driver.slm_dvalid,
        "row mode": driver.slm_row_mode.as_value(),
        "row address": driver.slm_row_address,
        "data": driver.slm_data,
        "block mode": driver.slm_block_mode.as_value(),
        "block address": driver.slm_block_address,
        "RST_ACTIVE": driver.slm_rst_active,
        "exposure": exposer.trigger,
        "exposure ID": exposer.exposure_id,
    }
    found: dict[str, Any] = record(top, signals, stimulus, 700, periods={"sync": 1e-8, "slm": 1e-8})
    resets = [i for i in range(1, 700) if found["block mode"][i] > found["block mode"][i - 1]]
    start = resets[3] - 50
    cut = {name: samples[start : start + 130] for name, samples in found.items()}
    written = [mode == RowMode.ADDRESS.value for mode in cut["row mode"]]
    reset = [mode == BlockMode.GROUP.value for mode in cut["block mode"]]
    busy = first(cut["RST_ACTIVE"], 1)
    ends = first(cut["RST_ACTIVE"], 0, busy)
    rows = first(written, True, ends)
    for name, valid in (("row mode", cut["valid"]), ("block mode", cut["valid"]), ("row address", written),
                        ("data", written), ("block address", reset), ("exposure ID", cut["exposure"])):  # fmt: skip
        cut[name] = only(cut[name], valid)
    return Diagram(
        "Row bus: rows by address (row mode 2), then one reset of all blocks (block mode 3, address 8)",
        levels(cut, "row mode", "row address", "data", "block mode", "block address", "exposure ID"),
        [Mark("RST_ACTIVE", busy, ends, "busy"), Mark("valid", ends, rows, "mirrors settle: no rows")],
        "clock of the bus",
    )
