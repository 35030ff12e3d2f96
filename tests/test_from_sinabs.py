"""Networks built and exported by sinabs fire the same here at every step, if once in it at most."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.interchange.nir.importing import open_nir
from neurodeploy.ir.convolution import Convolution
from support.framework_runs import (
    assert_same_spikes,
    clear_of_threshold,
    here,
    imported,
    on_grid,
    over_time,
    spike_trains,
)
from support.narrow import there

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    layers = pytest.importorskip("sinabs.layers", reason="sinabs is not installed: make install")
    sinabs_nir = pytest.importorskip("sinabs.nir")
    activation = pytest.importorskip("sinabs.activation")

SINGLE = {"spike_fn": activation.SingleSpike}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nirtorch retires what sinabs calls
        yield


def iaf(threshold: float = 1.0, **changes: Any) -> nn.Module:
    """Integrate and fire, one step of one batch at a time."""
    how = {"spike_threshold": torch.tensor(threshold), **SINGLE, **changes}
    return layers.IAFSqueeze(num_timesteps=1, **how)


def lif(tau: float, threshold: float = 1.0, **changes: Any) -> nn.Module:
    how = {"spike_threshold": torch.tensor(threshold), **SINGLE, **changes}
    return layers.LIFSqueeze(tau_mem=tau, num_timesteps=1, **how)


def exported(network: nn.Module, *shape: int) -> nir.NIRGraph:
    graph = sinabs_nir.to_nir(network, torch.zeros(1, *shape))
    modules: list[Any] = list(network.modules())
    for module in modules:
        if hasattr(module, "reset_states"):
            module.reset_states()
    return graph


def run(network: nn.Module, x: np.ndarray, *names: str) -> dict[str, np.ndarray]:
    modules: list[Any] = list(network.modules())
    for module in modules:
        if hasattr(module, "init_state_with_shape"):
            module.init_state_with_shape((len(x), *module.v_mem.shape[1:]))
    return over_time(network, x, {name: network.get_submodule(name) for name in names})


def test_dense_layers(tmp_path: Path) -> None:
    network = nn.Sequential(
        on_grid(nn.Linear(6, 8), 0),
        iaf(1.5),
        on_grid(nn.Linear(8, 4, bias=False), 1, step=1 / 32),
        iaf(1.0),
    )
    x = spike_trains(6)
    found = imported(exported(network, 6), tmp_path, "sinabs")
    assert_same_spikes(here(found, x), run(network, x, "1", "3"))


def test_convolutions_and_pooling(tmp_path: Path) -> None:
    network = nn.Sequential(
        on_grid(nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), 2, largest=6),
        iaf(2.0),
        layers.SumPool2d(2),
        nn.Flatten(),
        on_grid(nn.Linear(12, 5), 3, step=1 / 32),
        iaf(1.0),
    )
    x = spike_trains(2, 8, 8, seed=1, rate=0.2)
    found = imported(exported(network, 2, 8, 8), tmp_path, "sinabs")
    assert isinstance(found.network.projections[0].operator, Convolution)
    assert_same_spikes(here(found, x), run(network, x, "1", "5"))


def test_convolutions_in_one_axis(tmp_path: Path) -> None:
    network = nn.Sequential(
        on_grid(nn.Conv1d(2, 3, 3, padding=1), 4, largest=6),
        iaf(2.0),
        on_grid(nn.Conv1d(3, 2, 2, stride=2), 5, step=1 / 32),
        iaf(1.0),
    )
    x = spike_trains(2, 8, seed=2)
    found = imported(exported(network, 2, 8), tmp_path, "sinabs")
    assert_same_spikes(here(found, x), run(network, x, "1", "3"))


@pytest.mark.parametrize("norm_input", [True, False])
def test_leaks(norm_input: bool, tmp_path: Path) -> None:
    """alpha = exp(-1/tau) in float32: v stays clear of the threshold by more than that rounds."""
    torch.manual_seed(2)
    threshold = 0.05 if norm_input else 0.7
    network = nn.Sequential(nn.Linear(6, 8), lif(6.0, threshold, norm_input=norm_input))
    x = spike_trains(6, seed=3)
    options = {} if norm_input else {"gain": "one"}
    found = imported(exported(network, 6), tmp_path, "sinabs", **options)
    assert_same_spikes(here(found, x), run(network, x, "1"))
    assert clear_of_threshold(here(found, x)["1"], threshold, 1e-6)


def test_every_layer_has_its_own_reset(tmp_path: Path) -> None:
    reset = activation.MembraneReset()
    network = nn.Sequential(
        on_grid(nn.Linear(6, 8), 0),
        iaf(1.5, reset_fn=reset),
        on_grid(nn.Linear(8, 8, bias=False), 1, step=1 / 32),
        iaf(1.0),
        on_grid(nn.Linear(8, 6), 2),
        lif(6.0, 0.07, reset_fn=reset),
    )
    x = spike_trains(6)
    graph = exported(network, 6)
    found = imported(graph, tmp_path, "sinabs", reset={"1": "zero", "5": "zero"})
    assert_same_spikes(here(found, x), run(network, x, "1", "3", "5"))
    notes = imported(graph, tmp_path, "sinabs", reset="zero").notes
    assert not any("MembraneSubtract" in note for note in notes)


def test_a_readout_that_leaks(tmp_path: Path) -> None:
    readout = layers.ExpLeakSqueeze(tau_mem=5.0, num_timesteps=1)
    network = nn.Sequential(nn.Linear(6, 4), readout)
    x = spike_trains(6, seed=4)
    found = imported(exported(network, 6), tmp_path, "sinabs")
    np.testing.assert_allclose(there(here(found, x)["1"].v), run(network, x, "1")["1"], atol=1e-5)


# --- what its exporter gets wrong or leaves out ---


def written(layer: nn.Module) -> Any:
    return exported(nn.Sequential(nn.Linear(4, 3), layer), 4).nodes["1"]


def test_it_writes_nothing_of_spikes_resets_currents_and_floors() -> None:
    plain = written(lif(20.0))
    for other in (
        lif(20.0, spike_fn=activation.MultiSpike),
        lif(20.0, reset_fn=activation.MembraneReset()),
        lif(20.0, tau_syn=5.0),
        lif(20.0, min_v_mem=-1.0),
        lif(20.0, norm_input=False),
    ):
        for name in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
            assert np.asarray(getattr(written(other), name)) == np.asarray(getattr(plain, name))


def test_more_than_one_spike_per_step_is_lost(tmp_path: Path) -> None:
    """Its default. Here one spike is left of three, and v keeps the rest for the next steps."""
    network = nn.Sequential(nn.Linear(1, 1, bias=False), iaf(spike_fn=activation.MultiSpike))
    with torch.no_grad():
        network.get_parameter("0.weight").fill_(3.5)
    found = imported(exported(network, 1), tmp_path, "sinabs")
    assert any("MultiSpike" in note for note in found.notes)
    x = np.zeros((1, 4, 1), np.uint8)
    x[0, 0] = 1
    assert run(network, x, "1")["1"].ravel().tolist() == [3, 0, 0, 0]
    assert here(found, x)["1"].s.ravel().tolist() == [1, 1, 1, 0]


def test_it_fails_at_a_time_constant_per_neuron() -> None:
    with pytest.raises(AssertionError, match="same shape"):
        written(layers.LIFSqueeze(tau_mem=torch.tensor([5.0, 6.0, 7.0]), num_timesteps=1))


def test_it_has_no_recurrence() -> None:
    recurrent = layers.LIFRecurrent(tau_mem=9.0, rec_connect=nn.Linear(3, 3))
    with pytest.raises(NotImplementedError, match="LIFRecurrent"):
        sinabs_nir.to_nir(nn.Sequential(nn.Linear(4, 3), recurrent), torch.zeros(1, 5, 4))


def test_nir_cannot_write_its_convolutions_and_leaks(tmp_path: Path) -> None:
    for network, shape in (
        (nn.Sequential(nn.Conv1d(1, 2, 3), iaf()), (1, 8)),
        (nn.Sequential(nn.Linear(4, 3), lif(9.0)), (4,)),
    ):
        with pytest.raises(TypeError):
            nir.write(tmp_path / "a.nir", exported(network, *shape))


def test_a_file_of_it_is_known(tmp_path: Path) -> None:
    nir.write(tmp_path / "a.nir", exported(nn.Sequential(nn.Linear(4, 3), iaf()), 4))
    assert next(iter(open_nir(tmp_path / "a.nir").likely)) == "sinabs"
