"""Training on integers of neurons that live in time: what is trained is what is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.file import write_own_nir
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.ir.contract import InputCode
from neurodeploy.ir.quantized import QuantizationPlan
from neurodeploy.nn.delays import DelayedLinear
from neurodeploy.nn.families import build_network
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.quantization.aware import IntegerNetwork, trained_to_nir, without_grids
from neurodeploy.quantization.aware.currents import QuantizedCubaLIF
from neurodeploy.quantization.aware.delayed import DelayedSynapse
from neurodeploy.quantization.aware.export import in_floats
from neurodeploy.quantization.aware.grid import STATE
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
    "rest": ({}, NeuronRecipe(LEARNED, refractory_period=2)),
    "resting current": (
        {"recurrent": True},
        NeuronRecipe(3.0, tau_syn=LEARNED, refractory_period=1, reset="zero"),
    ),
    "integrate": ({"readout": "integrate"}, NeuronRecipe(3.0)),
    "leak": (
        {"readout": {"kind": "leak", "tau": 4.0, "learn": True, "decode": "last_v"}},
        NeuronRecipe(3.0),
    ),
    "leaking current": (
        {"readout": {"kind": "leak", "tau": 4.0, "tau_syn": 2.0, "learn": True}},
        NeuronRecipe(3.0, tau_syn=2.5),
    ),
    "integrated current": (
        {"readout": {"kind": "integrate", "tau_syn": 2.0, "decode": "last_v"}},
        NeuronRecipe(3.0),
    ),
    "delays": ({"delays": {"max": 3, "learn": True}}, NeuronRecipe(3.0)),
    "delayed current": (
        {"delays": {"max": 2, "per": "neuron"}, "batch_norm": True},
        NeuronRecipe(LEARNED, tau_syn=2.5),
    ),
    "count": ({"readout": "count"}, NeuronRecipe(3.0)),
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
        ("rest", 8, SLTT()),
        ("resting current", 4, BPTT()),
        ("integrate", 8, SLTT()),
        ("leak", 8, BPTT()),
        ("leaking current", 4, SLTT()),
        ("leaking current", 8, BPTT()),
        ("integrated current", 8, SLTT()),
        ("count", 8, SLTT()),
        ("delays", 8, BPTT()),
        ("delays", 5, SLTT()),
        ("delayed current", 4, BPTT()),
        pytest.param("membrane", 8, SLTT(), marks=pytest.mark.slow),
    ],
)
def test_trained_integers_are_deployed(name: str, bits: int, rule: Rule, tmp_path: Path) -> None:
    check_deployed(trained(name, rule, bits), tmp_path, name)


def test_every_delay_is_shifted_on_its_own(tmp_path: Path) -> None:
    """Units so coarse that sums are shifted to the right, as the chip does it per projection."""
    model = trained("delays", SLTT())
    for receiver in model.receivers:
        scale = float(model.grid(receiver).unit().detach()) / STATE
        model.grid(receiver).start(scale / 2**6)
        for path in receiver.paths:
            synapse = model.synapse(path)
            synapse.exponent -= 6
            assert int(synapse.exponent) < 0
            assert len(synapse.delays) > 2 if isinstance(synapse, DelayedSynapse) else True
    check_deployed(model.eval(), tmp_path, "delays")


def check_deployed(model: IntegerNetwork, tmp_path: Path, name: str) -> None:
    """What the network computes in evaluation is what comes back from its file."""
    x = shown()
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
    *_, last = model.layers
    outputs = np.stack(seen[last], 1)
    read = trace.populations[integers.output]
    if name == "count":
        np.testing.assert_array_equal(read.s, outputs)
        return
    assert read.v is not None
    v = np.asarray(read.v, np.float64)
    unit = float(model.grid(model.receivers[-1]).unit().detach())
    summed = name in ("integrate", "leaking current")
    np.testing.assert_array_equal(v, (outputs if summed else outputs.cumsum(1)) * unit)


@pytest.mark.parametrize("rule", [SLTT(), BPTT()], ids=["sltt", "bptt"])
@pytest.mark.parametrize("name", ["rest", "resting current", "leak", "leaking current"])
def test_gradients_on_integers_are_those_in_floats_of_the_same_weights(
    name: str, rule: Rule
) -> None:
    """Up to what rounding states towards zero changes, and the read-out's unit, a power of two."""
    model = made(name)
    model.begin()
    plain = in_floats(model).to(torch.float32)
    frames = torch.from_numpy(shown()).float().transpose(0, 1)
    labels = torch.arange(SAMPLES) % CLASSES
    found = []
    for network in (plain, model):
        rule.backward(network.train(), frames, labels, torch.nn.functional.cross_entropy)
        parameters = without_grids(dict(network.named_parameters()))
        found.append({n: p.grad.flatten() for n, p in parameters.items() if p.grad is not None})
    expected, on_grid = found
    assert {*on_grid} <= {*expected} and any(n.endswith("_w") for n in on_grid)
    for parameter, value in on_grid.items():
        cosine = torch.cosine_similarity(value, expected[parameter], dim=0)
        assert cosine > 0.98, parameter
        ratio = float(value.norm() / expected[parameter].norm())
        near = 0.5 if parameter.startswith(("layers.fc.", "layers.out.")) else 0.03
        assert ratio == pytest.approx(1, abs=near), parameter


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
    for exponent in (int(layer.exponent), -3):
        layer.exponent.fill_(exponent)
        integers, bias = layer.bias_integers(), layer.integer_bias()
        assert integers is not None and bias is not None
        assert torch.equal(integers, integers.round()) and integers.abs().max() <= 128
        assert torch.equal(bias, 64 * torch.floor(2 * integers * 2.0**exponent))


def test_a_read_out_with_delays_is_refused() -> None:
    layers = {"fc": nn.Linear(3, 4), "lif": LIF(2.0), "out": DelayedLinear(4, 2, 3)}
    model = SpikingNetwork(layers, (3,))
    with pytest.raises(UnsupportedError, match="'out': a read-out with delays"):
        IntegerNetwork(model, load_target("loihi2"), 8, 1, STEPS)
