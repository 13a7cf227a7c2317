"""The training's tests share a device double."""

from __future__ import annotations

import sys
from pathlib import Path

# Test files are imported one by one (importlib mode): their folder is not on the path by itself.
sys.path.insert(0, str(Path(__file__).parent))
