"""What docs/adapters.md tells people to write works as it stands there."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()


def test_the_transformer_learns_digits():
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", PAGE, flags=re.S) if "OpticalRandomFeatures" in b)
    names: dict = {}
    exec(compile(block, "adapters.md", "exec"), names)
    assert names["accuracy"] > 0.9
