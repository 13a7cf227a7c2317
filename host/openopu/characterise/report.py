"""A report of sections with a table and a plot each, as one HTML file and as a PDF."""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openopu.errors import UsageError
from openopu.files import why_not_written, write_whole
from openopu.train.pictures import blank_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

Draw = Callable[["FigureBase"], None]

PAGE_INCHES = (8.27, 11.69)
"""A4, upright."""
SIDE, TOP = 0.6, 0.9
LINE_INCHES = 0.19
LINE_CHARACTERS = 92
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: .8rem 0; } td { padding: .15rem 1.2rem .15rem 0; vertical-align: top; }
td:first-child { color: #555; } img { max-width: 100%; } .warning { color: #b03000; }
"""


@dataclass(frozen=True)
class Section:
    title: str
    text: str = ""
    rows: Sequence[tuple[str, str]] = ()
    """Names and values."""
    draw: Draw | None = None
    """Draws into a figure, or a part of one."""
    inches: tuple[float, float] = (8.0, 3.3)
    """Width and height of the plot."""
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    title: str
    sections: list[Section] = field(default_factory=list)

    def html(self) -> str:
        """The page, plots included."""
        parts = [
            "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
            f"<title>{html.escape(self.title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{html.escape(self.title)}</h1>",
        ]  # fmt: skip
        for section in self.sections:
            parts.append(f"<h2>{html.escape(section.title)}</h2>")
            parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in section.text.split("\n") if paragraph]
            parts += [f'<p class="warning">{html.escape(text)}</p>' for text in section.warnings]
            if section.rows:
                cells = "".join(f"<tr><td>{html.escape(n)}</td><td>{html.escape(v)}</td></tr>" for n, v in section.rows)
                parts.append(f"<table>{cells}</table>")
            if section.draw is not None:
                image = base64.b64encode(picture(section.draw, section.inches)).decode()
                parts.append(f'<img alt="{html.escape(section.title)}" src="data:image/png;base64,{image}">')
        return "\n".join([*parts, "</body></html>", ""])

    def save(self, folder: Path, name: str) -> list[Path]:
        """Write ``name.html`` and ``name.pdf``; returns their paths. Raises :class:`UsageError` where it cannot."""
        files = [folder / f"{name}.html", folder / f"{name}.pdf"]
        try:
            write_whole(files[0], self.html().encode())
            write_whole(files[1], self._pdf())
        except OSError as error:
            raise UsageError(
                f"the report cannot be written ({why_not_written(error)})", str(folder), "Name a folder with --out"
            ) from None
        return files

    def _pdf(self) -> bytes:
        from matplotlib.backends.backend_pdf import PdfPages

        content = io.BytesIO()
        with PdfPages(content, metadata={"Title": self.title, "CreationDate": None}) as pages:
            for n, page in enumerate(_pages(self.sections)):
                pages.savefig(_page(page, self.title, n + 1))
        return content.getvalue()


def picture(draw: Draw, inches: tuple[float, float]) -> bytes:
    """A plot of its own as PNG. Raises :class:`openopu.train.pictures.NoPictures`."""
    made = blank_figure(*inches)
    draw(made)
    buffer = io.BytesIO()
    made.savefig(buffer, format="png")
    return buffer.getvalue()


def _lines(section: Section) -> list[tuple[str, str]]:
    """Lines of text of a section on paper, each with its kind."""
    out = [("title", section.title)]
    for paragraph in section.text.split("\n"):
        out += [("text", line) for line in textwrap.wrap(paragraph, LINE_CHARACTERS)]
    for warning in section.warnings:
        out += [("warning", line) for line in textwrap.wrap(warning, LINE_CHARACTERS)]
    width = max((len(name) for name, _ in section.rows), default=0)
    for name, value in section.rows:
        first, *rest = textwrap.wrap(value, LINE_CHARACTERS - width - 2) or [""]
        out.append(("row", f"{name:{width}}  {first}"))
        out += [("row", " " * (width + 2) + line) for line in rest]
    return out


def _height(section: Section) -> float:
    text = (len(_lines(section)) + 1.5) * LINE_INCHES
    return text + (_plot_height(section) if section.draw else 0.0)


def _plot_height(section: Section) -> float:
    return section.inches[1] * (PAGE_INCHES[0] - 2 * SIDE) / section.inches[0] + 0.15


def _pages(sections: Sequence[Section]) -> list[list[Section]]:
    """Sections that share a page."""
    pages: list[list[Section]] = []
    left = 0.0
    for section in sections:
        height = _height(section)
        if not pages or height > left:
            pages.append([])
            left = PAGE_INCHES[1] - 1.5
        pages[-1].append(section)
        left -= height
    return pages


def _page(sections: Sequence[Section], title: str, number: int) -> Figure:
    made = blank_figure(*PAGE_INCHES)
    width, height = PAGE_INCHES
    made.text(SIDE / width, 1 - 0.5 / height, title, size=8, color="0.4")
    made.text(1 - SIDE / width, 1 - 0.5 / height, str(number), size=8, color="0.4", ha="right")
    looks: dict[str, dict[str, Any]] = {
        "title": {"size": 13, "weight": "bold"},
        "text": {"size": 9},
        "warning": {"size": 9, "color": "#b03000"},
        "row": {"size": 8, "family": "monospace"},
    }
    # Rows of a grid over the whole page, in inches: what is between the plots, and the plots.
    heights, drawn = [TOP], []
    for section in sections:
        for kind, line in _lines(section):
            made.text(SIDE / width, 1 - sum(heights) / height, line, va="top", **looks[kind])
            heights[-1] += LINE_INCHES * (1.5 if kind == "title" else 1)
        if section.draw is not None:
            heights += [_plot_height(section), 0.0]
            drawn.append((len(heights) - 2, section.draw))
        heights[-1] += LINE_INCHES
    heights[-1] += height - sum(heights)
    grid = made.add_gridspec(
        len(heights), 3, height_ratios=heights, width_ratios=(SIDE, width - 2 * SIDE, SIDE), hspace=0, wspace=0
    )
    for row, draw in drawn:
        _scaled(draw)(made.add_subfigure(grid[row, 1]))
    return made


def _scaled(draw: Draw) -> Draw:
    """The same with letters that suit a page's width."""

    def drawing(target: FigureBase) -> None:
        from matplotlib import rc_context

        with rc_context({"font.size": 7.5, "axes.titlesize": 8, "legend.fontsize": 6.5}):
            draw(target)

    return drawing
