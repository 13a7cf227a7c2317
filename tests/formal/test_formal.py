"""The proofs of the laser's safety, and that the others can still be built. All are run by `make formal`."""

from pathlib import Path

import pytest
from catalogue import PROOFS
from prover import Bench, prove

ROOT = Path(__file__).parents[2]
FAST = [p for p in PROOFS if p.fast]


@pytest.mark.parametrize("proof", FAST, ids=lambda p: p.name)
def test_laser_is_safe(proof, tmp_path):
    result = prove(proof, tmp_path)
    assert result.status == "PASS", result.log


@pytest.mark.parametrize("proof", PROOFS, ids=lambda p: p.name)
def test_proofs_can_be_built_and_their_faults_seeded(proof):
    bench = Bench()
    proof.build(bench)
    assert "$check" in bench.netlist() or bench.apart
    for mutant in proof.mutants:
        text = (ROOT / "rtl" / "openopu_rtl" / mutant.file).read_text()
        assert text.count(mutant.old) == 1, f"{mutant.old} in {mutant.file}"


def test_table_names_every_proof():
    page = (ROOT / "docs" / "formal.md").read_text()
    for proof in PROOFS:
        assert f"| `{proof.name}` | {proof.claim} |" in page, f"run `tools/formal.py --only {proof.name} --page`"
