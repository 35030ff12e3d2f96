"""What learning would need on a chip: which circuits, how much memory, how many cores, what energy.

The network with everything that learning adds (``circuits``) is mapped like any other. Energy
counts what a sample made the reference do, times published figures of the target:

    errors     e_ops p_syn + neurons T p_upd     errors through synapses, error neurons at each step
    changes    e_spk p_chg                       synapses behind an input that has spiked, each step
               synapses T p_chg                  of rule eprop, whose traces go on without spikes

By rule ``local`` e_ops are spikes and errors through the signs of each layer's own signal.

Dynamic energy alone, on top of that of inference: a lower bound. So is the time of a sample: that
of the steps that take its spikes through the layers and its errors back, each as long as the mean
step of the network with learning (``mapping.step``). Targets have no figure for the time that the
weights' change takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping import CoreMapping, map_network
from neurodeploy.mapping.estimate import estimate
from neurodeploy.mapping.ranges import Range
from neurodeploy.mapping.readings import checks, error_text
from neurodeploy.onchip.circuits import (
    Circuit,
    error_of,
    synapses_of,
    votes_of,
    with_learning,
)
from neurodeploy.onchip.graph_circuits import depth_of, graph_with_learning
from neurodeploy.onchip.graph_plan import GraphPlan
from neurodeploy.onchip.learner import LayerCounts
from neurodeploy.onchip.loihi_rule import DeltaPlan
from neurodeploy.onchip.plan import LearningPlan, SynapticPlan
from neurodeploy.onchip.prototype_plan import PrototypePlan
from neurodeploy.target import Target

AnyPlan = LearningPlan | GraphPlan | DeltaPlan | PrototypePlan


@dataclass(frozen=True)
class LearningCost:
    """What a rule needs on a target, beyond inference.

    Attributes:
        circuits: what is added.
        cores, learning_cores: of the network alone, and with all that learning adds.
        synapse_words, learning_synapse_words: words of synapse memory, likewise.
        history_bits: for what neurons and synapses remember until an error comes back.
        weights_sent: weights that changed in the mean update and go to the copy that errors pass
            through; 0 where there is no copy.
        error_events: errors other than 0 sent per sample.
        synaptic_updates: synapses that the learning engine visits per sample.
        energy_nj: of learning from one sample, None where the target has no figures.
        update_nj: the same per update.
        update_us: microseconds from update to update, likewise; of rules ``sltt`` and ``local``.
        violations: limits of the target that the network with learning breaks.
        sources: of the energy figures, and how far off such estimates of inference were.
    """

    circuits: tuple[Circuit, ...]
    cores: int
    learning_cores: int
    synapse_words: int
    learning_synapse_words: int
    history_bits: int
    weights_sent: float
    error_events: float
    synaptic_updates: float
    energy_nj: Range | None
    update_nj: Range | None
    violations: tuple[str, ...]
    sources: tuple[str, ...]
    update_us: Range | None = None


def learning_cost(
    plan: AnyPlan,
    target: Target,
    counts: Mapping[str, LayerCounts],
    samples: int,
) -> LearningCost:
    """Estimate the cost of a run.

    Args:
        counts: events by projection, as the reference counted them.
        samples: that they were counted on.
    """
    network, steps = plan.network, plan.network.contract.steps
    added = graph_with_learning(plan) if isinstance(plan, GraphPlan) else with_learning(plan)
    alone, learning = map_network(network, target), map_network(added.network, target)
    updates = 1 if plan.options.update == "sample" else steps
    carriers = _carriers(plan)
    local = plan.options.rule == "local"
    copied = not local and isinstance(plan, SynapticPlan) and plan.options.feedback == "transposed"
    events = error_operations = visited = sent = 0.0
    for projection in network.projections:
        found = counts.get(projection.name)
        if found is None:
            continue
        synapses = synapses_of(projection.operator)
        outputs, inputs = (
            math.prod(shape)
            for shape in (projection.operator.output_shape, projection.operator.input_shape)
        )
        events += found.error_events
        if plan.options.rule == "eprop":
            # Traces go on whether or not a spike arrives.
            visited += synapses * steps * samples
        else:
            visited += found.spikes * synapses / inputs
        if projection.name in carriers and not local:
            error_operations += found.error_events * synapses / outputs
            sent += found.updates if copied else 0
        elif projection.name in carriers:
            error_operations += network.classes * (found.spikes + inputs * steps * samples)
    energy = None
    if target.energy is not None:
        figures = target.energy
        fixed = error_operations * figures.synaptic_op.value
        fixed += visited * figures.synaptic_update.value
        neurons = added.error_neurons * steps * samples
        low, high = (
            (fixed + neurons * figure.value) / samples / 1000
            for figure in (figures.update_inactive, figures.update_active)
        )
        energy = Range(low, high)
    return LearningCost(
        circuits=added.circuits,
        cores=len(alone.uses),
        learning_cores=len(learning.uses),
        synapse_words=_words(alone),
        learning_synapse_words=_words(learning),
        history_bits=added.history_bits,
        weights_sent=sent / samples / updates,
        error_events=events / samples,
        synaptic_updates=visited / samples,
        energy_nj=energy,
        update_nj=energy and Range(energy.low / updates, energy.high / updates),
        # Their advice is for exporting a network, and not for one that learns.
        violations=tuple(f"{v.where}: {v.used}, {v.limit}" for v in learning.violations),
        sources=_sources(target),
        update_us=_time(plan, added.network, learning, target, counts, samples),
    )


def _time(
    plan: AnyPlan,
    network: QuantizedNetwork,
    mapping: CoreMapping,
    target: Target,
    counts: Mapping[str, LayerCounts],
    samples: int,
) -> Range | None:
    """Microseconds from update to update on the cores of the network with learning.

    Args:
        network: with the populations that carry errors.
        mapping: of that network.
    """
    if target.duration is None or not isinstance(plan, SynapticPlan):
        return None
    activity = {p.name: np.zeros(p.shape) for p in network.populations}
    for synapses in plan.synapses:
        projection, found = synapses.projection, counts[synapses.projection.name]
        events = {projection.source: found.spikes, error_of(projection.target): found.error_events}
        for name, count in events.items():
            if name in activity:
                activity[name] += count / samples / activity[name].size
        if (votes := votes_of(projection.target)) in activity:
            activity[votes] += plan.steps
    step = estimate(network, target, mapping, activity).step_ns
    steps = _chip_steps(plan)
    return step and step.scaled(steps / 1000)


def _chip_steps(plan: SynapticPlan) -> int:
    """Through the layers and back, for each step one after the other or for all in a pipeline.

    By rule ``local`` not back, but the error of the last layer takes its step.
    """
    if isinstance(plan, GraphPlan):
        depth = depth_of(plan)
        return (depth + 1 if plan.options.rule == "local" else 2 * depth) * plan.block
    layers = len(plan.synapses)
    return (layers + 1 if plan.options.rule == "local" else 2 * layers) + (plan.block - 1)


def _carriers(plan: AnyPlan) -> frozenset[str]:
    """Names of the projections before which errors come to hidden neurons.

    By rule ``local`` of one for each hidden population, which makes them once, whoever reads it.
    """
    if isinstance(plan, GraphPlan) and plan.options.rule == "local":
        read = {p.source: p.name for p in plan.graph.learning if p.source in plan.nodes}
        return frozenset(read.values())
    if isinstance(plan, GraphPlan):
        return frozenset(p.name for p in plan.graph.learning if plan.graph.carries_back(p))
    if isinstance(plan, LearningPlan):
        return frozenset(synapses.projection.name for synapses in plan.synapses[1:])
    return frozenset()


def _words(mapping: CoreMapping) -> int:
    return sum(use.synapse_words for use in mapping.uses)


def _sources(target: Target) -> tuple[str, ...]:
    if target.energy is None:
        return ()
    used = ("synaptic_op", "synaptic_update", "update_active", "update_inactive")
    figures = [getattr(target.energy, name) for name in used]
    known = dict.fromkeys(f"{figure.source} ({figure.quality})" for figure in figures)
    inference = error_text(checks(target), "energy")
    pace = error_text(checks(target), "time")
    return (
        *known,
        f"no chip was measured while learning; for inference, energy {inference}, time {pace}",
    )
