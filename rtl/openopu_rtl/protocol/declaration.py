"""The whole declaration as text, and its hash, which device and host compare."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from . import packets, registers
from .errors import Code
from .links import Link
from .shots import SHOT_FIELDS

MAGIC = int.from_bytes(b"OOPU", "big")
"""Value of the register ``magic``."""


def describe() -> dict[str, Any]:
    """The declaration as plain data: what the hash covers."""
    return {
        "registers": [
            [r.name, r.address, r.kind.value, r.reset, r.minimum, r.maximum, r.idle_only]
            for r in registers.REGISTERS.values()
        ],
        "windows": [[w.name, w.address, w.length, w.maximum] for w in registers.WINDOWS.values()],
        "status_bits": registers.STATUS_BITS,
        "trip_causes": registers.TRIP_CAUSES,
        "plant_sources": registers.PLANT_SOURCES,
        "result_bits": registers.RESULT_BITS,
        "links": {link.name: link.value for link in Link},
        "shot": SHOT_FIELDS,
        "packets": {t.name: t.value for t in packets.PacketType},
        "layouts": [
            s.format
            for s in (
                packets.HEADER,
                packets.READ_PAYLOAD,
                packets.WRITE_HEADER,
                packets.PROJECT_HEADER,
                packets.ERROR_PAYLOAD,
                packets.PATTERN_HEADER,
                packets.FRAME_HEADER,
                packets.FRAME_REPLY_PAYLOAD,
            )
        ],
        "limits": [packets.COMMAND_BYTES, packets.READ_WORDS_MAX],
        "record": [[name, str(packets.RECORD_DTYPE[name])] for name in packets.RECORD_DTYPE.names or ()],
        "monitor": str(packets.MONITOR_DTYPE),
        "record_flags": packets.RECORD_FLAGS,
        "errors": {c.name: c.value for c in Code},
    }


PROTOCOL_HASH = int.from_bytes(hashlib.sha256(json.dumps(describe(), sort_keys=True).encode()).digest()[:4], "big")
"""First 32 bits of the SHA-256 of the declaration; the register ``protocol_hash``, and the key that arms the laser."""
