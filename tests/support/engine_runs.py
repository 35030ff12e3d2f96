"""Integers through the reference and both engines of Lava, value by value."""

from __future__ import annotations

import numpy as np

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import Overflow, Samples, SpikeTrace


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
    for (_, expected), *found in zip(reference, *engines, strict=True):
        for _, trace in found:
            assert assert_equal(expected, trace) > 0
    return counting.overflow
