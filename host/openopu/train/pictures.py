"""Pictures of a run, as PNG files. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Geometry, Shot

from openopu.errors import OpenopuError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
# Okabe and Ito's colours, told apart by all kinds of colour vision.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442",
)  # fmt: skip

BUDGET = {
    "cycles_expose": ("exposing", GREEN),
    "cycles_settle": ("panel settles", SKY),
    "cycles_wait_pattern": ("next pattern not yet on the panel", BLUE),
    "cycles_wait_camera": ("camera reads out", ORANGE),
    "cycles_wait_results": ("results cross the link", VERMILION),
    "cycles_wait_input": ("no projection to load", PURPLE),
}
"""Timing counters that share out ``cycles_busy``, what they say, and their colour."""

SMALLEST_SHARE = 0.0005
"""Shares below are too thin to draw, and would read 0.0 %."""


class NoPictures(OpenopuError):
    """matplotlib is not installed."""


def blank_figure(width: float, height: float) -> Figure:
    """A figure of its own, inches, so that nothing of a program around us changes. Raises :class:`NoPictures`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoPictures(
            "matplotlib is not installed", "pictures", "Install it: pip install 'openopu[plots]'"
        ) from error
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """The same with axes."""
    made = blank_figure(width, height)
    return made, list(np.atleast_1d(made.subplots(rows, columns)).reshape(-1))


