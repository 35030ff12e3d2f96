"""Learning rates: how people write them, and one that suits the network when nobody does."""

from __future__ import annotations

import math
import re

import numpy as np

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.chain import chain
from neurodeploy.onchip.options import RATE_EXPONENTS
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch


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
