"""Which macropixel shows which component of the input vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .larger import larger_twin


@dataclass(frozen=True)
class Layout:
    """An assignment of modes to components; build it with :func:`balanced` or :func:`plain`.

    Attributes
    ----------
    component
        (modes,) intp: the component that each mode shows.
    inverted
        (modes,) bool: whether the mode shows the component's complement.
    components
        Number of components.
    """

    component: NDArray[np.intp]
    inverted: NDArray[np.bool_]
    components: int

    @property
    def modes(self) -> int:
        return len(self.component)

    def expand(self, planes: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Spread (..., components) bits over the modes; returns (..., modes) bits."""
        if planes.shape[-1] != self.components:
            raise UsageError(
                f"planes of {planes.shape[-1]} components do not fit a layout of {self.components}", "layout"
            )
        return np.logical_xor(np.take(planes, self.component, axis=-1), self.inverted)

    def matrix(self) -> NDArray[np.float64]:
        """(modes, components) matrix of -1, 0 and +1: signs on the modes of a vector of signs of the components."""
        out = np.zeros((self.modes, self.components))
        out[np.arange(self.modes), self.component] = np.where(self.inverted, -1.0, 1.0)
        return out


def balanced(components: int, modes: int, seed: int = 0) -> Layout:
    """Balanced replication: every mode shows a component, and half of each component's copies are inverted.

    The entries of the effective matrix then have zero mean, and about half of the mirrors are on
    whatever the input, so that no sign pattern saturates the camera: with 10 of 256 modes lit and
    the others off, the mean of a row is as large as its spread, and training with sign or ternary errors can fail.

    Parameters
    ----------
    components, modes
        Components of the input vector (1 to ``modes``), and modes of the device.
    seed
        Of the permutation that scatters the copies over the panel.
    """
    order = _copies(components, modes, seed)
    slot = np.arange(modes)
    component = np.empty(modes, dtype=np.intp)
    inverted = np.empty(modes, dtype=np.bool_)
    component[order] = slot % components
    # Alternating by copy and by component: with an odd number of copies the surplus is shared between both kinds.
    inverted[order] = (slot // components + slot % components) % 2 == 1
    return Layout(component, inverted, components)


def replicated(components: int, modes: int, seed: int = 0) -> Layout:
    """As :func:`balanced`, but no copy is inverted: a component that is 0 is dark, as intensities need it."""
    order = _copies(components, modes, seed)
    component = np.empty(modes, dtype=np.intp)
    component[order] = np.arange(modes) % components
    return Layout(component, np.zeros(modes, dtype=np.bool_), components)


def _copies(components: int, modes: int, seed: int) -> NDArray[np.intp]:
    """The modes in the order in which they are dealt to the components. Raises :class:`UsageError`."""
    if not 1 <= components <= modes:
        raise UsageError(
            f"{components} components do not fit the device's {modes} modes",
            "components",
            f"Take 1 to {modes}{larger_twin(modes=components) if components > modes else ''}",
        )
    # Sorting random doubles rather than Generator.permutation, whose stream NumPy does not promise to keep.
    return np.argsort(np.random.Generator(np.random.Philox(seed)).random(modes), kind="stable")


def plain(modes: int) -> Layout:
    """Every mode is a component of its own, in order, none inverted."""
    return Layout(np.arange(modes), np.zeros(modes, dtype=np.bool_), modes)
