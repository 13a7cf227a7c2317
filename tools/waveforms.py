"""Draws recorded signals as a timing diagram (SVG, the same bytes for the same signals)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Samples = Sequence[int | str | None]
"""A value a clock; None: not driven, or of no interest. Text is drawn as it is, as a bus's value."""
WIDTH_IN = 10
SVG = {"svg.hashsalt": "openopu", "svg.fonttype": "none", "font.family": "sans-serif"}
"""Settings of drawings: text stays text, and the same drawing has the same bytes."""


@dataclass(frozen=True)
class Trace:
    name: str
    samples: Samples
    bus: bool = False
    """Draw values, not a level."""
    base: int = 16
    """Of a bus's numbers."""
    every: int = 0
    """Of a bus: a value begins with each so many clocks, also where it is the same; 0: where it changes."""


@dataclass(frozen=True)
class Mark:
    """An interval worth a number: from clock ``start`` to ``end``, drawn under the row ``row``."""

    row: str
    start: float
    end: float
    text: str


def _level(axes, y: float, trace: Trace) -> None:
    xs: list[float] = []
    ys: list[float] = []
    for clock, value in enumerate(trace.samples):
        level = float("nan") if value is None else y + 0.7 * int(bool(value))
        if ys and level == ys[-1]:
            xs[-1] = clock + 1
        else:
            xs += [clock, clock + 1]
            ys += [level, level]
    axes.plot(xs, ys, color="black", linewidth=1, solid_joinstyle="miter")


def _bus(axes, y: float, trace: Trace, clock_in: float) -> None:
    samples, start = trace.samples, 0
    for clock in range(1, len(samples) + 1):
        begins = trace.every and clock % trace.every == 0
        if clock < len(samples) and samples[clock] == samples[start] and not begins:
            continue
        value, slant = samples[start], min(0.05 / clock_in, (clock - start) / 4)
        if value is not None:
            xs = [start, start + slant, clock - slant, clock, clock - slant, start + slant, start]
            ys = [y + 0.35, y + 0.7, y + 0.7, y + 0.35, y, y, y + 0.35]
            axes.fill(xs, ys, facecolor="#eef2f7", edgecolor="black", linewidth=0.8)
            text = value if isinstance(value, str) else f"{value:d}" if trace.base == 10 else f"{value:x}"
            if (clock - start) * clock_in >= 0.065 * len(text) + 0.02:
                axes.text((start + clock) / 2, y + 0.33, text, ha="center", va="center", fontsize=7)
        start = clock


def draw(path: Path, title: str, traces: Sequence[Trace], marks: Sequence[Mark] = (), clock: str = "clock") -> None:
    """Write one diagram to ``path`` (SVG), and a hash of what it shows; the time axis counts ``clock``."""
    length = max(len(t.samples) for t in traces)
    clock_in = WIDTH_IN * 0.85 / length
    with matplotlib.rc_context(SVG):
        figure = Figure(figsize=(WIDTH_IN, 0.46 * len(traces) + 1.0))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.13, 0.55 / figure.get_figheight(), 0.85, 1 - 0.9 / figure.get_figheight()))
        rows = {}
        for row, trace in enumerate(traces):
            y = rows[trace.name] = float(len(traces) - 1 - row) * 1.3
            if trace.bus:
                _bus(axes, y, trace, clock_in)
            else:
                _level(axes, y, trace)
            axes.text(-0.01 * length, y + 0.3, trace.name, ha="right", va="center", fontsize=8)
        for mark in marks:
            y = rows[mark.row] - 0.12
            style = "<->" if (mark.end - mark.start) * clock_in > 0.2 else "-"
            axes.annotate(
                "", (mark.start, y), (mark.end, y), arrowprops={"arrowstyle": style, "lw": 0.8, "color": "C3"}
            )
            axes.text((mark.start + mark.end) / 2, y - 0.1, mark.text, ha="center", va="top", fontsize=7, color="C3")
        axes.set_xlim(0, length)
        axes.set_ylim(-0.6, len(traces) * 1.3)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel(clock, fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=7, left=False, labelleft=False)
        for side in ("left", "right", "top"):
            axes.spines[side].set_visible(False)
        drawn = hashlib.sha256(repr((title, list(traces), list(marks), clock)).encode()).hexdigest()
        figure.savefig(path, metadata={"Date": None, "Creator": None, "Identifier": drawn})
