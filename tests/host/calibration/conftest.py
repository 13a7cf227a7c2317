"""One small device and its calibration, for all tests of this folder."""

from __future__ import annotations

import openopu
import pytest
from openopu.calibration.calibrate import QUICK, Outcome, calibrate

URL = "twin:?n=64&m=64"


@pytest.fixture(scope="session")
def made() -> Outcome:
    with openopu.open(URL) as opu:
        return calibrate(opu, effort=QUICK, dated=False)


@pytest.fixture
def opu():
    with openopu.open(URL) as opened:
        yield opened
