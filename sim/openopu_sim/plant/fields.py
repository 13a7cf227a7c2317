"""Fields: from a pattern on the panel to the light's intensity at the sensor.

A pattern is a mask for each of the panel's steps above 0, counted over cells. With the amplitudes ``a`` of the steps
(:mod:`.modulator`) and ``1`` for a wholly lit panel the field is ``T (a_0 1 + sum_s (a_s - a_0) mask_s)``, plus, for
crosstalk, its share of the masks' differences (:mod:`.crosstalk`). Masks are whole numbers, so of an exact medium
``T mask_s`` is exact, whoever computes it in whatever batch; what is left is elementwise, in float32, in a fixed order
(steps ascending, a step that is nowhere adds zeros), none of it fused. Other media take one vector of amplitudes at a
time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from openopu.plants import PlantParameters
from openopu_rtl.protocol import Geometry

from .cells import REGIONS, Cells
from .crosstalk import Crosstalk
from .light import Illumination, Moment, turns
from .media import ExactMedium, FieldMedium, make
from .media import refuse_too_large as refuse_medium
from .modulator import Modulator

Reals = NDArray[np.float32]
Pair = tuple[Reals, Reals | None]
"""Real and imaginary part, (rows, points) or (points,); None: zeros."""
Pattern = dict[int, Reals]
"""Of each step above 0 that is on the panel: (layers, cells), of the mask and, with crosstalk, of its differences."""
Parts = Mapping[int, Sequence[Pair]]
"""Of each step: what its layers are in the plane that matters."""

FIXED_POINT = 1 << 32
"""Steps of a sum that does not depend on its order."""
ROWS = 256
"""Modes that are lit one by one at a time."""


def refuse_too_large(geometry: Geometry, parameters: PlantParameters) -> None:
    """Raise :class:`UsageError`, before anything is allocated, for a plant that this machine cannot hold."""
    refuse_medium(geometry, parameters.medium, turns(parameters))


def _column(values: Sequence[float]) -> Reals | None:
    """(rows, 1), or None where all are 0."""
    return np.array(values, dtype=np.float32)[:, None] if any(values) else None


class Fields:
    """Attributes: ``cells``, ``media`` (the medium, and what it turns into, if it does), ``layers`` of a pattern."""

    def __init__(self, geometry: Geometry, parameters: PlantParameters, modulator: Modulator, seed: int) -> None:
        self.geometry = g = geometry
        refuse_too_large(g, parameters)
        self.modulator = modulator
        self.cells = Cells(g)
        medium = make(g, self.cells, parameters.medium, seed)
        self.media = [medium, medium.turned()] if turns(parameters) else [medium]
        self.coherence = parameters.laser.coherence
        self.incoherent_power = (1.0 - parameters.laser.coherence) * medium.power
        """Mean intensity of what does not interfere, at a power of 1 of the panel."""
        share = parameters.modulator.crosstalk
        self.crosstalk = Crosstalk(self.cells) if share else None
        self.layers = 1 + (len(self.crosstalk.groups) if self.crosstalk else 0)
        self._share = np.float32(share / 4)
        self._full = np.float32(g.macropixel**2)
        self._whole = self.cells.sums(np.ones((g.slm_height, g.slm_width), dtype=np.float32))
        self._lit: dict[bool, list[Pair]] = {}
        self.regions = [self._layers(self.cells.mask(name)) for name in REGIONS]
        """Each (layers, cells)."""

    # Patterns.

    def of_frame(self, levels: NDArray[np.uint8]) -> Pattern:
        """The pattern of a frame (slm_height, slm_width) on the panel."""
        steps = self.modulator.steps_of(levels)
        present = [1] if self.modulator.steps == 2 else np.flatnonzero(np.bincount(steps.ravel())).tolist()
        return {s: self._layers((steps == s).astype(np.float32)) for s in present if s}

    def of_shot(self, shot: Illumination, bits: NDArray[np.uint8]) -> Pattern:
        """The pattern of a shot with the bits (modes,) of its plane, 0 or 1."""
        shown = self.of_bits(bits.astype(np.float32)[None])[:, 0]
        pattern = {}
        for step, sign, static in self.split(shot):
            weights = sum((self.regions[i] for i in static), np.zeros((self.layers, self.cells.count), np.float32))
            if sign and shot.plane is not None:
                weights[:, : shown.shape[1]] += np.float32(sign) * shown
            pattern[step] = np.asarray(weights, dtype=np.float32)
        return pattern

    def of_bits(self, bits: Reals) -> Reals:
        """Weights of rows of bits (rows, modes), (layers, rows, modes), or all cells where crosstalk lights others."""
        full = bits * self._full
        if self.crosstalk is None:
            return full[None]
        weights = np.zeros((self.layers, len(bits), self.cells.count), dtype=np.float32)
        weights[0, :, : bits.shape[1]] = full
        weights[1:] = self.crosstalk.of_modes(bits)
        return weights

    def split(self, shot: Illumination) -> list[tuple[int, int, tuple[int, ...]]]:
        """A shot's steps above 0: the step, the sign of its bits, and the regions that have it beside them."""
        on, off, anchor, border = (
            self.modulator.step(level)
            for level in (shot.level_on, shot.level_off, shot.level_anchor, shot.level_border)
        )
        return [
            (step, int(on == step) - int(off == step), tuple(np.flatnonzero(np.array([off, anchor, border]) == step)))
            for step in sorted({on, off, anchor, border} - {0})
        ]

    def _layers(self, mask: Reals) -> Reals:
        own = self.cells.sums(mask)[None]
        return own if self.crosstalk is None else np.concatenate([own, self.crosstalk.sums(mask)])

    # Fields.

    def intensity(self, new: Pattern, old: Pattern, moment: Moment, crop: bool) -> Reals:
        """Of one exposure, (1, pixels). ``old`` : the pattern before, which matters where it is stale."""
        real, imag = self.field(new, old, moment, crop)
        to_intensity(real, imag)
        if not self.coherent:
            self.decohere(real, [self.incoherent(self.emitted(new, old, moment))])
        return real

    def field(self, new: Pattern, old: Pattern, moment: Moment, crop: bool) -> tuple[Reals, Reals]:
        """Field of one exposure, real and imaginary part, (1, pixels)."""
        if isinstance(self.media[0], ExactMedium):
            patterns = [self.parts(pattern, crop) for pattern in ([new, old] if moment.stale else [new])]
            return self.superpose(patterns[0], patterns[-1], [moment], crop)
        light = self.emitted(new, old, moment)
        fields = [m.field(light, crop)[None] for m in self.media if isinstance(m, FieldMedium)]
        return self._turn([_parts_of(field) for field in fields], [moment])

    def emitted(self, new: Pattern, old: Pattern, moment: Moment) -> NDArray[np.complex64]:
        """Sums of the panel's amplitudes in each cell, (cells,) complex64."""
        whole: list[Pair] = [(self._whole[None], None)]
        both = []
        for pattern in [new, old] if moment.stale else [new]:
            parts = {step: [(row[None], None) for row in weights] for step, weights in pattern.items()}
            both.append(self._weigh(parts, whole[0], [moment]))
        real, imag = _fade(both, [moment])
        light = np.empty(self.cells.count, dtype=np.complex64)
        light.real, light.imag = real[0], imag[0]
        return light

    def incoherent(self, emitted: NDArray[np.complex64]) -> float:
        """Mean intensity of the light that does not interfere, of amplitudes (cells,)."""
        power = emitted.real.astype(np.float64) ** 2 + emitted.imag.astype(np.float64) ** 2
        # A sum of integers has no order. A cell that is wholly lit counts FIXED_POINT.
        unit = FIXED_POINT / float(self._full) ** 2
        return self.incoherent_power * int(np.rint(power * unit).astype(np.int64).sum()) / unit

    def decohere(self, intensity: Reals, incoherent: Sequence[float]) -> None:
        """Mix the light that does not interfere into rows of intensities, in place."""
        intensity *= np.float32(self.coherence)
        intensity += np.array(incoherent, dtype=np.float32)[:, None]

    @property
    def coherent(self) -> bool:
        """Whether all light interferes."""
        return self.coherence == 1.0

    def superpose(
        self,
        new: Sequence[Parts],
        old: Sequence[Parts],
        moments: Sequence[Moment],
        crop: bool,
    ) -> tuple[Reals, Reals]:
        """Field of rows of exposures on an exact medium, (rows, pixels): ``new`` and ``old`` are the patterns' fields
        for each of the media."""
        both = []
        for patterns in [new, old] if any(m.stale for m in moments) else [new]:
            turned: list[Pair] = [
                self._weigh(parts, lit, moments) for parts, lit in zip(patterns, self.lit(crop), strict=True)
            ]
            both.append(self._turn(turned, moments))
        return _fade(both, moments)

    def lit(self, crop: bool) -> list[Pair]:
        """Field of the whole panel lit, for each of the media, (pixels,)."""
        if crop not in self._lit:
            products = [m.products(self._whole[None], crop) for m in self.media if isinstance(m, ExactMedium)]
            self._lit[crop] = [(real[0], imag[0]) for real, imag in products]
        return self._lit[crop]

    def parts(self, pattern: Pattern, crop: bool) -> list[Parts]:
        """Fields of a pattern's layers for each of the media."""
        steps = sorted(pattern)
        if not steps:
            return [{} for _ in self.media]
        weights = np.concatenate([pattern[step] for step in steps])
        out: list[Parts] = []
        for medium in self.media:
            assert isinstance(medium, ExactMedium)
            real, imag = medium.products(weights, crop)
            rows = [(real[i : i + 1], imag[i : i + 1]) for i in range(len(weights))]
            out.append({s: rows[i * self.layers : (i + 1) * self.layers] for i, s in enumerate(steps)})
        return out

    # Columns of the matrix that the modes see.

    def columns(self, first: int, stop: int, moment: Moment) -> NDArray[np.complex64]:
        """Fields at the crop of modes ``first`` to ``stop``, each lit alone and wholly, (modes, pixels)."""
        fields = []
        for medium in self.media:
            if self.crosstalk is None:
                fields.append(medium.columns(first, stop) * self._full)
                continue
            weights = self.of_bits(self._alone(first, stop))
            if isinstance(medium, ExactMedium):
                layers = [medium.products(layer) for layer in weights]
                real, imag = (self._blur([(layer[part], None) for layer in layers])[0] for part in (0, 1))
                fields.append(np.asarray(real + np.complex64(1j) * imag, dtype=np.complex64))
            elif isinstance(medium, FieldMedium):
                light = self._blur([(layer, None) for layer in weights])[0]
                fields.append(np.stack([medium.field(row) for row in light]))
        if len(fields) == 1:
            return fields[0]
        cos, sin = (np.float32(f(moment.angle)) for f in (math.cos, math.sin))
        return np.asarray(cos * fields[0] + sin * fields[1])

    def seen_by_modes(self, light: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Sum of light (cells,) over the cells that each mode lights, weighted as it lights them, (modes,)."""
        modes = self.geometry.modes
        if self.crosstalk is None:
            return light[:modes] * self._full
        sums = []
        for first in range(0, modes, ROWS):
            weights = self.of_bits(self._alone(first, min(first + ROWS, modes)))
            sums.append(self._blur([(layer, None) for layer in weights])[0] @ light)
        return np.concatenate(sums)

    def _alone(self, first: int, stop: int) -> Reals:
        bits = np.zeros((stop - first, self.geometry.modes), dtype=np.float32)
        bits[np.arange(stop - first), np.arange(first, stop)] = 1.0
        return bits

    # Steps that all entries share, so that they cannot differ.

    def _weigh(self, parts: Parts, lit: Pair, moments: Sequence[Moment]) -> tuple[Reals, Reals]:
        """Weigh a pattern's steps by their amplitudes."""
        base = [self.modulator.amplitude(0, m.flicker) for m in moments]
        terms = [(base, lit)] if any(base) else []
        for step in sorted(parts):
            over = [self.modulator.amplitude(step, m.flicker) - b for m, b in zip(moments, base, strict=True)]
            terms.append((over, self._blur(parts[step])))
        if not terms:
            shape = (len(moments), lit[0].shape[-1])
            return np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
        total: list[Reals] | None = None
        for amplitudes, (real, imag) in terms:
            x, y = _column([a.real for a in amplitudes]), _column([a.imag for a in amplitudes])
            x = np.zeros((len(moments), 1), dtype=np.float32) if x is None else x
            term = [
                x * real,
                np.zeros(np.broadcast_shapes(x.shape, real.shape), np.float32) if imag is None else x * imag,
            ]
            if y is not None:
                if imag is not None:
                    term[0] -= y * imag
                term[1] += y * real
            if total is None:
                total = term
            else:
                total[0] += term[0]
                total[1] += term[1]
        assert total is not None
        return total[0], total[1]

    def _blur(self, layers: Sequence[Pair]) -> Pair:
        real, imag = layers[0]
        for more_real, more_imag in layers[1:]:
            real = real + self._share * more_real
            if imag is not None and more_imag is not None:
                imag = imag + self._share * more_imag
        return real, imag

    def _turn(self, fields: Sequence[Pair], moments: Sequence[Moment]) -> tuple[Reals, Reals]:
        if len(fields) == 1:
            real, imag = fields[0]
            assert imag is not None
            return real, imag
        weights = [np.array([[f(m.angle)] for m in moments], dtype=np.float32) for f in (math.cos, math.sin)]
        (a, b), (c, d) = fields
        assert b is not None
        assert d is not None
        return weights[0] * a + weights[1] * c, weights[0] * b + weights[1] * d


def _fade(fields: Sequence[tuple[Reals, Reals]], moments: Sequence[Moment]) -> tuple[Reals, Reals]:
    """Mix the new pattern's field and the old one's."""
    if len(fields) == 1:
        return fields[0]
    stale = np.array([[m.stale] for m in moments], dtype=np.float32)
    fresh = np.float32(1) - stale
    (a, b), (c, d) = fields
    return fresh * a + stale * c, fresh * b + stale * d


def _parts_of(field: NDArray[np.complex64]) -> tuple[Reals, Reals]:
    return np.ascontiguousarray(field.real), np.ascontiguousarray(field.imag)


def to_intensity(real: Reals, imag: Reals) -> None:
    """``real`` becomes ``|E|**2``; ``imag`` is overwritten. Three products and sums, none of them fused."""
    np.multiply(real, real, out=real)
    np.multiply(imag, imag, out=imag)
    real += imag
