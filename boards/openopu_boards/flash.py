"""A bitstream's way onto a board, and the checks that it is the right one for it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from openopu.errors import DeviceError, UsageError

from . import tools
from .board import Board

DETECT_SECONDS = 60
WRITE_SECONDS = 600
REVISION_MASK = 0x0FFF_FFFF
"""IDCODE without the revision of the silicon."""
_VERIFY_ID = b"\xe2\x00\x00\x00"
"""ECP5's command that compares the part's IDCODE with the four bytes after it (Lattice FPGA-TN-02039, as the output
of ecppack shows it)."""


class WrongBoard(DeviceError):
    """The bitstream is for another board, or another board is connected."""


class BoardNotFound(DeviceError):
    """No board answers."""


class DamagedBitstream(UsageError):
    """The bitstream is not the file that its side-car was written for."""


def check_file(board: Board, bitstream: Path) -> dict[str, Any]:
    """The side-car of ``bitstream``, after checking that both are whole and for this board.

    Raises :class:`UsageError`, :class:`DamagedBitstream` or :class:`WrongBoard`.
    """
    where = str(bitstream)
    again = f"Make it again: make bitstream BOARD={board.name}"
    sidecar = bitstream.with_suffix(".json")
    if not bitstream.is_file():
        raise UsageError("there is no such bitstream", where, again)
    try:
        about: dict[str, Any] = json.loads(sidecar.read_text())
        found, digest, _ = str(about["board"]), str(about["sha256"]), str(about["id"])
    except FileNotFoundError:
        raise UsageError("the bitstream has no side-car, so its board is not known", str(sidecar), again) from None
    except (ValueError, KeyError, TypeError):
        raise UsageError("the side-car cannot be read", str(sidecar), again) from None
    if found != board.name:
        raise WrongBoard(
            f"the bitstream is for {found}, not for {board.name}", where, f"Take --board {found}, or another file"
        )
    data = bitstream.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise DamagedBitstream("the bitstream is not the one that its side-car describes", where, again)
    inside = idcode_of(data)
    if inside is None or (inside ^ board.idcode) & REVISION_MASK:
        held = "no part's IDCODE" if inside is None else f"the IDCODE {inside:08x}"
        raise WrongBoard(f"the bitstream holds {held}, not {board.part}'s", where, again)
    return about


def idcode_of(bitstream: bytes) -> int | None:
    """The IDCODE that an ECP5 bitstream demands, or None."""
    at = bitstream.find(_VERIFY_ID)
    return int.from_bytes(bitstream[at + 4 : at + 8], "big") if at >= 0 else None


def detect(board: Board) -> int:
    """The IDCODE of the connected board's part. Raises ToolMissing, :class:`BoardNotFound` or :class:`WrongBoard`."""
    where = f"{tools.LOADER} --detect"
    try:
        said = tools.run([tools.find(tools.LOADER), "-b", board.loader, "--detect"], Path.cwd(), DETECT_SECONDS)
    except tools.ToolFailed as error:
        raise BoardNotFound(
            error.what, where, f"Is the {board.title} connected, powered, and may you use its USB port (udev rules)?"
        ) from None
    found = [int(code, 16) for code in re.findall(r"idcode\s+0x([0-9a-f]+)", said, re.I)]
    if not found:
        raise BoardNotFound("no part answers on JTAG", where, f"Connect and power the {board.title}, then try again")
    if len(found) > 1 or (found[0] ^ board.idcode) & REVISION_MASK:
        codes = ", ".join(f"{code:08x}" for code in found)
        raise WrongBoard(
            f"the connected board answers with IDCODE {codes}, not with {board.part}'s {board.idcode:08x}",
            where,
            f"Connect the {board.title} alone, or give the --board that is connected",
        )
    return found[0]


def flash(board: Board, bitstream: Path, keep: bool) -> dict[str, Any]:
    """Load ``bitstream``; with ``keep`` into the board's flash memory, from which it starts after power-up.

    Raises what :func:`check_file` and :func:`detect` do, and ToolFailed.
    """
    about = check_file(board, bitstream)
    loader = tools.find(tools.LOADER)
    idcode = detect(board)
    tools.run([loader, "-b", board.loader, *(["-f"] if keep else ["-m"]), bitstream], Path.cwd(), WRITE_SECONDS)
    told = {"board": board.name, "link": about.get("link", "uart")}  # the only one that older side-cars know
    return told | {"file": str(bitstream), "idcode": f"{idcode:08x}", "id": about["id"], "kept": keep}
