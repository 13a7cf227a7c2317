"""The timing diagrams can be drawn, each is on the page as the gateware does it now, and the page shows no others."""

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def timing(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield importlib.import_module("timing")
    for name in ("timing", "timing_panels", "recording", "waveforms"):
        sys.modules.pop(name, None)


def content(svg):
    """Hash of what a drawing shows."""
    return re.search(r"<dc:identifier>([0-9a-f]{64})</dc:identifier>", svg)[1]


def test_every_diagram_is_drawn_and_shown(timing, tmp_path):
    drawn = {path.name: path.read_text() for path in timing.draw_all(tmp_path)}
    shown = set(re.findall(r"timing/(\w+\.svg)", (ROOT / "docs" / "timing.md").read_text()))
    kept = {path.name: path.read_text() for path in (ROOT / "docs" / "timing").iterdir()}
    assert drawn.keys() == shown == kept.keys()
    assert all(text.rstrip().endswith("</svg>") for text in drawn.values())
    # Fonts may differ, what is shown may not.
    stale = [name for name in drawn if content(drawn[name]) != content(kept[name])]
    assert not stale, "run `make docs`"


def test_interlock_falls_as_fast_as_is_said(timing):
    diagram = timing.interlock()
    assert [m.text for m in diagram.marks] == ["2 clocks"]
