"""Optical random features as a scikit-learn transformer, on any device URL. Needs the extra ``ml``.

>>> from openopu.sklearn import OpticalRandomFeatures
>>> features = OpticalRandomFeatures(64, device="twin:?n=64&m=64&bin=1", threshold=8, random_state=0)
>>> features.fit_transform([[0.0, 16.0, 3.0], [9.0, 1.0, 12.0]]).shape
(2, 64)
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from openopu_rtl.protocol.shots import Program
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .errors import LaserDark, OpenopuError, UsageError, whole
from .larger import larger_twin
from .leases import Lease
from .measure import CLIPPED_WARNING, DARK_FILL, TARGET_FILL, calibrating, exposure_that_fills, unsettled
from .opu import MOST_CYCLES, Opu
from .plants import ModulatorKind
from .schemes import Intensity
from .url import DeviceUrl

Bits = NDArray[np.bool_]

ENCODERS = ("threshold", "thermometer", "binary")
CALIBRATION_ROWS = 64
"""Rows of the training data that exposure and scale are measured with."""
BATCH_BYTES = 1 << 26
"""Of the bits, or results, of one batch of rows."""
FIRST_CYCLES = 1000

_leases: weakref.WeakKeyDictionary[OpticalRandomFeatures, tuple[str, Lease]] = weakref.WeakKeyDictionary()
"""Of the estimators that are alive: what is opened is no part of an estimator, which is copied, compared and pickled.

