"""What a training run is asked to do: every setting that its numbers depend on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from openopu.encoding import DEFAULT_BITS, DEFAULT_THRESHOLD, KINDS, MOST_BITS, ROUNDINGS
from openopu.errors import UsageError
from openopu.measure import TARGET_FILL
from openopu.schemes import LINEAR

from .networks import ACTIVATIONS
from .optimisers import OPTIMISERS, SCHEDULES

FEEDBACKS = ("optical", "ideal", "backprop", "none")
AUTO = "auto"
SCHEMES = (AUTO, *LINEAR)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run. Equal settings, data and device give equal device integers, and on one machine equal weights.

    Raises :class:`openopu.errors.UsageError` for a value that cannot be used.
    """

    data: str = "digits"
    hidden: tuple[int, ...] = (256, 256, 256)
    activation: str = "tanh"
    feedback: str = "optical"
    """Where the hidden layers' teaching signal comes from: ``optical``: the device; ``ideal``: the device's matrix in
    floating point, without encoding or noise; ``backprop``; ``none``: only the last layer learns."""
    scheme: str = AUTO
    """How the device multiplies, see :mod:`openopu.schemes`; ``auto``: as recommended for its panel."""
    encoding: str = "ternary"
    rounding: str = "stochastic"
    threshold: float = DEFAULT_THRESHOLD
    """Of the threshold rounding; see :class:`openopu.encoding.Encoding`."""
    bits: int = DEFAULT_BITS
    """Of a component of an error, with the encoding ``bits``."""
    optimiser: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    batch: int = 64
    chunk: int = 32
    """Rows whose errors are sent to the device at once, while the next rows are computed."""
    epochs: int = 20
    seed: int = 0
    fill: float = TARGET_FILL
    """Mean camera signal that the exposure is set to, as a fraction of full scale."""
    threads: int = 1
    """BLAS threads of the whole process. Sums are split among them, so that the last bit of the weights depends on
    their number. One is best where a simulated device computes in the same process: OpenBLAS lets Python's threads
    take turns at its one pool (measured on two cores: a fifth of the speed)."""
    train_images: int | None = None
    """Only the first so many images; None: all."""
    test_images: int | None = None
    checkpoint_steps: int = 500
    """Updates between checkpoints inside an epoch; one more is written at the end of each epoch."""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("activation", ACTIVATIONS),
            ("feedback", FEEDBACKS),
            ("scheme", SCHEMES),
            ("encoding", KINDS),
            ("rounding", ROUNDINGS),
            ("optimiser", OPTIMISERS),
            ("schedule", SCHEDULES),
        ):
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        for name in ("batch", "chunk", "epochs", "threads", "checkpoint_steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.hidden or any(h < 1 for h in self.hidden):
            raise UsageError(f"hidden needs at least one layer of 1 unit or more, not {list(self.hidden)}")
        if not 0 <= self.seed < 1 << 63:
            raise UsageError(f"seed must be from 0 to 2**63 - 1, not {self.seed}")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"learning_rate must be positive, not {self.learning_rate}")
        if not 0 < self.fill < 1:
            raise UsageError(f"fill must be between 0 and 1, not {self.fill}")
        if not 0 < self.threshold < 1:
            raise UsageError(f"threshold must be between 0 and 1, not {self.threshold}")
        if not 1 <= self.bits <= MOST_BITS:
            raise UsageError(f"bits must be from 1 to {MOST_BITS}, not {self.bits}")

    @property
    def uses_device(self) -> bool:
        """Whether the run needs a device: for its light, or for its matrix."""
        return self.feedback in ("optical", "ideal")

    def as_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> TrainConfig:
        return cls(**{**content, "hidden": tuple(content["hidden"])})
