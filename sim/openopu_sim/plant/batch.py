"""Many exposures from bit planes, the crops only: each plane meets the medium once, in one product for many rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from .camera import Camera
from .fields import Fields, Pair, Parts, Pattern, Reals, to_intensity
from .light import Illumination, Light, Moment
from .media import THREADS, ExactMedium

Whole = tuple[Reals, Reals]
"""Real and imaginary part."""
Reduce = Callable[[NDArray[np.uint16]], NDArray[np.int32]]
"""Maps crops (k, crop_height, crop_width) to (k, outputs)."""

GEMM_ELEMENTS = 1 << 23
"""Elements of one product of a batch: large enough for the BLAS's full speed."""
GEMM_ROWS = 512
"""Most rows of one product: beyond, they bring no speed."""
WEIGHT_ELEMENTS = 1 << 25
"""Elements of the weights of a product, at most: many cells make fewer rows."""
CHUNK_PIXELS = 1 << 15
"""Pixels that one thread works on at a time: float32 buffers of them stay in the second-level cache."""


class Exposer:
    """Exposes batches; one caller at a time. It has threads of its own until :meth:`close`."""

    def __init__(self, fields: Fields, light: Light, camera: Camera) -> None:
        self.fields, self._light, self._camera = fields, light, camera
        self.pixels = fields.media[0].crop_pixels
        self._crop = slice(self.pixels)
        self._regions: list[list[list[Whole]]] | None = None
        self._held: list[list[Whole]] = []
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="plant")
        modulator = fields.modulator
        self.simple = (
            modulator.steps == 2
            and not (modulator.flickers or light.settles or light.turns or fields.crosstalk)
            and not any(modulator.amplitude(step).imag for step in (0, 1))
        )
        """Whether a field is a real multiple of one whole-numbered field, plus a constant one."""

    def close(self) -> None:
        """End the threads. May be called twice."""
        self._pool.shutdown()

    def expose(
        self,
        planes: NDArray[np.uint8],
        shots: Sequence[Illumination],
        first_exposures: NDArray[np.integer],
        laser_code: int,
        reduce: Reduce,
        outputs: int,
        before: Pattern,
    ) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """See :meth:`Plant.expose_batch`. ``before`` : the pattern of the exposure before the first."""
        count = len(planes)
        reduced = np.empty((count, len(shots), outputs), dtype=np.int32)
        monitors = np.empty((count, len(shots)), dtype=np.uint16)
        exact = isinstance(self.fields.media[0], ExactMedium)
        shown = sorted({shot.plane for shot in shots if shot.plane is not None})
        rows = min(GEMM_ELEMENTS // self.pixels, GEMM_ROWS, WEIGHT_ELEMENTS // self.fields.cells.count)
        at_once = max(1, rows // max(1, len(shown)))
        group = max(1, CHUNK_PIXELS // self.pixels)
        prepared = _Prepared(self, shots, before) if exact else None
        for start in range(0, count, at_once):
            stop = min(start + at_once, count)
            first = max(start - 1, 0) if self._light.settles else start
            if prepared:
                prepared.multiply(planes[first:stop], shown, first)

            def work(task: tuple[int, int, int]) -> None:
                s, low, high = task
                moments = [
                    self._light.moment(
                        (int(first_exposures[row]) + s) & 0xFFFFFFFF,
                        shots[s].exposure_cycles,
                        shots[s].settle_cycles,
                        laser_code,
                        row - low,
                    )
                    for row in range(low, high)
                ]
                buffers = self._buffers((high - low, self.pixels))
                if prepared:
                    prepared.intensity(s, low, high, moments, buffers)
                if not prepared or not self.fields.coherent:
                    for i, moment in enumerate(moments):
                        patterns = self._patterns(planes, shots, s, low + i, before)
                        if not prepared:
                            buffers[0][i] = self.fields.intensity(*patterns, moment, crop=True)[0]
                        else:
                            light = self.fields.emitted(*patterns, moment)
                            self.fields.decohere(buffers[0][i : i + 1], [self.fields.incoherent(light)])
                reduced[low:high, s] = reduce(self._read_out(buffers, moments, shots[s].exposure_cycles))
                monitors[low:high, s] = [moment.monitor for moment in moments]

            tasks = [(s, low, min(low + group, stop)) for low in range(start, stop, group) for s in range(len(shots))]
            if self._light.settles and start == 0:
                # The very first exposure alone has another program's pattern before it.
                tasks = [
                    t
                    for s, low, high in tasks
                    for t in ([(s, 0, 1), (s, 1, high)] if not s + low else [(s, low, high)])
                ]
            list(self._pool.map(work, [task for task in tasks if task[1] < task[2]]))
        return reduced, monitors

    def _patterns(
        self, planes: NDArray[np.uint8], shots: Sequence[Illumination], s: int, row: int, before: Pattern
    ) -> tuple[Pattern, Pattern]:
        """Of one exposure, and of the one before it."""
        new = self.fields.of_shot(shots[s], planes[row, shots[s].plane or 0])
        if not self._light.settles:
            return new, new
        if not s and not row:
            return new, before
        row, s = (row, s - 1) if s else (row - 1, len(shots) - 1)
        return new, self.fields.of_shot(shots[s], planes[row, shots[s].plane or 0])

    def _read_out(self, buffers: Whole, moments: Sequence[Moment], cycles: int) -> NDArray[np.uint16]:
        """The crops of intensities (rows, pixels), which are overwritten, as is the other buffer."""
        g, (pixels, scratch) = self.fields.geometry, buffers
        pixels *= np.array([[m.rate] for m in moments], dtype=np.float32)
        self._camera.collect(pixels, cycles / self._light.clock_hz, self._crop)
        streams = [m.stream for m in moments if m.stream] if self._light.noise else None
        self._camera.digitise(pixels, streams, scratch, self._crop)
        return pixels.astype(np.uint16).reshape(len(moments), g.crop_height, g.crop_width)

    def _buffers(self, shape: tuple[int, int]) -> Whole:
        """Two buffers of this thread."""
        held: Whole | None = getattr(self._local, "held", None)
        size = shape[0] * shape[1]
        if held is None or held[0].size < size:
            held = (np.empty(size, dtype=np.float32), np.empty(size, dtype=np.float32))
            self._local.held = held
        return held[0][:size].reshape(shape), held[1][:size].reshape(shape)

    def regions(self) -> list[list[list[Whole]]]:
        """Fields (pixels,) of modes, anchor and border, wholly lit: [region][medium][layer]."""
        if self._regions is None:
            regions: list[list[list[Whole]]] = []
            for weights in self.fields.regions:
                regions.append([])
                for medium in self.fields.media:
                    assert isinstance(medium, ExactMedium)
                    real, imag = medium.products(weights, True)
                    regions[-1].append([(real[i], imag[i]) for i in range(len(weights))])
            self._regions = regions
        return self._regions

    def products(self, weights: Reals) -> list[list[Whole]]:
        """Fields of weights (layers, rows, cells): [medium][layer], in buffers that the next call overwrites."""
        rows = weights.shape[1]
        if not self._held or len(self._held[0][0][0]) < rows:
            self._held = [
                [
                    (np.empty((rows, self.pixels), np.float32), np.empty((rows, self.pixels), np.float32))
                    for _ in range(self.fields.layers)
                ]
                for _ in self.fields.media
            ]
        out: list[list[Whole]] = []
        for medium, held in zip(self.fields.media, self._held, strict=True):
            assert isinstance(medium, ExactMedium)
            out.append(
                [
                    medium.products(layer, True, (real[:rows], imag[:rows]))
                    for layer, (real, imag) in zip(weights, held, strict=True)
                ]
            )
        return out


class _Prepared:
    """A program on an exact medium: what is common to its rows, and the products of the rows at hand."""

    def __init__(self, exposer: Exposer, shots: Sequence[Illumination], before: Pattern) -> None:
        self._exposer, self._fields, self._shots = exposer, exposer.fields, shots
        regions = exposer.regions()
        self._splits = [
            [
                (step, sign, [[_sum([r[m][layer] for r in lit]) for layer in range(self._fields.layers)]
                              for m in range(len(self._fields.media))])
                for step, sign, static in self._fields.split(shot)
                for lit in [[regions[i] for i in static]]
            ]
            for shot in shots
        ]  # fmt: skip
        """Of each shot's steps above 0: step, sign of its bits, field of what has it beside them."""
        self._base = np.float32(self._fields.modulator.amplitude(0).real)
        self._step = np.float32((self._fields.modulator.amplitude(1) - self._fields.modulator.amplitude(0)).real)
        self._before = self._fields.parts(before, crop=True)
        self._lit = self._fields.lit(crop=True)
        self._products: list[list[Whole]] = []
        self._shown: list[int] = []
        self._first = 0

    def multiply(self, planes: NDArray[np.uint8], shown: list[int], first: int) -> None:
        """Take rows of planes, which begin with row ``first`` of the batch."""
        bits = planes[:, shown].astype(np.float32).reshape(-1, self._fields.geometry.modes)
        self._shown, self._first = shown, first
        self._products = self._exposer.products(self._fields.of_bits(bits))

    def intensity(self, s: int, low: int, high: int, moments: Sequence[Moment], buffers: Whole) -> None:
        """``|E|**2`` of shot ``s`` of rows ``low`` to ``high`` into the first buffer."""
        if self._exposer.simple:
            self._simple(s, low, high, buffers)
        else:
            new = old = self._parts(s, low, high)
            if any(moment.stale for moment in moments):
                if s:
                    old = self._parts(s - 1, low, high)
                else:
                    old = self._parts(len(self._shots) - 1, low - 1, high - 1) if low else self._before
            fields = self._fields.superpose(new, old, moments, crop=True)
            for field, buffer in zip(fields, buffers, strict=True):
                buffer[:] = field
        to_intensity(*buffers)

    def _simple(self, s: int, low: int, high: int, buffers: Whole) -> None:
        for part, out in enumerate(buffers):
            if not self._splits[s]:
                out[:] = 0.0
            for _, sign, static in self._splits[s]:
                signal, still = self._signal(s, 0, 0, low, high), static[0][0]
                _field(signal[part] if signal else None, sign, still[part] if still else None, out)
                if self._step != 1:
                    out *= self._step
            lit = self._lit[0][part]
            if self._base and lit is not None:
                out += self._base * lit

    def _parts(self, s: int, low: int, high: int) -> list[Parts]:
        """Fields of a shot's steps, for each of the media."""
        out: list[Parts] = []
        for medium in range(len(self._fields.media)):
            parts: dict[int, list[Pair]] = {}
            for step, sign, static in self._splits[s]:
                parts[step] = []
                for layer, still in enumerate(static[medium]):
                    signal = self._signal(s, medium, layer, low, high)
                    pair = [np.empty((high - low, self._exposer.pixels), np.float32) for _ in (0, 1)]
                    for part, to in enumerate(pair):
                        _field(signal[part] if signal else None, sign, still[part] if still else None, to)
                    parts[step].append((pair[0], pair[1]))
            out.append(parts)
        return out

    def _signal(self, s: int, medium: int, layer: int, low: int, high: int) -> Whole | None:
        """Fields (rows, pixels) of the bits of a shot's plane, or None where it shows none."""
        plane = self._shots[s].plane
        if plane is None:
            return None
        real, imag = self._products[medium][layer]
        rows, number = slice(low - self._first, high - self._first), self._shown.index(plane)
        shape = (-1, len(self._shown), real.shape[1])
        return real.reshape(shape)[rows, number], imag.reshape(shape)[rows, number]


def _sum(fields: Sequence[Whole]) -> Whole | None:
    if not fields:
        return None
    real, imag = fields[0]
    for more in fields[1:]:
        real, imag = real + more[0], imag + more[1]
    return real, imag


def _field(signal: Reals | None, sign: int, static: Reals | None, out: Reals) -> None:
    """``out`` becomes ``static + sign * signal``, in which every value is an exact integer."""
    if signal is None or not sign:
        out[:] = 0.0 if static is None else static
    elif static is None:
        np.multiply(signal, np.float32(sign), out=out)
    elif sign == 1:
        np.add(static, signal, out=out)
    else:
        np.subtract(static, signal, out=out)
