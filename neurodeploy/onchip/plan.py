"""Everything a learning network needs to know, fixed before the first sample: widths and shifts.

With S_l the activation scale of layer l (``QuantizedPopulation.scale``), x its weight exponent,
step its weight step and theta its threshold, the integers mean

    w = step n,  n = (X + 2^(tag-1)) >> tag       weight index n and tag, held together as X
    W = w 2^x / S_l                               per unit of the source's integers
    e_int = kappa_l e                             e = dL/du of the float network
    kappa_L = 2^fraction T                        at the read-out
    kappa_(l-1) = kappa_l (S_l / 2^x) 64 S_(l-1) theta^2 / 2^(surrogate shift + error shift)

or, where a layer makes errors of its own spikes (``local_signal``), with kappa_L in place of
kappa_l and 1 / g in place of S_l / 2^x;

and a gradient G = sum_t e_int[t] s[t]^T changes the synapses by

    X -= G / 2^rate_shift,   2^-rate_shift ~ eta S_l 2^(tag-x) / (payload^2 kappa_l step)

to the nearest power of two: a layer's true rate is within a factor of sqrt(2) of eta. payload is
the largest integer a source spike carries, which the float network takes for 1. A rate that falls
does so by halves: each makes every layer's shift one larger, from a given update on.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.onchip.arithmetic import MOST_BITS, ReadoutError, random_feedback, surrogate_shift
from neurodeploy.onchip.chain import Link, chain
from neurodeploy.onchip.learner import LearningOptions, rate_text
from neurodeploy.onchip.local_signal import LocalSignal

TAG_BITS = 8
"""Bits of a synapse below its weight; Loihi's synapses have a tag of 8 bits."""

FRACTION = 10
"""Bits behind the point of the read-out's errors."""

ERROR_BITS = 16
"""Width of a hidden error with its sign: the graded spike that carries it."""

UPDATE_BITS = 16
"""Width of one update of a synapse with its sign, in units of the tag."""

TYPICAL_BITS = 11
"""A hidden error of typical size has about so many bits, which leaves room for larger ones."""

_SHIFTS = (-16, MOST_BITS)


@dataclass(frozen=True, eq=False)
class SynapsePlan:
    """How a projection learns.

    Attributes:
        index: of its random numbers, and its place in the chain.
        per_rate: what a rate of 1 makes of a unit of gradient, in units of X.
        rate_shift: right shift from gradient to update, at first.
        halvings: updates from which on the shift is one larger than before.
        tag: bits below the weight.
        step, lowest, highest: weights are step n, lowest <= n <= highest.
        feedback: the weights that errors go back through if not the projection's own.
        tags: what is below the weights in the beginning, flat int64.
    """

    projection: QuantizedProjection
    index: int
    per_rate: float
    rate_shift: int
    tag: int
    step: int
    lowest: int
    highest: int
    feedback: np.ndarray | None
    tags: np.ndarray
    halvings: tuple[int, ...] = ()

    def shift_at(self, update: int) -> int:
        """The right shift of an update, counted from 0 over all samples."""
        return self.rate_shift + bisect_right(self.halvings, update)

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest X of a synapse."""
        half = 1 << (self.tag - 1)
        return (self.lowest << self.tag) - half, (self.highest << self.tag) + half - 1

    def initial(self) -> np.ndarray:
        """X of the deployed weights and their tags, flat int64."""
        indices = self.projection.operator.weights.ravel().astype(np.int64) // self.step
        return (indices << self.tag) + self.tags

    def weights(self, state: np.ndarray) -> np.ndarray:
        """The weights that spikes meet, for X of any shape."""
        return self._indices(state) * self.step

    def tags_of(self, state: np.ndarray) -> np.ndarray:
        """The tags below these weights."""
        return state - (self._indices(state) << self.tag)

    def _indices(self, state: np.ndarray) -> np.ndarray:
        return (state + (1 << (self.tag - 1))) >> self.tag


@dataclass(frozen=True)
class NeuronPlan:
    """How a hidden population makes its error: (errors through the weights) surrogate >> shift.

    Attributes:
        threshold: in state units.
        surrogate_shift: see ``arithmetic.integer_triangle``.
        error_shift: the right shift, to the nearest integer.
        per_unit: kappa.
        signal: of rule ``local``, what takes the place of errors through the weights.
    """

    threshold: int
    surrogate_shift: int
    error_shift: int
    per_unit: float
    signal: LocalSignal | None = None


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """One layer of the chain: synapses and the neurons behind them; None for the read-out's."""

    population: QuantizedPopulation
    synapses: SynapsePlan
    neurons: NeuronPlan | None


