"""Adaptive neurons and resonators from floats to integers: the same spikes, nearly all of them."""

from __future__ import annotations

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.models import FloatModel
from neurodeploy.ir.network import Network, Population, Projection
from neurodeploy.ir.operators import Dense
from neurodeploy.neurons.adaptive import Adaptive, QuantizedAdaptive
from neurodeploy.neurons.resonators import QuantizedResonator, Resonator

STEPS = 24


def network_of(neuron: FloatModel) -> Network:
    """12 inputs of 16 levels into 40 neurons of that model."""
    rng = np.random.default_rng(0)
    contract = Contract(Semantics(1e-4, "zero", ">"), InputCode("events", 16), STEPS, "spike_count")
    synapses = Dense(rng.normal(0.1, 0.4, (40, 12)), (12,), (40,))
    populations = (Population("input", (12,), None), Population("a", (40,), neuron))
    return Network("n", populations, (Projection("w", "input", "a", synapses),), "a", contract)


def resonators(firing: str) -> Resonator:
    angle = np.tile(2 * np.pi / np.linspace(3, 12, 20), 2)
    kind = "phase" if firing == "phase" else "izhikevich"
    return Resonator(0.97 * np.sin(angle), 0.97 * np.cos(angle), 0.6, kind)


MODELS: dict[str, FloatModel] = {
    "adaptive": Adaptive(0.5, 0.9, 0.8, 0.7, 0.8, 0.3, np.linspace(-0.1, 0.2, 40)),
    "adaptive without current": Adaptive(0.0, 1.0, 0.95, 0.9, 0.5, 0.1, np.zeros(1)),
    "phase": resonators("phase"),
    "izhikevich": resonators("izhikevich"),
}


@pytest.mark.parametrize("name", MODELS)
def test_integers_spike_where_floats_do(name: str) -> None:
    network = network_of(MODELS[name])
    rng = np.random.default_rng(1)
    x = rng.integers(0, 17, (30, STEPS, 12)) * (rng.random((30, STEPS, 12)) < 0.4)
    floats = nd.simulate(network, x, engine="float")["a"].spikes
    integers = nd.quantize(network, "loihi2", bits=8)
    trace = nd.simulate(integers, x)
    found = trace["a"].spikes
    assert floats.mean() > 0.02
    assert (floats != found).sum() < 0.1 * floats.sum()
    assert trace.overflow.total == 0
    scale = integers.population("a").scale
    before, neuron = MODELS[name], integers.population("a").neuron
    if isinstance(before, Adaptive):
        assert isinstance(neuron, QuantizedAdaptive)
        assert neuron.theta_0 == round(before.theta_0 * scale)
        assert neuron.v_decay == round(4096 * (1 - before.v_keep))
    else:
        assert isinstance(neuron, QuantizedResonator)
        assert neuron.threshold == round(0.6 * scale)


def test_leaks_that_12_bits_lose_are_named() -> None:
    slow = Adaptive(0.0, 1 - 1e-5, 0.0, 0.9, 0.5, 0.1, np.zeros(1))
    notes = nd.quantize(network_of(slow), "loihi2").notes["a"]
    assert "v keeps 0.99999 a step, decay 0 of 4096" in notes
    assert "theta keeps 0 a step, decay 4095 of 4096" in notes
    assert "u keeps" not in notes and "r keeps" not in notes
