"""Batches under way."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import Record

from .encoding import Encoded
from .schemes import Scheme

if TYPE_CHECKING:
    from .opu import Opu


@dataclass(frozen=True)
class Decoder:
    """Makes results of a batch's integers.

    Attributes
    ----------
    unit
        DN of one unit of the integers, divided by the weight of the program's planes.
    reference
        See :attr:`openopu.Opu.reference`.
    """

    scheme: Scheme
    encoded: Encoded
    unit: float
    reference: NDArray[Any] | None
    outputs: int
    banks: int

    def decode(self, values: NDArray[np.integer]) -> NDArray[Any]:
        """(rows of the batch, outputs), of (kept rows, outputs * banks) integers."""
        out = np.zeros((self.encoded.rows, self.outputs), dtype=self.scheme.dtype)
        by_bank = values.reshape(len(values), self.outputs, self.banks)
        out[self.encoded.kept] = self.scheme.decode(by_bank, self.encoded.scale * self.unit, self.reference)
        return out


class Pending:
    """A batch under way; see :meth:`Opu.submit`."""

    def __init__(self, opu: Opu, future: Future[Record], decoder: Decoder) -> None:
        self._opu, self._future, self._decoder = opu, future, decoder

    @property
    def projections(self) -> int:
        """Rows that are projected: those that do not encode to zero."""
        return len(self._decoder.encoded.kept)

    def done(self) -> bool:
        return self._future.done()

    def record(self, timeout_s: float | None = None) -> Record:
        """Records and integers as the device sent them, one row for each kept row."""
        record = self._future.result(timeout_s)
        self._opu.check_light(record)
        return record

    def result(self, timeout_s: float | None = None) -> NDArray[Any]:
        """Wait for the results.

        Returns
        -------
        (rows, outputs) in the scheme's unit, for one unit of the vectors; see :meth:`Opu.project`.

        Raises
        ------
        DeviceError
            The device or the link failed; no row of this batch may be used.
        """
        return self._decoder.decode(self.record(timeout_s).values)
