"""Schemes: the algebra that programs of shots implement. See docs/schemes.md for which to take when.

========== ========= ======== ============== ==========================================
name       panel     shots    unit           result
========== ========= ======== ============== ==========================================
complement binary    2 planes DN             ``Re(conj(r) T s)``
anchor     binary    2 planes sqrt(DN)       ``Re(conj(r) T s) / |r|``
phase      phase     2 planes DN             ``4 Re(conj(r) T s)``
stepping   phase     4 planes DN, complex    ``4 conj(r) T s``
intensity  any       1        DN             ``|T b|^2``
========== ========= ======== ============== ==========================================
"""

from __future__ import annotations

import contextlib
import dataclasses

from openopu_rtl.protocol import Geometry

from ..encoding import Encoding
from ..errors import UsageError
from ..panel import Panel
from ..plants import ModulatorKind
from .anchor import Anchor
from .intensity import Intensity
from .linear import Complement, Phase
from .scheme import LinearScheme, Scheme
from .stepping import Stepping

SCHEMES: dict[str, type[Scheme]] = {s.name: s for s in (Complement, Anchor, Phase, Stepping, Intensity)}
"""By name."""
LINEAR = tuple(name for name, scheme in SCHEMES.items() if scheme.linear)
"""Names of those that can train."""


def recommended(panel: Panel | None) -> type[LinearScheme]:
    """The best scheme of a panel (docs/schemes.md says why); None: of unknown type, taken for binary."""
    return Phase if panel is not None and panel.kind is ModulatorKind.PHASE else Complement


def make(scheme: str | Scheme | None, encoding: Encoding | None, panel: Panel | None) -> Scheme:
    """A scheme from its name, itself, or None for the recommended one, with another encoding where one is given.

    Raises :class:`UsageError` for an unknown name, and for an encoding where the scheme has none.
    """
    if isinstance(scheme, Scheme):
        made = scheme
    elif scheme is None:
        made = recommended(panel)()
    elif isinstance(scheme, str) and scheme in SCHEMES:
        made = SCHEMES[scheme]()
    else:
        raise UsageError(f"{scheme!r} is none", "scheme", f"Known: {', '.join(SCHEMES)}")
    if encoding is None:
        return made
    if not isinstance(made, LinearScheme):
        raise UsageError(f"the scheme {made.name} takes bits as they are", "encoding", "Leave it out")
    return dataclasses.replace(made, encoding=encoding)


def others_for(scheme: Scheme, geometry: Geometry, panel: Panel | None) -> list[str]:
    """Names of those that multiply vectors of ``scheme``'s encoding on a device."""
    encoding = scheme.encoding if isinstance(scheme, LinearScheme) else None
    found = []
    for name in LINEAR:
        other = make(name, encoding, panel)
        if panel is None or panel.kind in other.panels:
            with contextlib.suppress(UsageError):
                other.check(geometry, panel)
                found.append(name)
    return found


__all__ = [
    "LINEAR",
    "SCHEMES",
    "Anchor",
    "Complement",
    "Intensity",
    "LinearScheme",
    "Phase",
    "Scheme",
    "Stepping",
    "make",
    "others_for",
    "recommended",
]
