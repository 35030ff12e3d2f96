"""Every neuron class of snnTorch with every reset fires the same here, in floats and integers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.interchange.nir.network_out import network_to_nir
from neurodeploy.quantization.post_training import quantize
from neurodeploy.simulation.trace import Samples
from neurodeploy.target import load_target
from support.engine_runs import check_engines
from support.framework_runs import (
    assert_same_spikes,
    here,
    imported,
    on_grid,
    spike_trains,
)
from support.quick import quick
from support.snntorch_networks import CLASSES, exported, layer, leaky, node_of, run, snn
from support.wording import refused

RESETS = ("subtract", "zero", "none")
WIRINGS = ((kind, True) for kind in CLASSES), ((kind, False) for kind in CLASSES if kind[0] == "R")
LAYERS = [pair for pairs in WIRINGS for pair in pairs]
"""Class of neuron, and whether a recurrent one is wired all to all."""

X = spike_trains(5, seed=2)


@pytest.fixture(autouse=True)
def no_neurons_of_other_tests() -> Iterator[None]:
    snn.SpikingNeuron.init()
    yield


def network_of(kind: str, reset: str, delay: bool, **how: Any) -> nn.Module:
    neurons = layer(kind, 6, reset_mechanism=reset, reset_delay=delay, **how)
    weights = on_grid(nn.Linear(5, 6, bias=False), 0)
    step = 1 / 32 if kind.endswith("Synaptic") else 1 / 16
    values = np.random.default_rng(0).integers(0, 7, (6, 5)) * step
    with torch.no_grad():
        weights.get_parameter("weight").copy_(torch.from_numpy(values))
    return nn.Sequential(weights, neurons)


@pytest.mark.parametrize("per_neuron", quick([True, False], True))
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize(("kind", "all_to_all"), LAYERS)
def test_spikes_are_those_of_the_class(
    kind: str, all_to_all: bool, reset: str, delay: bool, per_neuron: bool, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"per_neuron": per_neuron, "all_to_all": all_to_all}
    network = network_of(kind, reset, delay, **how)
    stated: dict[str, Any] = {"reset": reset, "reset_delay": delay}
    if kind == "RSynaptic" and not delay:
        with pytest.raises(TypeError):  # snnTorch divides by what it has not set
            run(network, X, "1")
        graph = exported(network_of(kind, reset, True, **how), 5)
        with pytest.raises(UnsupportedError, match=r"'1\.lif'.*fails to run an RSynaptic without"):
            imported(graph, tmp_path, "snntorch", **stated)
        return
    graph = exported(network, 5)
    found = imported(graph, tmp_path, "snntorch", **stated)
    name = node_of(kind, "1")
    theirs = {name: run(network, X, "1")["1"]}
    assert_same_spikes(here(found, X), theirs)
    # What is left unsaid is snnTorch's own default.
    if delay:
        unsaid = {} if reset == "subtract" else {"reset": reset}
        assert_same_spikes(here(imported(graph, tmp_path, "snntorch", **unsaid), X), theirs)
    # The network as NIR says the same without the framework.
    write_nir(tmp_path / "ours.nir", found.graph)
    write_nir(tmp_path / "again.nir", network_to_nir(found.network))
    for file in ("ours.nir", "again.nir"):
        again = import_nir(tmp_path / file)
        assert again.unchanged
        assert_same_spikes(here(again, X), theirs)


@pytest.mark.lava
@pytest.mark.parametrize(
    ("kind", "reset"),
    [
        ("Synaptic", "none"),
        ("RSynaptic", "zero"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (
                ("Synaptic", "zero"),
                ("RLeaky", "zero"),
                ("RLeaky", "none"),
                ("RSynaptic", "none"),
            )
        ),
    ],
)
def test_integers_are_the_same_in_lava(kind: str, reset: str, tmp_path: Path) -> None:
    graph = exported(network_of(kind, reset, True), 5)
    found = imported(graph, tmp_path, "snntorch", reset=reset)
    quantized = quantize(found.network, load_target("loihi2"), 8)
    values = X[:, : quantized.contract.steps].astype(np.int32)
    samples = Samples(len(values), lambda a, b: values[a:b], None, quantized.contract, "x", True)
    check_engines(quantized, samples)
    neurons = found.network.population(node_of(kind, "1")).leaky
    assert neurons.refractory_period == int(reset == "zero")


def three_layers() -> nn.Module:
    """A class and a reset each, and a read-out that is never reset."""
    return nn.Sequential(
        on_grid(nn.Linear(5, 6), 0),
        leaky(0.75, (6,), 0.5, reset_mechanism="zero"),
        on_grid(nn.Linear(6, 6, bias=False), 1),
        layer("Synaptic", 6, reset_mechanism="zero"),
        on_grid(nn.Linear(6, 6), 2),
        layer("RLeaky", 6),
        on_grid(nn.Linear(6, 4), 3),
        leaky(0.875, (4,), reset_mechanism="none"),
    )


MIXED: dict[str, Any] = {
    "reset": {"*": "zero", "5.lif": "subtract", "7": "none"},
    "reset_delay": {"5.lif": True},
}


def test_every_layer_has_its_own_reset(tmp_path: Path) -> None:
    network = three_layers()
    found = imported(exported(network, 5), tmp_path, "snntorch", **MIXED)
    theirs = run(network, X, "1", "3", "5", "7")
    theirs["5.lif"] = theirs.pop("5")
    assert_same_spikes(here(found, X), theirs)
    notes = "\n".join(found.notes)
    assert "'1': reset_mechanism 'zero', reset_delay True\n" in notes
    assert "'3': reset_mechanism 'zero', reset_delay True: v stays 0" in notes
    assert "'5.lif': reset_mechanism 'subtract', reset_delay True\n" in notes
    assert "'7': reset_mechanism 'none', as stated" in notes
    assert "default" not in notes and "to read its potential state decode=last_v" in notes


@pytest.mark.parametrize("decode", ["last_v", "sum_v"])
def test_a_membrane_without_reset_is_read_out(decode: str, tmp_path: Path) -> None:
    network = three_layers()
    graph = exported(network, 5)
    last: Any = network.get_submodule("7")
    last.output = True
    mem = []
    run(network, X[:, :0])  # forgets what the export has left
    with torch.no_grad():
        for t in range(X.shape[1]):
            mem.append(network(torch.from_numpy(X[:, t]).float())[1].numpy())
    found = imported(graph, tmp_path, "snntorch", decode=decode, **MIXED)
    trace = here(found, X)["7"]
    assert trace.v is not None and not trace.s.any()
    np.testing.assert_allclose(trace.v, np.stack(mem, 1), atol=1e-4)
    assert not any("to read its potential" in note for note in found.notes)


def test_notes_do_not_contradict_what_is_stated(tmp_path: Path) -> None:
    graph = exported(network_of("Synaptic", "zero", True), 5)
    unsaid = imported(graph, tmp_path, "snntorch").notes
    assert "taken as its defaults, reset_mechanism 'subtract', reset_delay True" in unsaid[0]
    stated = imported(graph, tmp_path, "snntorch", reset="zero").notes
    assert not any("subtract" in note or "default" in note for note in stated)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"reset": {"lif": "zero"}}, r"--reset lif=zero: no node that fires is called 'lif'"),
        ({"reset": {"1": "zero"}}, r"--reset 1=zero: .*known: 1\.lif"),
        ({"reset_delay": {"0": False}}, r"--reset-delay 0=no: no node that fires is called '0'"),
        ({"comparison": {"x": ">="}}, r"--compare x=ge: no node that fires"),
    ],
)
def test_nodes_that_are_not_there_are_refused(
    stated: dict[str, Any], message: str, tmp_path: Path
) -> None:
    graph = exported(network_of("RLeaky", "zero", True), 5)
    with refused(InputError, message, by="export"):
        imported(graph, tmp_path, "snntorch", **stated)


def test_only_snntorch_has_a_delay_of_its_resets(tmp_path: Path) -> None:
    graph = exported(network_of("Leaky", "zero", True), 5)
    with refused(UnsupportedError, r"--reset-delay is for snnTorch.*--from snntorch", by="export"):
        imported(graph, tmp_path, "norse", reset_delay=True)
