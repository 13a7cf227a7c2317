"""Encodings of error vectors as bit planes that a binary modulator can show.

A plane holds signs: bit 1 is +1, bit 0 is -1. A vector is a weighted mean of its planes, whose weights are powers of
two, as those of shots: a ternary vector is the mean of two planes, in which its zeros take opposite signs; a vector of
B bits has B planes, each of twice the weight of the one before::

    errors[b] ~= scale[b] * sum over p of weights[p] * (2 * planes[b, p] - 1)
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import UsageError, whole

KINDS = ("ternary", "sign", "bits")
ROUNDINGS = ("stochastic", "threshold")
DEFAULT_THRESHOLD = 0.2
"""In units of the errors; the errors of a softmax lie between -1 and 1. The better of two measured: 0.1 costs 0.3
to 1.3 points of test error."""

DEFAULT_BITS = 4
MOST_BITS = 16
"""Of a component: a shot's weight has a shift of at most 15."""

Key = Sequence[int]
"""Non-negative integers that name a draw, such as (seed, epoch, step): the same key draws the same numbers."""


def generator(key: Key) -> np.random.Generator:
    """The random generator of ``key``: Philox, seeded with the key's integers, the same on every machine."""
    try:
        numbers = [operator.index(k) for k in key]
    except TypeError:
        numbers = [-1]
    if any(k < 0 for k in numbers):
        raise UsageError(f"a key has non-negative integers only, not {key!r}", "key", "Write for example (seed, epoch)")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(numbers)))


@dataclass(frozen=True)
class Encoded:
    """The rows of a batch that are worth a projection.

    Attributes
    ----------
    planes
        (kept, planes, components) bool.
    scale
        (kept,) float64, in units of the errors.
    kept
        (kept,) intp: which row of the batch each is. Rows that encode to zero are left out: their feedback is 0.
    rows
        Rows of the batch.
    weights
        (planes,) float64, of the signs of each plane; their sum is 1.
    """

    planes: NDArray[np.bool_]
    scale: NDArray[np.float64]
    kept: NDArray[np.intp]
    rows: int
    weights: NDArray[np.float64]

    def decoded(self) -> NDArray[np.float64]:
        """(rows, components): the vectors that the planes stand for."""
        signs = 2.0 * self.planes - 1.0
        out = np.zeros((self.rows, self.planes.shape[2]))
        out[self.kept] = self.scale[:, None] * np.einsum("rpc,p->rc", signs, self.weights)
        return out


