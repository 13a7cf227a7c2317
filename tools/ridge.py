"""Ridge regression for tools/features.py, at sizes where one has to plan the memory: exact, in blocks of rows.

Minimises ``|F W - Y|**2 + alpha |W|**2`` with F (rows, features) and Y the targets +1 (an image's class) and -1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, cho_factor, cho_solve

Reals = NDArray[np.float32]

SAMPLE_SEED = 7
"""Of the rows that precondition."""
CONVERT_ELEMENTS = 1 << 25
"""Features that are float32 at a time: 128 MiB."""


def targets_of(labels: NDArray[np.integer], classes: int) -> Reals:
    """(rows, classes) of -1, and +1 at each row's class."""
    return (2.0 * (labels[:, None] == np.arange(classes)) - 1.0).astype(np.float32)


def cholesky(blocks: Iterable[Reals], targets: Reals, alpha: float) -> NDArray[np.float64]:
    """Weights (features, classes) from the normal equations. ``blocks``: F in blocks of rows.

    The Gram matrix is summed in float32, whose rounding is some 1e-7 of its largest eigenvalue and so far below alpha
    here, and factorised in float64: 12 bytes for each of its entries.
    """
    gram = right = None
    row = 0
    for block in blocks:
        if gram is None or right is None:
            gram = np.zeros((block.shape[1], block.shape[1]), np.float32, order="F")
            right = np.zeros((block.shape[1], targets.shape[1]))
        gram = blas.ssyrk(1.0, block.T, beta=1.0, c=gram, lower=1, overwrite_c=1)
        right += block.T @ targets[row : row + len(block)]
        row += len(block)
    assert gram is not None
    exact = gram.astype(np.float64)
    del gram
    exact[np.diag_indices_from(exact)] += alpha
    return np.asarray(cho_solve(cho_factor(exact, lower=True, overwrite_a=True, check_finite=False), right))


@dataclass
class Integers:
    """F as a camera's integers, ``(values - black) * scale``: one or two bytes each."""

    values: NDArray[np.unsignedinteger]
    black: float
    scale: float

    def blocks(self) -> Iterable[tuple[slice, Reals]]:
        """Rows as ``values - black`` in float32, which the next block overwrites."""
        rows, features = self.values.shape
        step = max(1, CONVERT_ELEMENTS // features)
        held = np.empty((step, features), np.float32)
        for start in range(0, rows, step):
            chosen = slice(start, min(start + step, rows))
            block = held[: chosen.stop - start]
            np.subtract(self.values[chosen], np.float32(self.black), out=block)
            yield chosen, block

    def gram_times(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """``F.T @ F @ weights``, in one pass over F."""
        scaled = (weights * self.scale).astype(np.float32)
        out = np.zeros(weights.shape)
        for _, block in self.blocks():
            out += block.T @ (block @ scaled)
        return out * self.scale

    def transposed_times(self, targets: Reals) -> NDArray[np.float64]:
        """``F.T @ targets``."""
        out = np.zeros((self.values.shape[1], targets.shape[1]))
        for chosen, block in self.blocks():
            out += block.T @ targets[chosen]
        return out * self.scale


def conjugate_gradients(
    features: Integers,
    targets: Reals,
    alpha: float,
    *,
    sample: int,
    tolerance: float,
    most: int,
    report: Callable[[int, float], None],
) -> NDArray[np.float64]:
    """Weights (features, classes) of the same equations, without a Gram matrix of all features.

    Preconditioned by the Gram matrix of ``sample`` rows drawn without replacement (scaled to all rows) plus alpha,
    inverted through its ``sample`` x ``sample`` dual (Woodbury). Ends when every class's residual is below
    ``tolerance`` of its right side, or after ``most`` passes over F, one for each iteration.
    """
    rows = len(features.values)
    generator = np.random.Generator(np.random.Philox(SAMPLE_SEED))
    chosen = np.sort(generator.choice(rows, min(sample, rows), replace=False))
    part = features.values[chosen].astype(np.float32)
    part -= np.float32(features.black)
    part *= np.float32(features.scale)
    inner = np.empty((len(chosen), len(chosen)), np.float64)
    inner[:] = part @ part.T
    inner[np.diag_indices_from(inner)] += alpha * len(chosen) / rows
    factor = cho_factor(inner, lower=True, overwrite_a=True, check_finite=False)

    def precondition(residual: NDArray[np.float64]) -> NDArray[np.float64]:
        dual = cho_solve(factor, (part @ residual.astype(np.float32)).astype(np.float64))
        return (residual - part.T @ dual.astype(np.float32)) / alpha

    right = features.transposed_times(targets)
    norms = np.linalg.norm(right, axis=0)
    weights = np.zeros_like(right)
    residual = right.copy()
    step = precondition(residual)
    direction = step.copy()
    energy = np.einsum("fc,fc->c", residual, step)
    for i in range(1, most + 1):
        image = features.gram_times(direction) + alpha * direction
        length = energy / np.einsum("fc,fc->c", direction, image)
        weights += length * direction
        residual -= length * image
        worst = float((np.linalg.norm(residual, axis=0) / norms).max())
        report(i, worst)
        if worst < tolerance:
            break
        step = precondition(residual)
        before, energy = energy, np.einsum("fc,fc->c", residual, step)
        direction = step + energy / before * direction
    return weights
