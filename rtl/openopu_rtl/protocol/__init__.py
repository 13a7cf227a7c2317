"""The one declaration that gateware, host, twin, tests and documentation derive from.

Pure Python and NumPy: importing it never imports Amaranth.
"""

from .declaration import MAGIC, PROTOCOL_HASH, describe
from .errors import ERRORS, TRIPS, Code
from .geometry import Geometry, GeometryError, PanelKind
from .links import LINKS, Link
from .packets import (
    ErrorReply,
    Format,
    Packet,
    PacketType,
    Record,
    decode_records,
    encode_project,
)
from .registers import REGISTERS, WINDOWS, Access, Kind, Register, Window
from .shots import Program, ProgramError, Shot

__all__ = [
    "ERRORS",
    "LINKS",
    "MAGIC",
    "PROTOCOL_HASH",
    "REGISTERS",
    "TRIPS",
    "WINDOWS",
    "Access",
    "Code",
    "ErrorReply",
    "Format",
    "Geometry",
    "GeometryError",
    "Kind",
    "Link",
    "Packet",
    "PacketType",
    "PanelKind",
    "Program",
    "ProgramError",
    "Record",
    "Register",
    "Shot",
    "Window",
    "decode_records",
    "describe",
    "encode_project",
]
