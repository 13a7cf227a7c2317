"""Flashing: the right file goes onto the right board, and nothing else."""

import json

import pytest
from openopu import cli
from openopu.errors import OpenopuError, UsageError
from openopu_boards import flash, tools
from openopu_boards.board import board

from .flash_bench import IDCODES, written_bitstream

ULX3S = board("ulx3s")


def test_the_right_file_reaches_the_board(loader, bitstream):
    loader.connect(IDCODES["ulx3s"])
    for keep, option in ((False, "-m"), (True, "-f")):
        result = flash.flash(ULX3S, bitstream, keep)
        assert (result["board"], result["link"]) == ("ulx3s", "uart")
        assert (result["idcode"], result["kept"]) == ("41113043", keep)
        assert loader.written.read_text().splitlines()[-1] == f"-b ulx3s {option} {bitstream}"


def test_another_revision_of_the_part_is_the_same_board(loader, bitstream):
    loader.connect(0x21113043)
    assert flash.flash(ULX3S, bitstream, False)["idcode"] == "21113043"


@pytest.mark.parametrize(("idcode", "parts"), [(IDCODES["icepi_zero"], 1), (0x0362D093, 1), (IDCODES["ulx3s"], 2)])
def test_another_board_is_refused(loader, bitstream, idcode, parts):
    loader.connect(idcode, parts)
    with pytest.raises(flash.WrongBoard, match="LFE5U-85F") as found:
        flash.flash(ULX3S, bitstream, False)
    assert f"{idcode:08x}" in found.value.what
    assert not loader.written.exists()


def test_no_board_is_said(loader, bitstream):
    with pytest.raises(flash.BoardNotFound, match="unable to open"):
        flash.flash(ULX3S, bitstream, False)
    loader.connect(IDCODES["ulx3s"], parts=0)
    with pytest.raises(flash.BoardNotFound, match="no part answers"):
        flash.flash(ULX3S, bitstream, False)


def test_a_file_for_another_board_is_refused(loader, tmp_path, bitstream):
    loader.connect(IDCODES["ulx3s"])
    other = written_bitstream(board("icepi_zero"), tmp_path)
    with pytest.raises(flash.WrongBoard, match="for icepi_zero, not for ulx3s"):
        flash.flash(ULX3S, other, False)
    # Also where only the bitstream itself knows.
    with pytest.raises(flash.WrongBoard, match="IDCODE 41111043"):
        flash.flash(ULX3S, written_bitstream(ULX3S, tmp_path, IDCODES["icepi_zero"]), False)
    assert not loader.written.exists()


def test_a_file_that_is_not_whole_is_refused(loader, bitstream):
    loader.connect(IDCODES["ulx3s"])
    sidecar = bitstream.with_suffix(".json")
    whole, about = bitstream.read_bytes(), sidecar.read_text()
    bitstream.write_bytes(whole[:-1])
    with pytest.raises(flash.DamagedBitstream, match="not the one"):
        flash.flash(ULX3S, bitstream, False)
    bitstream.write_bytes(whole)
    for text in ("{", "[]", "{}", json.dumps({"board": "ulx3s"}), about.replace('"id"', '"was"')):
        sidecar.write_text(text)
        with pytest.raises(UsageError, match="cannot be read"):
            flash.flash(ULX3S, bitstream, False)
    sidecar.unlink()
    with pytest.raises(UsageError, match="no side-car"):
        flash.flash(ULX3S, bitstream, False)
    sidecar.write_text(about)
    bitstream.unlink()
    with pytest.raises(UsageError, match="no such bitstream"):
        flash.flash(ULX3S, bitstream, False)
    assert not loader.written.exists()


def test_a_loader_that_fails_is_said(loader, bitstream):
    loader.path.write_text('#!/bin/sh\ncase "$*" in *--detect*) echo idcode 0x41113043;; *) echo Fail; exit 1;; esac\n')
    with pytest.raises(tools.ToolFailed, match="Fail"):
        flash.flash(ULX3S, bitstream, False)


def test_a_missing_loader_is_said(monkeypatch, bitstream, capsys):
    monkeypatch.setenv("PATH", "")
    assert cli.main(["flash", "--board", "ulx3s", "--bitstream", str(bitstream), "--json"]) == cli.EXIT_FAILURE
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["error"], said["where"]) == ("ToolMissing", tools.LOADER)
    assert "apt-get install openfpgaloader" in said["next_step"]


def test_command(loader, bitstream, capsys):
    loader.connect(IDCODES["ulx3s"])
    assert cli.main(["flash", "--board", "ulx3s", "--bitstream", str(bitstream), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ok"] is True
    for words in (["--board", "nothing"], ["--board", "arty_a7"], []):
        assert cli.main(["flash", *words, "--json"]) == cli.EXIT_USAGE
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert said["next_step"]
    with pytest.raises(OpenopuError, match="no board"):
        board("nothing")
