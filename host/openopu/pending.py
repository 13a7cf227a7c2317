"""Batches under way."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Record

from .encoding import Encoded

if TYPE_CHECKING:
    from .opu import Opu


class Pending:
    """A batch under way; see :meth:`Opu.submit`."""

    def __init__(
        self, opu: Opu, future: Future[Record], encoded: Encoded, factor: float, outputs: int, banks: int
    ) -> None:
        self._opu, self._future, self._encoded = opu, future, encoded
        self._factor, self._outputs, self._banks = factor, outputs, banks

    @property
    def projections(self) -> int:
        """Rows that are projected: those that do not encode to zero."""
        return len(self._encoded.kept)

    def done(self) -> bool:
        return self._future.done()

    def record(self, timeout_s: float | None = None) -> Record:
        """Records and integers as the device sent them, one row for each kept row."""
        record = self._future.result(timeout_s)
        self._opu.check_light(record)
        return record

    def result(self, timeout_s: float | None = None) -> NDArray[np.float32]:
        """Wait for the feedback.

        Returns
        -------
        (rows, outputs) float32 in DN, summed over an output's pixels, for one unit of the errors.

        Raises
        ------
        DeviceError
            The device or the link failed; no row of this batch may be used.
        """
        record = self.record(timeout_s)
        out = np.zeros((self._encoded.rows, self._outputs), dtype=np.float32)
        values = record.values[:, :: self._banks]
        out[self._encoded.kept] = values * (self._encoded.scale * self._factor)[:, None]
        return out
