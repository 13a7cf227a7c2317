"""The page on analog parts: its example runs, and its figure holds."""

import re
from pathlib import Path

from openopu_rtl.monitor import monitor_cycles
from openopu_rtl.top import SIMULATION_ADC, SIMULATION_CLOCK_HZ

PAGE = (Path(__file__).parents[2] / "docs" / "analog.md").read_text()


def test_example_runs():
    (block,) = re.findall(r"```python\n(import openopu.*?)```", PAGE, flags=re.S)
    names: dict = {}
    exec(compile(block, "analog.md", "exec"), names)
    assert names["record"].ok.all()


def test_shortest_exposure_is_what_it_says():
    assert f"`monitor_cycles` ({monitor_cycles(SIMULATION_ADC, SIMULATION_CLOCK_HZ)} " in PAGE
