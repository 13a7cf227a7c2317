"""Every scheme on the twin and through the RTL: the same integers, and the same results."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import openopu
import pytest
from openopu import Encoding, Opu, plants
from openopu.schemes import Anchor, Complement, Intensity, Phase, Scheme, Stepping
from openopu_rtl.protocol.packets import RECORD_TIMING_FIELDS

KEYS = "n=64&m=64&noise_seed=3"
BITS = Encoding("bits", bits=3)
BINARY = [Complement(), Complement(BITS), Anchor(), Anchor(BITS), Intensity()]
PHASE = [Phase(), Phase(BITS), Stepping(), Stepping(BITS), Intensity()]


LCOS = dataclasses.replace(
    plants.PHASE, modulator=dataclasses.replace(plants.PHASE.modulator, levels=256, phase_max_rad=6.6, gamma=1.1)
)


@pytest.fixture(scope="module", params=["dmd", "lcos"])
def devices(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, list[Opu]]]:
    plant = request.param
    if plant == "lcos":
        plant = str(tmp_path_factory.mktemp("plant") / "lcos.toml")
        plants.save(plant, LCOS)
    keys = f"{KEYS}&plant={plant}"
    with openopu.open(f"twin:?{keys}") as twin, openopu.open(f"rtl:verilator?{keys}") as rtl:
        yield request.param, [twin, rtl]


def same(devices: list[Opu], scheme: Scheme, rows: int) -> None:
    vectors = np.random.default_rng(1).normal(size=(rows, 20))
    if isinstance(scheme, Intensity):
        vectors = (vectors > 0).astype(float)
    records, results, references = [], [], []
    for opu in devices:
        opu.configure(scheme=scheme, components=20, outputs=50)
        opu.exposure_next = 77
        pending = opu.submit(vectors, (5,))
        records.append(pending.record())
        results.append(pending.result())
        references.append(opu.reference)
    a, b = records
    for name in a.head.dtype.names or ():
        if name not in RECORD_TIMING_FIELDS:
            assert (a.head[name] == b.head[name]).all(), name
    assert (a.values == b.values).all()
    assert a.values.any()
    assert (results[0] == results[1]).all()
    assert (references[0] is None) == (references[1] is None)
    assert references[0] is None or (references[0] == references[1]).all()
    assert a.values.shape == (rows, 50 * scheme.banks)


def test_twin_and_rtl_agree(devices: tuple[str, list[Opu]]) -> None:
    name, opus = devices
    assert {str(o.panel.kind) for o in opus if o.panel} == {"binary" if name == "dmd" else "phase"}
    for scheme in BINARY if name == "dmd" else PHASE:
        same(opus, scheme, 3)


def test_another_simulator() -> None:
    with openopu.open(f"twin:?{KEYS}") as twin, openopu.open(f"rtl:icarus?{KEYS}&link=bytes") as rtl:
        same([twin, rtl], Complement(BITS), 1)
