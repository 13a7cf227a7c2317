"""The proofs' modules import each other by name, as tools/formal.py does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