@dataclass(frozen=True)
class Encoding:
    """How error vectors become planes.

    ======== =========== ====== =============== ======================================================
    kind     rounding    planes scale           value of component e
    ======== =========== ====== =============== ======================================================
    ternary  stochastic  2      max abs(e)      sign(e) with probability abs(e) / max, else 0; unbiased
    ternary  threshold   2      1               sign(e) where abs(e) > threshold, else 0
    sign     stochastic  1      max abs(e)      +1 with probability (1 + e / max) / 2, else -1; unbiased
    sign     threshold   1      mean abs(e)     sign(e); an exact 0 counts as +1
    bits     stochastic  bits   max abs(e)      one of the two neighbours of e / max on a grid; unbiased
    bits     threshold   bits   max abs(e)      the neighbour that is nearer
    ======== =========== ====== =============== ======================================================

    Maxima and means are of each row. The grid of ``bits`` has 2**bits values from -1 to 1 in equal steps, 0 not among
    them.
    """

    kind: str = "ternary"
    rounding: str = "stochastic"
    threshold: float = DEFAULT_THRESHOLD
    bits: int = DEFAULT_BITS
    """Bits of a component, of the kind ``bits``."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"unknown encoding `{self.kind}`", "encoding", f"Known: {', '.join(KINDS)}")
        if self.rounding not in ROUNDINGS:
            raise UsageError(f"unknown rounding `{self.rounding}`", "rounding", f"Known: {', '.join(ROUNDINGS)}")
        if not 0 <= self.threshold < float("inf"):
            raise UsageError(f"{self.threshold} is out of range", "threshold", "Take 0 or more")
        whole(self.bits, "bits", 1, MOST_BITS)

    @property
    def shifts(self) -> tuple[int, ...]:
        """Of each sign plane: its shots are weighted by 2**shift."""
        return {"ternary": (0, 0), "sign": (0,), "bits": tuple(range(self.bits))}[self.kind]

    @property
    def planes(self) -> int:
        """Sign planes of one vector; a pair of shots for each."""
        return len(self.shifts)

    @property
    def weights(self) -> NDArray[np.float64]:
        """(planes,): see :class:`Encoded`."""
        powers = np.exp2(self.shifts)
        return np.asarray(powers / powers.sum(), dtype=np.float64)

    def encode(self, errors: NDArray[np.floating], key: Key = (0,)) -> Encoded:
        """Encode a batch.

        Parameters
        ----------
        errors
            (rows, components), finite.
        key
            Names the draws of the stochastic roundings.

        Raises
        ------
        UsageError
            Wrong shape, or values that are not finite.
        """
        e = check_errors(errors)
        magnitude = np.abs(e)
        largest = magnitude.max(axis=1, initial=0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(largest[:, None] > 0, e / largest[:, None], 0.0)
        if self.rounding == "stochastic":
            uniform = generator(key).random(e.shape)
        if self.kind == "sign":
            on = uniform < 0.5 * (1.0 + relative) if self.rounding == "stochastic" else e >= 0
            scale = largest if self.rounding == "stochastic" else magnitude.mean(axis=1) if e.size else largest
            kept = np.flatnonzero(largest > 0)
            return Encoded(on[kept][:, None, :], scale[kept], kept, len(e), self.weights)
        if self.kind == "bits":
            steps = 0.5 * (1.0 + relative) * ((1 << self.bits) - 1)
            code = np.floor(steps + (uniform if self.rounding == "stochastic" else 0.5)).astype(np.int64)
            kept = np.flatnonzero(largest > 0)
            planes = (code[kept][:, None, :] >> np.arange(self.bits)[:, None] & 1).astype(np.bool_)
            return Encoded(planes, largest[kept], kept, len(e), self.weights)
        stochastic = self.rounding == "stochastic"
        nonzero = np.abs(relative) > uniform if stochastic else magnitude > self.threshold
        scale = largest if stochastic else np.ones(len(e))
        kept = np.flatnonzero(nonzero.any(axis=1))
        positive, nonzero = e[kept] > 0, nonzero[kept]
        # Zeros: + in the first plane and - in the second for two components, then the other way round for two. A
        # balanced layout inverts every other component, so that half of the modes of zeros are on in each plane; were
        # they to alternate too, all would be on in one plane, and bright frames clip (measured: five times the error
        # at the default exposure).
        first_of_zero = np.arange(e.shape[1]) // 2 % 2 == 0
        first = np.where(nonzero, positive, first_of_zero)
        second = np.where(nonzero, positive, ~first_of_zero)
        return Encoded(np.stack([first, second], axis=1), scale[kept], kept, len(e), self.weights)


def array_of(values: ArrayLike, name: str) -> NDArray[Any]:
    """``values`` as an array. Raises :class:`UsageError` where they are ragged."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise UsageError(f"this is no array ({error})", name, "Give rows of equal length") from None


def check_errors(errors: ArrayLike, components: int | None = None) -> NDArray[np.float64]:
    """Return ``errors`` as float64 after checking that they are a finite (rows, components) array."""
    e = array_of(errors, "errors")
    if e.ndim != 2 or (components is not None and e.shape[1] != components):
        wanted = "components" if components is None else str(components)
        raise UsageError(
            f"expected (rows, {wanted}), got {e.shape}", "errors", "One row for each vector, one column a component"
        )
    if e.dtype.kind not in "fiub":
        raise UsageError(f"expected real numbers, got {e.dtype}", "errors")
    e = e.astype(np.float64)  # what is beyond its range becomes infinite
    if not np.isfinite(e).all():
        row = int(np.flatnonzero(~np.isfinite(e).all(axis=1))[0])
        raise UsageError(
            f"row {row} holds NaN or infinity", "errors", "Look for a diverged loss: lower the learning rate"
        )
    return e


def check_planes(planes: ArrayLike, count: int, modes: int) -> NDArray[np.bool_]:
    """Bit planes of some rows, (rows, ``count``, ``modes``), as bool. Raises :class:`UsageError`."""
    array = array_of(planes, "planes")
    if array.ndim != 3 or array.shape[1:] != (count, modes):
        raise UsageError(
            f"expected (rows, {count}, {modes}), got {array.shape}",
            "planes",
            "Rows, the program's planes, one bit for each mode",
        )
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise UsageError("bits must be 0 or 1", "planes")
    return array.astype(np.bool_)
