"""Integers through the reference and both engines of Lava, value by value."""

from __future__ import annotations

import numpy as np

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import Overflow, Samples, SpikeTrace


def assert_equal(expected: SpikeTrace, found: SpikeTrace, *, state: bool = True) -> int:
    """Every variable of every population; returns how many values were compared.

    Without ``state`` a v that only one of them has is left out.
    """
    compared = 0
    for name, record in expected.populations.items():
        arrays, others = record.arrays, found.populations[name].arrays
        assert not state or arrays.keys() == others.keys(), name
        for variable, left in arrays.items():
            right = others.get(variable)
            if right is not None:
                np.testing.assert_array_equal(left, right, f"{name}.{variable}")
                compared += left.size
    return compared


def check_engines(
    network: QuantizedNetwork, samples: Samples, *, size: int = 2, state: bool = True
) -> Overflow:
    """Run all three engines; returns what the reference counted.

    Args:
        size: samples at a time.
        state: compare all that neurons keep, too, which is most of the time that Lava takes.
    """
    from neurodeploy.lava.fused import FusedLavaEngine
    from neurodeploy.lava.stock import LavaEngine

    counting = ReferenceEngine(network)
    reference = counting.run(samples.batches(size), state=state)
    engines = [
        kind(network, capacity=size, state=state, timeout=60).run(
            samples.batches(size), state=state
        )
        for kind in (LavaEngine, FusedLavaEngine)
    ]
    for (_, expected), *found in zip(reference, *engines, strict=True):
        for _, trace in found:
            assert assert_equal(expected, trace, state=state) > 0
    return counting.overflow
