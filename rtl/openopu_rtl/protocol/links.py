"""Kinds of link between host and device: values of the identity register ``link``."""

from __future__ import annotations

import enum


class Link(enum.IntEnum):
    UART = 0
    BYTES = 1
    FT245 = 2
    FT245SYNC = 3
    USB = 4

    @property
    def key(self) -> str:
        """Its name in a device URL."""
        return self.name.lower()


LINKS: dict[Link, str] = {
    Link.UART: "UART",
    Link.BYTES: "bytes handed over whole (simulation)",
    Link.FT245: "FT245-style FIFO, asynchronous",
    Link.FT245SYNC: "FT245-style FIFO, synchronous",
    Link.USB: "USB CDC-ACM, full speed",
}
"""What each is, for people."""


def name_of(link: int) -> str:
    """What a value of the identity register is, for people."""
    return LINKS.get(link, f"unknown link {link}")  # type: ignore[call-overload, no-any-return]


FT245SYNC_HZ = 60_000_000
"""CLKOUT of FT232H and FT2232H in their synchronous FIFO mode (data sheet FT_000288, section 4.4)."""
