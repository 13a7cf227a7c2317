"""What a pixel's noise is made of."""

from __future__ import annotations

from openopu.fit import Fit
from openopu.fit.rounding import ROUNDING

PARTS = ("shot noise", "read noise", "rounding", "laser", "motion")

ADVICE = {
    "shot noise": "more light: a larger full well, more outputs of several pixels, or more exposures of a pattern",
    "read noise": "a longer exposure or more laser power, or a quieter camera",
    "rounding": "more bits of the camera, or a higher analog gain",
    "laser": "normalise by the photodiode (`normalise`), or a quieter laser",
    "motion": "a stiffer mount: clamp the panel's cable, cover the medium; or a panel that flickers less",
}
"""What helps against each."""


def budget(fit: Fit, signal_dn: float) -> dict[str, float]:
    """Variance of a pixel from exposure to exposure at a signal above black, the frame's mean, by cause, DN**2."""
    k = fit.transfer.gain.value
    return {
        "shot noise": k * signal_dn,
        "read noise": (k * fit.dark.read_noise.value) ** 2,
        "rounding": ROUNDING,
        "laser": (fit.laser_noise.seen * signal_dn) ** 2,
        "motion": 2 * (fit.transfer.motion.seen * signal_dn) ** 2,
    }
