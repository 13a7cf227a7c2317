"""What a system test watches of the processes that it starts."""

from __future__ import annotations

import os
import time
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Time of the processor that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until_still(pid: int) -> None:
    """Wait until the process uses no more CPU time."""
    used = -1.0
    while True:
        before, used = used, cpu_seconds(pid)
        if used == before:
            return
        time.sleep(0.3)
