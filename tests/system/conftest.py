"""Lets the tests of this folder use the helper modules of the host's."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "host"))
