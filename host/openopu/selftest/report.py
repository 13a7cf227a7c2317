"""What a check found, and how it is told."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any


class Verdict(enum.StrEnum):
    PASS = "pass"
    FAIL = "FAIL"
    LEFT_OUT = "left out"
    """The check means nothing on this device, or was not asked for; ``found`` says why."""


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    verdict: Verdict
    found: str
    """One sentence for people, without a full stop."""
    next_step: str = ""
    """What to do; given where the check failed."""
    figures: dict[str, Any] = field(default_factory=dict)
    """What was measured, units in the names."""


def passed(name: str, found: str, **figures: Any) -> Check:
    return Check(name, Verdict.PASS, found, figures=figures)


def failed(name: str, found: str, next_step: str, **figures: Any) -> Check:
    return Check(name, Verdict.FAIL, found, next_step, figures)


def left_out(name: str, why: str) -> Check:
    return Check(name, Verdict.LEFT_OUT, why)


def as_text(checks: list[Check]) -> str:
    """The report as plain text: a line for each check, and under a failed one what to do."""
    width = max(len(c.name) for c in checks)
    lines = []
    for c in checks:
        lines.append(f"{c.verdict.value:8}  {c.name:{width}}  {c.found}")
        if c.next_step:
            lines.append(f"{'':8}  {'':{width}}  -> {c.next_step}")
    count = {v: sum(c.verdict is v for c in checks) for v in Verdict}
    lines.append("")
    lines.append(", ".join(f"{n} {v.value}" for v, n in count.items()))
    return "\n".join(lines) + "\n"
