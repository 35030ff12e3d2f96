"""Balanced mappings: no core takes much longer than the others, and nothing is lost for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.mapping import map_network
from neurodeploy.mapping.estimate import estimate
from neurodeploy.target import Target, load_target

LOIHI1, LOIHI2 = load_target("loihi1"), load_target("loihi2")


def network(busy: float) -> tuple[QuantizedNetwork, dict[str, np.ndarray]]:
    """An image of 2 channels through a convolution to a dense layer, and its spikes."""
    neuron = QuantizedNeuron(
        "LIF", *(np.array([n]) for n in (4096, 2048, 0, 0, 100)), reset="zero", comparison=">"
    )
    conv = Convolution(np.full((4, 2, 3, 3), 2), (2, 12, 12), (1, 1), ((1, 1), (1, 1)), (1, 1))
    dense = Dense(np.full((30, 576), 2), (4, 12, 12), (30,))
    populations = (
        QuantizedPopulation("input", (2, 12, 12), None, 1.0),
        QuantizedPopulation("conv", (4, 12, 12), neuron, 1.0),
        QuantizedPopulation("out", (30,), neuron, 1.0),
    )
    projections = tuple(
        QuantizedProjection(name, source, target, operator, WeightFormat(8, "mixed"), 0, 1)
        for name, source, target, operator in (
            ("a", "input", "conv", conv),
            ("b", "conv", "out", dense),
        )
    )
    contract = Contract(Semantics(1e-3, "zero", ">"), InputCode("events"), 10, "spike_count")
    spikes = {p.name: np.full(p.shape, 10 * busy) for p in populations}
    return QuantizedNetwork("net", populations, projections, "out", contract), spikes


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=["loihi1", "loihi2"])
def test_the_slowest_core_takes_less_and_every_neuron_has_a_core(target: Target) -> None:
    net, spikes = network(0.5)
    few, many = (map_network(net, target, spikes, balance=balance) for balance in (False, True))
    assert few == map_network(net, target, spikes)
    assert len(few.uses) < len(many.uses) <= 128 and many.chips == 1
    assert many.violations == ()
    many.check_holds({p.name: p.shape for p in net.populations if p.neuron})
    one, other = (estimate(net, target, mapping, spikes) for mapping in (few, many))
    assert one.step_ns and other.step_ns
    assert other.step_ns.high < 0.5 * one.step_ns.high
    # The same work, shared out: entries of rows are as many.
    assert other.synaptic_ops == one.synaptic_ops
    assert sum(use.neurons for use in many.uses) == 4 * 144 + 30
    assert map_network(net, target, spikes, balance=True) == many


def test_as_many_cores_as_there_are_and_no_more_chips() -> None:
    net, spikes = network(1.0)
    cores = replace(LOIHI2.chip, cores=replace(LOIHI2.chip.cores, value=5))
    mapping = map_network(net, replace(LOIHI2, chip=cores), spikes, balance=True)
    assert 2 < len(mapping.uses) <= 5 and mapping.violations == ()


def test_nothing_is_cut_for_less_than_the_barrier() -> None:
    net, spikes = network(0.0)
    assert LOIHI2.duration
    barrier = replace(LOIHI2.duration.barrier_all_tiles, value=1e6)
    slow = replace(LOIHI2, duration=replace(LOIHI2.duration, barrier_all_tiles=barrier))
    assert len(map_network(net, slow, spikes, balance=True).uses) == 2


def test_balancing_needs_spikes_and_times() -> None:
    net, spikes = network(0.5)
    with pytest.raises(InputError, match="balance needs the spikes of a simulation"):
        nd.map(net, "loihi2", balance=True)
    with pytest.raises(InputError, match="loihi2 has no times of what a core does"):
        nd.map(net, replace(LOIHI2, duration=None), spikes, balance=True)
