"""Real numbers beside a deployment's integers: what rounding left of weights, and rates.

Learning on tags starts from ``remainders``. People write learning rates in several ways, and
``suitable_rate`` finds one for the network when nobody does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.onchip.chain import chain
from neurodeploy.onchip.learner import RATE_EXPONENTS
from neurodeploy.onchip.plan import TAG_BITS
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch


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


def parse_rate(text: str) -> float:
    """``2^-6``, ``1/64`` or ``0.015625`` as a number.

    Raises:
        InputError: none of these.
    """
    power = re.fullmatch(r"\s*2\s*(?:\^|\*\*)\s*([+-]?\d+)\s*", text)
    part = re.fullmatch(r"\s*1\s*/\s*(\d+)\s*", text)
    try:
        if power:
            return math.ldexp(1.0, int(power[1]))
        return 1 / int(part[1]) if part else float(text)
    except (ValueError, OverflowError, ZeroDivisionError):
        raise InputError(
            Text(Setting("rate", text), ": expected a power of two such as 2^-6, 1/64 or 0.015625")
        ) from None


def suitable_rate(network: QuantizedNetwork, batch: SampleBatch) -> float:
    """The power of two nearest 1 over the mean number of spikes that reach the read-out per step.

    The read-out's error then shrinks by about itself with each update, as in normalised least mean
    squares (Nagumo and Noda 1967): more spikes need a smaller rate.

    Args:
        batch: some samples of the stream.
    """
    last = chain(network)[-1].projection
    ((_, trace),) = ReferenceEngine(network).run([batch])
    spikes = trace.populations[last.source].s.astype(np.float64) / last.payload
    per_step = float((spikes**2).sum()) / (len(batch) * network.contract.steps)
    lowest, highest = RATE_EXPONENTS
    exponent = round(-math.log2(max(per_step, 1.0)))
    return 2.0 ** min(max(exponent, lowest), highest)
