"""Level tables: what a panel is sent for each level of a program, such as its gamma correction."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from openopu_rtl.protocol import WINDOWS, Geometry

from .encoding import array_of
from .errors import UsageError

ENTRIES = WINDOWS["level_table"].words(Geometry())
"""Levels of a program."""
LARGEST = WINDOWS["level_table"].bounds(Geometry())[1]


def identity() -> NDArray[np.uint8]:
    """The table of a device that was just opened."""
    return np.arange(ENTRIES, dtype=np.uint8)


def level_table(source: ArrayLike | str | os.PathLike[str]) -> NDArray[np.uint8]:
    """A level table, (256,) uint8.

    Parameters
    ----------
    source
        256 whole numbers from 0 to 255, or a file of them: ``.npy``, else text, separated by blanks, commas or
        new lines, with comments from ``#`` to the end of the line.

    Raises
    ------
    UsageError
        Another number of entries, an entry out of range or no whole number, a file that cannot be read.
    """
    where = "level_table"
    if isinstance(source, str | os.PathLike):
        where = str(source)
        values = _read(Path(source))
    else:
        values = array_of(source, where)
    if values.shape != (ENTRIES,):
        raise UsageError(
            f"expected ({ENTRIES},), got {values.shape}", where, f"Give one level for each of 0 to {LARGEST}"
        )
    if values.dtype.kind not in "iuf":
        raise UsageError("the levels are no numbers", where, f"Give whole numbers from 0 to {LARGEST}")
    wrong = np.flatnonzero(~((values >= 0) & (values <= LARGEST) & (values == np.floor(values))))
    if len(wrong):
        i = int(wrong[0])
        raise UsageError(f"entry {i} is {values[i]}", where, f"Give whole numbers from 0 to {LARGEST}")
    return values.astype(np.uint8)


def _read(path: Path) -> NDArray[Any]:
    try:
        if path.suffix == ".npy":
            loaded: NDArray[Any] = np.load(path, allow_pickle=False)
            return loaded
        lines = [line.partition("#")[0] for line in path.read_text(encoding="utf-8").splitlines()]
        return np.array([float(word) for line in lines for word in line.replace(",", " ").split()])
    except OSError as error:
        raise UsageError(
            f"the level table cannot be read ({error.strerror or error})", str(path), "Name a file that exists"
        ) from error
    except (ValueError, EOFError) as error:
        raise UsageError(
            f"this is no level table ({error})", str(path), f"Write {ENTRIES} whole numbers as text, or a .npy file"
        ) from error
