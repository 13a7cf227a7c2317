"""Payloads that cross between blocks. Shapes that also cross the link come from the declaration."""

from __future__ import annotations

from amaranth import unsigned
from amaranth.lib import data

from .monitor import WEIGHT_BITS
from .protocol.geometry import Geometry
from .protocol.links import Link
from .protocol.shots import SHOT_FIELDS

SHOT = data.StructLayout({name: width for name, (_, _, width) in SHOT_FIELDS.items()})
"""One entry of the shot table, by the field names of :class:`openopu_rtl.protocol.Shot`."""

LINK = unsigned(max(Link).bit_length())
"""A :class:`Link`, as an identity."""

LINK_BYTE = data.StructLayout({"data": 8, "last": 1})
"""One byte of a packet's content; ``last`` ends the packet."""

PANEL_PIXEL = data.StructLayout({"level": 8, "await_latch": 1, "final": 1})
"""One pixel for the panel, and what its frame is: ``await_latch``: the frame may replace the one on
the panel only when granted; ``final``: with this frame the pattern counts as shown."""

ROW_BYTE = data.StructLayout({"bits": 8, "anchor": 1, "border": 1, "await_latch": 1, "final": 1})
"""Mirrors of eight modes for a row-addressed panel, the same of anchor and border, and what its pattern is, as in
:data:`PANEL_PIXEL`."""

PLANES = 24
"""Binary patterns that a packed video frame carries: one in each bit of a pixel."""

BATCH_TAG_BITS = 3
"""Of the running number of a packed frame's batch of shots; more than live at a time."""

PLANES_WORD = data.StructLayout({"planes": PLANES, "first": 1, "tag": BATCH_TAG_BITS})
"""For a packed frame: one bit a plane. First (``first``, with its batch's ``tag``) comes the border, then the anchor,
then each mode for each line that shows it."""

LOADED = data.StructLayout({"shot": SHOT, "first": 1, "last": 1, "fresh": 1, "invalid": 1, "late": 1})
"""A shot whose pattern is on its way to the panel. ``first``, ``last``: of its projection; ``fresh``:
first into its bank; ``invalid``: the shot table's entry was; ``late``: because it is too short for its reading to
normalise it."""

EXPOSED = data.StructLayout(
    {
        "bank": 1,
        "negative": 1,
        "shift": 4,
        "last": 1,
        "fresh": 1,
        "set": 1,
        "invalid": 1,
        "late": 1,
        "underrun": 1,
        "skipped": 1,
        "unfit": 1,
        "weight": WEIGHT_BITS,
    }
)
"""What becomes of an exposure's frame. ``set``: accumulator set of its projection; ``skipped``: there was no exposure
and no frame is due, because the panel had stalled, or (``unfit``) does not show the pattern for so long;
``underrun``: the panel was sent less than the pattern; ``weight``: of the normaliser; the rest as in :data:`LOADED`."""


def camera_word(geometry: Geometry) -> data.StructLayout:
    """What crosses from the camera's clock: a pixel, or the end of a frame.

    ``first`` marks a frame's first pixel. With ``end`` set there is no pixel; ``malformed`` and
    ``overflow`` then tell what was wrong with the frame.
    """
    return data.StructLayout({"pixel": geometry.pixel_bits, "first": 1, "end": 1, "malformed": 1, "overflow": 1})


ENDED = data.StructLayout(
    {
        "exposure": 32,
        "timestamp": 32,
        "monitor": 12,
        "status": 8,
        "laser_on": 1,
        "accumulator_saturated": 1,
        "set": 1,
        "used": 2,
    }
)
"""A projection whose sums are complete. ``used``: banks that hold sums; the rest goes into its record."""
