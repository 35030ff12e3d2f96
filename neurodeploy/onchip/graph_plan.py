"""The plan of networks that learn with shortcuts, loops, delays, currents and traces.

Widths and shifts of populations stand in ``node_plan``, those of traces in ``trace_plan``; synapses
have those of ``plan``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.arithmetic import ReadoutError, random_feedback
from neurodeploy.onchip.chain import Link
from neurodeploy.onchip.graph import LearningGraph, learning_graph
from neurodeploy.onchip.learner import LearningOptions
from neurodeploy.onchip.node_plan import NodePlan, make_node_plan
from neurodeploy.onchip.plan import (
    FRACTION,
    SynapsePlan,
    SynapticPlan,
    check_rate,
    synapse_plan,
)
from neurodeploy.onchip.trace_plan import NO_TRACE, TracePlan, make_trace_plan


@dataclass(frozen=True, eq=False)
class ArcPlan:
    """A projection that learns: its synapses and their traces."""

    synapses: SynapsePlan
    traces: TracePlan


@dataclass(frozen=True, eq=False)
class GraphPlan(SynapticPlan):
    """A network that learns by ``sltt``, ``eprop`` or ``local``; see the module.

    Attributes:
        nodes: by population, constant sources left out.
        arcs: the projections that learn, in the network's order.
    """

    graph: LearningGraph
    nodes: Mapping[str, NodePlan]
    arcs: tuple[ArcPlan, ...]

    @property
    def synapses(self) -> tuple[SynapsePlan, ...]:
        """Of each projection that learns, in the network's order."""
        return tuple(arc.synapses for arc in self.arcs)


def make_graph_plan(
    network: QuantizedNetwork,
    options: LearningOptions,
    tags: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> GraphPlan:
    """Choose every shift.

    Args:
        tags: what is below the weights in the beginning, by projection; 0 where not given.

    Raises:
        UnsupportedError: the network has what the rule is not defined for.
        InputError: the rate is out of the range of a projection's shifts.
    """
    plan = graph_plan_of_any_rate(network, options, tags)
    check_rate(plan)
    return plan


def graph_plan_of_any_rate(
    network: QuantizedNetwork,
    options: LearningOptions,
    tags: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> GraphPlan:
    """``make_graph_plan`` with shifts that may be out of range.

    Raises:
        UnsupportedError: the network has what the rule is not defined for.
    """
    traces = options.rule == "eprop"
    graph = learning_graph(network, options.rule)
    index = {p.name: number for number, p in enumerate(graph.learning)}
    feedback = {
        p.name: random_feedback(p, index[p.name], options.seed)
        for p in graph.learning
        if options.feedback == "random" and graph.carries_back(p)
    }
    nodes: dict[str, NodePlan] = {}
    for name in reversed(graph.order):
        if name not in graph.constant:
            nodes[name] = make_node_plan(graph, name, nodes, feedback, options)
    arcs = []
    for p in graph.learning:
        node = nodes[p.target]
        trace, unit = NO_TRACE, node.per_unit
        if traces:
            trace, unit = make_trace_plan(graph, p, node)
        link = Link(p, node.population)
        synapses = synapse_plan(
            *(link, index[p.name], unit, options, feedback.get(p.name), tags.get(p.name))
        )
        arcs.append(ArcPlan(synapses, trace))
    output = network.population(network.output)
    spikes = nodes[network.output].output == "spikes"
    scale = 1.0 if spikes else output.scale * 2**ACTIVATION_SHIFT
    return GraphPlan(
        *(network, options, ReadoutError.of_scale(scale, FRACTION), graph, nodes, tuple(arcs))
    )
