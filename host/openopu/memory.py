"""Memory that something needs, against that of this machine: asked before it begins to swap."""

from __future__ import annotations

import os

SHARE = 0.8
"""Largest share of the machine's memory that one purpose may take, if it says no other."""


def shortage(needed: float, share: float = SHARE) -> str | None:
    """What to say where ``needed`` bytes are more than a share of the memory; None where they are not, or the system
    does not tell."""
    if not hasattr(os, "sysconf"):  # Windows does not say
        return None
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed <= share * have:
        return None
    return f"{needed / 2**30:.1f} GiB; this machine has {have / 2**30:.1f} GiB"
