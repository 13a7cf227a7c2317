"""The example and the figures of the page on displays."""

import re
from pathlib import Path

import pytest
from openopu.modulators import continuous_shot_s, lcos
from openopu_rtl.protocol.geometry import PRESETS

PAGE = (Path(__file__).parents[2] / "docs" / "displays.md").read_text()


def test_example_runs():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    names: dict = {}
    exec(compile(block, "displays.md", "exec"), names)
    assert names["feedback"].shape == (10, 1024)
    assert names["feedback"].any()


def test_table_of_modes():
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) x (\d+), ([\d.]+) Hz \| ([\d.]+) MHz \| (\w+) \| ([\d,]+), ([\d,]+) \|", PAGE, re.M
    )
    assert {row[0] for row in rows} == {"vga", "svga", "hd720"}
    for name, width, height, frame_hz, clock_mhz, syncs, modes, outputs in rows:
        g, mode = PRESETS[name], PRESETS[name].video_mode
        assert (g.slm_width, g.slm_height) == (int(width), int(height))
        assert mode.frame_hz == pytest.approx(float(frame_hz), abs=0.006)
        assert mode.pixel_clock_hz == pytest.approx(1e6 * float(clock_mhz))
        assert mode.hsync_positive == mode.vsync_positive == (syncs == "positive")
        assert (g.modes, g.outputs) == (int(modes.replace(",", "")), int(outputs.replace(",", "")))


def test_rate_of_a_slow_panel():
    frame_s = 1 / PRESETS["hd720"].video_mode.frame_hz
    shot_s = continuous_shot_s(lcos("hd720", latency_s=0.0, trigger_output="none"), 0.005, frame_s)
    assert shot_s == pytest.approx(5 * frame_s)
