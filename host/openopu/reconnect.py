"""A device that was unplugged: find it again and bring it back to where it was, but for the laser."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable

from .errors import DeviceSilent, IdentityMismatch, LinkGarbled, LinkLost
from .session import Identity, Session

LOOK_S = 1.0
"""How long it looks for the device before it asks whether anybody still waits."""


class Reconnect:
    """Call it when the link was lost.

    The laser is switched off and stays so: only the user arms it. The device may have lost its power, so every setting
    is written again.

    Parameters
    ----------
    session
        The link.
    identity
        What the device was.
    restore
        Writes every setting; the device is idle.
    hopeless
        Asked while it waits: nobody wants the device any more.
    """

    def __init__(
        self, session: Session, identity: Identity, restore: Callable[[], None], hopeless: Callable[[], bool]
    ) -> None:
        self._session = session
        self._identity = identity
        self._restore = restore
        self._hopeless = hopeless
        self.count = 0
        """Times that the device came back."""

    def __call__(self, resume: Callable[[], None]) -> None:
        """Bring the device back, then ``resume``.

        Raises
        ------
        LinkLost
            It was not there within ``Device.reconnect_s``.
        IdentityMismatch
            Another one was.
        """
        session = self._session
        deadline = time.monotonic() + session.device.reconnect_s
        while True:
            try:
                session.device.transport.reopen(min(max(deadline - time.monotonic(), 0.0), LOOK_S))
                session.flush()
                self._find_rate()
                self._check(session.identify())
                session.write(laser_disarm=0)
                session.wait_idle()
                self._restore()
                self.count += 1
                resume()
                return
            except LinkLost:
                if time.monotonic() >= deadline or self._hopeless():
                    raise

    def _find_rate(self) -> None:
        """A board that kept its power also kept the rate that was set; one that lost it is at the rate of opening."""
        session = self._session
        if (baud := session.chosen_baud) is None:
            return
        with session.brief(), contextlib.suppress(DeviceSilent, LinkGarbled):
            session.read("magic")
            session.set_baud(baud, self._identity.clock_hz)
            return
        session.device.transport.set_baud(baud)
        session.flush()

    def _check(self, found: Identity) -> None:
        for field in dataclasses.fields(Identity):
            before, now = getattr(self._identity, field.name), getattr(found, field.name)
            if before != now:
                raise IdentityMismatch(
                    f"another device came back: its {field.name} is {now}, not {before}",
                    self._session.where,
                    "Plug the same board in, with the same gateware, and open it again",
                )
