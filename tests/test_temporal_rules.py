"""Gradients of networks that live in time, against their equations in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.nn.current import CubaLIF
from neurodeploy.nn.families import build_network
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.rules import BPTT, SLTT, SLTTK, Batch, Rule
from support.temporal_equations import Layer, gradients

SAMPLES, INPUTS, HIDDEN, CLASSES, STEPS = 4, 6, (8, 7), 3, 7
LOSS = InstantaneousLoss(0.05)
LABELS = np.array([0, 2, 1, 2])


def frames() -> np.ndarray:
    return np.random.default_rng(5).uniform(0, 1.2, (STEPS, SAMPLES, INPUTS))


def network(neuron: NeuronRecipe, **options: Any) -> SpikingNetwork:
    """Two hidden layers in float64, with weights large enough for many spikes."""
    torch.manual_seed(2)
    table = {"family": "mlp", "hidden": list(HIDDEN)} | options
    model = build_network(table, (INPUTS,), CLASSES, neuron).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("weight", "bias")):
                parameter.mul_(3.0)
    return model


def loss_error(o: np.ndarray) -> np.ndarray:
    """dl/do for outputs (N, classes)."""
    exponentials = np.exp(o - o.max(1, keepdims=True))
    softmax = exponentials / exponentials.sum(1, keepdims=True)
    a = LOSS.mse_weight
    return (1 - a) * (softmax - np.eye(CLASSES)[LABELS]) / len(o) + a * 2 * (o - 1) / o.size


def array(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def written_out(model: SpikingNetwork) -> tuple[list[Layer], tuple[np.ndarray, np.ndarray]]:
    layers: dict[str, Any] = dict(model.layers.items())
    found = []
    for i in range(1, len(HIDDEN) + 1):
        neurons = layers[f"lif{i}"]
        lif = neurons.lif if isinstance(neurons, CubaLIF) else neurons
        found.append(
            Layer(
                weight=array(layers[f"fc{i}"].weight),
                bias=array(layers[f"fc{i}"].bias),
                keep=array(lif.keep),
                u_keep=array(neurons.u_keep) if isinstance(neurons, CubaLIF) else 0.0,
                recurrent=array(layers[f"rec{i}"].weight) if f"rec{i}" in layers else None,
                reset=lif.reset,
                rest=lif.refractory_period,
            )
        )
    return found, (array(layers["fc"].weight), array(layers["fc"].bias))


def expected(model: SpikingNetwork, cut: bool) -> dict[str, np.ndarray]:
    """By name of the parameter, what the equations say."""
    layers, readout = written_out(model)
    each, top = gradients(layers, readout, frames(), loss_error, cut)
    for layer in layers:
        assert 0.02 < np.mean(layer.traces["s"]) < 0.95
    wanted = {"fc.weight": top["weight"], "fc.bias": top["bias"]}
    for i, found in enumerate(each, 1):
        wanted |= {f"fc{i}.weight": found["weight"], f"fc{i}.bias": found["bias"]}
        if "recurrent" in found:
            wanted[f"rec{i}.weight"] = found["recurrent"]
    return wanted


def run(rule: Rule, model: SpikingNetwork, chunk: int = 0) -> dict[str, np.ndarray]:
    """Gradients of the code under test."""
    model.zero_grad()
    shown = map(torch.from_numpy, frames())
    batch = Batch(shown, STEPS, torch.from_numpy(LABELS), time_chunk=chunk)
    rule.train_batch(model, batch, LOSS, lambda: None, torch.Generator().manual_seed(0))
    return {
        name.removeprefix("layers."): array(parameter.grad)
        for name, parameter in model.named_parameters()
    }


def assert_close(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert np.abs(gradient).max() > 0, name
        error = np.linalg.norm(found[name] - gradient) / np.linalg.norm(gradient)
        assert error < 1e-10, (name, error)


NEURONS = {
    "current": NeuronRecipe(3.0, surrogate="sigmoid", tau_syn=2.5),
    "current, zero": NeuronRecipe(3.0, surrogate="sigmoid", tau_syn=2.5, reset="zero"),
    "rest": NeuronRecipe(3.0, surrogate="sigmoid", refractory_period=2),
    "current and rest": NeuronRecipe(
        2.0, surrogate="sigmoid", tau_syn=2.0, refractory_period=1, reset="zero"
    ),
}


@pytest.mark.parametrize("kind", NEURONS)
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize(
    ("rule", "chunk", "cut"),
    [(SLTT(), 1, True), (SLTT(), 3, True), (SLTTK(STEPS), 0, True), (BPTT(), 0, False)],
)
def test_gradients_are_those_of_the_equations(
    kind: str, recurrent: bool, rule: Rule, chunk: int, cut: bool
) -> None:
    model = network(NEURONS[kind], family="recurrent" if recurrent else "mlp")
    assert_close(run(rule, model, chunk), expected(model, cut))


def test_sltt_and_bptt_differ_where_there_is_a_memory() -> None:
    model = network(NEURONS["current"])
    cut, whole = expected(model, True), expected(model, False)
    assert np.linalg.norm(cut["fc1.weight"] - whole["fc1.weight"]) > 0.1 * np.linalg.norm(
        whole["fc1.weight"]
    )


def test_a_current_of_one_step_is_none() -> None:
    assert isinstance(network(NeuronRecipe(2.0)).layers["lif1"], LIF)
    assert isinstance(network(NeuronRecipe(2.0, tau_syn=1.5)).layers["lif1"], CubaLIF)
