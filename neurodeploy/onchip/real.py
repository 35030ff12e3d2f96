"""Real numbers beside a deployment's integers: what rounding left of weights, which tags hold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.onchip.plan import TAG_BITS


def remainders(network: QuantizedNetwork, floats: Network) -> Mapping[str, np.ndarray]:
    """Tags by projection, flat int64, of the network that ``floats`` was rounded to.

    A synapse holds n and a tag together as X = 2^tag n + tag. With tags of 0 every weight is half a
    step away from its next value, and of 4 bits, on a stream that teaches little, none may ever get
    there. With the part of the float weight that rounding took away, some are close: learning goes
    on as if it had begun in floats, like training with weights rounded in the forward pass
    (Courbariaux et al. 2015, "BinaryConnect"). A chip loads tags together with the weights.

    A weight that was clipped, or rounded to anything but the nearest, has the tag nearest to it.
    Projections that rounding has split or reshaped are left out.
    """
    before = {p.name: p for p in floats.projections}
    found = {}
    for p in network.projections:
        weights = before[p.name].operator.weights if p.name in before else np.zeros(0)
        if weights.shape == p.operator.weights.shape:
            found[p.name] = _remainder(p, weights, network.population(p.target).scale)
    return found


def _remainder(projection: QuantizedProjection, weights: np.ndarray, scale: float) -> np.ndarray:
    p = projection
    exact = weights * (scale / (2.0**p.exponent * p.payload))
    left = (exact - p.operator.weights) / p.weight_format.step
    half = 1 << (TAG_BITS - 1)
    return np.clip(np.rint(left * 2 * half), -half, half - 1).astype(np.int64).ravel()
