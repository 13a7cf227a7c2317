"""The plots of the report. Each function returns one that draws into a figure or a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from openopu.fit import Fit
from openopu.fit.record import Burst
from openopu.fit.rounding import ROUNDING
from openopu.train.pictures import BLUE, GREEN, ORANGE, PURPLE, SKY, plain

from .budget import PARTS, budget
from .gap import Gap
from .whiteness import NEAR

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

    from .report import Draw

COLOURS = dict(zip(PARTS, (BLUE, GREEN, "0.5", ORANGE, PURPLE), strict=True))


def photon_transfer(fit: Fit) -> Draw:
    """Variance against mean, and what is left of it by the model."""

    def draw(target: FigureBase) -> None:
        from matplotlib.ticker import LogLocator

        left, right = target.subplots(1, 2)
        points = fit.transfer.points
        mean = np.array([p.mean for p in points])
        variance = np.array([p.variance for p in points])
        error = np.array([p.error for p in points])
        level = np.array([p.frame_mean for p in points])
        k = fit.transfer.gain.value
        motion = fit.transfer.motion.seen
        left.errorbar(mean, variance, error, fmt=".", ms=3, lw=0.8, color=BLUE, label="groups of pixels")
        x = np.geomspace(max(mean.min(), 1e-2), mean.max(), 100)
        floor = fit.transfer.offset_dn2.value
        left.plot(x, k * x, color=GREEN, lw=1, label=f"shot noise: {k:.4g} DN/e-")
        left.plot(x, k * x + floor + 2 * motion**2 * x * level.max(), color=ORANGE, lw=1, label="model, brightest")
        read = (k * fit.dark.read_noise.value) ** 2
        low, high = max(min(ROUNDING, read, float(variance.min())), 1e-4) / 3, float(variance.max())
        left.set_ylim(low, high * (high / low) ** 0.7)  # the legend's place
        left.axhline(read, color=PURPLE, lw=1, ls="--", label=f"read noise: {fit.dark.read_noise.value:.3g} e-")
        left.axhline(ROUNDING, color="0.5", lw=1, ls=":", label="rounding (taken out)")
        left.set_xscale("log")
        left.set_yscale("log")
        left.set_xlabel("mean above black / DN")
        left.set_ylabel("temporal variance / DN$^2$")
        left.legend(frameon=False, loc="upper left")
        model = k * mean + floor + 2 * motion**2 * mean * level
        right.axhline(0, color="0.4", lw=1)
        right.errorbar(mean, (variance / model - 1) * 100, error / model * 100, fmt=".", ms=3, lw=0.8, color=BLUE)
        right.set_xscale("log")
        right.set_xlabel("mean above black / DN")
        right.set_ylabel("variance over the model's, less 1 / %")
        right.set_title(f"chi-squared per degree of freedom {fit.transfer.chi2:.2f}")
        for axes in (left, right):
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.tick_params(axis="x", which="minor", labelbottom=False)  # they would overlap
            plain(axes, "both")

    return draw


def noise_budget(fit: Fit) -> Draw:
    """Each noise against the signal, and their shares at the working point."""

    def draw(target: FigureBase) -> None:
        left, right = target.subplots(1, 2, width_ratios=(1.6, 1))
        full = (1 << fit.geometry.pixel_bits) - 1
        signal = np.geomspace(1e-3, 1, 120) * (full - fit.dark.black.value)
        parts = [budget(fit, float(s)) for s in signal]
        for name, colour in COLOURS.items():
            values = np.array([p[name] for p in parts])
            if values.max() > 0:
                left.plot(signal / full, np.sqrt(values) / signal, color=colour, label=name, lw=1.2)
        total = np.array([sum(p.values()) for p in parts])
        left.plot(signal / full, np.sqrt(total) / signal, color="k", lw=1.6, label="together")
        mean = fit.signal.value * fit.transfer.gain.value
        left.axvline(mean / full, color=SKY, lw=1, label="working point")
        left.set_xscale("log")
        left.set_yscale("log")
        left.set_ylim(1e-5, 1e2)
        left.set_xlim(signal[0] / full, 1)
        left.set_xlabel("signal over full scale")
        left.set_ylabel("noise over signal")
        left.legend(frameon=False, ncols=2)
        shares = budget(fit, mean)
        whole = sum(shares.values())
        names = list(shares)
        right.barh(names, [100 * v / whole for v in shares.values()], color=[COLOURS[n] for n in names])
        for i, value in enumerate(shares.values()):
            right.text(100 * value / whole + 1, i, f"{100 * value / whole:.1f} %", va="center")
        right.set_xlim(0, 125)
        right.invert_yaxis()
        right.set_xlabel("share of the variance / %")
        for axes in (left, right):
            plain(axes, "both")

    return draw


def changes(fit: Fit) -> Draw:
    """The laser's power and the medium's correlation over the series."""

    def draw(target: FigureBase) -> None:
        left, right = target.subplots(1, 2)
        f = fit.fluctuations
        step = max(1, len(f.power) // 2000)
        left.plot(f.exposure[::step], 100 * (f.power[::step] - 1), ".", ms=1.5, color=BLUE, rasterized=True)
        left.set_xlabel("exposure of the series")
        left.set_ylabel("frame's sum from its mean / %")
        left.set_title(f"laser noise {fit.laser_noise}")
        right.plot(f.lag, f.correlation, "o", ms=3.5, color=BLUE, label="reference patterns")
        x = np.linspace(0, f.lag.max(), 100)
        right.plot(x, np.cos(f.medium_drift.seen * x) ** 2, color=ORANGE, lw=1, label="cos$^2$(drift x lag)")
        low = min(float(f.correlation.min()), 0.9999)
        right.set_ylim(low - 0.1 * (1 - low), 1 + 0.1 * (1 - low))
        right.ticklabel_format(axis="y", useOffset=False)
        right.set_xlabel("lag / exposures")
        right.set_ylabel("correlation of intensities")
        right.set_title(f"drift {f.medium_drift}")
        right.legend(frameon=False)
        for axes in (left, right):
            plain(axes, "both")

    return draw


def settle(fit: Fit) -> Draw:
    """Difference from the settled frame against the settle time."""

    def draw(target: FigureBase) -> None:
        axes = target.subplots(1, 1)
        s = fit.settling
        us = s.settle_cycles / fit.clock_hz * 1e6
        axes.plot(us, s.error, "o", ms=4, color=BLUE, label="measured, noise taken out")
        if s.tau.resolved:
            axes.plot(us, s.fitted, color=ORANGE, lw=1.2, label=f"time constant {s.tau}")
        else:
            axes.set_xscale("symlog", linthresh=max(float(us[us > 0].min()), 1e-3))
        axes.set_yscale("log")
        low = s.error[s.error > 0].min(initial=1e-4)
        axes.set_ylim(max(low / 3, 1e-8), max(float(s.error.max()) * 3, 1e-6))
        axes.set_xlabel("settle time / us")
        axes.set_ylabel("squared difference over\nthe settled frame's variance")
        axes.legend(frameon=False)
        plain(axes, "both")

    return draw


def speckle(fit: Fit, burst: Burst) -> Draw:
    """A frame, the distribution of its intensities, its autocorrelation."""

    def draw(target: FigureBase) -> None:
        first, second, third = target.subplots(1, 3)
        frame = burst.frames.mean(axis=0).reshape(fit.shape)
        image = first.imshow(frame, cmap="inferno", interpolation="nearest", vmin=0)
        target.colorbar(image, ax=first, label="mean / DN", shrink=0.8)
        first.set_title("speckle")
        first.set_xlabel("column / pixels")
        first.set_ylabel("row / pixels")
        intensity = frame.ravel() - fit.dark.black.value
        intensity = intensity / intensity.mean()
        second.hist(intensity, bins=np.linspace(0, 8, 50), density=True, color=BLUE, label="pixels")
        x = np.linspace(0, 8, 100)
        second.plot(x, np.exp(-x), color=ORANGE, lw=1.2, label="exponential")
        second.set_yscale("log")
        second.set_ylim(1e-4, 3)
        second.set_xlabel("intensity over its mean")
        second.set_ylabel("density")
        second.set_title(f"contrast {fit.speckle.contrast}")
        second.legend(frameon=False)
        for row, label, colour in zip(fit.speckle.autocorrelation, ("across", "down"), (BLUE, ORANGE), strict=True):
            third.plot(row, "o-", ms=3, lw=1, color=colour, label=label)
        third.axhline(0, color="0.4", lw=1)
        third.set_xlabel("lag / pixels")
        third.set_ylabel("autocorrelation")
        third.set_title(f"grain {fit.speckle.grain_px}")
        third.legend(frameon=False)
        for axes in (second, third):
            plain(axes, "both")

    return draw


def match(gap: Gap) -> Draw:
    """Device against model, and whether what is left is white."""

    def draw(target: FigureBase) -> None:
        (first, second), (third, fourth) = target.subplots(2, 2)
        step = max(1, gap.device.size // 8000)
        x, y = gap.predicted.ravel()[::step], gap.device.ravel()[::step]
        first.plot(x, y, ".", ms=1, color=BLUE, rasterized=True)
        ends = np.array([x.min(), x.max()])
        first.plot(ends, ends, color=ORANGE, lw=1, label="equal")
        first.set_xlabel("model / DN")
        first.set_ylabel("device / DN")
        first.set_title(f"correlation {gap.correlation:.5f}, slope {gap.slope:.4f}")
        first.legend(frameon=False)
        z = gap.residual.ravel()
        second.hist(z, bins=np.linspace(-5, 5, 60), density=True, color=BLUE, label="residuals")
        t = np.linspace(-5, 5, 200)
        second.plot(t, np.exp(-t * t / 2) / np.sqrt(2 * np.pi), color=ORANGE, lw=1, label="normal")
        second.set_yscale("log")
        second.set_ylim(1e-6, 20)
        second.set_xlabel("residual / expected standard deviations")
        second.set_ylabel("density")
        if gap.chi2 is not None:
            second.set_title(f"variance over expected {gap.chi2:.3f}")
        second.legend(frameon=False, loc="upper left")
        w = gap.whiteness
        frequency = np.arange(1, len(w.spectrum) + 1) / (2 * len(w.spectrum))
        third.plot(frequency, w.spectrum, color=BLUE, lw=0.8)
        third.axhline(1, color=ORANGE, lw=1)
        third.set_ylim(0, max(2.0, float(w.spectrum.max()) * 1.1))
        third.set_xlabel("frequency / per row")
        third.set_ylabel("power over its mean")
        third.set_title(f"along time: p = {w.time_p:.2g}")
        shown = w.neighbours.copy()
        shown[0, NEAR] = np.nan
        limit = max(float(np.nanmax(np.abs(shown))), 1e-4)
        image = fourth.imshow(shown, cmap="RdBu", vmin=-limit, vmax=limit,
                              extent=(-NEAR - 0.5, NEAR + 0.5, NEAR + 0.5, -0.5))  # fmt: skip
        target.colorbar(image, ax=fourth, label="correlation")
        fourth.set_xlabel("outputs across")
        fourth.set_ylabel("outputs down")
        fourth.set_title(f"with neighbours: p = {w.space_p:.2g}")
        for axes in (first, second, third):
            plain(axes, "both")

    return draw
