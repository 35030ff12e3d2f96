"""The promise: reference, lava and lava-fused agree bit for bit on every kind of network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from neurodeploy.ir.composition import compose
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution, pool
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.neurons.constant import CONSTANT
from neurodeploy.quantization.post_training import quantize
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.target import load_target
from support.engine_runs import check_engines
from support.random_networks import (
    GRAPHS,
    NEURONS,
    OPERATORS,
    SPIKING,
    random_input,
    random_network,
)
from support.temporal_networks import sparse_events, temporal_network

pytestmark = pytest.mark.lava

networks = st.builds(
    random_network,
    seed=st.integers(0, 2**32 - 1),
    neurons=st.tuples(*[st.sampled_from(SPIKING)] * 2, st.sampled_from(NEURONS)),
    operators=st.tuples(*[st.sampled_from(OPERATORS)] * 2),
    graph=st.sampled_from(GRAPHS),
    payload=st.sampled_from([1, 1, 16, 255]),
)


def check_random_networks(examples: int) -> None:
    """The same property, over few or many networks."""
    seen = {"wraps": 0, "saturations": 0, "networks": 0}

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        # A failing network is small already, and every attempt to shrink it starts Lava anew.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
    )
    @given(networks, st.integers(0, 2**32 - 1), st.booleans())
    def property_holds(network: QuantizedNetwork, seed: int, over_time: bool) -> None:
        overflow = check_engines(network, random_input(network, seed, 3, over_time))
        counters = overflow.populations.values()
        seen["wraps"] += any(c.wraps for c in counters)
        seen["saturations"] += any(c.saturations for c in counters)
        seen["networks"] += 1

    property_holds()
    # Equality means little where nothing overflows.
    assert seen["networks"] >= examples
    assert min(seen["wraps"], seen["saturations"]) > examples / 20


def check_networks_in_time(seeds: range, *, beside: int, state: bool) -> None:
    """Currents, recurrence, delays and biases into currents, over 200 steps.

    Each seed stands for so many networks ``beside`` one another.
    """
    overflowed, rates = 0, []
    for seed in seeds:
        network = temporal_network(seed, 200, beside)
        samples = sparse_events(network, seed, 1)
        overflow = check_engines(network, samples, size=1, state=state)
        ((_, trace),) = ReferenceEngine(network).run(samples.batches(1))
        assert trace.populations[CONSTANT].s.all(), "it fires at every step"
        spikes = trace.populations["a"].s.reshape(200, beside, -1)
        rates += spikes.mean((0, 2)).tolist()
        overflowed += overflow.total > 0
    assert len(rates) == len(seeds) * beside
    # Equality means little in networks that are silent, or fire without pause.
    assert np.mean([rate == 0 for rate in rates]) < 0.25, rates
    assert np.mean([0.02 < rate < 0.9 for rate in rates]) > 0.5, rates
    assert overflowed > 0


def float_network(bits: int) -> Network:
    """Graded image -> convolution -> average pooling and convolution -> dense, self-recurrent."""
    rng = np.random.default_rng(bits)

    def lif(shape: tuple[int, ...], threshold: float | None = 1.0) -> Neuron:
        v_threshold = None if threshold is None else np.full(shape, threshold)
        keep = np.full(shape, 1.0 if threshold is None else 0.6)
        bias = rng.normal(0.2, 0.2, shape)
        return Neuron("LIF", np.zeros(shape), keep, bias, v_threshold, "subtract", ">=")

    def conv(shape: tuple[int, ...], outputs: int) -> Convolution:
        weights = rng.normal(0, 0.5, (outputs, shape[0], 3, 3))
        return Convolution(weights, shape, (1, 1), ((1, 1), (1, 1)), (1, 1))

    first = conv((1, 6, 6), 3)
    averaged = pool((3, 6, 6), (2, 2), (2, 2), (0, 0))
    averaged = averaged.with_weights(averaged.weights / 4)
    second = compose(averaged, conv((3, 3, 3), 4))
    again = Dense(rng.normal(0, 0.2, (36, 36)), (4, 3, 3), (4, 3, 3))
    last = Dense(rng.normal(0, 0.3, (5, 36)), (4, 3, 3), (5,))
    populations = (
        Population("input", (1, 6, 6), None),
        Population("a", (3, 6, 6), lif((3, 6, 6))),
        Population("b", (4, 3, 3), lif((4, 3, 3))),
        Population("out", (5,), lif((5,), None)),
    )
    projections = (
        Projection("input_a", "input", "a", first),
        Projection("a_b", "a", "b", second),
        Projection("b_b", "b", "b", again, delay=1),
        Projection("b_out", "b", "out", last),
    )
    contract = Contract(Semantics(1e-4, "subtract", ">="), InputCode("direct", 15), 5, "last_v")
    return Network("floats", populations, projections, "out", contract)


SLOW_WIDTHS = [pytest.param(bits, marks=pytest.mark.slow) for bits in (2, 3, 5, 6, 7, 8)]


@pytest.mark.parametrize("bits", [1, 4, *SLOW_WIDTHS])
def test_quantised_networks_of_every_width_agree(bits: int) -> None:
    """What quantisation makes, Lava's own truncation leaves as it is."""
    network = quantize(float_network(bits), load_target("loihi2"), bits)
    steps = {p.weight_format.step for p in network.projections}
    # One bit has a projection per sign, without a bit for it.
    assert steps == {2 ** (8 - bits + (bits > 1))}
    samples = random_input(network, bits, 3, over_time=False)
    check_engines(network, samples)
    ((_, trace),) = ReferenceEngine(network).run(samples.batches(3))
    rates = [float(trace.populations[name].s.mean()) for name in "ab"]
    assert min(rates) > 0.01 and max(rates) < 0.9


def test_networks_in_time_agree() -> None:
    check_networks_in_time(range(3), beside=4, state=False)


@pytest.mark.slow
def test_a_hundred_networks_in_time_agree_in_every_variable() -> None:
    check_networks_in_time(range(100, 200), beside=1, state=True)


def test_random_networks_agree() -> None:
    check_random_networks(8)


@pytest.mark.slow
def test_random_networks_agree_where_nothing_is_written_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in networks too large for Lava's own synapses; dense ones without delay stay Lava's."""
    from neurodeploy.lava import stock

    monkeypatch.setattr(stock, "MOST_WRITTEN_OUT", 0)
    check_random_networks(12)


@pytest.mark.slow
def test_two_hundred_random_networks_agree() -> None:
    check_random_networks(240)
