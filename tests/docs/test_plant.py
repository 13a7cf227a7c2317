"""The examples of docs/plant.md and docs/media.md run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from openopu import plants

ROOT = Path(__file__).parents[2]


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), flags=re.S)


def test_the_examples_write_plants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wells = []
    for block in examples("plant.md"):
        exec(compile(block, "docs/plant.md", "exec"), {})
        plant = plants.load("bench.toml")
        assert plant.modulator == plants.MODULATORS["dlp4500"].parameters
        wells.append(plant.camera.full_well_e)
        Path("bench.toml").unlink()
    assert wells == pytest.approx([10**4.03, 10**4.02])


def test_the_example_projects() -> None:
    (block,) = examples("media.md")
    images = np.random.default_rng(1).random((3, 784))
    names: dict = {"images": images}
    exec(compile(block, "docs/media.md", "exec"), names)
    assert names["features"].shape == (3, 100_000)
    np.testing.assert_allclose(np.abs(names["fields"]) ** 2, names["features"], rtol=1e-4, atol=1e-3)
    assert names["features"].mean() == pytest.approx((images**2).sum(axis=1).mean(), rel=0.05)
