"""What the drivers of all kinds of panels have in common: their ports, and the crossing into the panel's clock."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from .protocol.geometry import Geometry, PanelKind
from .rowport import BlockMode, RowMode
from .shapes import PLANES
from .source import shot_ports, store_ports

_FLUSH_CLOCKS = 8
"""Panel clocks without a word after which the crossing is empty: more than a word takes through it."""


def panel_pins(geometry: Geometry) -> dict[str, wiring.Member]:
    """The panel's pins for its kind, by name; domain ``slm``, but ``slm_trigger`` and ``slm_rst_active`` have none."""
    if geometry.panel_kind == PanelKind.ROW_BUS:
        return {
            "slm_dvalid": Out(1),
            "slm_data": Out(geometry.row_word_bits),
            "slm_row_mode": Out(RowMode),
            "slm_row_address": Out(11),
            "slm_block_mode": Out(BlockMode),
            "slm_block_address": Out(4),
            "slm_rst_active": In(1),
        }
    video = {"slm_de": Out(1), "slm_hsync": Out(1), "slm_vsync": Out(1)}
    if geometry.panel_kind == PanelKind.PACKED_PLANES:
        return video | {"slm_pixel": Out(PLANES), "slm_trigger": In(1)}
    return video | {"slm_level": Out(8)}


class Driver(wiring.Component):
    """From the loader's shots to the panel's pins. The base of the drivers of all kinds.

    Ports
    -----
    offered, start, busy, shot, blank, await_latch, final, plane_address, freed : from the loader, see there;
        ``start`` begins a frame while ``busy`` is low, ``offered`` pulses for each shot handed to the exposer.
    r_addr, r_en, r_data : the pattern store. table_* : writes into the level table.
    grant, latched, progress, underrun, showing_cycles, flush, exposed : see :class:`exposer.Exposer`.
    flushed : the panel's side has seen ``flush``.
    sending : a frame is being sent; measured as ``cycles_slm_frame``.
    slot_cycles : how long a pattern is shown, where the panel itself ends that; else 0.
    slm_* : pins.
    """

    SHOTS_AHEAD = 1
    """Shots handed to the exposer before it takes them."""
    KEEPS_PLANES = False
    """A projection's planes are read until its last shot has been exposed, not only until the loader has gone on."""

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                **shot_ports(geometry),
                **store_ports(geometry),
                "offered": In(1),
                "await_latch": In(1),
                "freed": In(1),
                "grant": In(1),
                "latched": Out(1),
                "progress": Out(1),
                "underrun": Out(1),
                "showing_cycles": Out(32, init=(1 << 32) - 1),
                "flush": In(1),
                "flushed": Out(1),
                "exposed": In(1),
                "sending": Out(1),
                "slot_cycles": Out(32),
                **panel_pins(geometry),
            }
        )

    def connect_pins(self, m: Module, port: wiring.Component) -> None:
        """The pins are the port's members of the same name, without the prefix."""
        for name, member in panel_pins(self.geometry).items():
            inner, outer = getattr(port, name.removeprefix("slm_")), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)

    def connect_source(self, m: Module, source: wiring.Component) -> None:
        """``source`` reads the store and, where it has one, the level table."""
        m.d.comb += [self.r_addr.eq(source.r_addr), self.r_en.eq(source.r_en), source.r_data.eq(self.r_data)]

    def connect_shots(self, m: Module, source: wiring.Component) -> None:
        """``source`` takes the loader's frames and the level table."""
        for name, member in shot_ports(self.geometry).items():
            if member.flow is In:
                m.d.comb += getattr(source, name).eq(getattr(self, name))

    def add_crossing(self, m: Module, layout: data.StructLayout, depth: int = 16):
        """A queue from ``sync`` to ``slm``: returns (stream in, stream out, the flush in ``slm``).

        ``flush`` drains it, and meanwhile swallows what comes; it is held until the panel's clock, which may have
        stopped, has found nothing left for some edges. (The queue's pointers have no reset of their own that
        could be used here.) Nothing new goes in before the panel's side has seen the flush's end.
        """
        source, sink = stream.Signature(layout).flip().create(), stream.Signature(layout).create()
        m.submodules.panel_fifo = fifo = AsyncFIFOBuffered(
            width=layout.size, depth=depth, w_domain="sync", r_domain="slm"
        )
        flush_slm, draining, empty_slm = Signal(), Signal(), Signal(_FLUSH_CLOCKS)
        with m.If(flush_slm & ~fifo.r_rdy):
            m.d.slm += empty_slm.eq(Cat(1, empty_slm[:-1]))
        with m.Else():
            m.d.slm += empty_slm.eq(0)
        m.submodules += [
            FFSynchronizer(self.flush, flush_slm, o_domain="slm"),
            FFSynchronizer(flush_slm, draining),
            FFSynchronizer(empty_slm[-1], self.flushed),
        ]
        m.d.comb += [
            fifo.w_data.eq(source.payload),
            fifo.w_en.eq(source.valid & ~self.flush & ~draining),
            source.ready.eq((fifo.w_rdy & ~draining) | self.flush),
            sink.payload.eq(fifo.r_data),
            sink.valid.eq(fifo.r_rdy & ~flush_slm),
            fifo.r_en.eq(sink.ready | flush_slm),
        ]
        return source, sink, flush_slm
