"""Neuron models beside the leaky one: their equations, their files, and every engine alike."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neurodeploy.artifacts.integers import arrays_of, network_from, structure_of
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.models import Message, only_leaky
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.mapping import map_network
from neurodeploy.neurons.dynamics import ModelStepper
from neurodeploy.neurons.readout import sending_result
from neurodeploy.neurons.registry import MODELS
from neurodeploy.neurons.relay import QuantizedRelay
from neurodeploy.reporting.parity import ParityComparison
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import Overflow, Samples
from neurodeploy.target import load_target
from support.engine_runs import assert_equal, check_engines
from support.random_models import MAKERS, drawn_kinds, random_model_network
from support.random_networks import random_input, random_neuron

GRAPHS = ("chain", "skip", "delayed", "loop", "own")


FEW = {model: range(4 + n, 6 + n) for n, model in enumerate(MODELS)}
"""Networks of each model, of every graph together; recorded answers of Lava to others are in
``test_golden``."""


def drawn(model: str, seed: int) -> QuantizedNetwork:
    rng = np.random.default_rng(seed)
    return random_model_network(seed, drawn_kinds(rng, model), GRAPHS[seed % len(GRAPHS)])


def check_networks(model: str, seeds: range) -> None:
    """The reference against both engines of Lava, everything that is kept and sent."""
    busy, overflow = 0, Overflow()
    for seed in seeds:
        network = drawn(model, seed)
        samples = random_input(network, seed, 2, over_time=bool(seed % 2))
        counted = check_engines(network, samples)
        for name, counters in counted.populations.items():
            overflow.add(name, counters.wraps, counters.saturations)
        ((_, trace),) = ReferenceEngine(network).run(samples.batches(2))
        sent = [trace.populations[p.name].s for p in network.populations if p.neuron]
        busy += all(np.unique(s).size > 1 for s in sent[:2])
    # Equality means little where nothing is sent, or nothing leaves its width.
    assert busy > len(seeds) / 4
    assert overflow.total > 0


def test_every_registered_model_is_tried_here() -> None:
    assert MAKERS.keys() == MODELS.keys()


@pytest.mark.lava
@pytest.mark.parametrize("model", MODELS)
def test_random_networks_agree(model: str) -> None:
    check_networks(model, FEW[model])


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.parametrize("model", MODELS)
def test_a_hundred_random_networks_agree(model: str) -> None:
    check_networks(model, range(100, 220))


@pytest.mark.parametrize("model", MODELS)
def test_integers_come_back_from_their_files(model: str) -> None:
    for seed in range(10):
        network = drawn(model, seed)
        again = network_from(structure_of(network), arrays_of(network), "here")
        samples = random_input(network, seed, 2, over_time=False)
        found = [ReferenceEngine(n).run(samples.batches(2), state=True) for n in (network, again)]
        for (_, one), (_, other) in zip(*found, strict=True):
            assert assert_equal(one, other) > 0
        for one, other in zip(network.populations, again.populations, strict=True):
            assert type(one.neuron) is type(other.neuron)


@pytest.mark.parametrize("model", MODELS)
def test_each_model_takes_its_room_on_a_core(model: str) -> None:
    network = drawn(model, 0)
    mapping = map_network(network, load_target("loihi2"))
    taken = {p.name: 0 for p in network.populations if p.neuron}
    for placement, use in zip(mapping.placements, mapping.uses, strict=True):
        taken[placement.population] += use.neurons
    for population in network.populations:
        if population.neuron is not None:
            slots = getattr(population.neuron, "slots", 1)
            assert taken[population.name] == math.prod(population.shape) * slots


def test_a_model_that_nobody_knows_is_refused_by_name() -> None:
    network = drawn("Relay", 0)
    table = structure_of(network)
    changed = [p["neuron"] for p in table["populations"] if p["neuron"] and "model" in p["neuron"]]
    changed[0]["model"] = "Telepath"
    known = ", ".join(sorted(MODELS))
    with pytest.raises(InputError, match=rf"model 'Telepath', this version knows {known}\)"):
        network_from(table, arrays_of(network), "here")


def test_a_relay_adds_shifts_and_saturates() -> None:
    """Worked out by hand: -7 >> 1 rounds down to -4."""
    import torch

    relay = QuantizedRelay(np.array([1, 1, 1, 1]), most=15, shift=1)
    stepper = ModelStepper(relay, (4,))
    sent = stepper.step(torch.tensor([[5, -8, 100, -100]]))
    assert sent.tolist() == [[3, -4, 15, -15]]
    assert stepper.state["v"].tolist() == [[6, -7, 101, -99]]
    assert (stepper.wraps, stepper.saturations) == (0, 2)
    # Nothing is kept, and sums are of 32 bits.
    assert stepper.step(torch.tensor([[2**31 - 1, 0, 0, 0]])).tolist() == [[-15, 0, 0, 0]]
    assert stepper.wraps == 1


def test_messages_say_what_they_hold() -> None:
    assert (Message().largest, Message().graded) == (1, False)
    assert Message(24, signed=True).largest == 2**23 - 1
    assert Message(8).largest == 255
    with pytest.raises(ValueError, match="1 to 31 bits, found 32"):
        Message(32)


def test_what_takes_leaky_neurons_alone_names_the_others() -> None:
    network = random_model_network(3, ("Relay", "LIF", "I"), "chain")
    with pytest.raises(UnsupportedError, match=r"learning takes only leaky .* Relay \('a'\)"):
        only_leaky(network, "learning")
    with pytest.raises(UnsupportedError, match="population 'a': has neurons of kind Relay"):
        _ = network.population("a").leaky


def test_an_output_sends_its_v_at_the_end_and_computes_as_before() -> None:
    network = random_model_network(5, ("LIF", "IF", "LI"), "skip")
    sending = sending_result(network)
    samples = random_input(network, 5, 3, over_time=True)
    traces = [
        next(ReferenceEngine(n).run(samples.batches(3), state=True))[1] for n in (network, sending)
    ]
    before, after = (trace.populations["out"] for trace in traces)
    assert before.v is not None and after.v is not None and before.v.any()
    np.testing.assert_array_equal(before.v, after.v)
    np.testing.assert_array_equal(after.s[:, -1], after.v[:, -1])
    assert not after.s[:, :-1].any()
    assert sending.notes["out"] == "sends its v, 24 bits, at the end of step 5 of each sample"
    decode = network.contract.decode
    one, other = (trace.predictions(decode) for trace in traces)
    np.testing.assert_array_equal(one, other)


def test_an_output_that_spikes_has_no_value_to_send() -> None:
    network = random_model_network(5, ("LIF", "IF", "LIF"), "chain")
    with pytest.raises(UnsupportedError, match=r"of kind LIF, read by spike_count"):
        sending_result(network)


def test_parity_names_the_state_that_differs() -> None:
    network = random_model_network(3, ("Relay", "LIF", "I"), "chain")
    samples = random_input(network, 0, 2, over_time=False)
    traces = [next(ReferenceEngine(network).run(samples.batches(2), state=True))[1] for _ in "ab"]
    record = traces[1].populations["a"].v
    assert record is not None
    record[1, 2].flat[0] += 1
    comparison = ParityComparison(network, ("reference", "other"), exact=True)
    comparison.add(traces[0], traces[1], None)
    (parity,) = [p for p in comparison.report.populations if p.name == "a"]
    assert parity.mismatches == 1
    assert parity.first_divergence is not None
    assert parity.first_divergence.variables == ("v",)


def test_sums_of_messages_that_leave_32_bits_are_counted() -> None:
    """Lava shifts sums of 32 bits; 2^23 - 1 times 254 and a second one as large are beyond them."""
    relays = QuantizedRelay(np.zeros(2, np.int64), most=2**23 - 1)
    lif = random_neuron(np.random.default_rng(0), "LIF", (3,))
    populations = (
        QuantizedPopulation("input", (1,), None, 255.0),
        QuantizedPopulation("a", (2,), relays, 1.0),
        QuantizedPopulation("b", (3,), lif, 1.0),
    )
    form, most = WeightFormat(8, "mixed"), relays.largest_message
    maps = [Dense(np.full(size, 254), size[1:], size[:1]) for size in ((2, 1), (3, 2))]
    projections = (
        QuantizedProjection("into", "input", "a", maps[0], form, exponent=7, payload=255),
        QuantizedProjection("on", "a", "b", maps[1], form, exponent=-7, payload=most),
    )
    contract = Contract(Semantics(1e-4, "zero", ">"), InputCode("direct", 255), 2, "spike_count")
    # u wraps as often, of what is left of them.
    for value, wraps in ((255, 12), (1, 0)):
        network = QuantizedNetwork("wide", populations, projections, "b", contract)
        drive = np.full((1, 1), value)
        samples = Samples(1, lambda a, b, drive=drive: drive[a:b], None, contract, "made")
        engine = ReferenceEngine(network)
        list(engine.run(samples.batches(1)))
        assert engine.overflow.populations["b"].wraps == wraps
