"""How much of the machine's memory a plant may take; asked before anything is allocated."""

from __future__ import annotations

import os

from openopu.errors import UsageError

MEMORY_SHARE = 0.5
"""Largest share of the machine's memory that a medium may take."""


def refuse(needed: int, what: str, next_step: str) -> None:
    """Raise :class:`UsageError` where ``needed`` bytes are more than this machine can be asked for."""
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > MEMORY_SHARE * have:
        raise UsageError(
            f"{what} takes {needed / 2**30:.1f} GiB; "
            f"this machine has {have / 2**30:.1f} GiB, of which at most {MEMORY_SHARE:.0%} may be taken",
            "medium",
            next_step,
        )
