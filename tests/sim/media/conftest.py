"""Shared by the tests of media."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    seed = 7
    print(f"seed {seed}")
    return np.random.default_rng(seed)
