"""The run record: everything that says what a run was and what came out of it, as one JSON object."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import numpy as np

RECORD_VERSION = 1


def versions() -> dict[str, str]:
    """Versions of all that the numbers of a run depend on; the BLAS is part of the last bit of the weights."""
    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    try:
        own = metadata.version("openopu")
    except metadata.PackageNotFoundError:  # run from a folder of sources
        own = "unknown"
    return {
        "openopu": own,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "machine": platform.machine(),
        "system": platform.system(),
    }


def run_record(
    *,
    config: dict[str, Any],
    device: dict[str, Any] | None,
    data: dict[str, Any],
    history: list[dict[str, Any]],
    results: dict[str, Any] | None,
    calibration: dict[str, Any] | None,
    warnings: list[str],
) -> dict[str, Any]:
    """The record of a run, finished (``results``) or under way (``results`` None)."""
    return {
        "version": RECORD_VERSION,
        "config": config,
        "device": device,
        "data": data,
        "calibration": calibration,
        "history": history,
        "results": results,
        "warnings": warnings,
        "versions": versions(),
    }
