"""The table of docs/boards.md: what each board's build came to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

BEGIN, END = "<!-- generated: make bitstream BOARD=... -->", "<!-- end of the generated part -->"
_HEAD = [
    "| board | n, m | clock: MHz wanted, Fmax | LUT | FF | BRAM | DSP | seed | ID |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
]


def name_of(about: dict[str, Any]) -> str:
    """Of a build: its board, and its link where it is not the usual one."""
    return about["board"] if about["link"] == "uart" else f"{about['board']}, {about['link']}"


def row(about: dict[str, Any]) -> str:
    """One build's line."""
    clocks = ", ".join(
        f"{name}: {c['wanted_mhz']:.6g}" + (f", {c['fmax_mhz']:.1f}" if "fmax_mhz" in c else "")
        for name, c in about["clocks"].items()
    )
    cells = [
        f"{r['used']:,}" + (f" of {r['available']:,}" if "available" in r else " (estimate)")
        for r in (about["resources"][name] for name in ("LUT", "FF", "BRAM", "DSP"))
    ]
    return (
        f"| {name_of(about)} | {about['n']:,}, {about['m']:,} | {clocks} | "
        + " | ".join(cells)
        + f" | {about['seed']} | `{about['id'][:8]}` |"
    )


def update(page: Path, about: dict[str, Any]) -> None:
    """Put the build's line into the generated part of ``page``, in place of the one before."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("|")}
    rows = {name: line for name, line in rows.items() if name not in ("board", "---")}
    rows[name_of(about)] = row(about)
    page.write_text(before + "\n".join([BEGIN, *_HEAD, *(rows[name] for name in sorted(rows)), END]) + after)
