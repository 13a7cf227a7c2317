import pytest
from openopu_boards import tools
from openopu_boards.board import board

from .flash_bench import Loader, written_bitstream


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """A board's loader; nothing is connected yet."""
    made = Loader(tmp_path)
    real = tools.find
    monkeypatch.setattr(tools, "find", lambda name: made.path if name == tools.LOADER else real(name))
    return made


@pytest.fixture
def bitstream(tmp_path):
    """A file for the ULX3S."""
    return written_bitstream(board("ulx3s"), tmp_path)
