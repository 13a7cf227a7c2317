"""Ports that every source of patterns has: towards the loader, the level table and the pattern store."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .protocol.geometry import Geometry
from .shapes import SHOT


def shot_ports(geometry: Geometry) -> dict[str, wiring.Member]:
    """``start`` (while ``busy`` is low) begins the pattern of ``shot`` from the plane at byte ``plane_address`` of the
    store, or of no mode if ``blank``; ``final`` ends the shot's patterns. ``table_*`` writes the level table."""
    return {
        "start": In(1),
        "busy": Out(1),
        "shot": In(SHOT),
        "blank": In(1),
        "final": In(1),
        "plane_address": In(ceil_log2(geometry.store_bytes)),
        "table_we": In(1),
        "table_addr": In(8),
        "table_data": In(8),
    }


def store_ports(geometry: Geometry) -> dict[str, wiring.Member]:
    """Reads of the pattern store: ``r_data`` comes a clock after ``r_addr``, where ``r_en`` is high."""
    return {"r_addr": Out(ceil_log2(geometry.store_bytes)), "r_en": Out(1), "r_data": In(8)}
