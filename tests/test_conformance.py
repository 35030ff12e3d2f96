"""The promise: reference, lava and lava-fused agree bit for bit on every kind of network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_networks import GRAPHS, NEURONS, OPERATORS, SPIKING, random_input, random_network

from neurodeploy.lava.compat import lava_available
from neurodeploy.quantized import QuantizedNetwork
from neurodeploy.simulation.reference import ReferenceEngine
from neurodeploy.simulation.trace import Overflow, Samples, SpikeTrace

pytestmark = pytest.mark.skipif(not lava_available(), reason="Lava is not installed")

networks = st.builds(
    random_network,
    seed=st.integers(0, 2**32 - 1),
    neurons=st.tuples(*[st.sampled_from(SPIKING)] * 2, st.sampled_from(NEURONS)),
    operators=st.tuples(*[st.sampled_from(OPERATORS)] * 2),
    graph=st.sampled_from(GRAPHS),
    payload=st.sampled_from([1, 1, 16, 255]),
)


def assert_equal(expected: SpikeTrace, found: SpikeTrace) -> int:
    """Every variable of every population; returns how many values were compared."""
    compared = 0
    for name, record in expected.populations.items():
        for variable in ("s", "u", "v"):
            left, right = (getattr(trace, variable) for trace in (record, found.populations[name]))
            assert (left is None) == (right is None), (name, variable)
            if left is not None:
                np.testing.assert_array_equal(left, right, f"{name}.{variable}")
                compared += left.size
    return compared


def check_engines(network: QuantizedNetwork, samples: Samples) -> Overflow:
    """Run all three engines; returns what the reference counted."""
    from neurodeploy.lava.fused import FusedLavaEngine
    from neurodeploy.lava.stock import LavaEngine

    counting = ReferenceEngine(network)
    reference = counting.run(samples.batches(2), state=True)
    engines = [
        kind(network, capacity=2, state=True, timeout=60).run(samples.batches(2), state=True)
        for kind in (LavaEngine, FusedLavaEngine)
    ]
    for expected, *found in zip(reference, *engines, strict=True):
        for trace in found:
            assert assert_equal(expected, trace) > 0
    return counting.overflow


def check_random_networks(examples: int) -> None:
    """The same property, over few or many networks."""
    seen = {"wraps": 0, "saturations": 0, "networks": 0}

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        # A failing network is small already, and every attempt to shrink it starts Lava anew.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
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


def test_forty_random_networks_agree() -> None:
    check_random_networks(40)


@pytest.mark.slow
def test_two_hundred_random_networks_agree() -> None:
    check_random_networks(240)
