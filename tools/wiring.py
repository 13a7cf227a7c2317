"""Writes docs/wiring-BOARD.md and docs/wiring/BOARD.svg from the pins that each board's file declares.

``--check`` fails if a page is stale instead.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from openopu_boards.board import MODULES, Board, Line, board
from openopu_rtl.protocol import Link
from waveforms import SVG

DOCS = Path(__file__).parent.parent / "docs"

PARTS = {
    "modulator": ("slm_",),
    "camera": ("cam_", "i2c_"),
    "laser": ("laser_", "dac_", "bias_", "interlock_"),
    "photodiode, thermometer": ("adc_",),
}
"""What stands around a board beside the host, and how the names of its lines begin."""

_BARE = {"cam_dval": "the gateware takes it as high"}
"""What an input without a pin means."""
_PULLED = {"ecp5": " (the FPGA's own is on)", "xilinx": " (10 kOhm to ground)"}
"""By family: the pull-down of ``interlock_closed``."""
_DIRECTIONS = {"i": "in", "o": "out", "io": "both", "od": "open drain"}


def part_of(line: Line) -> str:
    """The part that a line goes to. Raises StopIteration for one that no part claims."""
    return next(part for part, starts in PARTS.items() if line.port.startswith(starts))


def _place(line: Line) -> str:
    if line.connector is None:
        return f"FPGA {line.pins.replace(' ', ', ')}"
    return f"{line.connector[0]} {line.connector[1]}: {line.pins.replace(' ', ', ')}"


def _sorted(b: Board) -> dict[str, list[Line]]:
    """Lines by the part that they go to; the host has one for each link of the board."""
    found: dict[str, list[Line]] = {
        "host" if len(b.links) == 1 else f"host, link {kind.key}": list(lines) for kind, lines in b.links.items()
    }
    found |= {part: [] for part in PARTS}
    for line in b.lines:
        found[part_of(line)].append(line)
    return {part: lines for part, lines in found.items() if lines}


def drawing(b: Board) -> str:
    """The board and what is wired to it, as SVG: an arrow a line, in the line's direction."""
    parts = _sorted(b)
    with matplotlib.rc_context(SVG):
        rows = sum(len(lines) + 0.6 for lines in parts.values()) + (1.6 if b.dvi else 0) + 0.4
        figure = Figure(figsize=(10, 0.3 * rows + 0.8))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
        axes.set_xlim(0, 10)
        axes.set_ylim(-rows, 0.8)
        axes.axis("off")
        axes.add_patch(matplotlib.patches.Rectangle((0.2, -rows + 0.2), 3.2, rows, fc="#eef2f7", ec="black"))
        axes.text(1.8, 0.45, b.title, ha="center", va="center", fontsize=10)
        y = -0.6
        if b.dvi:
            _box(axes, "modulator", y, 1)
            _arrow(axes, y, "o", "DVI connector on the board", f"{b.mode.name}, {b.pixel_clock_hz / 1e6:g} MHz")
            y -= 1.6
        for part, lines in parts.items():
            _box(axes, part, y, len(lines))
            for line in lines:
                _arrow(axes, y, line.direction, _place(line), line.port)
                y -= 1
            y -= 0.6
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    # No blanks at the ends of lines, which editors and git complain about.
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _box(axes, text: str, top: float, rows: int) -> None:
    axes.add_patch(matplotlib.patches.Rectangle((7.0, top - rows + 0.6), 2.8, rows - 0.2, fc="#f7f2ea", ec="black"))
    axes.text(8.4, top - rows / 2 + 0.5, text, ha="center", va="center", fontsize=9)


def _arrow(axes, y: float, direction: str, place: str, name: str) -> None:
    style = {"i": "<-", "o": "->", "io": "<->", "od": "<->"}[direction]
    axes.annotate("", (7.0, y), (3.4, y), arrowprops={"arrowstyle": style, "lw": 0.9, "shrinkA": 0, "shrinkB": 0})
    axes.text(3.3, y, place, ha="right", va="center", fontsize=6.5)
    axes.text(5.2, y + 0.08, name, ha="center", va="bottom", fontsize=7)


