"""Learned delays: their equations in numpy, how they narrow, and what is deployed of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.nir.file import write_own_nir
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.ir.contract import InputCode
from neurodeploy.ir.operators import SparseMatrix
from neurodeploy.mapping import map_network
from neurodeploy.nn.current import LI, CubaLIF
from neurodeploy.nn.delays import DelayedLinear, anneal_delays, with_fixed_delays
from neurodeploy.nn.families import build_network
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.quantization.aware import trained_to_nir
from neurodeploy.quantization.post_training import quantize
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.rules import BPTT, OTTT, SLTT, Rate, Rule
from neurodeploy.target import load_target

STEPS, SAMPLES, INPUTS, OUTPUTS, LONGEST = 6, 3, 4, 5, 3


def made(per_synapse: bool = True, learn: bool = True) -> DelayedLinear:
    torch.manual_seed(0)
    options = {"per_synapse": per_synapse, "learn": learn}
    return DelayedLinear(INPUTS, OUTPUTS, LONGEST, **options).double()


def sent(seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random((STEPS, SAMPLES, INPUTS)) < 0.5) * 1.0


def shares(delay: np.ndarray, spread: float) -> np.ndarray:
    """G, (..., LONGEST + 1)."""
    distance = np.arange(LONGEST + 1) - delay[..., None]
    bell = np.exp(-((distance / spread) ** 2) / 2)
    return bell / bell.sum(-1, keepdims=True)


@pytest.mark.parametrize("per_synapse", [True, False])
@pytest.mark.parametrize("rule", [SLTT(), BPTT()])
def test_gradients_are_those_of_the_equations(rule: Rule, per_synapse: bool) -> None:
    """Of L = mean_t sum (o[t] - y)^2 with o[t] = sum_k W G[k] s[t - k] + b, written out."""
    layer, x = made(per_synapse), sent()
    layer.spread = 0.8
    goal = np.random.default_rng(2).normal(size=(SAMPLES, OUTPUTS))
    network = SpikingNetwork({"fc": layer}, (INPUTS,))
    rule.backward(network, torch.from_numpy(x), torch.from_numpy(goal), squared)
    weight, delay = (p.detach().numpy() for p in (layer.weight, layer.delay))
    assert layer.bias is not None
    bias = layer.bias.detach().numpy()
    bell = np.broadcast_to(shares(delay, layer.spread), (OUTPUTS, INPUTS, LONGEST + 1))
    places = np.arange(LONGEST + 1)
    by_weight, by_delay = np.zeros_like(weight), np.zeros((OUTPUTS, INPUTS))
    for t in range(STEPS):
        seen = np.stack([x[t - k] if t >= k else 0 * x[0] for k in places], -1)
        o = np.einsum("oik,nik->no", weight[..., None] * bell, seen) + bias
        error = 2 * (o - goal) / STEPS
        by_weight += np.einsum("no,oik,nik->oi", error, bell, seen)
        # dG[k]/dd = G[k] ((k - d) - sum_j G[j] (j - d)) / sigma^2
        slope = bell * (places - (bell * places).sum(-1, keepdims=True)) / layer.spread**2
        by_delay += np.einsum("no,oi,oik,nik->oi", error, weight, slope, seen)
    wanted = by_delay if per_synapse else by_delay.sum(0, keepdims=True)
    assert layer.weight.grad is not None and layer.delay.grad is not None
    np.testing.assert_allclose(layer.weight.grad.numpy(), by_weight, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.delay.grad.numpy(), wanted, rtol=1e-10, atol=1e-12)


def squared(o: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (o - y).square().sum()


@pytest.mark.parametrize("per_synapse", [True, False])
def test_in_evaluation_every_spike_arrives_whole(per_synapse: bool) -> None:
    layer, x = made(per_synapse).eval(), sent()
    steps = np.broadcast_to(np.round(layer.delay.detach().numpy()), (OUTPUTS, INPUTS)).astype(int)
    weight = layer.weight.detach().numpy()
    assert layer.bias is not None
    network = SpikingNetwork({"fc": layer}, (INPUTS,))
    fixed = with_fixed_delays(network)
    for model in (network, fixed):
        model.reset_state()
        with torch.no_grad():
            for t in range(STEPS):
                wanted = np.tile(layer.bias.numpy(), (SAMPLES, 1))
                for o, i in np.ndindex(OUTPUTS, INPUTS):
                    if t >= steps[o, i]:
                        wanted[:, o] += weight[o, i] * x[t - steps[o, i], :, i]
                found = model(torch.from_numpy(x[t])) if model is network else read(model, x[t])
                np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12, atol=1e-12)


def read(model: SpikingNetwork, x: np.ndarray) -> torch.Tensor:
    """What all the groups of a written-out layer add up to."""
    seen = {}
    model.watch = seen.__setitem__
    model(torch.from_numpy(x))
    return torch.stack([y for name, y in seen.items() if not name.endswith("delay")]).sum(0)


@pytest.mark.parametrize("rule", [SLTT(), BPTT(), OTTT()])
def test_weights_learn_as_those_behind_fixed_delays(rule: Rule) -> None:
    layer = made()
    layer.spread = 0.0
    neurons = LIF(3.0, surrogate="sigmoid"), nn.Linear(OUTPUTS, OUTPUTS).double()
    network = SpikingNetwork({"fc": layer, "lif": neurons[0], "out": neurons[1]}, (INPUTS,))
    fixed = with_fixed_delays(network)
    x, goal = torch.from_numpy(3 * sent()), torch.ones(SAMPLES, OUTPUTS, dtype=torch.float64)
    rule.backward(network, x, goal, squared)
    rule.backward(fixed, x, goal, squared)
    assert layer.weight.grad is not None
    total = torch.zeros_like(layer.weight)
    for name, other in fixed.layers.items():
        if name.startswith("fc_") and isinstance(other, nn.Linear):
            assert other.weight.grad is not None
            total += torch.where(layer.steps == int(name.split("_")[1]), other.weight.grad, 0)
    assert bool(total.any())
    torch.testing.assert_close(layer.weight.grad, total, rtol=1e-10, atol=1e-12)


def test_several_steps_at_once_are_those_steps() -> None:
    layer, x = made(), torch.from_numpy(sent())
    layer.reset_state(True)
    one_by_one = torch.stack([layer(step) for step in x])
    layer.reset_state(True)
    at_once = torch.cat([layer.over_steps(x[:4]), layer.over_steps(x[4:])])
    torch.testing.assert_close(at_once, one_by_one)


def test_delays_narrow_and_settle() -> None:
    layer = made()
    spreads = []
    for progress in (0.0, 0.3, 0.6, 0.75, 0.9):
        anneal_delays(nn.Sequential(layer), progress)
        spreads.append(layer.spread)
    assert spreads[0] == LONGEST / 2 and spreads[3:] == [0.0, 0.0]
    assert spreads == sorted(spreads, reverse=True) and spreads[2] > 0.23
    layer.train()
    assert layer.kernel().requires_grad
    assert set(torch.count_nonzero(layer.kernel(), -1).flatten().tolist()) == {1}
    fixed = made(learn=False)
    before = fixed.delay.clone()
    anneal_delays(nn.Sequential(fixed), 0.0)
    assert fixed.spread == 0 and torch.equal(before, before.round())


def test_delays_stay_within_their_range() -> None:
    layer = made()
    with torch.no_grad():
        layer.delay.add_(2.0)
    layer.reset_state(True)
    assert layer.delay.min() >= 0 and layer.delay.max() == LONGEST


def test_a_chip_stores_every_synapse_once(tmp_path: Path) -> None:
    options = {"family": "mlp", "hidden": [20], "delays": {"max": 10, "learn": True}}
    torch.manual_seed(0)
    model = build_network(options, (30,), 3, NeuronRecipe(2.0)).double().eval()
    path = tmp_path / "network.nir"
    write_own_nir(path, trained_to_nir(model, InputCode("events"), 20))
    network = import_nir(path).network
    found = [p for p in network.projections if p.target == "lif1"]
    assert {p.delay for p in found} == set(range(11))
    assert all(isinstance(p.operator, SparseMatrix) for p in found)
    assert sum(p.operator.weights.size for p in found) == 600
    mapped = map_network(quantize(network, load_target("loihi2")), load_target("loihi2"))
    assert not mapped.violations


@pytest.mark.parametrize(
    ("delays", "message"),
    [
        ({"max": 63}, "from 1 to the longest delay of a chip, 62 on"),
        ({"max": 0}, "max is in steps, from 1 to"),
        ({"max": 5, "per": "layer"}, "'layer' is not one of 'synapse', 'neuron'"),
        ({"learn": True}, "key 'max' is missing"),
    ],
)
def test_delays_that_no_chip_has_are_refused(delays: Any, message: str) -> None:
    options = {"family": "mlp", "hidden": [4], "delays": delays}
    with pytest.raises(InputError, match=message):
        build_network(options, (3,), 2, NeuronRecipe(2.0))
    with pytest.raises(InputError, match="longest is in steps, at least 1"):
        DelayedLinear(2, 2, 0)


def test_mean_rates_do_not_see_delays() -> None:
    options = {"family": "mlp", "hidden": [4], "delays": {"max": 2}}
    model = build_network(options, (INPUTS,), OUTPUTS, NeuronRecipe(2.0))
    x = torch.from_numpy(sent()).float()
    with pytest.raises(UnsupportedError, match="DelayedLinear act on the next step"):
        Rate().backward(model, x, torch.zeros(SAMPLES, OUTPUTS), squared)


def test_modules_of_ones_own_have_delays() -> None:
    torch.manual_seed(0)
    neurons = CubaLIF(3.0, 2.0, learn_tau=True, learn_tau_syn=True, refractory_period=1)
    own = nn.Sequential(made(), neurons, nn.Linear(OUTPUTS, 3), LI(5.0)).double().eval()
    network = nd.from_torch(own, sample_shape=(INPUTS,), steps=STEPS, encoder="events")
    found = {p.delay for p in network.projections if p.target == "1"}
    layer = own.get_submodule("0")
    assert isinstance(layer, DelayedLinear)
    assert found == {*layer.steps.flatten().tolist()} | {0}  # the bias is not delayed
    assert network.contract.decode == "sum_v"
    assert network.population("1").neuron is not None
