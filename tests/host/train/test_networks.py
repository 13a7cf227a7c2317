"""Arithmetic of networks and optimisers, against finite differences and plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
from openopu.train.networks import Network, NetworkError, Workspace
from openopu.train.optimisers import BLOCK, Adam, Sgd, learning_rate, optimiser

SIZES = (7, 6, 5, 4)
ROWS = 9


def problem(activation: str) -> tuple[Network, Workspace, np.ndarray]:
    rng = np.random.default_rng(11)
    network = Network(SIZES, activation, seed=3, dtype=np.float64)
    network.parameters += 0.1 * rng.standard_normal(network.parameters.size)
    workspace = Workspace(network, ROWS)
    workspace.inputs[:] = rng.standard_normal((ROWS, SIZES[0]))
    return network, workspace, rng.integers(0, SIZES[-1], ROWS).astype(np.uint8)


def loss(workspace: Workspace, labels: np.ndarray) -> float:
    workspace.forward(slice(0, ROWS))
    return workspace.compare(labels, slice(0, ROWS))[0]


def differences(network: Network, workspace: Workspace, labels: np.ndarray, step: float = 1e-6) -> np.ndarray:
    out = np.empty_like(network.parameters)
    for i in range(network.parameters.size):
        kept = network.parameters[i]
        network.parameters[i] = kept + step
        high = loss(workspace, labels)
        network.parameters[i] = kept - step
        out[i] = (high - loss(workspace, labels)) / (2 * step)
        network.parameters[i] = kept
    return out


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_backpropagated_gradients_are_finite_differences(activation: str) -> None:
    network, workspace, labels = problem(activation)
    expected = differences(network, workspace, labels)
    loss(workspace, labels)
    whole = slice(0, ROWS)
    workspace.backpropagate(whole)
    workspace.gradients(range(network.layers), whole)
    assert np.abs(network.gradients - expected).max() < 1e-7


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_feedback_equal_to_the_transposed_weights_is_backpropagation(activation: str) -> None:
    network, workspace, labels = problem(activation)
    whole = slice(0, ROWS)
    loss(workspace, labels)
    workspace.backpropagate(whole)
    workspace.gradients(range(network.layers), whole)
    exact = network.gradients.copy()
    targets = [workspace.deltas[i + 1] @ network.weights[i + 1].T for i in range(2)]
    workspace.hidden_deltas(targets, whole)
    workspace.gradients(range(network.layers), whole)
    assert np.abs(network.gradients - exact).max() < 1e-12


def test_chunks_add_up_to_the_batch() -> None:
    network, workspace, labels = problem("tanh")
    whole = slice(0, ROWS)
    total = loss(workspace, labels)
    workspace.backpropagate(whole)
    workspace.gradients(range(network.layers), whole)
    exact = network.gradients.copy()
    network.gradients[:] = 99
    parts = [slice(0, 4), slice(4, 8), slice(8, 9)]
    summed = 0.0
    for i, rows in enumerate(parts):
        workspace.forward(rows)
        summed += workspace.compare(labels[rows], rows)[0]
        workspace.backpropagate(rows)
        workspace.gradients(range(network.layers), rows, accumulate=i > 0)
    assert summed == pytest.approx(total, rel=1e-12)
    assert np.abs(network.gradients - exact).max() < 1e-12


def test_probabilities_stand_large_logits() -> None:
    network = Network((2, 3), seed=0)
    network.weights[0][:] = [[1e4, 0, -1e4], [0, 0, 0]]
    workspace = Workspace(network, 2)
    workspace.inputs[:] = [[1, 0], [-1, 0]]
    out = workspace.forward(slice(0, 2))
    assert out.tolist() == [[1, 0, 0], [0, 0, 1]]
    total, right = workspace.compare(np.array([0, 0], np.uint8), slice(0, 2))
    assert np.isfinite(total)
    assert right == 1


def test_initial_weights_are_seeded() -> None:
    assert np.array_equal(Network(SIZES, seed=4).parameters, Network(SIZES, seed=4).parameters)
    assert not np.array_equal(Network(SIZES, seed=4).parameters, Network(SIZES, seed=5).parameters)
    wide = Network((400, 300, 10), "relu", seed=1)
    assert wide.weights[0].std() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert wide.weights[1].std() == pytest.approx((1 / 300) ** 0.5, rel=0.05)


@pytest.mark.parametrize("size", [5, BLOCK + 3])
def test_adam_follows_its_formula(size: int) -> None:
    rng = np.random.default_rng(2)
    parameters = rng.standard_normal(size)
    ours, adam = parameters.copy(), Adam(parameters)
    m = v = np.zeros(size)
    for t in range(1, 6):
        g = rng.standard_normal(size)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        parameters = parameters - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        adam.step(ours, g, 0.01)
    assert np.abs(ours - parameters).max() < 1e-12


@pytest.mark.parametrize("size", [5, BLOCK + 3])
def test_momentum_follows_its_formula(size: int) -> None:
    rng = np.random.default_rng(2)
    parameters = rng.standard_normal(size)
    ours, sgd = parameters.copy(), Sgd(parameters)
    v = np.zeros(size)
    for _ in range(5):
        g = rng.standard_normal(size)
        v = 0.9 * v + g
        parameters = parameters - 0.01 * v
        sgd.step(ours, g, 0.01)
    assert np.abs(ours - parameters).max() < 1e-12


def test_schedules() -> None:
    assert [learning_rate("constant", 0.5, s, 10) for s in (0, 9)] == [0.5, 0.5]
    assert learning_rate("cosine", 0.5, 0, 10) == 0.5
    assert learning_rate("cosine", 0.5, 5, 10) == pytest.approx(0.25)
    assert 0 < learning_rate("cosine", 0.5, 9, 10) < 0.02
    with pytest.raises(ValueError, match="schedule must be one of"):
        learning_rate("linear", 0.5, 0, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((5,),), "at least an input and an output"),
        (((5, 0, 3),), "at least an input and an output"),
        (((5, 1),), "at least 2 classes"),
        (((5, 2), "gelu"), "activation must be one of tanh, relu"),
    ],
)
def test_networks_that_cannot_be(arguments: tuple, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network(*arguments)


def test_unknown_optimiser() -> None:
    with pytest.raises(ValueError, match="optimiser must be one of adam, sgd"):
        optimiser("lion", np.zeros(3))
