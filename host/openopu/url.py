"""Device URLs: ``scheme:rest?key=value&key=value``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

from .errors import UrlError

T = TypeVar("T")
_EXAMPLE = "write for example `twin:`, `rtl:verilator`, `serial:/dev/ttyUSB0?baud=12000000` or `socket://host:5000`"


@dataclass(frozen=True)
class DeviceUrl:
    """A parsed device URL.

    Attributes
    ----------
    scheme
        Which kind of device: the name of an entry point in the group ``openopu.devices``.
    rest
        What stands between the colon and the question mark: a port, a simulator, or nothing.
    parameters
        Keys and values after the question mark. Whoever opens the device takes those that it knows
        and refuses the others (:meth:`refuse_unknown`).
    """

    scheme: str
    rest: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | DeviceUrl) -> DeviceUrl:
        """Read a URL. Raises :class:`UrlError`."""
        if isinstance(text, DeviceUrl):
            return text
        if not isinstance(text, str):
            raise UrlError("this is no device URL", repr(text), f"A URL is a string: {_EXAMPLE}")
        scheme, colon, tail = text.strip().partition(":")
        if not colon or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
            raise UrlError("this is no device URL", repr(text), f"A URL starts with a scheme and a colon: {_EXAMPLE}")
        rest, _, query = tail.partition("?")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
        except ValueError:
            raise UrlError("what follows `?` is not key=value", repr(text), "Write ?key=value&key=value") from None
        parameters: dict[str, str] = {}
        for key, value in pairs:
            if key in parameters:
                raise UrlError(f"`{key}` is given twice", repr(text), "Give each key once")
            parameters[key] = value
        return cls(scheme, rest, parameters)

    def __str__(self) -> str:
        query = urlencode(self.parameters, safe="/:,.")
        return f"{self.scheme}:{self.rest}" + (f"?{query}" if query else "")

    def __hash__(self) -> int:
        return hash(str(self))

    def with_parameters(self, **changes: str | None) -> DeviceUrl:
        """The same URL with these keys set, or removed where the value is None."""
        merged: dict[str, str | None] = {**self.parameters, **changes}
        return DeviceUrl(self.scheme, self.rest, {k: v for k, v in merged.items() if v is not None})

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Raise :class:`UrlError` if a key is not among ``known``."""
        names = sorted(known)
        for key in self.parameters:
            if key not in names:
                allowed = f"It knows: {', '.join(names)}" if names else "It knows no keys"
                raise UrlError(f"`{self.scheme}:` knows no key `{key}`", str(self), allowed)

    def get(self, key: str, convert: Callable[[str], T], default: T, expected: str = "") -> T:
        """Value of ``key`` through ``convert``, or ``default`` where the URL does not hold it.

        A ``ValueError`` of ``convert`` becomes a :class:`UrlError` that says what was ``expected``.
        """
        if key not in self.parameters:
            return default
        value = self.parameters[key]
        try:
            return convert(value)
        except ValueError as error:
            raise UrlError(f"{key}={value} cannot be used", str(self), f"Expected {expected or error}") from None

    def get_int(self, key: str, default: int, low: int = 0, high: int = (1 << 32) - 1) -> int:
        """Integer value of ``key`` (decimal or 0x...), from ``low`` to ``high``."""

        def convert(text: str) -> int:
            value = int(text, 0)
            if not low <= value <= high:
                raise ValueError
            return value

        return self.get(key, convert, default, f"an integer from {low} to {high}")

    def get_switch(self, key: str, default: bool) -> bool:
        """Value of ``key``, which must be ``on`` or ``off``."""

        def convert(text: str) -> bool:
            if text not in ("on", "off"):
                raise ValueError
            return text == "on"

        return self.get(key, convert, default, "on or off")
