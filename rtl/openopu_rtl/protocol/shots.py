"""A shot, and the program of shots that makes one projection."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


class ProgramError(ValueError):
    """A shot or program that no device can run; the message names the field and its bounds."""


SHOT_WORDS = 4
"""32-bit words of one entry of the shot table."""

SHOT_FIELDS: dict[str, tuple[int, int, int]] = {
    # name: (word, lowest bit, width)
    "plane": (0, 0, 8),
    "invert": (0, 8, 1),
    "negative": (0, 9, 1),
    "bank": (0, 10, 1),
    "shift": (0, 12, 4),
    "frames": (0, 16, 8),
    "level_on": (1, 0, 8),
    "level_off": (1, 8, 8),
    "level_anchor": (1, 16, 8),
    "level_border": (1, 24, 8),
    "settle_cycles": (2, 0, 32),
    "exposure_cycles": (3, 0, 32),
}


@dataclass(frozen=True)
class Shot:
    """One exposure. Levels index the panel's 256-entry level table; times are system clock cycles."""

    plane: int = 0
    """Bit plane of the projection that is shown."""
    invert: bool = False
    """Show the complement of the plane."""
    negative: bool = False
    """Subtract the frame instead of adding it."""
    bank: int = 0
    """Accumulator bank."""
    shift: int = 0
    """The frame is weighted by 2**shift."""
    frames: int = 1
    """Video frames in which the panel is sent the pattern before it counts as shown."""
    level_on: int = 255
    level_off: int = 0
    level_anchor: int = 0
    level_border: int = 0
    settle_cycles: int = 64
    exposure_cycles: int = 1000

    def __post_init__(self) -> None:
        for name, (_, _, width) in SHOT_FIELDS.items():
            value = int(getattr(self, name))
            low = 1 if name in ("frames", "exposure_cycles") else 0
            if not low <= value < 1 << width:
                raise ProgramError(f"{name} must be from {low} to {(1 << width) - 1}, not {value}")

    def words(self) -> list[int]:
        """The four words of the shot table's entry."""
        words = [0] * SHOT_WORDS
        for name, (word, low, _) in SHOT_FIELDS.items():
            words[word] |= int(getattr(self, name)) << low
        return words

    @classmethod
    def from_words(cls, words: Iterable[int]) -> Shot:
        w = list(words)
        values: dict[str, Any] = {
            name: w[word] >> low & ((1 << width) - 1) for name, (word, low, width) in SHOT_FIELDS.items()
        }
        for name in ("invert", "negative"):
            values[name] = bool(values[name])
        return cls(**values)


@dataclass(frozen=True)
class Program:
    """The shots of one projection, in order, and the number of bit planes that it takes."""

    shots: tuple[Shot, ...]
    planes: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "shots", tuple(self.shots))
        if not self.shots:
            raise ProgramError("a program needs at least one shot")
        if not 1 <= self.planes <= 256:
            raise ProgramError(f"planes must be from 1 to 256, not {self.planes}")
        for i, shot in enumerate(self.shots):
            if shot.plane >= self.planes:
                raise ProgramError(f"shot {i} shows plane {shot.plane}, but a projection has {self.planes}")

    def __len__(self) -> int:
        return len(self.shots)

    def __iter__(self) -> Iterator[Shot]:
        return iter(self.shots)

    def replace(self, **fields: Any) -> Program:
        """The same program with these fields set in every shot."""
        return Program(tuple(dataclasses.replace(s, **fields) for s in self.shots), self.planes)

    def words(self) -> np.ndarray:
        """The shot table's contents, (4 * shots,) uint32."""
        return np.array([w for s in self.shots for w in s.words()], dtype=np.uint32)

    @property
    def balanced(self) -> bool:
        """Whether the weights sum to zero in each bank, so that the camera's black level cancels."""
        return all(
            sum((-1 if s.negative else 1) << s.shift for s in self.shots if s.bank == bank) == 0 for bank in (0, 1)
        )


def intensity(**fields: Any) -> Program:
    """Intensity ``|T b|**2`` of one plane, one shot. ``fields`` go to the :class:`Shot`."""
    return Program((Shot(**fields),))


def complement(sign_planes: int = 2, **fields: Any) -> Program:
    """Complement pairs of ``sign_planes`` planes, 2 shots each, in the order + - - + so that linear drift cancels.

    The sum over planes s_i in {-1, +1} is ``Re(conj(r) . T (s_1 + ... ))`` exactly
    (design of the projection's algebra; with two planes, a ternary vector e = (s1 + s2) / 2).
    """
    if not 1 <= sign_planes <= 8:
        raise ProgramError(f"sign_planes must be from 1 to 8, not {sign_planes}")
    shots = []
    for plane in range(sign_planes):
        for second in (False, True):
            inverted = second != bool(plane % 2)
            shots.append(Shot(plane=plane, invert=inverted, negative=inverted, **fields))
    return Program(tuple(shots), sign_planes)
