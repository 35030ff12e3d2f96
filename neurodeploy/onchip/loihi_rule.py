"""Loihi's three-factor rule on the output layer, as Lava's fixed-point engine computes it.

Rule ``delta`` is Widrow and Hoff's: every synapse onto the read-out changes by the error of its
neuron when its input has spiked. In the strings of Lava's ``Loihi3FLearningRule``, with y1 =
-error sent by the read-out and an epoch of two Lava steps (spikes in the first, their error in the
second):

    update step      dw = 2^k*x0*y1
    update sample    dt = x0*y1-u<n>*t   dw = 2^k*u<n>*t     the tag t adds up over the sample

Lava holds a weight shifted left by 7 bits while it adds to it, and rounds what it adds by ONE
random number per epoch for all synapses (``LearningConnectionModelBitApproximate`` of lava-nc
0.10.0). The trace y1, received from the neuron, decays by exp(-1/65535) within the epoch, rounded
by one random number likewise: now and then it loses one. All of that is reproduced here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import InputError, Setting, Text, UnsupportedError
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, WEIGHT_BITS, WeightFormat
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.arithmetic import ReadoutError
from neurodeploy.onchip.chain import Link
from neurodeploy.onchip.frozen import output_layer
from neurodeploy.onchip.learner import LearningOptions, rate_text

EPOCH = 2
"""Lava steps in a learning epoch."""

TRACE_BITS = 7
"""Bits of y1 beside its sign; also those behind the point of the read-out's error."""

TRACE_TAU = 65535
"""Decay constant of y1 in ``Loihi3FLearningRule``."""

EXPONENTS = (-7, 8)
"""Range of k, and of the exponent of any factor in a rule."""

_WEIGHT_SHIFT = 7
_ACCUMULATOR = 2**15
_TAG = 2**8
_ROUNDING_SEED = 2
"""Lava seeds the rounding of synaptic variables with this, always."""


@dataclass(frozen=True, eq=False)
class DeltaPlan:
    """Constants of rule ``delta`` for one network.

    Attributes:
        link: the output layer.
        exponent: k.
        decimation: n, for update ``sample``: every 2^n epochs weights take in the tags.
        error: of the read-out, in 1/128.
        sign: of the weights' format.
    """

    network: QuantizedNetwork
    options: LearningOptions
    link: Link
    exponent: int
    decimation: int | None
    error: ReadoutError
    sign: str

    @property
    def steps(self) -> int:
        """T."""
        return self.network.contract.steps

    @property
    def summed(self) -> bool:
        """Whether o[t] is v, whose sum the class is read from, and not what a step adds to it."""
        return self.network.contract.decode == "sum_v"

    @property
    def epochs(self) -> int:
        """Epochs from one sample's start to the next."""
        return self.steps if self.decimation is None else 2**self.decimation

    @property
    def rules(self) -> dict[str, str]:
        """The strings that Lava is given."""
        if self.decimation is None:
            return {"dw": f"2^{self.exponent}*x0*y1"}
        u = f"u{self.decimation}"
        return {"dw": f"2^{self.exponent}*{u}*t", "dt": f"x0*y1-{u}*t"}

    def deployed(self, weights: np.ndarray) -> np.ndarray:
        """Learnt weights in the format of 8 bits, ties to the even multiple of the step."""
        form = WeightFormat(WEIGHT_BITS, self.sign)
        rounded = np.rint(weights / form.step).astype(np.int64) * form.step
        return np.clip(rounded, form.minimum, form.maximum)


def make_delta_plan(network: QuantizedNetwork, options: LearningOptions) -> DeltaPlan:
    """Choose the exponent of the rule.

    Raises:
        UnsupportedError: the network has what the rule is not defined for.
        InputError: the rate is out of the exponent's range.
    """
    link, steps = output_layer(network), network.contract.steps
    projection = link.projection
    if not isinstance(projection.operator, Dense) or projection.payload != 1:
        raise UnsupportedError(
            f"projection {projection.name!r} is a {projection.operator.kind} of integers up to "
            f"{projection.payload}: Lava's LearningDense is dense and learns from binary spikes"
        )
    exponent = round(math.log2(options.rate * _per_rate(link, steps)))
    lowest, highest = EXPONENTS
    if not lowest <= exponent <= highest:
        low, high = rate_exponents(network)
        raise InputError(
            f"rate {rate_text(options.rate)} is out of range for Loihi's rule on projection "
            f"{projection.name!r}, whose factors are 2^{lowest} to 2^{highest}; "
            f"use 2^{low} to 2^{high}"
        )
    decimation = None
    if options.update == "sample":
        # At least one epoch more than there are steps, in which weights take in the tags.
        decimation = steps.bit_length()
        if decimation > 9:
            raise UnsupportedError(
                Text(
                    f"{steps} steps with ",
                    Setting("update", "sample"),
                    ": Loihi's rule adds up over at most 512 epochs",
                ),
                fix=Text("use ", Setting("update", "step")),
            )
    error = ReadoutError.of_scale(link.population.scale * 2**ACTIVATION_SHIFT, TRACE_BITS)
    return DeltaPlan(
        network, options, link, exponent, decimation, error, projection.weight_format.sign
    )


