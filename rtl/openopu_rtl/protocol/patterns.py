"""The pattern on show, as the gateware reads it back from the panel's pins."""

from __future__ import annotations

import zlib

import numpy as np

from .geometry import Geometry

LIT_FROM = 128
"""From this level on a pixel counts as lit."""


def panel_frame(geometry: Geometry, levels: np.ndarray, anchor: int, border: int) -> np.ndarray:
    """The panel's frame, (slm_height, slm_width) uint8, that shows ``levels`` (modes,), one a macropixel."""
    g, k = geometry, geometry.macropixel
    frame = np.full((g.slm_height, g.slm_width), border, dtype=np.uint8)
    frame[g.anchor_y : g.anchor_y + g.anchor_height, g.anchor_x : g.anchor_x + g.anchor_width] = anchor
    frame[g.signal_y : g.signal_y + g.signal_height, g.signal_x : g.signal_x + g.signal_width] = np.kron(
        np.asarray(levels, dtype=np.uint8).reshape(g.modes_y, g.modes_x), np.ones((k, k), dtype=np.uint8)
    )
    return frame


def panel_crc(frame: np.ndarray) -> int:
    """CRC-32 of a frame's pixels in raster order, one byte each."""
    return zlib.crc32(np.ascontiguousarray(frame, dtype=np.uint8).tobytes())


def border_pixel(geometry: Geometry) -> tuple[int, int] | None:
    """(x, y) of the first pixel in neither region, in raster order, or None."""
    outside = np.ones((geometry.slm_height, geometry.slm_width), dtype=bool)
    for x, y, width, height in (
        (geometry.signal_x, geometry.signal_y, geometry.signal_width, geometry.signal_height),
        (geometry.anchor_x, geometry.anchor_y, geometry.anchor_width, geometry.anchor_height),
    ):
        outside[y : y + height, x : x + width] = False
    if not outside.any():
        return None
    y, x = divmod(int(outside.argmax()), geometry.slm_width)
    return x, y
