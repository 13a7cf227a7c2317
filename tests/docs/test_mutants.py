"""The list of seeded faults fits the gateware: each one's text stands where it says, and its tests are there."""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_seeded_fault_can_be_seeded(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    try:
        found = importlib.import_module("mutants").mutants()
    finally:
        sys.modules.pop("mutants", None)
    assert len(found) >= 30
    assert all((ROOT / test).exists() for mutant in found for test in mutant.tests)
