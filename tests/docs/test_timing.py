"""The timing diagrams can be drawn, each is on the page, and the page shows no others."""

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
    for name in ("timing", "waveforms"):
        sys.modules.pop(name, None)


def test_every_diagram_is_drawn_and_shown(timing, tmp_path):
    drawn = {path.name: path.read_text() for path in timing.draw_all(tmp_path)}
    shown = set(re.findall(r"timing/(\w+\.svg)", (ROOT / "docs" / "timing.md").read_text()))
    kept = {path.name for path in (ROOT / "docs" / "timing").iterdir()}
    assert drawn.keys() == shown == kept
    assert all(text.rstrip().endswith("</svg>") for text in drawn.values())


def test_interlock_falls_as_fast_as_is_said(timing):
    diagram = timing.interlock()
    assert [m.text for m in diagram.marks] == ["2 clocks"]
