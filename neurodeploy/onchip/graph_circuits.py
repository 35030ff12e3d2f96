"""Circuits that learning adds to networks that are no chains: traces beside errors and tags."""

from __future__ import annotations

import math
from dataclasses import replace

from neurodeploy.ir.fixed_point import DECAY_BITS
from neurodeploy.onchip.circuits import (
    MICROCODE,
    Circuit,
    WithLearning,
    backwards,
    error_population,
    errors_to,
    gradient_bits,
    outputs_to_error,
    own_signal,
    plastic_synapses,
    softmax,
    voting,
)
from neurodeploy.onchip.graph_plan import ArcPlan, GraphPlan
from neurodeploy.onchip.trace_plan import TRACE_BITS


def graph_with_learning(plan: GraphPlan) -> WithLearning:
    """Tags, gradients and traces at synapses, error populations and the synapses between these."""
    network, graph = plan.network, plan.graph
    steps = 1 if plan.block == 1 else plan.steps
    readout = network.population(network.output)
    errors = {name: error_population(network.population(name)) for name in plan.nodes}
    projections = [
        *graph.fixed,
        outputs_to_error(readout, errors[readout.name]),
    ]
    circuits = [softmax(readout.name, math.prod(readout.shape))]
    history = 0
    populations = [*errors.values()]
    for name, node in plan.nodes.items():
        if node.signal is not None:
            shape, classes = node.population.shape, math.prod(readout.shape)
            votes, *between = voting(node.population, errors[name].name, node.signal.signs)
            populations.append(votes)
            projections += between
            circuits += own_signal(name, classes, math.prod(shape))
    for arc in plan.arcs:
        projection = arc.synapses.projection
        traces, shared = _trace_bits(arc)
        history += shared
        summed = 0 if plan.block == 1 else gradient_bits(projection, steps)
        if traces and summed:
            # What an error meets is a trace, and not a spike.
            summed += TRACE_BITS - 1 - (projection.payload.bit_length() - 1)
        bits = arc.synapses.tag + summed + traces
        projections.append(replace(projection, learning_bits=bits))
        circuits.append(plastic_synapses(projection, summed))
        if traces or shared:
            kinds = f"{traces} bits of traces in each synapse"
            kinds += f", {TRACE_BITS} in each input" if shared else ""
            circuits.append(Circuit(f"traces of {projection.name}", MICROCODE, kinds))
        if plan.options.rule != "local" and graph.carries_back(projection):
            ends = errors[projection.target].name, errors[projection.source].name
            projections.append(backwards(arc.synapses, *ends))
            size = math.prod(network.population(projection.source).shape)
            random = arc.synapses.feedback is not None
            circuits += errors_to(projection.source, size, random, projection)
    if plan.options.rule == "eprop":
        hidden = sum(math.prod(node.population.shape) for node in plan.nodes.values())
        # What each membrane keeps until the next step.
        history += hidden * (DECAY_BITS + 1)
    added = replace(
        network,
        populations=(*network.populations, *populations),
        projections=tuple(projections),
    )
    neurons = sum(math.prod(population.shape) for population in populations)
    return WithLearning(added, neurons, history, tuple(dict.fromkeys(circuits)))


def _trace_bits(arc: ArcPlan) -> tuple[int, int]:
    """Bits of traces in each synapse, and those of all inputs together."""
    plan, operator = arc.traces, arc.synapses.projection.operator
    if plan.seen == "spikes":
        return 0, 0
    each = TRACE_BITS * (plan.seen != "current")
    each += sum(TRACE_BITS * (2 if above.current else 1) for above in plan.filters)
    if not plan.u_kept.any():
        return each, 0
    if len(plan.u_kept) > 1:
        # Currents that decay in their own ways have a trace of their own for each synapse.
        return each + TRACE_BITS, 0
    return each, TRACE_BITS * math.prod(operator.input_shape)


def depth_of(plan: GraphPlan) -> int:
    """Projections on the longest way of a step from the input to the read-out."""
    depth = {p.name: 0 for p in plan.network.inputs}
    for name in plan.graph.order:
        before = [
            depth[p.source] + 1 for p in plan.graph.learning if p.target == name and not p.delay
        ]
        depth[name] = max(before, default=0)
    return depth[plan.network.output]