def page(b: Board) -> str:
    """The wiring page and bring-up guide of one board."""
    tables = []
    for part, lines in _sorted(b).items():
        head = f"### {part.capitalize()}\n\n| signal | pins | at the FPGA | what |\n| --- | --- | --- | --- |\n"
        rows = [f"| `{n.port}` | {_place(n)} | {_DIRECTIONS[n.direction]} | {n.doc} |\n" for n in lines]
        tables.append(head + "".join(rows))
    panel = (
        f"The modulator is plugged into the board's DVI (HDMI) connector: {b.mode.name}, "
        f"{b.geometry.slm_width} x {b.geometry.slm_height}, {b.pixel_clock_hz / 1e6:g} MHz.\n\n"
        if b.dvi
        else ""
    )
    g = b.geometry
    unconnected = ", ".join(f"`{n}` ({_BARE[n]})" for n in b.unconnected)
    missing = f"Not connected on this board: {unconnected}.\n\n" if unconnected else ""
    chip = "chip" in b.plants
    # FTDI chips come up at another rate than the library's own, and answer nothing there.
    port = f"serial:/dev/ttyUSB0?baud={b.baud}"
    selftest = (
        f"""3. **Self-test without optics.** The gateware holds a small pseudo-random medium that plays as the camera:

   ```console
   openopu selftest --device '{port}&plant=chip'
   ```

   Link, memories, datapath and pairing are compared with the twin, integer for integer."""
        if chip
        else f"""3. **Self-test of the link.** This gateware is built without the medium that stands in for optics:

   ```console
   openopu selftest --device '{port}' --only link interlock
   ```"""
    )
    flash = (
        f"""1. **Bitstream.** `make bitstream BOARD={b.name}`, then
   `openopu flash --board {b.name}`. It refuses a file for another board, and a board that answers as another."""
        if b.family == "ecp5"
        else f"""1. **Bitstream.** `make bitstream BOARD={b.name}` writes Verilog and constraints; make
   the bitstream with Vivado, and load it with its hardware manager."""
    )
    others = [kind.key for kind in b.links if kind is not b.link]
    links = (
        f"The gateware has one link: `{b.link.key}`, or with `openopu bitstream --board {b.name} --link KIND`\n"
        f"{', '.join(f'`{key}`' for key in others)}; only its lines are wired, see [link](link.md).\n\n"
        if others
        else ""
    )
    notes = "".join(f"- {note}\n" for note in b.notes) + "\n" if b.notes else ""
    return f"""# Wiring and bring-up: {b.title}

Made by `make docs` from `boards/openopu_boards/{b.name}.py`; the page and the gateware cannot disagree.

![wiring](wiring/{b.name}.svg)

n = {g.modes:,} input modes, m = {g.outputs:,} output modes, system clock {b.clock_hz / 1e6:g} MHz; the camera's pixel
clock may be up to {b.camera_clock_hz / 1e6:g} MHz. All lines are 3.3 V.

{panel}{links}{notes}{missing}{"".join(t + chr(10) for t in tables)}## Before a laser is connected

- **Pull-down on `laser_enable`**: 10 kOhm to ground at the laser driver's input, and on its modulation input where it
  has one. While the FPGA is not configured, in reset, or without power, only this keeps the laser dark.
- **Loop on `interlock_closed`**: 3.3 V through door switch, key switch and emergency stop, so that a broken wire is an
  open loop, and a pull-down at the pin{_PULLED[b.family]}. The same contacts also interrupt the laser's
  supply, or its certified interlock input, by hardware, in series: the gateware is no certified safety function. See
  [safety](safety.md).

## Bring-up

{flash}
2. **Is it there?** `openopu doctor` lists the ports; `openopu doctor --device '{port}'` says
   what the board is, and on trouble what to do. A host of another version is refused, with the way to flash the right
   gateware.{" Link `usb` is `serial:/dev/ttyACM0`, here and below." if Link.USB in b.links else ""}
{selftest}
4. **Interlock, still without a laser.** Close the loop, put a voltmeter on `laser_enable`, and run
   `openopu selftest --device '{port}' --arm --only interlock`. The voltage comes with
   arming and goes when the test lets the heartbeat run out. Open the loop while it is on: it goes at once, and stays
   away when the loop is closed.
5. **Modulator.** Switch the panel on and run
   `openopu selftest --device '{port}' --only modulator`; watch the test patterns (halves,
   checkerboard, corners) for a wrong resolution, scaling or orientation. See [displays](displays.md).
6. **Camera.** `openopu sensor --device '{port}' --name mt9v034` configures a sensor over
   I2C; any camera with FVAL, LVAL, pixel clock and external trigger will do. Then `openopu selftest` with
   `--only camera pairing`. See [cameras](camera.md).
7. **Light.** With the beam blocked, arm (`--arm`), measure power and photodiode reading, and set `monitor_limit` above
   it. Unblock the beam; `openopu selftest --device '{port}' --arm` now makes every check,
   the settle sweep too.

## Sources

{chr(10).join(f"- {s}" for s in b.sources)}
"""


def files() -> dict[str, str]:
    """Contents of every page and drawing, by path below docs."""
    made = {}
    for name in MODULES:
        b = board(name)
        made[f"wiring-{name}.md"] = page(b)
        made[f"wiring/{name}.svg"] = drawing(b)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a page is stale")
    check = parser.parse_args().check
    stale = []
    for name, text in files().items():
        path = DOCS / name
        if check:
            # The drawing's bytes depend on the version of the plotting library.
            if not path.exists() or (path.suffix == ".md" and path.read_text() != text):
                stale.append(name)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        sys.exit(f"{', '.join(stale)} stale: run `make docs`")


if __name__ == "__main__":
    main()