Collecting an estimator gives its lease back (:class:`weakref.finalize`)."""


class OpticalRandomFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Intensities ``|T b|**2`` of bits ``b``, one shot a row: random features of a kernel of degree 2.

    The features are scaled so that ``y @ z`` estimates ``|b|**2 |c|**2 + (b . c)**2`` for rows with bits b and c
    (Saade et al., ICASSP 2016), where an output is one camera pixel, one speckle grain wide (``bin=1``); where it sums
    K grains, the second term is K times smaller. On a phase panel b and c are signs (-1 for 1), of which those of modes
    that are left, anchor and border never change, and the estimate has a factor. Such a panel takes time to settle: see
    ``shot``.

    Parameters
    ----------
    n_components
        Features: outputs of the device, of which ``random_state`` picks so many.
    device
        URL of the device. It is opened when it is needed, once for all estimators that name it, and closed when the
        last of them is closed or collected.
    encoder
        How a row becomes bits:

        - ``threshold``: one bit for each column, 1 above ``threshold``;
        - ``thermometer``: ``levels`` bits for each column, each 1 above one of so many thresholds, evenly spaced within
          the column's range in the training data: distances of numbers become distances of bits;
        - ``binary``: the rows are bits already; everything but 0 and 1 is refused.
    threshold
        A number, or ``median``: each column's in the training data.
    levels
        Bits for each column with ``thermometer``.
    bias_bits
        Further inputs that are always 1: their share in ``b`` adds terms of degree 0 and 1 to the kernel.
    fill
        Mean of the camera's range that light fills: what :meth:`fit` sets the exposure to.
    exposure_cycles
        Exposure in system clock cycles; None: as ``fill`` says.
    shot
        Further fields of the shot, such as ``settle_cycles`` (:class:`openopu_rtl.protocol.Shot`; those of a modulator
        come from :meth:`openopu.modulators.Modulator.shot_fields`).
    arm
        Arm the laser of a real device. ``twin:`` and ``rtl:`` arm themselves.
    random_state
        Which modes show which bits, and which outputs are features. Modes that are left when all bits have as many are
        dark.

    Attributes
    ----------
    thresholds_
        (n_features, levels) float64, or None for ``binary``.
    modes_
        (copies, bits) intp: the modes that show each bit.
    outputs_
        (n_components,) intp.
    exposure_cycles_, fill_
        Exposure, and the mean that was measured with it.
    black_, scale_
        A feature is ``(DN - black_) * scale_ / sqrt(n_components)``.

    Notes
    -----
    A camera is noisy: transforming twice gives two draws (on simulated devices, of the next exposure IDs), unless the
    URL says ``noise=off``. Errors are those of :mod:`openopu.errors`; all that concern arguments are ValueErrors.
    """

    def __init__(
        self,
        n_components: int = 100,
        *,
        device: str = "twin:",
        encoder: str = "threshold",
        threshold: float | str = "median",
        levels: int = 4,
        bias_bits: int = 1,
        fill: float = TARGET_FILL,
        exposure_cycles: int | None = None,
        shot: Mapping[str, int] | None = None,
        arm: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.device = device
        self.encoder = encoder
        self.threshold = threshold
        self.levels = levels
        self.bias_bits = bias_bits
        self.fill = fill
        self.exposure_cycles = exposure_cycles
        self.shot = shot
        self.arm = arm
        self.random_state = random_state

    # scikit-learn's side

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Find thresholds, exposure and scale from rows X. Raises :class:`UsageError` for what the device cannot take.

        :class:`LaserDark` where no light reaches the camera.
        """
        rows = validate_data(self, X)
        components, bias = whole(self.n_components, "n_components", 1), whole(self.bias_bits, "bias_bits", 0)
        if not isinstance(self.fill, int | float | np.number) or not 0 < self.fill < 1:
            raise UsageError(f"{self.fill!r} is out of range", "fill", "Take a share between 0 and 1")
        self.thresholds_ = self._thresholds(rows)
        bits = self._encode(rows)
        if not bits.any():
            raise UsageError(
                "no row lights a single input", "OpticalRandomFeatures", "Lower the threshold, or add bias_bits"
            )
        draws = np.random.Generator(np.random.Philox(check_random_state(self.random_state).randint(1 << 31)))
        with self._lease().use(arm=self.arm) as opu:
            modes, outputs = opu.geometry.modes, opu.geometry.outputs
            if bits.shape[1] > modes:
                raise UsageError(
                    f"{bits.shape[1]} bits ({rows.shape[1]} columns, {bias} of bias) exceed the device's {modes} modes",
                    self.device,
                    f"Take fewer columns or levels{larger_twin(modes=bits.shape[1])}",
                )
            if components > outputs:
                raise UsageError(
                    f"{components} components exceed the device's {outputs} outputs",
                    self.device,
                    f"Take at most {outputs}{larger_twin(outputs=components)}",
                )
            # Sorting random doubles rather than Generator.permutation, whose stream NumPy does not promise to keep.
            copies = modes // bits.shape[1]
            order = np.argsort(draws.random(modes), kind="stable")
            self.modes_ = order[: copies * bits.shape[1]].reshape(copies, -1)
            self.outputs_ = np.sort(np.argsort(draws.random(outputs), kind="stable")[:components])
            self._calibrate(opu, bits[:: -(-len(bits) // CALIBRATION_ROWS)])
        self._n_features_out = components
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Features of rows X, (rows, n_components) float32."""
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False)
        bits = self._encode(rows)
        if bits.shape[1] != self.modes_.shape[1]:
            raise UsageError(
                f"{bits.shape[1]} bits, and {self.modes_.shape[1]} when it was fitted",
                "OpticalRandomFeatures",
                "Fit again after changing `encoder` or `bias_bits`",
            )
        out = np.empty((len(rows), len(self.outputs_)), np.float32)
        with self._lease().use(arm=self.arm) as opu:
            modes, outputs = opu.geometry.modes, opu.geometry.outputs
            if self.modes_.max() >= modes or self.outputs_.max() >= outputs:
                raise UsageError(
                    f"it has {modes} modes and {outputs} outputs, fewer than the device that was fitted",
                    self.device,
                    "Fit again with this device",
                )
            self._configure(opu, self.exposure_cycles_)
            step = max(1, BATCH_BYTES // max(modes, 4 * len(self.outputs_)))
            for start in range(0, len(bits), step):
                out[start : start + step] = self._values(opu, bits[start : start + step])
        out -= np.float32(self.black_)
        out *= np.float32(self.scale_ / np.sqrt(len(self.outputs_)))
        return out

    def close(self) -> None:
        """Give the device back; the last estimator that names it closes it. A later call opens it again."""
        held = _leases.pop(self, None)
        if held is not None:
            held[1].release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # always float32
        try:
            tags.non_deterministic = DeviceUrl.parse(self.device).parameters.get("noise") != "off"
        except OpenopuError:  # a wrong URL is told when it is opened
            tags.non_deterministic = True
        return tags

    # Rows to bits

    def _thresholds(self, rows: NDArray[Any]) -> NDArray[np.float64] | None:
        if self.encoder == "binary":
            return None
        if self.encoder == "thermometer":
            count = whole(self.levels, "levels", 1)
            low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
            shares = np.arange(1, count + 1) / (count + 1)
            return np.asarray(low[:, None] * (1 - shares) + high[:, None] * shares)
        if self.encoder != "threshold":
            raise UsageError(f"unknown encoder {self.encoder!r}", "encoder", f"Known: {', '.join(ENCODERS)}")
        if isinstance(self.threshold, str):
            if self.threshold != "median":
                raise UsageError(f"{self.threshold!r} is no threshold", "threshold", "Give a number, or `median`")
            return np.asarray(np.median(rows, axis=0), dtype=np.float64)[:, None]
        if not isinstance(self.threshold, int | float | np.number) or not np.isfinite(self.threshold):
            raise UsageError(f"{self.threshold!r} is no threshold", "threshold", "Give a finite number, or `median`")
        return np.full((rows.shape[1], 1), float(self.threshold))

    def _encode(self, rows: NDArray[Any]) -> Bits:
        """(rows, bits): those of each column side by side, then the bias."""
        bias = np.ones((len(rows), self.bias_bits), np.bool_)
        if self.thresholds_ is None:
            if not np.isin(rows, (0, 1)).all():
                raise UsageError(
                    "these are no bits", "X", "Give 0 and 1 only, or take the encoder `threshold` or `thermometer`"
                )
            return np.hstack([rows.astype(np.bool_), bias])
        return np.hstack([(rows[:, :, None] > self.thresholds_).reshape(len(rows), -1), bias])

    # The device's side

    def _lease(self) -> Lease:
        held = _leases.get(self)
        if held is None or held[0] != self.device or held[1].inherited:
            self.close()
            held = self.device, Lease(self.device)
            _leases[self] = held
            weakref.finalize(self, held[1].release)
        return held[1]

    def _program(self, opu: Opu, cycles: int) -> Program:
        scheme = Intensity()
        scheme.check(opu.geometry, opu.panel)
        try:
            program = scheme.program(opu.panel, **{**(self.shot or {}), "exposure_cycles": cycles})
        except (TypeError, ValueError) as error:
            raise UsageError(str(error), "shot", "Give fields of openopu_rtl.protocol.Shot by name") from None
        if scheme.weight(program) is None:
            raise UsageError("it is no plain exposure of the bits", "shot", "Leave out `invert`, `negative` and `bank`")
        return program

    def _configure(self, opu: Opu, cycles: int) -> None:
        opu.configure(self._program(opu, cycles), outputs=self.outputs_, normalise=False, monitors=False)

    def _values(self, opu: Opu, bits: Bits) -> NDArray[np.float64]:
        """(rows, n_components) in DN, as configured."""
        planes = np.zeros((len(bits), 1, opu.geometry.modes), np.bool_)
        for copy in self.modes_:
            planes[:, 0, copy] = bits
        return np.asarray(opu.project_raw(planes).values * 2.0**opu.settings.shift)

    def _calibrate(self, opu: Opu, bits: Bits) -> None:
        full = ((1 << opu.geometry.pixel_bits) - 1) * opu.geometry.bin**2

        def measure(cycles: int) -> NDArray[np.float64]:
            self._configure(opu, cycles)
            with calibrating(opu):
                return self._values(opu, bits)

        # Black level: the shortest exposure there is.
        values = measure(1)
        self.black_ = float(values.mean())

        def fill_of(cycles: int) -> float:
            nonlocal values
            values = measure(cycles)
            return float(values.mean() - self.black_) / full

        if self.exposure_cycles is None:
            cycles, fill = exposure_that_fills(fill_of, self.fill, FIRST_CYCLES, opu.identity.clock_hz)
        else:
            cycles = whole(self.exposure_cycles, "exposure_cycles", 1, MOST_CYCLES)
            fill = fill_of(cycles)
        if fill <= 0:
            raise LaserDark(
                f"no light reaches the camera in {cycles} cycles",
                self.device,
                "Check the light's way, `laser_power`, and that the modulator shows what it is sent",
            )
        clipped = float((values >= full).mean())
        if fill < DARK_FILL:
            warnings.warn(f"{self.device}: features are dark, mean fill {fill:.4f}", stacklevel=3)
        if clipped > CLIPPED_WARNING:
            warnings.warn(f"{self.device}: {clipped:.1%} of the features clip; lower `fill`", stacklevel=3)
        if text := unsettled(opu):
            warnings.warn(f"{self.device}: {text} in `shot`", stacklevel=3)
        self.exposure_cycles_, self.fill_ = cycles, fill
        panel = opu.panel
        signs = panel is not None and panel.kind is ModulatorKind.PHASE  # which are lit all of them
        lit = np.full(len(bits), bits.shape[1]) if signs else bits.sum(axis=1)
        self.scale_ = 1.0 / float(((values.mean(axis=1) - self.black_)[lit > 0] / lit[lit > 0]).mean())