@dataclass(frozen=True, eq=False)
class SynapticPlan(ABC):
    """A network of which synapses learn that hold weight and tag together.

    Attributes:
        readout: makes the error of the last population.
    """

    network: QuantizedNetwork
    options: LearningOptions
    readout: ReadoutError

    @property
    @abstractmethod
    def synapses(self) -> tuple[SynapsePlan, ...]:
        """Of each projection that learns."""

    @property
    def steps(self) -> int:
        """T."""
        return self.network.contract.steps

    def learned(self, states: Mapping[str, np.ndarray]) -> QuantizedNetwork:
        """The network whose synapses are X, by projection."""
        plans = {synapses.projection.name: synapses for synapses in self.synapses}

        def changed(p: QuantizedProjection) -> QuantizedProjection:
            if p.name not in plans:
                return p
            weights = plans[p.name].weights(states[p.name].astype(np.int64))
            return replace(
                p, operator=p.operator.with_weights(weights.reshape(p.operator.weights.shape))
            )

        return replace(self.network, projections=tuple(map(changed, self.network.projections)))

    def tags(self, states: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What is below the weights of synapses that are X, by projection."""
        plans = {synapses.projection.name: synapses for synapses in self.synapses}
        return {name: plans[name].tags_of(x.astype(np.int64)) for name, x in states.items()}

    @property
    def block(self) -> int:
        """Steps that lie between two updates: T, or 1."""
        return self.steps if self.options.update == "sample" else 1


@dataclass(frozen=True, eq=False)
class LearningPlan(SynapticPlan):
    """A chain that learns by ``sltt``; see the module.

    Attributes:
        layers: from the input on.
    """

    layers: tuple[LayerPlan, ...]

    @property
    def synapses(self) -> tuple[SynapsePlan, ...]:
        """Of each layer, from the input on."""
        return tuple(layer.synapses for layer in self.layers)


def make_plan(
    network: QuantizedNetwork,
    options: LearningOptions,
    tags: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> LearningPlan:
    """Choose every shift.

    Args:
        tags: what is below the weights in the beginning, by projection; 0 where not given.

    Raises:
        UnsupportedError: the network has what the rule is not defined for.
        InputError: the rate is out of the range of a layer's shifts.
    """
    plan = plan_of_any_rate(network, options, tags)
    check_rate(plan)
    return plan


def check_rate(plan: SynapticPlan) -> None:
    """Refuse a rate that the shifts of some projection do not express.

    Raises:
        InputError: there is such a projection.
    """
    options, (lowest, highest) = plan.options, _SHIFTS
    for synapses in plan.synapses:
        if not lowest <= synapses.rate_shift <= highest - len(options.halvings):
            low, high = _rates_of(synapses)
            falling = f" and is halved {len(options.halvings)} times" if options.halvings else ""
            raise InputError(
                f"rate {rate_text(options.rate)}{falling} is out of range for projection "
                f"{synapses.projection.name!r}; use 2^{low} to 2^{high}"
            )


def rates_within_reach(plan: SynapticPlan) -> tuple[int, int]:
    """Exponents of the smallest and the largest rate that the shifts of every layer express."""
    found = [_rates_of(synapses) for synapses in plan.synapses]
    return max(low for low, _ in found), min(high for _, high in found)


def plan_of_any_rate(
    network: QuantizedNetwork,
    options: LearningOptions,
    tags: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> LearningPlan:
    """``make_plan`` with shifts that may be out of range, to measure with rather than to learn by.

    Raises:
        UnsupportedError: the network has what the rule is not defined for.
    """
    links = chain(network)
    readout = 2.0**FRACTION * network.contract.steps
    per_unit, typical = readout, 2.0**FRACTION
    layers: list[LayerPlan] = []
    neurons: NeuronPlan | None = None
    for index in reversed(range(len(links))):
        link = links[index]
        feedback = None
        if options.feedback == "random" and index:
            feedback = random_feedback(link.projection, index, options.seed)
        synapses = synapse_plan(
            link, index, per_unit, options, feedback, tags.get(link.projection.name)
        )
        layers.append(LayerPlan(link.population, synapses, neurons))
        if index:
            source = links[index - 1].population
            if options.rule == "local":
                signal = LocalSignal.of(
                    source.shape, network.classes, index - 1, options.seed, FRACTION
                )
                gain = 2.0**signal.gain_shift
                neurons = _neuron_plan(source, 2.0**FRACTION, readout * gain, signal)
            else:
                weights = link.projection.operator.weights if feedback is None else feedback
                expected = _fan_out(link, weights) * typical
                scale = link.population.scale / 2.0**link.projection.exponent
                neurons = _neuron_plan(source, expected, per_unit * scale)
            per_unit, typical = neurons.per_unit, 2.0**TYPICAL_BITS
    scale = links[-1].population.scale * 2**ACTIVATION_SHIFT
    return LearningPlan(
        network, options, ReadoutError.of_scale(scale, FRACTION), tuple(reversed(layers))
    )


def _fan_out(link: Link, weights: np.ndarray) -> float:
    """What errors of random sign and size 1 come to through the weights of a source neuron."""
    squares = link.projection.operator.with_weights(weights.astype(np.float64) ** 2)
    return math.sqrt(squares.matrix().sum(axis=0).max())


def _neuron_plan(
    source: QuantizedPopulation, typical: float, per_unit: float, signal: LocalSignal | None = None
) -> NeuronPlan:
    """Shifts such that errors of typical size come out at ``TYPICAL_BITS`` bits.

    Args:
        typical: size of what is multiplied with the surrogate.
        per_unit: of that, for dL/ds of the float network.
    """
    threshold = threshold_of(source)
    shift = surrogate_shift(threshold)
    expected = typical * (threshold >> shift)
    error_shift = max(round(math.log2(max(expected, 1.0))) - TYPICAL_BITS, 0)
    theta = threshold / (2**ACTIVATION_SHIFT * source.scale)
    gain = 2**ACTIVATION_SHIFT * source.scale * theta**2 / 2.0 ** (shift + error_shift)
    return NeuronPlan(threshold, shift, error_shift, per_unit * gain, signal)


def threshold_of(population: QuantizedPopulation) -> int:
    """The threshold that all neurons have, in state units."""
    threshold = population.leaky.threshold
    assert threshold is not None
    return int(threshold.flat[0]) << ACTIVATION_SHIFT


def synapse_plan(
    link: Link,
    index: int,
    per_unit: float,
    options: LearningOptions,
    feedback: np.ndarray | None,
    tags: np.ndarray | None,
) -> SynapsePlan:
    """How a projection learns from gradients of so many units, per integer of its source."""
    projection, form = link.projection, link.projection.weight_format
    scale = link.population.scale * 2.0 ** (TAG_BITS - projection.exponent)
    per_rate = scale / (projection.payload**2 * per_unit * form.step)
    return SynapsePlan(
        projection=projection,
        index=index,
        per_rate=per_rate,
        rate_shift=-round(math.log2(options.rate * per_rate)),
        tag=TAG_BITS,
        step=form.step,
        lowest=form.minimum // form.step,
        highest=form.maximum // form.step,
        feedback=feedback,
        tags=np.zeros(projection.operator.weights.size, np.int64) if tags is None else tags,
        halvings=options.halvings,
    )


def _rates_of(synapses: SynapsePlan) -> tuple[int, int]:
    lowest, highest = _SHIFTS[0], _SHIFTS[1] - len(synapses.halvings)
    low, high = (math.frexp(2.0**-shift / synapses.per_rate)[1] - 1 for shift in (highest, lowest))
    return low + 1, high
