"""A loader that stands in for openFPGALoader: a shell script that prints what the real one does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from openopu_boards import tools
from openopu_boards.board import Board

IDCODES = {"ulx3s": 0x41113043, "icepi_zero": 0x41111043}


class Loader:
    """What is connected, and what was written to it."""

    def __init__(self, folder: Path):
        self.path = folder / tools.LOADER
        self.written = folder / "written"
        self.connect(None)

    def connect(self, idcode: int | None, parts: int = 1) -> None:
        chain = "".join(f"index {i}:\\n\\tidcode 0x{idcode:x}\\n\\tmodel  LFE5U\\n" for i in range(parts) if idcode)
        fails = "" if idcode else "echo unable to open ftdi device: -3; exit 1"
        self.path.write_text(
            f'#!/bin/sh\n{fails}\ncase "$*" in *--detect*) printf "{chain}";; *) echo "$*" >>{self.written};; esac\n'
        )
        self.path.chmod(0o755)


def written_bitstream(of: Board, folder: Path, idcode: int | None = None) -> Path:
    """A file that looks to the checks like the bitstream of a board, with its side-car."""
    path = folder / f"openopu-{of.name}.bit"
    code = IDCODES[of.name] if idcode is None else idcode
    path.write_bytes(b"\xff\x00\xff\xff\xbd\xb3" + b"\xe2\x00\x00\x00" + code.to_bytes(4, "big") + bytes(64))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    about = {"board": of.name, "link": of.link.key, "sha256": digest, "id": "0" * 64}
    path.with_suffix(".json").write_text(json.dumps(about))
    return path
