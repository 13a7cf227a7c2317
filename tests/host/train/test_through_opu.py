"""Training through the real :class:`openopu.Opu` on a device made of bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loopback import FaultyTransport, loopback
from openopu import LinkLost, Opu
from openopu.train.checkpoint import RunFolder
from openopu.train.command import train
from openopu.train.config import TrainConfig
from openopu.train.data import Dataset, load
from openopu_rtl.protocol import Geometry

CONFIG = TrainConfig(hidden=(12, 8), batch=32, chunk=16, epochs=1, learning_rate=1e-2, checkpoint_steps=1)
GEOMETRY = Geometry.fitting(64, 64)


@pytest.fixture(scope="module")
def images() -> Dataset:
    return load("digits").head(96, 50)


def through(images: Dataset, folder: RunFolder | None = None, rate: float = 0.0, **options: Any) -> dict[str, Any]:
    device, _ = loopback(GEOMETRY)
    faulty = FaultyTransport(device.transport, rate, seed=3)
    device.transport = faulty
    with Opu(device) as opu:
        faulty.on = True
        try:
            return train(CONFIG, images, opu, folder, **options) | {"faults": faulty.faults}
        finally:
            faulty.on = False


@pytest.fixture(scope="module")
def clean(images: Dataset) -> dict[str, Any]:
    return through(images)


def test_a_damaged_line_changes_no_weight(images: Dataset, clean: dict[str, Any]) -> None:
    damaged = through(images, rate=2e-4)
    assert damaged["faults"] > 3
    assert damaged["repeated"] > 0
    assert damaged["weights_sha256"] == clean["weights_sha256"]
    assert damaged["projections"] == clean["projections"]


def test_a_lost_link_leaves_a_run_that_goes_on(images: Dataset, clean: dict[str, Any], tmp_path: Path) -> None:
    device, _ = loopback(GEOMETRY)
    with RunFolder(tmp_path) as folder:
        with pytest.raises(LinkLost), Opu(device) as opu:
            train(CONFIG, images, opu, folder, tap=Unplug(device.transport, 5))
        meta, _ = folder.load()
        assert meta["position"]["step"] == 2
        resumed = through(images, folder, resume=True)
    assert resumed["weights_sha256"] == clean["weights_sha256"]
    assert resumed["projections"] == clean["projections"]


class Unplug:
    """A tap that loses the link at the ``after``-th submission."""

    def __init__(self, transport: Any, after: int) -> None:
        self._transport, self._left = transport, after

    def __call__(self, record: Any) -> None:
        self._left -= 1
        if not self._left:
            self._transport.closed = True


def test_ideal_feedback_measures_the_matrix(images: Dataset) -> None:
    device, _ = loopback(GEOMETRY)
    config = TrainConfig(**(CONFIG.as_json() | {"hidden": (12, 8), "feedback": "ideal"}))
    with Opu(device) as opu:
        result = train(config, images, opu)
        assert opu.matrix().shape == (20, 10)
    assert np.isfinite(result["loss"])
    assert result["projections"] == 0
