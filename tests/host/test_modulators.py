"""Level tables and the timing profiles of modulators."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import openopu
import pytest
from openopu import UsageError
from openopu.levels import identity, level_table
from openopu.modulators import (
    LCOS_SETTLE_S,
    LONGEST_CYCLES,
    Modulator,
    continuous_shot_s,
    dlp4500,
    dlp7000,
    lcos,
)
from openopu_rtl.protocol import Geometry, PanelKind
from openopu_rtl.protocol.geometry import PRESETS
from openopu_rtl.protocol.shots import intensity

GAMMA = np.round(255 * (np.arange(256) / 255) ** 2.2).astype(int)


def test_level_tables_from_arrays_and_files(tmp_path) -> None:
    np.save(tmp_path / "gamma.npy", GAMMA)
    (tmp_path / "lines.txt").write_text("# of panel 7\n" + "\n".join(f"{v}  # {i}" for i, v in enumerate(GAMMA)))
    (tmp_path / "row.csv").write_text(", ".join(map(str, GAMMA)))
    for source in (GAMMA, GAMMA.tolist(), *(tmp_path / n for n in ("gamma.npy", "lines.txt", "row.csv"))):
        table = level_table(source)
        assert table.dtype == np.uint8
        assert table.tolist() == GAMMA.tolist()
    assert level_table(str(tmp_path / "row.csv")).tolist() == GAMMA.tolist()
    assert identity().tolist() == list(range(256))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GAMMA[:255], r"expected \(256,\), got \(255,\)"),
        (GAMMA.reshape(16, 16), r"got \(16, 16\)"),
        ([*GAMMA[:255], 256], "entry 255 is 256"),
        ([-1, *GAMMA[1:]], "entry 0 is -1"),
        (GAMMA / 2, "entry .* is .*5"),
        ([float("nan"), *GAMMA[1:]], "entry 0 is nan"),
        (["a"] * 256, "no numbers"),
        ("nothing.npy", "cannot be read"),
    ],
)
def test_level_tables_that_are_none(bad, message) -> None:
    with pytest.raises(UsageError, match=message):
        level_table(bad)


@pytest.mark.parametrize(("name", "content"), [("x.txt", b"1 2 three"), ("x.npy", b"nonsense"), ("y.txt", b"\xff\xfe")])
def test_files_that_are_no_level_tables(tmp_path, name, content) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match="no level table"):
        level_table(tmp_path / name)


def test_the_device_uses_the_table_until_it_is_opened_again() -> None:
    url = "twin:?n=64&m=64&noise=off&plant=phase&panel_kind=1"
    program = intensity(level_on=100, level_off=20, exposure_cycles=1500)
    bits = np.random.default_rng(3).integers(0, 2, (2, 1, 64))
    with openopu.open(url) as opu:
        plain = opu.project_raw(bits, program).values
        # The level 100 shown as 200 is what a program with 200 shows; the model's pixels are on from 128.
        table = identity()
        table[100] = 200
        opu.set_level_table(table)
        assert opu.level_table.tolist() == table.tolist()
        shown = opu.project_raw(bits, program).values
        with pytest.raises(UsageError):
            opu.set_level_table(table[:-1])
        assert opu.level_table.tolist() == table.tolist()
        opu.set_level_table(identity())
        same = opu.project_raw(bits, program.replace(level_on=200)).values
        opu.set_level_table(table)
    assert np.array_equal(shown, same)
    assert not np.array_equal(shown, plain)
    with openopu.open(url) as opu:
        assert opu.level_table.tolist() == identity().tolist()
        assert np.array_equal(opu.project_raw(bits, program).values, plain)


def test_lcos_profile() -> None:
    slm = lcos("hd720", latency_s=0.004, trigger_output="each vertical sync")
    assert slm.geometry == PRESETS["hd720"]
    clock_hz = 100_000_000
    fields = slm.shot_fields(clock_hz)
    assert fields == {"frames": 2, "settle_cycles": math.ceil((0.004 + LCOS_SETTLE_S) * clock_hz)}
    assert intensity(**fields).shots[0].frames == 2
    # 35.25 ms of waiting and 5 ms of exposure are three frames of 60 Hz: five with the two of the pattern.
    assert continuous_shot_s(slm, 0.005, 1 / 60) == pytest.approx(5 / 60)
    slm.check(PRESETS["hd720"])
    with pytest.raises(UsageError, match="VIDEO_ON_DEMAND, this is one of VIDEO_CONTINUOUS"):
        slm.check(Geometry())
    with pytest.raises(UsageError, match="sends 640 x 480 pixels, this has 1280 x 720"):
        slm.check(PRESETS["vga"])
    with pytest.raises(UsageError, match="A shot waits at most"):
        dataclasses.replace(slm, settle_s=60.0).shot_fields(clock_hz)
    with pytest.raises(TypeError, match="latency_s"):
        lcos("hd720", trigger_output="none")  # type: ignore[call-arg]


def test_mirror_profiles() -> None:
    slm = dlp4500(dark_s=100e-6, settle_s=13e-6)
    slm.check(PRESETS["dlp4500"])
    assert slm.plane_order[:9] == ("G0", "G1", "G2", "G3", "G4", "G5", "G6", "G7", "R0")
    assert len(slm.plane_order) == 24
    assert 1 / slm.pattern_s == pytest.approx(1440)
    assert slm.shot_fields(48_000_000) == {"frames": 1, "settle_cycles": 624}
    assert slm.longest_exposure_cycles(48_000_000) == math.floor((1 / 1440 - 113e-6) * 48e6)
    with pytest.raises(UsageError, match="leaves no time"):
        dlp4500(dark_s=700e-6, settle_s=13e-6)
    with pytest.raises(UsageError, match="25 patterns"):
        dlp4500(dark_s=0.0, settle_s=0.0, patterns=25)
    with pytest.raises(UsageError, match="latency_frames"):
        dataclasses.replace(slm, latency_frames=-1)
    fast = dlp7000()
    fast.check(PRESETS["dlp7000"])
    assert fast.longest_exposure_cycles(48_000_000) == LONGEST_CYCLES
    # Loading takes 30.72 us of the bus's clock, 100 MHz in fabric words.
    g = fast.geometry
    assert g.row_cycle_clocks * g.slm_height == 3072


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "xga"}, "no geometry `xga`"),
        ({"frames": 0}, "frames = 0"),
        ({"settle_s": -1.0}, "settle_s = -1.0 is no time"),
        ({"latency_s": float("nan")}, "latency_s = nan is no time"),
    ],
)
def test_profiles_that_are_none(change, message) -> None:
    fine = {
        "name": "test", "panel_kind": PanelKind.VIDEO_CONTINUOUS, "preset": "vga", "frames": 2, "latency_s": 0.0,
        "settle_s": 0.0, "dark_s": 0.0, "trigger_output": "none", "source": "this test",
    }  # fmt: skip
    assert Modulator(**fine).shot_fields(1) == {"frames": 2, "settle_cycles": 0}
    with pytest.raises(UsageError, match=message):
        Modulator(**{**fine, **change})
    with pytest.raises(UsageError, match="not for continuous video"):
        lcos("dlp4500", latency_s=0.0, trigger_output="none")
