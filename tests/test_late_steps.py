"""What layers read of the step before, with delays on the way: the same number of steps in NIR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.from_torch import from_torch
from neurodeploy.interchange.nir.network_in import contract_of, to_network
from neurodeploy.interchange.nir.network_out import network_to_nir
from neurodeploy.interchange.nir_file import read_nir, write_nir
from neurodeploy.ir.network import Network
from neurodeploy.nn.layers import Delay
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.steps import reset
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.trace import SampleBatch, SpikeTrace

STEPS, SIZE = 12, 4


def weights(bias: bool = False) -> nn.Linear:
    layer = nn.Linear(SIZE, SIZE, bias=bias)
    nn.init.uniform_(layer.weight, -0.5, 0.7)
    return layer


def lif() -> LIF:
    return LIF(tau=2.0, v_threshold=0.7)


Sources = dict[str, tuple[str, ...]]

NETWORKS: dict[str, tuple[str, Sources, int]] = {
    "fed back, then delayed": (
        "back late into lif",
        {"back": ("lif",), "late": ("back",), "into": (INPUT,), "lif": ("into", "late")},
        1 + 2,
    ),
    "a delay that reads the step before": (
        "late back into lif",
        {"late": ("lif",), "back": ("late",), "into": (INPUT,), "lif": ("into", "back")},
        2 + 1,
    ),
    "the step before of the step before": (
        "more back into lif",
        {"back": ("lif",), "more": ("back",), "into": (INPUT,), "lif": ("into", "more")},
        2,
    ),
    "through a layer that vanishes": (
        "back same into lif",
        {"same": ("lif",), "back": ("same",), "into": (INPUT,), "lif": ("into", "back")},
        2,
    ),
    "one step alone": (
        "back into lif",
        {"back": ("lif",), "into": (INPUT,), "lif": ("into", "back")},
        1,
    ),
}


def build(name: str) -> tuple[nn.Module, int]:
    order, sources, steps = NETWORKS[name]
    torch.manual_seed(1)
    layers = {
        name: lif()
        if name == "lif"
        else Delay(2)
        if name == "late"
        else nn.Identity()
        if name == "same"
        else weights()
        for name in order.split()
    }
    return SpikingNetwork(layers, (SIZE,), sources).double().eval(), steps


def frames() -> np.ndarray:
    chosen = np.random.default_rng(1).random((5, STEPS, SIZE)) < 0.6
    return chosen.astype(np.int32)


@torch.no_grad()
def spikes_of(module: nn.Module, x: np.ndarray) -> np.ndarray:
    reset(module)
    given = torch.from_numpy(x).double()
    return torch.stack([module(given[:, t]) for t in range(STEPS)], 1).numpy()


def check(module: nn.Module, network: Network, path: Path) -> Network:
    """Torch against the float engine, of the network and of its file; the network in the file."""
    x = frames()
    expected = spikes_of(module, x)
    assert 0.1 < expected.mean() < 0.9
    write_nir(path, network_to_nir(network))
    graph = read_nir(path)
    contract = contract_of(graph, "file")
    assert contract is not None
    again = to_network(graph, contract, network.name)
    for found in (network, again):
        trace = next(iter(FloatEngine(found).run([SampleBatch(0, x, static=False)], state=True)))
        trace = trace if isinstance(trace, SpikeTrace) else trace[1]
        np.testing.assert_array_equal(trace.populations[found.output].s, expected)
    return again


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_add_up_on_the_way_back(name: str, tmp_path: Path) -> None:
    module, steps = build(name)
    network = from_torch(module, (SIZE,), STEPS, encoder="events")
    again = check(module, network, tmp_path / "a.nir")
    for found in (network, again):
        (loop,) = [p for p in found.projections if p.source == p.target]
        assert loop.delay == steps


class ByHand(nn.Module):
    """Weights on the spikes of the step before, whose result is kept for one step more."""

    def __init__(self, onward: bool) -> None:
        super().__init__()
        self.into, self.back, self.fc = weights(), weights(), weights()
        self.first, self.second = lif(), lif()
        self.onward = onward
        self.spikes: Tensor | None = None
        self.drive: Tensor | None = None

    def reset_state(self) -> None:
        self.spikes = self.drive = None

    def forward(self, x: Tensor) -> Tensor:
        if self.spikes is None or self.drive is None:
            self.spikes = self.drive = x.new_zeros(x.shape[0], SIZE)
        back = self.back(self.spikes)
        spikes = self.first(self.into(x) + self.drive)
        self.spikes, self.drive = spikes, back
        return self.second(self.fc(spikes) + back) if self.onward else spikes


@pytest.mark.parametrize("onward", [False, True])
def test_a_module_that_keeps_what_came_of_the_step_before(onward: bool, tmp_path: Path) -> None:
    torch.manual_seed(2)
    module = ByHand(onward).double().eval()
    again = check(module, from_torch(module, (SIZE,), STEPS, encoder="events"), tmp_path / "a.nir")
    delays = {(p.source, p.target, p.delay) for p in again.projections}
    assert ("first", "first", 2) in delays
    assert not onward or {("first", "second", 0), ("first", "second", 1)} <= delays


def test_a_bias_that_starts_late_and_comes_later_still_is_refused() -> None:
    layers = {"more": weights(), "back": weights(bias=True), "into": weights(), "lif": lif()}
    sources = {"back": ("lif",), "more": ("back",), "into": (INPUT,), "lif": ("into", "more")}
    with pytest.raises(UnsupportedError, match="bias that is not added at the first step"):
        from_torch(SpikingNetwork(layers, (SIZE,), sources).eval(), (SIZE,), STEPS)