def plain(axes: Axes, lines: Literal["x", "y", "both"] = "y") -> None:
    """No frame, and faint lines across the axis ``lines`` (``x``, ``y`` or ``both``)."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=lines, alpha=0.25)


def learning_curves(history: Sequence[Mapping[str, Any]], path: Path, title: str = "") -> None:
    """Loss and accuracy on training and test images after each epoch."""
    made, (left, right) = figure(9, 3.6, 1, 2)
    epochs = [e["epoch"] for e in history]
    for axes, what, factor, unit in (
        (left, "loss", 1, "cross-entropy / nats"),
        (right, "accuracy", 100, "accuracy / %"),
    ):
        for split, colour in (("train", ORANGE), ("test", BLUE)):
            values = [factor * e[f"{split}_{what}"] for e in history]
            axes.plot(epochs, values, "o-", ms=3.5, color=colour, label=f"{split}: {values[-1]:.4g} at the end")
        axes.set_xlabel("epoch")
        axes.set_ylabel(unit)
        axes.legend(frameon=False)
        axes.locator_params(axis="x", integer=True)
        plain(axes)
    if title:
        made.suptitle(title)
    made.savefig(path)


def alignment_angles(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Angle between the update that was made and the back-propagated one, for each hidden layer."""
    made, (axes,) = figure(6, 3.8)
    epochs = [e["epoch"] for e in history]
    for layer, colour in zip(range(len(history[0]["alignment_degrees"])), _colours(), strict=False):
        angles = [e["alignment_degrees"][layer] for e in history]
        shown = [(e, a) for e, a in zip(epochs, angles, strict=True) if a is not None]
        if shown:
            axes.plot(*zip(*shown, strict=True), "o-", ms=3.5, color=colour, label=f"hidden layer {layer + 1}")
    axes.axhline(90, color="0.4", lw=1, ls="--")
    axes.annotate("orthogonal: no common direction", (0.99, 90), xycoords=("axes fraction", "data"), ha="right",
                  va="bottom", color="0.4", fontsize=8)  # fmt: skip
    axes.set_ylim(0, 100)
    axes.set_xlabel("epoch")
    axes.set_ylabel("angle to back-propagation / degrees")
    axes.locator_params(axis="x", integer=True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    plain(axes)
    made.savefig(path)


def _colours() -> list[str]:
    return [BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW] * 16


def panel_levels(geometry: Geometry, plane: NDArray[np.bool_], shot: Shot) -> NDArray[np.uint8]:
    """(slm_height, slm_width) level indices that the gateware shows for a plane of (modes,) bits."""
    out = np.full((geometry.slm_height, geometry.slm_width), shot.level_border, np.uint8)
    g = geometry
    out[g.anchor_y : g.anchor_y + g.anchor_height, g.anchor_x : g.anchor_x + g.anchor_width] = shot.level_anchor
    bits = np.asarray(plane, bool).reshape(g.modes_y, g.modes_x) ^ shot.invert
    levels = np.where(bits, shot.level_on, shot.level_off).astype(np.uint8)
    block = levels.repeat(g.macropixel, axis=0).repeat(g.macropixel, axis=1)
    out[g.signal_y : g.signal_y + g.signal_height, g.signal_x : g.signal_x + g.signal_width] = block
    return out


def slm_pattern(levels: NDArray[np.uint8], geometry: Geometry, path: Path) -> None:
    """What the panel shows during one exposure, (slm_height, slm_width) levels."""
    made, (axes,) = figure(5.6, 4.8)
    image = axes.imshow(levels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    g = geometry
    _box(axes, g.signal_x, g.signal_y, g.signal_width, g.signal_height, GREEN, f"signal: {g.modes} modes")
    if g.anchor_pixels:
        _box(axes, g.anchor_x, g.anchor_y, g.anchor_width, g.anchor_height, ORANGE, "anchor")
    axes.set_xlabel("column / pixels")
    axes.set_ylabel("row / pixels")
    axes.set_title("panel")
    made.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    made.colorbar(image, ax=axes, label="level")
    made.savefig(path)


def speckle(frame: NDArray[np.integer], geometry: Geometry, path: Path) -> None:
    """A raw camera frame, (camera_height, camera_width) in DN, with the crop, and the distribution of its pixels."""
    made, (left, right) = figure(10, 4.2, 1, 2)
    full = (1 << geometry.pixel_bits) - 1
    image = left.imshow(frame, cmap="inferno", vmin=0, vmax=max(int(frame.max()), 1), interpolation="nearest")
    g = geometry
    _box(left, g.crop_x, g.crop_y, g.crop_width, g.crop_height, SKY, f"crop: {g.outputs} outputs of {g.bin} x {g.bin}")
    left.set_xlabel("column / pixels")
    left.set_ylabel("row / pixels")
    left.set_title("speckle")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False, fontsize=8)
    made.colorbar(image, ax=left, label="signal / DN")
    crop = frame[g.crop_y : g.crop_y + g.crop_height, g.crop_x : g.crop_x + g.crop_width].reshape(-1)
    bins = list(range(0, full + 2, max(1, (full + 1) // 128)))
    right.hist(crop, bins=bins, color=BLUE)
    right.axvline(float(crop.mean()), color=ORANGE, label=f"mean {crop.mean():.1f} DN")
    clipped = float(np.mean(crop >= full))
    right.axvline(full, color=VERMILION, ls="--", label=f"full scale {full} DN: {100 * clipped:.2f} % clipped")
    right.set_yscale("log")
    right.set_xlabel("signal / DN")
    right.set_ylabel("pixels in the crop")
    right.legend(loc="upper right", bbox_to_anchor=(0.97, 1), framealpha=0.9, edgecolor="none")
    plain(right)
    made.savefig(path)


def _box(axes: Axes, x: int, y: int, width: int, height: int, colour: str, label: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=colour, lw=1.6, label=label, clip_on=False)
    )


def budget_shares(counters: Mapping[str, int]) -> dict[str, float]:
    """Share of ``cycles_busy`` that each counter of :data:`BUDGET` has, and of the rest, ``other``.

    Empty where the device counted no cycles (the twin has no clock).
    """
    busy = counters.get("cycles_busy", 0)
    if not busy:
        return {}
    shares = {name: counters.get(name, 0) / busy for name in BUDGET}
    return {**shares, "other": max(0.0, 1 - sum(shares.values()))}


def cycle_budget(counters: Mapping[str, int], path: Path, title: str = "") -> None:
    """Where the device's cycles went, from its timing counters, as one bar. Raises ``ValueError`` without cycles."""
    shares = budget_shares(counters)
    if not shares:
        raise ValueError("the device counted no cycles: a cycle budget needs a device with a clock")
    made, (axes,) = figure(9, 3)
    left = 0.0
    for name, share in shares.items():
        if share < SMALLEST_SHARE:
            continue
        text, colour = BUDGET.get(name, ("loading, starting, the rest", "0.7"))
        axes.barh(0, 100 * share, left=100 * left, color=colour, label=f"{text}: {100 * share:.1f} %")
        left += share
    axes.set_xlim(0, 100 * max(left, 1.0))
    axes.set_yticks([])
    axes.set_xlabel("share of busy cycles / %")
    exposures = counters.get("exposures", 0)
    per_shot = f", {counters['cycles_busy'] / exposures:,.0f} cycles a shot" if exposures else ""
    axes.set_title(f"{title}{': ' if title else ''}{counters['cycles_busy']:,} busy cycles{per_shot}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    made.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    made.savefig(path)
