"""Writes the generated pages (reference.md, registers.rdl, camera.md, plant.md). ``--check``: fails if one is stale."""

from __future__ import annotations

import argparse
import ast
import inspect
import itertools
import sys
from pathlib import Path

import camera_page
import plant_page
import register_rdl
from openopu_rtl.protocol import ERRORS, PROTOCOL_HASH, REGISTERS, WINDOWS, packets, registers
from openopu_rtl.protocol.shots import SHOT_FIELDS, Shot

DOCS = Path(__file__).parent.parent / "docs"


def _table(head: list[str], rows: list[list[object]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in row) + " |" for row in cells) + "\n"


def page() -> str:
    """The whole page."""
    rows = []
    for r in REGISTERS.values():
        bounds = f"{r.minimum} to {r.maximum}" if r.kind is registers.Kind.SETTING else ""
        notes = r.doc + (" Written only while idle." if r.idle_only else "")
        reset = r.reset if r.kind is registers.Kind.SETTING else ""
        rows.append([f"{r.address:#06x}", f"`{r.name}`", r.kind.value, r.unit, reset, bounds, notes])
    windows = [
        [f"{w.address:#06x}", f"`{w.name}`", w.length + (" x 4" if w.name == "shot_table" else ""), w.maximum, w.doc]
        for w in WINDOWS.values()
    ]
    documents = dict(_field_documents())
    shots = [
        [name, word, f"{low + width - 1}:{low}", documents.get(name, "")]
        for name, (word, low, width) in SHOT_FIELDS.items()
    ]
    record = [[name, str(packets.RECORD_DTYPE[name])] for name in packets.RECORD_DTYPE.names or ()]
    errors = [[code.value, code.name, e.what, e.next_step] for code, e in ERRORS.items()]
    return f"""# Registers, packets, shots and errors

Made by `make docs` from `rtl/openopu_rtl/protocol`, which gateware, host and twin are built from.
Hash of the declaration: `{PROTOCOL_HASH:#010x}`; a host refuses a device that reports another.

## Packets

```text
{(packets.__doc__ or "").split("Packets of the link.", 1)[1].strip()}
```

A record's fields (little-endian); the integers stand before the last one, `saturated`:

{_table(["field", "type"], record)}
Flags: {", ".join(f"bit {b} `{n}`" for n, b in packets.RECORD_FLAGS.items())}.
Fields left out when twin and RTL are compared: {", ".join(f"`{n}`" for n in packets.RECORD_TIMING_FIELDS)}.

## Registers

32-bit words at word addresses. [registers.rdl](registers.rdl) is the same map in SystemRDL, for other tools.
Of the kinds, *event counters* are equal on twin and RTL, *timing* is not compared.

{_table(["address", "name", "kind", "unit", "reset", "bounds", "meaning"], rows)}
## Windows

Write-only memories, a word an entry, written only while idle.

{_table(["address", "name", "words", "largest value", "meaning"], windows)}
## Shot

An entry of the shot table is four words.

{_table(["field", "word", "bits", "meaning"], shots)}
## Errors

Codes below 32 answer a packet; codes from 32 are the status of one projection.

{_table(["code", "name", "what happened", "next step"], errors)}"""


def _field_documents() -> list[tuple[str, str]]:
    """The texts under the fields of :class:`Shot`, which are where a reader of the code finds them."""
    body = ast.parse(inspect.getsource(Shot)).body[0].body  # type: ignore[attr-defined]
    found = []
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found.append((field.target.id, text.value.value))  # type: ignore[union-attr]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a file is stale")
    files = {"reference.md": page(), "registers.rdl": register_rdl.text(), "camera.md": camera_page.text()}
    files["plant.md"] = plant_page.text()
    if parser.parse_args().check:
        stale = [n for n, text in files.items() if not (DOCS / n).exists() or (DOCS / n).read_text() != text]
        if stale:
            sys.exit(f"{' and '.join(stale)} are stale: run `make docs`")
    else:
        for name, text in files.items():
            (DOCS / name).write_text(text)


if __name__ == "__main__":
    main()
