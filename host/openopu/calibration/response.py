"""What the modes do to the outputs: effective matrix with its uncertainty, and the scale of its rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Program

from .. import layout as layouts
from ..encoding import Encoding
from ..errors import UsageError, whole
from ..measure import BASIS_ROWS, hadamard_matrix, plain_shot
from ..memory import shortage
from ..opu import Opu
from ..panel import Panel
from ..plants import ModulatorKind
from ..schemes.stepping import Stepping
from ..settings import plane_weights
from .errors import CalibrationFailed, NotApplicable
from .file import Group, Quantity
from .frames import DN, ONE, random_patterns
from .shots import TIMES, all_outputs, pair

Reals = NDArray[np.float64]

REPEATS = 2
"""Of each pattern of the basis: two are enough to see the noise, which all patterns share."""
SCALE_PATTERNS = 64
"""Random sign vectors for the rows' scale; a row's rms is uncertain by 1/sqrt(2 x 64) = 9 %."""
NOISE_SHARE = 0.5
"""Of the matrix's rms: an uncertainty beyond makes it unusable."""


def matrix(opu: Opu, repeats: int = REPEATS) -> Group:
    """The effective matrix mode by mode, from complement pairs of a Hadamard basis of all modes.

    The basis is shown through the balanced layout, so that every pattern lights half of the modes.

    Returns
    -------
    effective : (outputs, modes) DN for one unit on one mode
    uncertainty : (outputs,) standard error of each entry of the row, DN
    repeats : of each pattern

    Raises :class:`UsageError` for fewer than two repeats or a program that is not linear, :class:`CalibrationFailed`
    where the noise is as large as the matrix.
    """
    whole(repeats, "repeats", 2)
    if plane_weights(opu.settings.program) is None:
        raise UsageError("the configured program is not linear in its planes", "matrix", "Configure a linear one")
    effective, uncertainty = _mode_by_mode(opu, pair(plain_shot(opu)), repeats)
    return {
        "effective": Quantity(effective.astype(np.float32), DN),
        "uncertainty": Quantity(uncertainty.astype(np.float32), DN),
        "repeats": Quantity(np.array(repeats), ONE),
    }


def _mode_by_mode(opu: Opu, program: Program, repeats: int, banks: int = 1) -> tuple[Reals, Reals]:
    """(outputs x banks, modes) matrix of ``program`` and (outputs x banks,) standard errors."""
    g = opu.geometry
    # The sums, in the layout's order and in the modes', what is kept of them, and the results of some patterns.
    needed = 8 * banks * g.outputs * (3 * g.modes + BASIS_ROWS * (2 * repeats + 1))
    if short := shortage(needed):
        raise NotApplicable(
            f"a matrix of {banks * g.outputs:,} x {g.modes:,} takes {short}",
            str(opu.device.url),
            "Leave `matrix` out: name others with --only",
        )
    layout = layouts.balanced(g.modes, g.modes)
    with opu.using(all_outputs(opu, program, banks=banks)):
        found, uncertainty = hadamard_matrix(opu, layout, program, repeats, banks)
    # Not a product with the layout's matrix: that is a permutation with signs, and as large as the modes squared.
    found = found[:, layout.component]
    found[:, layout.inverted] *= -1
    rms, error = float(np.sqrt(np.mean(found**2))), float(np.sqrt(np.mean(uncertainty**2)))
    if not error < NOISE_SHARE * rms:
        raise CalibrationFailed(
            f"the matrix drowns in noise: its entries' rms is {rms:.3g} DN, their standard error {error:.3g} DN",
            str(opu.device.url),
            "Raise the exposure (`--fill`), and check that patterns reach the camera",
        )
    return found, uncertainty


def stepped_matrix(opu: Opu, levels: Group, repeats: int = REPEATS) -> Group:
    """The complex matrix, from four steps of the anchor's phase against modes at 0 and pi; same basis.

    The device's level table must be that of ``levels``.

    Returns
    -------
    real, imag : (outputs, modes) DN, of ``(I_0 - I_2) + i (I_1 - I_3) = 4 conj(r) T`` for each mode: the transmission
        matrix, each row times a factor of its own, 4 conj(r)
    stepped_uncertainty : (outputs,) standard error of each of them, DN

    Raises :class:`NotApplicable` for a panel whose phase does not reach 3/2 pi, or without anchor region.
    """
    whole(repeats, "repeats", 2)
    span = float(levels["span"].values)
    where = str(opu.device.url)
    if span < 1.5 * np.pi:
        raise NotApplicable(
            f"the panel's phase reaches {span:.2f} rad, not 3/2 pi", where, "Leave the complex matrix out"
        )
    if not opu.geometry.anchor_pixels:
        raise NotApplicable("the panel has no anchor region", where, "Leave the complex matrix out")
    shot = plain_shot(opu)
    times = {n: getattr(shot, n) for n in TIMES}
    program = Stepping(Encoding("sign", "threshold")).program(Panel(ModulatorKind.PHASE), **times)
    found, uncertainty = _mode_by_mode(opu, program, repeats, banks=Stepping.banks)
    both = np.sqrt((uncertainty[0::2] ** 2 + uncertainty[1::2] ** 2) / 2)
    return {
        "real": Quantity(found[0::2].astype(np.float32), DN),
        "imag": Quantity(found[1::2].astype(np.float32), DN),
        "stepped_uncertainty": Quantity(both.astype(np.float32), DN),
    }


def scale(opu: Opu, patterns: int = SCALE_PATTERNS) -> Group:
    """Scale of each row from random sign vectors, each shown twice so that the noise is known and taken out.

    Returns
    -------
    row : (outputs,) rms of the effective matrix's row, DN for one unit on one mode
    noise : (outputs,) standard deviation of one projection, DN
    """
    settings = all_outputs(opu, pair(plain_shot(opu)))
    bits = np.repeat(random_patterns(opu, patterns, 2)[:, None, :], 2, axis=0)
    with opu.using(settings):
        values = opu.project_raw(bits).values.astype(np.int64).reshape(patterns, 2, -1) << settings.shift
    # The product of two independent looks at the same vector: unbiased by noise.
    power = (values[:, 0] * values[:, 1]).sum(axis=0) / patterns
    noise = ((values[:, 0] - values[:, 1]) ** 2).sum(axis=0) / (2 * patterns)
    row = np.sqrt(np.maximum(power, 0) / opu.geometry.modes)
    if not np.median(row) > 0:
        raise CalibrationFailed(
            "the outputs do not respond to the modes", str(opu.device.url), "Check modulator, exposure and light"
        )
    return {
        "row": Quantity(row.astype(np.float32), DN),
        "noise": Quantity(np.sqrt(noise).astype(np.float32), DN),
        "patterns": Quantity(np.array(patterns), ONE),
    }
