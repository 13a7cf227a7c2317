"""A device in a few lines for tests of the training: a fixed matrix, noise keyed by exposure ID, and IDs that count."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from openopu import DeviceUrl, Encoding
from openopu.encoding import generator
from openopu.layout import balanced
from openopu.measure import ExposureReport
from openopu.schemes import Complement, LinearScheme
from openopu_rtl.protocol import Code, Geometry, Record
from openopu_rtl.protocol.packets import RECORD_DTYPE
from openopu_rtl.protocol.shots import complement


class DoublePending:
    def __init__(self, opu: DoubleOpu, decoded: np.ndarray, kept: np.ndarray, first: int) -> None:
        self._opu, self._decoded, self._kept, self._first = opu, decoded, kept, first
        self.projections = len(kept)

    def record(self) -> Record:
        head = np.zeros(len(self._kept), RECORD_DTYPE)
        head["exposure"] = self._first + np.arange(len(self._kept)) * self._opu.shots
        head["timestamp"] = self._opu.clock = self._opu.clock + 1
        head["status"] = Code.OK
        return Record(head, np.rint(self.result()[self._kept]).astype(np.int32))

    def result(self) -> np.ndarray:
        out = np.zeros((len(self._decoded), self._opu.selected), np.float32)
        for i, row in enumerate(self._kept):
            exposure = self._first + i * self._opu.shots
            noise = generator((self._opu.noise_seed, exposure)).standard_normal(self._opu.selected)
            out[row] = self._opu.matrix() @ self._decoded[row] + self._opu.noise * noise
        return out


@dataclass
class DoubleOpu:
    """Implements what the training uses of :class:`openopu.Opu`."""

    seed: int = 1
    noise_seed: int = 2
    noise: float = 5.0
    known: bool = True
    exposure_next: int = 0
    exposure_cycles: int = 1000
    scheme: LinearScheme = field(default_factory=Complement)
    reference: None = None
    panel: None = None
    components: int = 256
    selected: int = 1024
    log: list[str] = field(default_factory=list)
    repeated: int = 0

    def __post_init__(self) -> None:
        self.geometry = Geometry()
        self.gateware = "00000001-00000002"
        self.identity = SimpleNamespace(board=1, clock_hz=48_000_000)
        exact: Any = (lambda shot: None) if self.known else None
        self.device = SimpleNamespace(
            url=DeviceUrl("double"), name="double", exact_matrix=exact, arms_itself=True, realtime=False, optics={}
        )
        self.clock = 17 * self.seed
        self.layout = balanced(256, 256)
        self.settings = SimpleNamespace(program=complement(2))
        self.full = 30 * generator((self.seed,)).standard_normal((1024, 256))

    @property
    def encoding(self) -> Encoding:
        return self.scheme.encoding

    @property
    def shots(self) -> int:
        return self.scheme.shots

    def configure(
        self,
        *,
        components: int,
        outputs: int,
        scheme: LinearScheme | None = None,
    ) -> None:
        self.components, self.selected = components, outputs
        self.scheme = scheme or Complement()
        self.layout = balanced(components, 256)

    def set_exposure(self, cycles: int) -> None:
        self.exposure_cycles = cycles

    def matrix(self) -> np.ndarray:
        return self.full[: self.selected, : self.components] * (self.exposure_cycles / 1000)

    def expose_to(self, fill: float) -> ExposureReport:
        self.exposure_cycles = 1500
        return ExposureReport(1500, 31.25, fill, 1.0, 0.0, ())

    def submit(self, errors: np.ndarray, key: tuple[int, ...]) -> DoublePending:
        encoded = self.encoding.encode(errors, key)
        pending = DoublePending(self, encoded.decoded(), encoded.kept, self.exposure_next)
        self.exposure_next += self.shots * len(encoded.kept)
        self.log.append(f"submit {len(errors)}")
        return pending

    def project(self, errors: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
        return self.submit(errors, key).result()

    def capture(self, pattern: np.ndarray) -> np.ndarray:
        speckle = generator((self.seed,)).exponential(30, (self.geometry.camera_height, self.geometry.camera_width))
        return np.minimum(speckle, 255).astype(np.uint16)

    def clear_counters(self) -> None:
        self.log.append("clear")

    def counters(self) -> dict[str, int]:
        return {"cycles_busy": 1000, "cycles_expose": 400, "cycles_settle": 100, "exposures": 10}

    def __enter__(self) -> DoubleOpu:
        return self

    def __exit__(self, *_: object) -> None:
        pass
