"""SLTT's gradient is the paper's: eq. 12 and 13 written out in numpy, against the rule's code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.errors import InputError
from neurodeploy.ir.contract import Comparison, Reset
from neurodeploy.nn.families.conv import Conv
from neurodeploy.nn.families.dense import Mlp
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.surrogate import SURROGATES, atan, rectangle, sigmoid, triangle
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.rules import Batch
from neurodeploy.rules.sltt import SLTT
from support.kept_for_backward import peak_kept
from support.learned_mlp import CLASSES, HIDDEN, SAMPLES, make_batch, make_network, tau_of
from support.rounding import assert_equal_but_for_rounding


def accumulate(
    network: SpikingNetwork, frames: np.ndarray, labels: np.ndarray, loss: InstantaneousLoss
) -> tuple[dict[str, np.ndarray], float, np.ndarray]:
    """Gradients by parameter name, loss and summed outputs, from the code under test."""
    network.zero_grad()
    batch = Batch(map(torch.from_numpy, frames), len(frames), torch.from_numpy(labels))
    result = SLTT().train_batch(network, batch, loss, lambda: None, torch.Generator())
    gradients = {}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        gradients[name.removeprefix("layers.")] = parameter.grad.numpy().copy()
    return gradients, result.loss.item(), result.outputs.numpy()


def paper_gradients(
    weights: dict[str, np.ndarray],
    neuron: NeuronRecipe,
    frames: np.ndarray,
    labels: np.ndarray,
    loss: InstantaneousLoss,
) -> tuple[dict[str, np.ndarray], float, np.ndarray, int]:
    """Meng et al. 2023, eq. 2, 3, 12, 13 and 14, step by step, without any autograd.

    Returns gradients, loss, sum_t o[t] and the number of hidden spikes.
    """
    steps, threshold = len(frames), neuron.v_threshold
    gradients = {name: np.zeros_like(value) for name, value in weights.items()}
    layers = ["fc1", "fc2"]
    v = {name: np.zeros((SAMPLES, size)) for name, size in zip(layers, HIDDEN, strict=True)}
    one_hot = np.eye(CLASSES)[labels]
    target = np.ones_like(one_hot) if loss.mse_target == "ones" else one_hot
    total_loss, total, spike_count = 0.0, np.zeros((SAMPLES, CLASSES)), 0
    for frame in frames:
        below = {"fc1": frame}
        derivative = {}
        for name, above in (("fc1", "fc2"), ("fc2", "fc")):
            drive = below[name] @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
            u = (1 - 1 / tau_of(neuron)) * v[name] + drive
            s = ((u >= threshold) if neuron.comparison == ">=" else (u > threshold)) * 1.0
            v[name] = u - threshold * s if neuron.reset == "subtract" else u * (1 - s)
            distance = np.abs(u - threshold)
            derivative[name] = {
                "triangle": np.maximum(0, threshold - distance) / threshold**2,
                "rectangle": (distance < threshold / 2) / threshold,
                "sigmoid": 4 * np.exp(-4 * distance) / (1 + np.exp(-4 * distance)) ** 2,
                "atan": 1 / (1 + (np.pi * distance) ** 2),
            }[neuron.surrogate]
            below[above] = s
            spike_count += int(s.sum())
        o = below["fc"] @ weights["fc.weight"].T + weights["fc.bias"]
        total += o
        exponentials = np.exp(o - o.max(1, keepdims=True))
        softmax = exponentials / exponentials.sum(1, keepdims=True)
        cross_entropy = -np.log((softmax * one_hot).sum(1)).mean()
        squared = ((o - target) ** 2).mean()
        a = loss.mse_weight
        total_loss += ((1 - a) * cross_entropy + a * squared) / steps
        error = (1 - a) * (softmax - one_hot) / SAMPLES + a * 2 * (o - target) / o.size
        error /= steps
        for name, inner in (("fc", "fc2"), ("fc2", "fc1"), ("fc1", None)):
            gradients[f"{name}.weight"] += error.T @ below[name]
            gradients[f"{name}.bias"] += error.sum(0)
            if inner is not None:
                error = error @ weights[f"{name}.weight"] * derivative[inner]
    return gradients, total_loss, total, spike_count


@pytest.mark.parametrize("steps", range(1, 7))
@pytest.mark.parametrize("tau", [1.1, 2.0])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_gradient_is_that_of_the_paper(reset: Reset, tau: float, steps: int) -> None:
    neuron = NeuronRecipe(tau, v_threshold=0.8, reset=reset)
    check_against_paper(neuron, InstantaneousLoss(0.05), steps)


@pytest.mark.parametrize("surrogate", sorted(SURROGATES))
@pytest.mark.parametrize("comparison", [">=", ">"])
@pytest.mark.parametrize(
    "loss", [InstantaneousLoss(), InstantaneousLoss(1.0), InstantaneousLoss(0.3, "one_hot")]
)
def test_gradient_with_other_options(
    loss: InstantaneousLoss, comparison: Comparison, surrogate: str
) -> None:
    check_against_paper(NeuronRecipe(1.5, comparison=comparison, surrogate=surrogate), loss, 4)


def check_against_paper(neuron: NeuronRecipe, loss: InstantaneousLoss, steps: int) -> None:
    """Compare loss, outputs and every gradient."""
    network = make_network(neuron)
    frames, labels = make_batch(steps)
    weights = {
        name.removeprefix("layers."): parameter.detach().numpy().copy()
        for name, parameter in network.named_parameters()
    }
    found, found_loss, found_outputs = accumulate(network, frames, labels, loss)
    expected, expected_loss, expected_outputs, spikes = paper_gradients(
        weights, neuron, frames, labels, loss
    )
    # Neither a silent nor a saturated network would test anything.
    assert 0.05 < spikes / (steps * SAMPLES * sum(HIDDEN)) < 0.95
    assert found_loss == pytest.approx(expected_loss, rel=1e-12)
    assert_equal_but_for_rounding(found_outputs, expected_outputs, expected_outputs)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert np.abs(gradient).max() > 0, name
        error = np.linalg.norm(found[name] - gradient) / np.linalg.norm(gradient)
        assert error < 1e-12, name


def gradient_through_time(
    network: SpikingNetwork, frames: np.ndarray, labels: np.ndarray, cut: bool
) -> dict[str, np.ndarray]:
    """Autograd over all steps at once, with membranes carried as ``cut`` says."""
    network.zero_grad()
    network.reset_state(cut)
    loss = InstantaneousLoss(0.05)
    target = torch.from_numpy(labels)
    losses = [loss(network(torch.from_numpy(frame)), target) for frame in frames]
    torch.stack(losses).mean().backward()
    return {
        name.removeprefix("layers."): parameter.grad.numpy().copy()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_only_the_cut_separates_it_from_backpropagation_through_time(reset: Reset) -> None:
    frames, labels = make_batch(steps=5)
    network = make_network(NeuronRecipe(2.0, reset=reset))
    sltt, _, _ = accumulate(network, frames, labels, InstantaneousLoss(0.05))
    with_cut = gradient_through_time(network, frames, labels, cut=True)
    without = gradient_through_time(network, frames, labels, cut=False)
    for name, gradient in sltt.items():
        np.testing.assert_allclose(with_cut[name], gradient, rtol=1e-10, atol=1e-13)
    # The readout has no membrane: both methods agree on it and only on it.
    np.testing.assert_allclose(without["fc.weight"], sltt["fc.weight"], rtol=1e-10, atol=1e-13)
    for name in ("fc1.weight", "fc2.weight"):
        change = np.linalg.norm(without[name] - sltt[name]) / np.linalg.norm(sltt[name])
        assert change > 1e-3, name


def test_a_single_step_is_plain_backpropagation() -> None:
    frames, labels = make_batch(steps=1)
    network = make_network(NeuronRecipe(2.0))
    sltt, _, _ = accumulate(network, frames, labels, InstantaneousLoss(0.05))
    through_time = gradient_through_time(network, frames, labels, cut=False)
    for name, gradient in sltt.items():
        assert_equal_but_for_rounding(through_time[name], gradient, gradient, name)


def test_memory_for_backward_does_not_depend_on_the_number_of_steps() -> None:
    network = make_network(NeuronRecipe(2.0))
    loss = InstantaneousLoss(0.05)
    batches = {steps: make_batch(steps) for steps in (2, 12)}
    sltt = {
        n: peak_kept(lambda b=b: accumulate(network, *b, loss)).tensors for n, b in batches.items()
    }
    assert sltt[2] > 0
    assert sltt[2] == sltt[12]
    # The measure does see a graph that grows.
    bptt = {
        n: peak_kept(lambda b=b: gradient_through_time(network, *b, cut=False)).tensors
        for n, b in batches.items()
    }
    assert bptt[12] > 4 * bptt[2] > sltt[2]


def test_carried_membrane_has_no_graph_unless_asked() -> None:
    layer = LIF.of(NeuronRecipe(2.0))
    for cut in (True, False):
        layer.reset_state(cut)
        spikes = layer(torch.full((3,), 1.2, requires_grad=True))
        assert spikes.requires_grad
        assert layer.v is not None
        assert layer.v.requires_grad is not cut


@pytest.mark.parametrize(
    ("reset", "comparison", "expected_spikes", "expected_v"),
    [
        # tau = 2: u = 0.5 v + x, threshold 1; by hand.
        ("subtract", ">=", [0, 1, 1, 0], [0.5, 0.0, 0.75, 0.375]),
        ("subtract", ">", [0, 0, 1, 0], [0.5, 1.0, 1.25, 0.625]),
        ("zero", ">=", [0, 1, 1, 0], [0.5, 0.0, 0.0, 0.0]),
        ("zero", ">", [0, 0, 1, 0], [0.5, 1.0, 0.0, 0.0]),
    ],
)
def test_neuron_trace_by_hand(
    reset: Reset, comparison: Comparison, expected_spikes: list[float], expected_v: list[float]
) -> None:
    layer = LIF.of(NeuronRecipe(2.0, reset=reset, comparison=comparison))
    layer.reset_state(cut=True)
    spikes, v = [], []
    for x in (0.5, 0.75, 1.75, 0.0):
        spikes.append(layer(torch.tensor(x)).item())
        assert layer.v is not None
        v.append(layer.v.item())
    assert spikes == expected_spikes
    assert v == expected_v
    layer.reset_state(cut=True)
    assert layer(torch.tensor(0.5)).item() == 0, "the state starts again at zero"


def test_surrogates_by_hand() -> None:
    distance = torch.tensor([-3.0, -1.0, -0.75, 0.0, 0.5, 1.0, 2.0])
    assert triangle(distance.clone(), 2.0).tolist() == [0, 0.25, 0.3125, 0.5, 0.375, 0.25, 0]
    assert rectangle(distance.clone(), 2.0).tolist() == [0, 0, 0.5, 0.5, 0.5, 0, 0]
    # p = 1/2, and p = 1/(1 + 3) where exp(-alpha (u - Vth)) = 3; whatever gamma is.
    logit = torch.tensor([0.0, -math.log(3) / 4])
    assert sigmoid(logit.clone(), 2.0).tolist() == pytest.approx([1.0, 0.75])
    assert atan(torch.tensor([0.0, 1 / math.pi]), 2.0).tolist() == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("gamma", [0.5, 1.0, 3.0])
def test_surrogates_are_densities(name: str, gamma: float) -> None:
    """They stand for a step of height 1: their integral is 1, and they are even."""
    distance = torch.linspace(-200, 200, 400_001, dtype=torch.float64)
    derivative = SURROGATES[name](distance.clone(), gamma)
    # arctan still lacks 1 / (100 pi^2) this far out.
    assert torch.trapezoid(derivative, distance).item() == pytest.approx(1, abs=2.5e-3)
    assert torch.allclose(derivative, derivative.flip(0))


def test_unknown_surrogate_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'triangle'"):
        LIF.of(NeuronRecipe(2.0, surrogate="triangel"))


def test_conv_layers_in_order() -> None:
    network = Conv((4, 6), (1, 2), batch_norm=True, pool=(1, 2)).build(
        (1, 8, 8), 10, NeuronRecipe(2.0)
    )
    names = "conv1 bn1 lif1 conv2 bn2 lif2 pool2 flatten fc"
    assert list(network.layers) == names.split()
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"channels": (4,)}, (64,), r"needs samples \(C, H, W\)"),
        ({"channels": (4, 4), "strides": (2, 2), "pool": (1, 3)}, (1, 8, 8), "block 2 pools 3x3"),
    ],
)
def test_conv_refuses_shapes_it_cannot_take(
    options: dict[str, Any], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Conv(**options).build(shape, 10, NeuronRecipe(2.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv(()), "at least one block"),
        (lambda: Conv((4,), strides=(1, 1)), "strides has 2 values for 1 blocks"),
        (lambda: Conv((4,), kernel=2), "kernel must be odd"),
        (lambda: Conv((0,)), "at least 1"),
        (lambda: Mlp(()), "at least one layer"),
        (lambda: Mlp((0,)), "at least 1"),
    ],
)
def test_family_options_are_checked(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
