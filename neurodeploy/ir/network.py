"""A spiking network in discrete time with real numbers: what quantisation starts from.

A ``Network`` is a graph of populations and projections. Each step t, a population of leaky neurons
computes

    u[t] = u_keep u[t-1] + sum over projections of W s[t - delay]
    v[t] = v_keep v[t-1] + u[t] + bias
    s[t] = v[t] > v_threshold   (or >=; never, when v_threshold is None)
    v[t] = 0 where s[t]         (or v[t] - v_threshold)

and for ``refractory_period`` steps after a spike v[t] = v[t-1] and s[t] = 0, whatever u[t] is. What
neurons of other models compute stands in their files (``models``).

A projection of delay 0 brings the spikes of the same step, so those must not form a cycle; a
projection inside a cycle brings spikes of an earlier step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurodeploy.ir.contract import Comparison, Contract, Reset
from neurodeploy.ir.models import AnyNeuron, FloatModel, not_leaky
from neurodeploy.ir.operators import Operator, Shape


@dataclass(frozen=True, eq=False)
class Neuron(AnyNeuron):
    """Parameters of one population of leaky neurons; arrays broadcast to the population's shape.

    Attributes:
        kind: name of the NIR primitive it came from, for example ``LIF``.
        u_keep: share of the synaptic current u kept per step, 0 <= u_keep < 1.
        v_keep: share of the membrane potential v kept per step, 0 <= v_keep <= 1.
        bias: added to v at every step.
        v_threshold: firing threshold, or None for a population that never spikes.
        refractory_period: steps after a spike, at least 0, in which v stays what the reset left and
            no spike can come; the input of these steps reaches u but not v.
    """

    kind: str
    u_keep: np.ndarray
    v_keep: np.ndarray
    bias: np.ndarray
    v_threshold: np.ndarray | None
    reset: Reset
    comparison: Comparison
    refractory_period: int = 0

    @property
    def spiking(self) -> bool:
        """Whether there is a threshold."""
        return self.v_threshold is not None


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one kind in an array of ``shape``; an input has no ``neuron``."""

    name: str
    shape: Shape
    neuron: Neuron | FloatModel | None

    @property
    def leaky(self) -> Neuron:
        """Its leaky neurons, for what takes no others.

        Raises:
            UnsupportedError: they are of another model.
            ValueError: it is an input.
        """
        if isinstance(self.neuron, Neuron):
            return self.neuron
        raise not_leaky(self.name, self.neuron)


@dataclass(frozen=True, eq=False)
class Projection:
    """One linear operator from the spikes of ``source`` to the current of ``target``.

    Attributes:
        delay: steps between a spike and its effect; 0 means within the same step.
    """

    name: str
    source: str
    target: str
    operator: Operator
    delay: int = 0


@dataclass(frozen=True, eq=False)
class Network:
    """Populations, projections and the contract they are to be run under.

    Attributes:
        output: name of the population that is read out.
    """

    name: str
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    output: str
    contract: Contract

    def population(self, name: str) -> Population:
        """The population of that name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Population]:
        return {population.name: population for population in self.populations}

    @property
    def inputs(self) -> tuple[Population, ...]:
        """Populations without neurons."""
        return tuple(p for p in self.populations if p.neuron is None)

    @property
    def classes(self) -> int:
        """Classes that it tells apart: its outputs, of which the largest names the class."""
        return math.prod(self.population(self.output).shape)
