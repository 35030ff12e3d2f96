"""Training on integers of neurons that live in time: what is trained is what is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.file import write_own_nir
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.ir.contract import InputCode
from neurodeploy.ir.quantized import QuantizationPlan
from neurodeploy.nn.families import build_network
from neurodeploy.quantization.aware import IntegerNetwork, trained_to_nir, without_grids
from neurodeploy.quantization.aware.currents import QuantizedCubaLIF
from neurodeploy.quantization.planned import quantize_as_planned
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.recipe.constants import TimeConstant
from neurodeploy.rules import BPTT, SLTT, Rule
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch
from neurodeploy.target import load_target

STEPS, SAMPLES, INPUTS, CLASSES = 15, 6, 5, 3
LEARNED = TimeConstant(per="neuron", draw="uniform", low=1.5, high=6.0, learn=True)
NETWORKS: dict[str, tuple[dict[str, Any], NeuronRecipe]] = {
    "current": ({}, NeuronRecipe(3.0, tau_syn=2.5)),
    "learned": ({"recurrent": True}, NeuronRecipe(LEARNED, tau_syn=LEARNED, reset="zero")),
    "norm": ({"batch_norm": True}, NeuronRecipe(3.0, tau_syn=TimeConstant(2.0, learn=True))),
    "membrane": ({"recurrent": True}, NeuronRecipe(LEARNED)),
}


def made(name: str, bits: int = 8) -> IntegerNetwork:
    """A network of two hidden layers that spikes a lot, before its integers begin."""
    options, neuron = NETWORKS[name]
    torch.manual_seed(4)
    table = {"family": "mlp", "hidden": [9, 8]} | options
    model = build_network(table, (INPUTS,), CLASSES, neuron)
    with torch.no_grad():
        for parameter, value in model.named_parameters():
            if not parameter.endswith("_w"):
                value.mul_(2.0)
    return IntegerNetwork(model, load_target("loihi2"), bits, 1, STEPS)


def shown() -> np.ndarray:
    return (np.random.default_rng(1).random((SAMPLES, STEPS, INPUTS)) < 0.5).astype(np.int32)


def trained(name: str, rule: Rule, bits: int = 8) -> IntegerNetwork:
    """Some updates in floats, then on integers."""
    model = made(name, bits)
    frames = torch.from_numpy(shown()).float().transpose(0, 1)
    labels = torch.arange(SAMPLES) % CLASSES
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for update in range(8):
        if update == 2:
            model.begin()
        rule.backward(model, frames, labels, torch.nn.functional.cross_entropy)
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.mark.parametrize(
    ("name", "bits", "rule"),
    [
        ("current", 8, SLTT()),
        ("learned", 4, SLTT()),
        ("learned", 8, BPTT()),
        ("norm", 8, SLTT()),
        pytest.param("norm", 8, BPTT(), marks=pytest.mark.slow),
        pytest.param("current", 8, BPTT(), marks=pytest.mark.slow),
        ("membrane", 8, BPTT()),
        pytest.param("membrane", 8, SLTT(), marks=pytest.mark.slow),
    ],
)
def test_trained_integers_are_deployed(name: str, bits: int, rule: Rule, tmp_path: Path) -> None:
    model, x = trained(name, rule, bits), shown()
    seen: dict[str, list[np.ndarray]] = {layer: [] for layer in model.layers}
    model.reset_state()
    model.watch = lambda layer, value: seen[layer].append(value.numpy().copy())
    with torch.no_grad():
        for t in range(STEPS):
            model(torch.from_numpy(x[:, t]).float())
    model.watch = None
    path = tmp_path / "network.nir"
    write_own_nir(path, trained_to_nir(model, InputCode("events"), STEPS))
    imported = import_nir(path)
    plan = QuantizationPlan.within(imported.graph.metadata, "metadata")
    assert plan is not None
    integers = quantize_as_planned(imported.network, model.target, plan)
    ((_, trace),) = ReferenceEngine(integers).run([SampleBatch(0, x, static=False)], state=True)
    for layer in ("lif1", "lif2"):
        spikes = np.stack(seen[layer], 1)
        assert 0.02 < spikes.mean() < 0.98
        np.testing.assert_array_equal(trace.populations[layer].s, spikes)
    outputs = np.stack(seen["fc"], 1).sum(1)
    v = trace.populations[integers.output].v
    assert v is not None
    np.testing.assert_array_equal(np.asarray(v)[:, -1].argmax(1), outputs.argmax(1))


@pytest.mark.parametrize("name", ["learned", "membrane"])
def test_learned_constants_move_on_integers(name: str) -> None:
    before = dict(made(name).named_parameters())
    after = dict(trained(name, SLTT()).named_parameters())
    assert before.keys() == after.keys()
    moved = {n for n in after if n.endswith("_w") and not torch.equal(before[n], after[n])}
    assert moved == {n for n in after if n.endswith("_w")}


def test_names_without_grids_are_those_in_floats() -> None:
    for name, (options, neuron) in NETWORKS.items():
        table = {"family": "mlp", "hidden": [9, 8]} | options
        model = build_network(table, (INPUTS,), CLASSES, neuron)
        floats = model.state_dict()
        assert without_grids(floats).keys() == floats.keys()
        assert without_grids(made(name).state_dict()).keys() == floats.keys(), name


def test_the_bias_of_a_current_is_what_a_constant_source_brings() -> None:
    model = made("current")
    model.begin()
    layer = model.layers["lif1"]
    assert isinstance(layer, QuantizedCubaLIF)
    integers, bias = layer.bias_integers(), layer.integer_bias()
    assert integers is not None and bias is not None
    assert torch.equal(integers, integers.round()) and integers.abs().max() <= 128
    assert torch.equal(bias, 64 * 2 * integers * 2.0 ** int(layer.exponent))


@pytest.mark.parametrize(
    ("options", "neuron", "message"),
    [
        ({}, NeuronRecipe(2.0, refractory_period=1), "rest after a spike"),
        ({"delays": {"max": 2}}, NeuronRecipe(2.0), "DelayedLinear between"),
        ({"readout": "integrate"}, NeuronRecipe(2.0), "LI between weights and neurons"),
    ],
)
def test_what_has_no_integers_is_refused(
    options: dict[str, Any], neuron: NeuronRecipe, message: str
) -> None:
    model = build_network({"family": "mlp", "hidden": [4]} | options, (3,), 2, neuron)
    with pytest.raises(UnsupportedError, match=message):
        IntegerNetwork(model, load_target("loihi2"), 8, 1, STEPS)
