"""How much of the machine's memory a plant may take; asked before anything is allocated."""

from __future__ import annotations

from openopu.errors import UsageError
from openopu.memory import shortage

MEMORY_SHARE = 0.5
"""Largest share of the machine's memory that a medium may take."""


def refuse(needed: int, what: str, next_step: str) -> None:
    """Raise :class:`UsageError` where ``needed`` bytes are more than this machine can be asked for."""
    if short := shortage(needed, MEMORY_SHARE):
        raise UsageError(f"{what} takes {short}, of which at most {MEMORY_SHARE:.0%} may be taken", "medium", next_step)
