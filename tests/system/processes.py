"""What a system test watches of the processes that it starts."""

from __future__ import annotations

import time
from pathlib import Path


def wait_until_still(pid: int) -> None:
    """Wait until the process uses no more CPU time."""
    used = -1
    while True:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        before, used = used, int(fields[11]) + int(fields[12])
        if used == before:
            return
        time.sleep(0.3)
