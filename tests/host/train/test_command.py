"""``openopu train`` as it is typed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from device_double import DoubleOpu
from openopu.cli import main
from openopu.plants import DMD, save

FAST = ["train", "--hidden", "24,16", "--epochs", "2"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main([*FAST, "--json", *words]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openopu.open", lambda url, arm=False: DoubleOpu())


@pytest.mark.usefixtures("double")
def test_results(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys)
    assert {"test_accuracy", "train_accuracy", "projections", "seconds", "device", "gateware", "weights_sha256"} <= (
        result.keys()
    )
    assert result["device"] == "double:"
    assert result["projections"] > 2 * 1437
    assert result["epochs"] == 2


def test_controls_need_no_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--feedback", "backprop")["device"] is None


@pytest.mark.usefixtures("double")
def test_out_and_resume(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    first = run(capsys, "--out", out, "--resume")
    assert run(capsys, "--out", out, "--resume")["weights_sha256"] == first["weights_sha256"]
    assert main([*FAST, "--out", out]) == 1
    assert "continue it with --resume" in capsys.readouterr().err
    assert main([*FAST, "--out", out, "--resume", "--seed", "5"]) == 1
    assert "begun with seed 0 (now 5)" in capsys.readouterr().err


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("record", [None, "", "{}", "[]", '{"calibration": 5}'])
def test_resume_needs_no_run_record(record: str | None, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first = run(capsys, "--out", str(tmp_path))
    if record is None:
        (tmp_path / "run.json").unlink()
    else:
        (tmp_path / "run.json").write_text(record)
    assert run(capsys, "--out", str(tmp_path), "--resume")["weights_sha256"] == first["weights_sha256"]


@pytest.mark.usefixtures("double")
def test_pictures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run(capsys, "--out", str(tmp_path), "--pictures")
    for name in ("curves.png", "alignment.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume"], "Give the run's folder with --out DIR"),
        (["--data", "nowhere"], "take digits, fashion-mnist or a folder"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--learning-rate", "-1"], "learning_rate must be positive"),
        (["--train-images", "5000"], "from 1 to 1437"),
        (["--hidden", "0"], "hidden needs at least one layer"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["train", "--feedback", "backprop", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_slow_panel_that_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--train-images", "64", "--epochs", "1", "--device", "twin:?n=64&m=64&plant=lcos+imx255"]
    (said,) = [w for w in run(capsys, *words)["warnings"] if "time constant" in w]
    assert "6.79 ms" in said
    assert "--calibration" in said


def test_resume_goes_by_the_plants_values(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("bench.toml"), DMD)
    words = [*FAST, "--train-images", "64", "--out", "run", "--device"]
    assert main([*words, "twin:?n=64&m=64&plant=bench.toml"]) == 0
    assert main([*words, "twin:?n=64&m=64&plant=dmd&seed=1", "--resume"]) == 0
    save(Path("bench.toml"), dataclasses.replace(DMD, camera=dataclasses.replace(DMD.camera, read_noise_e=9.0)))
    capsys.readouterr()
    assert main([*words, "twin:?n=64&m=64&plant=bench.toml", "--resume"]) == 1
    assert "plant: bench.toml there, bench.toml (changed) here" in capsys.readouterr().err
