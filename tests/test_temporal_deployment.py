"""Networks that live in time, from training through NIR and back to integers on every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.interchange.nir.file import write_own_nir
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.ir.contract import InputCode
from neurodeploy.ir.network import Network
from neurodeploy.nn.families import build_network
from neurodeploy.nn.from_network import to_torch
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.quantization.aware import trained_to_nir
from neurodeploy.quantization.post_training import quantize
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.recipe.constants import TimeConstant
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.trace import SampleBatch, Samples, SpikeTrace
from neurodeploy.target import load_target
from support.engine_runs import check_engines
from support.quick import quick

STEPS, SAMPLES, CLASSES = 12, 4, 3
DENSE, IMAGE = (6,), (2, 6, 6)
CURRENT = NeuronRecipe(3.0, v_threshold=0.7, tau_syn=2.5)
MLP = {"family": "mlp", "hidden": [8, 7]}
NETWORKS: dict[str, tuple[tuple[int, ...], dict[str, Any], NeuronRecipe]] = {
    "mlp": (DENSE, MLP, CURRENT),
    "mlp, rests": (
        DENSE,
        MLP,
        NeuronRecipe(3.0, v_threshold=0.7, tau_syn=2.5, refractory_period=2, reset="zero"),
    ),
    "lif rests": (
        DENSE,
        MLP,
        NeuronRecipe(2.0, v_threshold=0.7, refractory_period=1),
    ),
    "recurrent": (DENSE, {"family": "mlp", "hidden": [8, 7], "recurrent": True}, CURRENT),
    "drawn and learned": (
        DENSE,
        {"family": "mlp", "hidden": [8, 7], "recurrent": True, "batch_norm": True},
        NeuronRecipe(
            TimeConstant(per="neuron", draw="uniform", low=1.5, high=9.0),
            v_threshold=0.7,
            tau_syn=TimeConstant(2.5, per="neuron", learn=True),
        ),
    ),
    "learned without current": (
        DENSE,
        MLP,
        NeuronRecipe(TimeConstant(3.0, per="network", learn=True), v_threshold=0.7),
    ),
    "conv": (
        IMAGE,
        {"family": "conv", "channels": [3, 4], "pool": [1, 2], "batch_norm": True},
        CURRENT,
    ),
    "integrate": (DENSE, MLP | {"readout": "integrate"}, CURRENT),
    "leak": (
        DENSE,
        MLP | {"readout": {"kind": "leak", "tau": 5.0, "tau_syn": 2.0, "learn": True}},
        CURRENT,
    ),
    "leak, last": (
        DENSE,
        MLP | {"readout": {"kind": "leak", "tau": 5.0, "decode": "last_v"}},
        CURRENT,
    ),
    "delays": (
        DENSE,
        MLP | {"recurrent": True, "batch_norm": True, "delays": {"max": 4, "learn": True}},
        CURRENT,
    ),
    "delays, dropout": (
        DENSE,
        MLP | {"recurrent": True, "delays": {"max": 3, "learn": True}, "dropout": 0.3},
        CURRENT,
    ),
    "delays of neurons": (
        DENSE,
        MLP | {"delays": {"max": 3, "per": "neuron"}, "readout": {"kind": "leak", "tau": 5.0}},
        CURRENT,
    ),
    "count": (DENSE, MLP | {"readout": {"kind": "count", "tau": 8.0, "learn": True}}, CURRENT),
    "conv, recurrent": (
        IMAGE,
        {"family": "conv", "channels": [3, 4], "strides": [1, 2], "recurrent": True},
        NeuronRecipe(
            (2.0, 4.0),
            v_threshold=0.7,
            tau_syn=TimeConstant(per="neuron", draw="normal", value=2, deviation=1, low=1, high=4),
        ),
    ),
}


def made(name: str) -> SpikingNetwork:
    """A float64 network in evaluation mode that spikes a lot."""
    shape, options, neuron = NETWORKS[name]
    torch.manual_seed(3)
    model = build_network(options, shape, CLASSES, neuron).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # As training would leave them: learned constants that differ, weights that drive.
            if name.endswith("delay"):
                continue
            if name.endswith("_w"):
                parameter.add_(torch.randn_like(parameter))
            else:
                parameter.mul_(2.0)
    return model


def samples(shape: tuple[int, ...]) -> np.ndarray:
    """Spikes (N, T, ...)."""
    return (np.random.default_rng(4).random((SAMPLES, STEPS, *shape)) < 0.5).astype(np.int32)


def spikes_of(model: SpikingNetwork, x: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What each layer gave, (N, T, ...), and outputs (N, T, classes)."""
    seen: dict[str, list[np.ndarray]] = {name: [] for name in model.layers}
    model.reset_state()
    model.watch = lambda name, value: seen[name].append(value.numpy())
    with torch.no_grad():
        outputs = [model(torch.from_numpy(x[:, t]).double()).numpy() for t in range(x.shape[1])]
    model.watch = None
    whole = {n: np.stack(v, 1) for n, v in seen.items() if len(v) == STEPS}
    return whole, np.stack(outputs, 1)


def read_back(model: SpikingNetwork, folder: Path) -> Network:
    path = folder / "network.nir"
    write_own_nir(path, trained_to_nir(model, InputCode("events"), STEPS))
    return import_nir(path).network


def assert_float_parity(network: Network, model: SpikingNetwork, x: np.ndarray) -> None:
    """Every spike of the float engine is that of the module."""
    ((_, trace),) = FloatEngine(network).run([SampleBatch(0, x, static=False)], state=True)
    layers, _ = spikes_of(model, x)
    compared = 0
    for population in network.populations:
        if (
            population.neuron is not None
            and population.neuron.spiking
            and population.name in layers
        ):
            found = layers[population.name]
            assert 0.02 < found.mean() < 0.98, population.name
            np.testing.assert_array_equal(trace.populations[population.name].s, found)
            compared += found.size
    assert compared > 0
    v, s = (np.asarray(part) for part in _read_out(trace, network.output))
    sums = spikes_of(model, x)[1].sum(1)
    read = {"sum_v": v.sum(1), "last_v": v[:, -1], "spike_count": s.sum(1)}
    np.testing.assert_allclose(sums, read[network.contract.decode], rtol=1e-6, atol=1e-6)


def _read_out(trace: SpikeTrace, output: str) -> tuple[np.ndarray, np.ndarray]:
    """Potentials and spikes of the population that is read."""
    found = trace.populations[output]
    assert found.v is not None and found.s is not None
    return found.v, found.s


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_trained_is_deployed(name: str, tmp_path: Path) -> None:
    model, x = made(name), samples(NETWORKS[name][0])
    network = read_back(model, tmp_path)
    assert_float_parity(network, model, x)
    assert_float_parity(network, to_torch(network, sample_shape=x.shape[2:]), x)


KEPT = (
    "mlp, rests",
    "drawn and learned",
    "leak",
    "delays, dropout",
    "count",
    "conv, recurrent",
)
"""What each of the others has in it is in one of these, or in random networks."""


@pytest.mark.lava
@pytest.mark.parametrize("name", quick(NETWORKS, *KEPT))
def test_engines_agree_on_what_is_trained(name: str, tmp_path: Path) -> None:
    model, x = made(name), samples(NETWORKS[name][0])
    integers = quantize(read_back(model, tmp_path), load_target("loihi2"))
    shown = Samples(len(x), lambda a, b: x[a:b], None, integers.contract, "x", True)
    check_engines(integers, shown)
