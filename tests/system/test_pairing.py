"""A frame dropped, repeated, delayed or cut: the RTL names it, and no row is another's. See tools/pairing.py."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from openopu.selftest.pairing import check_pairing
from openopu_rtl.protocol import Geometry

TOOLS = Path(__file__).parents[2] / "tools"

GEOMETRY = Geometry.fitting(64, 64)
"""That of other tests, whose simulator is used again."""


@pytest.fixture(scope="module")
def pairing() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield importlib.import_module("pairing")
    sys.modules.pop("pairing", None)


def test_no_row_is_anothers(pairing: ModuleType) -> None:
    seed, frames = 3, 100
    outcomes = pairing.measure(12, frames, seed, geometry=GEOMETRY)
    result = pairing.summary(outcomes, frames, seed)
    print(pairing.table(result))
    assert result["misattributed_rows"] == 0
    assert [o.case.fault for o in outcomes if not o.named] == []
    assert {o.case.kind for o in outcomes} == set(pairing.KINDS)


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator's process inherits our module path."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.mark.usefixtures("doubles")
def test_the_0011_test_sees_frames_that_lag(pairing: ModuleType) -> None:
    opu, _ = pairing.bench("", "lagging_optics:Lagging", GEOMETRY)
    with opu:
        report = check_pairing(opu)
    assert not report.ok
    assert report.frames_behind == 1
    assert report.seen.startswith("0001")


@pytest.mark.usefixtures("doubles")
def test_the_0011_test_passes_also_where_the_first_frame_was_lost(pairing: ModuleType) -> None:
    """The device names a lost frame and the host sends again: nothing is shifted."""
    opu, _ = pairing.bench("0:drop", "lagging_optics:Prompt", GEOMETRY)
    with opu:
        report = check_pairing(opu)
        assert opu.registers(["frames_missing"])["frames_missing"] == 1
        assert opu.repeated >= 1
    assert report.ok, report
