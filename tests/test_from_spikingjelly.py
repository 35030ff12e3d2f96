"""Networks built and exported by SpikingJelly fire the same here, at every step."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn
from torch.fx.proxy import TraceError

from neurodeploy.interchange.nir.importing import open_nir
from neurodeploy.ir.convolution import Convolution
from support.framework_runs import (
    assert_same_spikes,
    here,
    imported,
    on_grid,
    over_time,
    spike_trains,
)

if sys.version_info < (3, 11):
    pytest.skip("SpikingJelly 2 runs on Python 3.11 and above", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    reason = "SpikingJelly is not installed: make install"
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason=reason)
    layer = pytest.importorskip("spikingjelly.activation_based.layer")
    functional = pytest.importorskip("spikingjelly.activation_based.functional")
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable()
        yield
        logging.disable(logging.NOTSET)


def exported(network: nn.Module, *shape: int, **options: Any) -> nir.NIRGraph:
    return exchange.export_to_nir(network, torch.zeros(1, *shape), **options)


def run(network: nn.Module, x: np.ndarray, *names: str) -> dict[str, np.ndarray]:
    functional.reset_net(network)
    return over_time(network, x, {f"_{name}": network.get_submodule(name) for name in names})


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("v_reset", [0.0, -0.5])
def test_dense_layers(decay_input: bool, v_reset: float, tmp_path: Path) -> None:
    network = nn.Sequential(
        on_grid(layer.Linear(6, 8), 0, step=0.5),
        neuron.LIFNode(tau=2.0, decay_input=decay_input, v_reset=v_reset),
        on_grid(layer.Linear(8, 4, bias=False), 1, step=0.125),
        neuron.LIFNode(tau=4.0, decay_input=False, v_threshold=0.75, v_reset=v_reset),
    )
    found = imported(exported(network, 6), tmp_path, "spikingjelly")
    x = spike_trains(6)
    assert_same_spikes(here(found, x), run(network, x, "1", "3"))


def test_neurons_that_count_and_learned_decays(tmp_path: Path) -> None:
    network = nn.Sequential(
        on_grid(layer.Linear(6, 8), 2),
        neuron.IFNode(v_threshold=1.5, v_reset=0.25),
        on_grid(layer.Linear(8, 4), 3, step=0.125),
        neuron.ParametricLIFNode(init_tau=2.0),
    )
    found = imported(exported(network, 6), tmp_path, "spikingjelly")
    x = spike_trains(6, seed=1)
    assert_same_spikes(here(found, x), run(network, x, "1", "3"))


def test_synaptic_currents(tmp_path: Path) -> None:
    cuba = neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=2.0, v_reset=-0.5)
    network = nn.Sequential(on_grid(layer.Linear(6, 8, bias=False), 4), cuba)
    found = imported(exported(network, 6), tmp_path, "spikingjelly")
    x = spike_trains(6, seed=2)
    assert_same_spikes(here(found, x), run(network, x, "1"))


def test_convolutions_and_pooling(tmp_path: Path) -> None:
    network = nn.Sequential(
        on_grid(layer.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), 5, step=0.25),
        neuron.LIFNode(tau=2.0),
        layer.AvgPool2d(2),
        layer.Flatten(),
        on_grid(layer.Linear(12, 5), 6, step=0.125),
        neuron.LIFNode(tau=2.0, v_threshold=1.5),
    )
    found = imported(exported(network, 2, 8, 8), tmp_path, "spikingjelly")
    assert isinstance(found.network.projections[0].operator, Convolution)
    x = spike_trains(2, 8, 8, seed=3, rate=0.2)
    assert_same_spikes(here(found, x), run(network, x, "1", "5"))


def test_convolutions_in_one_axis(tmp_path: Path) -> None:
    network = nn.Sequential(
        on_grid(layer.Conv1d(2, 3, 3, padding=1), 7, step=0.25),
        neuron.LIFNode(tau=2.0),
        on_grid(layer.Conv1d(3, 2, 2, stride=2), 8, step=0.25),
        neuron.IFNode(v_threshold=2.0),
    )
    found = imported(exported(network, 2, 8), tmp_path, "spikingjelly")
    x = spike_trains(2, 8, seed=4)
    assert_same_spikes(here(found, x), run(network, x, "1", "3"))


def test_another_dt_is_stated(tmp_path: Path) -> None:
    network = nn.Sequential(on_grid(layer.Linear(6, 8), 0, step=0.5), neuron.LIFNode(tau=4.0))
    found = imported(exported(network, 6, dt=1e-3), tmp_path, "spikingjelly", dt=1e-3)
    x = spike_trains(6)
    assert_same_spikes(here(found, x), run(network, x, "1"))


# --- what its exporter gets wrong or leaves out ---


def test_it_refuses_what_nir_cannot_say() -> None:
    for module, shape in (
        (neuron.LIFNode(v_reset=None), (4,)),
        (layer.Conv2d(2, 2, 3, groups=2), (2, 6, 6)),
    ):
        with pytest.raises(NotImplementedError, match="NIR"):
            exported(nn.Sequential(module), *shape)


def test_it_cannot_trace_its_recurrent_containers() -> None:
    recurrent = layer.LinearRecurrentContainer(neuron.LIFNode(), 3, 3)
    with pytest.raises(TraceError):
        exported(nn.Sequential(recurrent), 3)


def test_equality_with_the_threshold_is_not_written(tmp_path: Path) -> None:
    """NIR's equations fire above the threshold, SpikingJelly at it."""
    network = nn.Sequential(layer.Linear(1, 1, bias=False), neuron.IFNode())
    with torch.no_grad():
        network.get_parameter("0.weight").fill_(1.0)
    x = np.ones((1, 3, 1), np.uint8)
    assert run(network, x, "1")["_1"].ravel().tolist() == [1, 1, 1]
    graph = exported(network, 1)
    assert here(imported(graph, tmp_path, "spikingjelly"), x)["_1"].s.ravel().tolist() == [1, 1, 1]
    above = imported(graph, tmp_path, "spikingjelly", comparison=">")
    assert here(above, x)["_1"].s.ravel().tolist() == [0, 1, 0]


def test_a_file_of_it_passes_nirs_check_and_is_known(tmp_path: Path) -> None:
    nir.write(tmp_path / "a.nir", exported(nn.Sequential(layer.Linear(4, 3), neuron.LIFNode()), 4))
    nir.read(tmp_path / "a.nir")
    file = open_nir(tmp_path / "a.nir")
    assert (next(iter(file.likely)), file.notes) == ("spikingjelly", [])
