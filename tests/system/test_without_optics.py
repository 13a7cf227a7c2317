"""Loops without optics: the same host code, and the twin's integers, with frames from the medium in the gateware."""

from __future__ import annotations

import json

import numpy as np
import openopu
import pytest
from openopu import LaserDark, UrlError, cli
from openopu_rtl import chip_medium
from openopu_rtl.protocol.registers import REGISTERS

SIZE = "n=64&m=64"
"""As in test_rtl.py: one build for both."""


def compared(capsys: pytest.CaptureFixture[str], a: str, b: str, projections: int) -> dict[str, object]:
    code = cli.main(["compare", "--device-a", a, "--device-b", b, "--projections", str(projections), "--json"])
    result: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0, result["first_difference"]
    assert result["ok"]
    assert result["projections"] == projections
    return result


@pytest.mark.parametrize(("simulator", "projections"), [("verilator", 40), ("icarus", 3)])
def test_chip_gives_the_twins_integers(capsys: pytest.CaptureFixture[str], simulator: str, projections: int) -> None:
    """On a bare board: nothing closes its interlock loop."""
    board = f"rtl:{simulator}?plant=chip&{SIZE}&link=bytes&interlock=open"
    result = compared(capsys, f"twin:?plant=chip&{SIZE}", board, projections)
    if projections > 10:
        assert result["results_saturated"]


def test_the_laser_stays_dark_without_optics() -> None:
    for url in (f"twin:?plant=chip&{SIZE}", f"rtl:verilator?plant=chip&{SIZE}&link=bytes"):
        with openopu.open(url) as opu:
            opu.configure(components=8)
            opu.project(np.eye(8))  # raises where the records say that it was dark
            with pytest.raises(LaserDark, match="PLANT_SIMULATED"):
                opu.arm()
            assert not opu.status()["laser_on"]
            assert opu.status()["monitor"] == chip_medium.MONITOR
        with pytest.raises(LaserDark, match="PLANT_SIMULATED"):
            openopu.open(url, arm=True)


def test_matrix_of_the_chip() -> None:
    with openopu.open("twin:?plant=chip") as opu:
        opu.expose_to(0.05)
        opu.configure(components=32)
        exact, measured = opu.matrix(), opu.matrix(measured=True)
        assert np.corrcoef(exact.ravel(), measured.ravel())[0, 1] > 0.995
        assert (exact * measured).sum() / (exact * exact).sum() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("twin:?plant=host", "on the host already"),
        ("twin:?optics=dmd", "goes with plant=host"),
        ("rtl:verilator?plant=chip&optics=dmd", "goes with plant=host"),
    ],
)
def test_bad_urls(url: str, message: str) -> None:
    with pytest.raises(UrlError, match=message):
        openopu.open(url)


def test_sources_that_are_not_there_are_refused() -> None:
    with openopu.open(f"twin:?plant=chip&{SIZE}") as opu:
        assert opu.registers(["features", "plant_source"]) == {"features": 0b100, "plant_source": 2}
        for source in (0, 1):
            with pytest.raises(openopu.DeviceRefused, match=r"NO_PLANT.*built without"):
                opu._session.write(plant_source=source)
    assert REGISTERS["plant_source"].idle_only
