"""The tools behind docs/media.md run, and the statistics hold their bounds; how fast media are is not tested here."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield importlib.import_module
    for name in ("media", "speed_of_media"):
        sys.modules.pop(name, None)


def test_statistics_of_every_medium(tool, tmp_path):
    seed = 1
    result = tool("media").main(["--quick", "--seed", str(seed), "--out", str(tmp_path)])
    assert result == json.loads((tmp_path / "statistics.json").read_text())
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "entries.png", "spectra.png", "kernel.png", "lengths.png",
    }  # fmt: skip
    assert result["same"], "counter is not dense"
    for name, f in result["media"].items():
        # The thin diffuser's entries repeat: they are no independent draws, and do not look like it.
        bound = f["entries_bound"] * (20 if name == "thin" else 1)
        assert max(f["normal"], f["rayleigh"]) < bound, f"{name}, seed {seed}"
        assert f["power"] == pytest.approx(1.0, abs=0.1 if name == "thin" else 0.02), f"{name}, seed {seed}"
        assert f["unitary_block"] < (0.1 if name == "thin" else 0.03), f"{name}, seed {seed}"
    for name, rows in result["kernels"].items():
        # Half of the deviations within 0.67 standard errors; 5 of 36 have a probability of 6e-7.
        assert all(abs(r["ratio"] - 1) < 5 * r["error"] for r in rows), f"{name}, seed {seed}"
    for row in result["grains"]:
        for name in ("dense", "diffuser"):
            assert row[name] == pytest.approx(row["asked"], rel=0.06), f"{name}, seed {seed}"
    assert min(result["memory_effect"]["thin"]) > 0.99
    assert max(result["memory_effect"]["diffuser"][1:]) < 0.05


def test_page_shows_every_plot():
    page = (ROOT / "docs" / "media.md").read_text()
    kept = {path.name for path in (ROOT / "docs" / "media").iterdir()}
    assert kept == set(re.findall(r"\(media/(\w+\.png)\)", page))
    for name in ("media", "spectra", "kernel", "grain"):
        assert re.search(rf"<!-- made by tools/media.py: {name} -->\n\n\| .*?<!-- end -->", page, re.S)


def test_speed_is_measured(tool, tmp_path, capsys):
    summary = tool("speed_of_media").main(["--quick", "--out", str(tmp_path)])
    assert summary["runs"].keys() == {"fft", "dense", "counter", "panel", "others"}
    assert all(summary[key] > 0 for key in tool("speed_of_media").TARGETS)
    assert summary["runs"]["counter"]["sizes"][0]["identical"]
    needed = summary["runs"]["panel"]["needed_gib"]
    assert needed["diffuser"] < needed["dense"]
    table = capsys.readouterr().out.partition("figure ")[2]
    assert "fft_ratio" in table
    assert "NOT MET" not in table
    assert "<=" not in table
