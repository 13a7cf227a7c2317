"""Panel probe: reads back what the panel's pins show."""

from __future__ import annotations

import numpy as np
from amaranth import Cat, DomainRenamer, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .protocol.geometry import Geometry
from .protocol.patterns import border_pixel, panel_crc


def model(geometry: Geometry, frame: np.ndarray) -> tuple[np.ndarray, int, int, int]:
    """Levels (modes,) uint8, anchor, border and CRC that the probe gives for a frame (slm_height, slm_width)."""
    g = geometry
    rows = slice(g.signal_y, g.signal_y + g.signal_height, g.macropixel)
    columns = slice(g.signal_x, g.signal_x + g.signal_width, g.macropixel)
    anchor = int(frame[g.anchor_y, g.anchor_x]) if g.anchor_pixels else 0
    at = border_pixel(g)
    border = int(frame[at[1], at[0]]) if at else 0
    return np.asarray(frame[rows, columns], dtype=np.uint8).ravel(), anchor, border, panel_crc(frame)


class PanelProbe(wiring.Component):
    """Of the frame on show: the level of each macropixel's first pixel, those of anchor and border, and a CRC of all
    pixels, so that no pin's value goes unchecked. Frames are counted in pixels, and shown from their vertical sync.

    Two banks: the next frame is gathered while the one on show is read.

    Ports
    -----
    de, vsync, level : the panel's pins, domain ``slm``.
    request : high as long as a pattern is read: the one on show when this has gone through the panel's clock, whatever
        is shown from then on.
    ready : answers ``request`` once it has gone through the panel's clock. From then on, while ``request`` holds:
    r_addr, r_en, r_data : level of each mode, one clock after its address.
    anchor, border, crc : those of the frame; 0 for a region without pixels.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "de": In(1),
                "vsync": In(1),
                "level": In(8),
                "request": In(1),
                "ready": Out(1),
                "r_addr": In(ceil_log2(geometry.modes)),
                "r_en": In(1),
                "r_data": Out(8),
                "anchor": Out(8),
                "border": Out(8),
                "crc": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        bits = ceil_log2(g.modes)
        m.submodules.levels = levels = memory.Memory(shape=8, depth=2 << bits, init=[])
        write, read = levels.write_port(domain="slm"), levels.read_port(domain="sync")
        m.submodules.crc = crc = DomainRenamer("slm")(CRC32_ISO_HDLC(data_width=8).create())

        x, y = Signal(range(g.slm_width)), Signal(range(g.slm_height + 1))
        step_x, step_y = Signal(range(g.macropixel)), Signal(range(g.macropixel))
        mode, row_mode = Signal(range(g.modes + g.modes_x + 1)), Signal(range(g.modes + g.modes_x + 1))
        shown = Signal()
        """Bank of the frame on show."""
        anchor, border = Signal(8), Signal(8)
        in_row, in_signal = Signal(), Signal()
        m.d.comb += [
            in_row.eq((y >= g.signal_y) & (y < g.signal_y + g.signal_height)),
            in_signal.eq(in_row & (x >= g.signal_x) & (x < g.signal_x + g.signal_width)),
            write.addr.eq(Cat(mode[:bits], ~shown)),
            write.data.eq(self.level),
            write.en.eq(self.de & in_signal & (step_x == 0) & (step_y == 0)),
            crc.data.eq(self.level),
            crc.valid.eq(self.de),
        ]
        with m.If(self.de):
            with m.If(in_signal):
                m.d.slm += step_x.eq(step_x + 1)
                with m.If(step_x == g.macropixel - 1):
                    m.d.slm += [step_x.eq(0), mode.eq(mode + 1)]
            m.d.slm += x.eq(x + 1)
            with m.If(x == g.slm_width - 1):
                m.d.slm += [x.eq(0), y.eq(y + 1), step_x.eq(0), mode.eq(row_mode)]
                with m.If(in_row):
                    m.d.slm += step_y.eq(step_y + 1)
                    with m.If(step_y == g.macropixel - 1):
                        m.d.slm += [step_y.eq(0), row_mode.eq(row_mode + g.modes_x), mode.eq(row_mode + g.modes_x)]
            for at, register in ((self._anchor_pixel(), anchor), (border_pixel(g), border)):
                if at is not None:
                    with m.If((x == at[0]) & (y == at[1])):
                        m.d.slm += register.eq(self.level)

        vsync_before, requested = Signal(), Signal()
        m.d.slm += vsync_before.eq(self.vsync)
        with m.If(self.vsync & ~vsync_before):
            m.d.comb += crc.start.eq(1)
            m.d.slm += [s.eq(0) for s in (x, y, step_x, step_y, mode, row_mode)]
            # What is read stands still: continuous video never pauses, and goes on to the next pattern.
            with m.If(~requested):
                m.d.slm += [
                    shown.eq(~shown),
                    self.crc.eq(crc.crc),
                    self.anchor.eq(anchor),
                    self.border.eq(border),
                ]

        m.submodules += [
            FFSynchronizer(self.request, requested, o_domain="slm"),
            FFSynchronizer(requested, self.ready),
        ]
        m.d.comb += [read.addr.eq(Cat(self.r_addr, shown)), read.en.eq(self.r_en), self.r_data.eq(read.data)]
        return m

    def _anchor_pixel(self) -> tuple[int, int] | None:
        g = self.geometry
        return (g.anchor_x, g.anchor_y) if g.anchor_pixels else None
