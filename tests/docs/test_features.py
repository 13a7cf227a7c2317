"""tools/features.py and its solver."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
ALPHA = 30.0


@pytest.fixture
def ridge(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import ridge

    return ridge


@pytest.fixture
def problem(ridge):
    rng = np.random.default_rng(4)
    values = rng.integers(0, 256, (600, 90)).astype(np.uint8)
    kept = ridge.Integers(values, 3.0, 0.01)
    targets = ridge.targets_of(rng.integers(0, 4, 600), 4)
    f = (values - 3.0) * 0.01
    exact = np.linalg.solve(f.T @ f + ALPHA * np.eye(90), f.T @ targets)
    return kept, targets, f, exact


def test_targets(ridge):
    np.testing.assert_array_equal(ridge.targets_of(np.array([1, 0]), 2), [[-1, 1], [1, -1]])


def test_cholesky_in_blocks_is_the_exact_solution(ridge, problem):
    _, targets, f, exact = problem
    blocks = (f[i : i + 128].astype(np.float32) for i in range(0, 600, 128))
    np.testing.assert_allclose(ridge.cholesky(blocks, targets, ALPHA), exact, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("sample", [5, 600])
def test_conjugate_gradients_reach_the_same(ridge, problem, sample, monkeypatch):
    kept, targets, _, exact = problem
    monkeypatch.setattr(ridge, "CONVERT_ELEMENTS", 7000)
    residuals = []
    found = ridge.conjugate_gradients(
        kept, targets, ALPHA, sample=sample, tolerance=1e-5, most=200, report=lambda _, r: residuals.append(r)
    )
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-5)
    assert residuals[-1] < 1e-5
    assert len(residuals) < (5 if sample == 600 else 60)


def test_conjugate_gradients_stop_at_their_limit(ridge, problem):
    kept, targets, _, _ = problem
    passes = []
    ridge.conjugate_gradients(
        kept, targets, ALPHA, sample=5, tolerance=1e-9, most=3, report=lambda i, _: passes.append(i)
    )
    assert passes == [1, 2, 3]


def test_the_table_is_made(tmp_path):
    command = [sys.executable, "tools/features.py", "--quick", "--data", "digits", "--out", str(tmp_path)]
    command += ["--plot", str(tmp_path / "table.png")]
    words = ["--cases", "mathematics alone", "PRNU 1 %", "--device", "twin:?n=80&m=100&bin=1"]
    for _ in range(2):  # the second time from what the first one kept
        done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.json"))) == 3
    assert (tmp_path / "table.png").stat().st_size > 10_000
    rows = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [r[0] for r in rows[4:]] == ["| mathematics alone", "| PRNU 1 %", "| twin:?n=80&m=100&bin=1"]
    assert all(float(r[1].rstrip(" |")) > 80 for r in rows[4:])