def rate_exponents(network: QuantizedNetwork) -> tuple[int, int]:
    """Exponents of the smallest and the largest rate that Loihi's rule can express here."""
    shift = math.log2(_per_rate(output_layer(network), network.contract.steps))
    low, high = EXPONENTS
    return math.ceil(low - 0.5 - shift), math.floor(high + 0.5 - shift)


def _per_rate(link: Link, steps: int) -> float:
    """2^k over the rate: weights are integers of a scale, errors 1/128, a sample's loss a mean."""
    scale = link.population.scale / 2.0**link.projection.exponent
    return scale / (2**TRACE_BITS * steps)


class LoihiRule:
    """The synapses of one ``LearningDense`` and the generators of its engine.

    Attributes:
        weights: (outputs, inputs) int64, any integers of the sign's range: Lava does not make
            learnt weights even again.
        tags: the same shape.
        saturated_tags, saturated_weights: how often a bound was met.
    """

    def __init__(self, plan: DeltaPlan, weights: np.ndarray) -> None:
        self.plan = plan
        self.weights = weights.astype(np.int64)
        self.tags = np.zeros_like(self.weights)
        self.saturated_weights = self.saturated_tags = 0
        self._rounding = np.random.default_rng(_ROUNDING_SEED)
        self._rounding.random()
        self._trace = np.random.default_rng(plan.options.seed + 2)
        self._trace_number = self._trace.random()

    def epoch(self, spikes: np.ndarray, y1: np.ndarray, ends: bool) -> None:
        """One epoch of two Lava steps and the learning that ends it.

        Args:
            spikes: (inputs,) bool, x0.
            y1: (outputs,) integers, what the read-out has sent.
            ends: whether u is 1: the last epoch of a sample, for update ``sample``.
        """
        for _ in range(2 * EPOCH):
            # Lava draws twice in every step, whether a trace decays or not.
            self._trace_number = self._trace.random()
        number = self._rounding.random()
        if not (ends or (spikes.any() and y1.any())):
            return  # nothing to add, and so nothing to round
        kept = np.exp(-1 / TRACE_TAU) * y1
        trace = np.floor(kept) + (self._trace_number < kept % 1)
        trace = np.clip(trace, -(2**TRACE_BITS), 2**TRACE_BITS - 1).astype(np.int64)
        product = trace[:, None] * spikes[None, :]
        if self.plan.decimation is None:
            self.weights = self._added(self.weights, [(product, self.plan.exponent)], number)
            self._clip_weights()
            return
        tags = self.tags if ends else np.zeros_like(self.tags)
        if ends:
            self.weights = self._added(self.weights, [(tags, self.plan.exponent)], number)
            self._clip_weights()
        self.tags = self._added(self.tags, [(product, 0), (-tags, 0)], number)
        clipped = np.clip(self.tags, -_TAG - 1, _TAG - 1)
        self.saturated_tags += int(np.count_nonzero(clipped != self.tags))
        self.tags = clipped

    def _added(
        self, values: np.ndarray, terms: list[tuple[np.ndarray, int]], number: float
    ) -> np.ndarray:
        """Values plus terms times 2^exponent, in an accumulator of 15 bits and a sign."""
        total = values << _WEIGHT_SHIFT
        for term, exponent in terms:
            added = term << (exponent + _WEIGHT_SHIFT)
            added = np.clip(added, -_ACCUMULATOR - 1, _ACCUMULATOR - 1)
            total = np.clip(total + added, -_ACCUMULATOR - 1, _ACCUMULATOR - 1)
        whole, rest = total >> _WEIGHT_SHIFT, total & (2**_WEIGHT_SHIFT - 1)
        return whole + (number < rest / 2**_WEIGHT_SHIFT)

    def _clip_weights(self) -> None:
        sign, most = self.plan.sign, 2**WEIGHT_BITS - 1
        lowest = {"mixed": -(2**WEIGHT_BITS), "excitatory": 0, "inhibitory": -most}[sign]
        clipped = np.clip(self.weights, lowest, 0 if sign == "inhibitory" else most)
        self.saturated_weights += int(np.count_nonzero(clipped != self.weights))
        self.weights = clipped
