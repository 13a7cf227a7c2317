"""Multilayer perceptrons in float32 with all buffers allocated once.

All parameters of a network lie in one vector, layer after layer, so that an optimiser updates them in
one pass and a checkpoint stores one array. Weights are (inputs, outputs): a layer is ``x @ W + b``.

Notation, for layer ``l`` of ``L``: ``a_l = f(a_(l-1) W_l + b_l)`` for the hidden layers, softmax at the end,
cross-entropy loss. The error of the output is ``e = softmax - one-hot``. The update of a hidden layer is the
outer product of its input with ``d_l = t_l * f'(a_l)``, and only ``t_l`` tells the rules apart:

* back-propagation: ``t_l = d_(l+1) W_(l+1)^T``;
* direct feedback alignment: ``t_l = e B_l`` with a fixed random ``B_l`` (A. Nokland, arXiv 1609.01596).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openopu.errors import UsageError

ACTIVATIONS = ("tanh", "relu")
Array = NDArray[Any]


class NetworkError(UsageError):
    """A network that cannot be built; the message names the setting and its bounds."""


class Network:
    """Parameters of a perceptron, and their gradients.

    Parameters
    ----------
    sizes : units of the input, of each hidden layer, and of the output (classes)
    activation : of the hidden layers, ``tanh`` or ``relu``
    seed : of the initial weights
    dtype : float32; float64 is for checks of the arithmetic

    Initial weights are normal with standard deviation ``sqrt(g / inputs)``, g = 1 for tanh and for the output
    (LeCun et al., Efficient BackProp, 1998), g = 2 for ReLU (He et al., arXiv 1502.01852); biases are zero.
    """

    def __init__(self, sizes: Sequence[int], activation: str = "tanh", seed: int = 0, dtype: Any = np.float32) -> None:
        if len(sizes) < 2 or any(not isinstance(s, int) or s < 1 for s in sizes):
            raise NetworkError(f"a network needs at least an input and an output of 1 unit or more, not {list(sizes)}")
        if sizes[-1] < 2:
            raise NetworkError(f"a classifier needs at least 2 classes, not {sizes[-1]}")
        if activation not in ACTIVATIONS:
            raise NetworkError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        self.sizes = tuple(sizes)
        self.activation = activation
        self.dtype = np.dtype(dtype)
        self.parameters = np.zeros(sum((i + 1) * o for i, o in pairwise(sizes)), self.dtype)
        self.gradients = np.zeros_like(self.parameters)
        self.weights, self.biases, self.spans = self._views(self.parameters)
        self.weight_gradients, self.bias_gradients, _ = self._views(self.gradients)
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 0x1217))))
        for layer, weight in enumerate(self.weights):
            gain = 2.0 if activation == "relu" and layer < self.layers - 1 else 1.0
            weight[:] = rng.standard_normal(weight.shape) * (gain / weight.shape[0]) ** 0.5

    def _views(self, flat: Array) -> tuple[list[Array], list[Array], list[slice]]:
        weights, biases, spans, start = [], [], [], 0
        for inputs, outputs in pairwise(self.sizes):
            middle = start + inputs * outputs
            end = middle + outputs
            weights.append(flat[start:middle].reshape(inputs, outputs))
            biases.append(flat[middle:end])
            spans.append(slice(start, end))
            start = end
        return weights, biases, spans

    @property
    def layers(self) -> int:
        """Layers with weights, the output included."""
        return len(self.sizes) - 1

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return self.sizes[1:-1]

    @property
    def classes(self) -> int:
        return self.sizes[-1]

    def layer_gradient(self, layer: int) -> Array:
        """Gradient of one layer, weights and biases as one vector."""
        return self.gradients[self.spans[layer]]


class Workspace:
    """Buffers for a batch of up to ``capacity`` rows, and the passes that work in them.

    Every pass takes ``rows``, a slice of the batch, so that a batch can go through in chunks.
    """

    def __init__(self, network: Network, capacity: int) -> None:
        if capacity < 1:
            raise NetworkError(f"a batch has at least 1 row, not {capacity}")
        self.network = network
        self.capacity = capacity
        make = network.dtype.type
        self.activations: list[Array] = [np.zeros((capacity, size), make) for size in network.sizes]
        """Input, hidden activations, and class probabilities; (capacity, units)."""
        self.deltas: list[Array] = [np.zeros((capacity, size), make) for size in network.sizes[1:]]
        """``d_l`` of each layer; the last is the output error ``e`` (not divided by the batch)."""
        self._slopes: list[Array] = [np.zeros((capacity, size), make) for size in network.hidden]
        self._partial = np.zeros_like(network.parameters)
        self._partial_weights, self._partial_biases, _ = network._views(self._partial)
        self._ones = np.ones(capacity, make)
        self._column = np.zeros((capacity, 1), make)
        self._index = np.arange(capacity)

    @property
    def inputs(self) -> Array:
        return self.activations[0]

    @property
    def errors(self) -> Array:
        return self.deltas[-1]

    def forward(self, rows: slice) -> Array:
        """Logits' softmax for ``inputs[rows]``; returns the probabilities, (rows, classes)."""
        network = self.network
        for layer in range(network.layers):
            out = self.activations[layer + 1][rows]
            np.matmul(self.activations[layer][rows], network.weights[layer], out=out)
            out += network.biases[layer]
            if layer < network.layers - 1:
                if network.activation == "tanh":
                    np.tanh(out, out=out)
                else:
                    np.maximum(out, 0, out=out)
        top = self._column[: len(out)]
        out.max(axis=1, keepdims=True, out=top)
        out -= top
        np.exp(out, out=out)
        out.sum(axis=1, keepdims=True, out=top)
        out /= top
        return out

    def compare(self, labels: NDArray[np.uint8], rows: slice) -> tuple[float, int]:
        """Set ``errors[rows]`` to probabilities minus one-hot labels; return summed loss and right answers.

        Losses are in nats, of probabilities held above the smallest float32, so that they stay finite.
        """
        out, error = self.activations[-1][rows], self.errors[rows]
        index = self._index[: len(out)]
        chosen = out[index, labels]
        loss = -float(np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).sum(dtype=np.float64))
        right = int(np.count_nonzero(out.argmax(axis=1) == labels))
        np.copyto(error, out)
        error[index, labels] -= 1
        return loss, right

    def hidden_deltas(self, targets: Sequence[Array], rows: slice) -> None:
        """Deltas of the hidden layers from ``targets``, ``t_l`` for each of them, (rows, units)."""
        for layer, target in enumerate(targets):
            np.multiply(target, self._slope(layer, rows), out=self.deltas[layer][rows])

    def backpropagate(self, rows: slice) -> None:
        """Deltas of the hidden layers by back-propagation of the error."""
        network = self.network
        for layer in range(network.layers - 2, -1, -1):
            delta = self.deltas[layer][rows]
            np.matmul(self.deltas[layer + 1][rows], network.weights[layer + 1].T, out=delta)
            delta *= self._slope(layer, rows)

    def _slope(self, layer: int, rows: slice) -> Array:
        """``f'`` of a hidden layer, from its activation."""
        out, slope = self.activations[layer + 1][rows], self._slopes[layer][rows]
        if self.network.activation == "tanh":
            np.multiply(out, out, out=slope)
            np.subtract(1, slope, out=slope)
        else:
            np.greater(out, 0, out=slope, casting="unsafe")
        return slope

    def gradients(self, layers: range, rows: slice, *, accumulate: bool = False) -> None:
        """Summed gradients of ``layers`` over ``rows``, set, or added to those that are there."""
        network = self.network
        weights = self._partial_weights if accumulate else network.weight_gradients
        biases = self._partial_biases if accumulate else network.bias_gradients
        for layer in layers:
            delta = self.deltas[layer][rows]
            np.matmul(self.activations[layer][rows].T, delta, out=weights[layer])
            np.matmul(self._ones[: len(delta)], delta, out=biases[layer])
        if accumulate and len(layers):
            span = slice(network.spans[layers[0]].start, network.spans[layers[-1]].stop)
            network.gradients[span] += self._partial[span]
