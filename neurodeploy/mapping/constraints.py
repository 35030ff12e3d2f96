"""Limits of a target as a list of named rules: every rule runs, all violations come at once.

A rule takes the network, the target and, when there is one, the mapping, and returns what it finds
broken; without a mapping the rules on cores find nothing. The rules here are on cores, spikes and
synapses; those on neurons are in ``neuron_rules``. To add a rule, write a function beside its like
and put it into ``CONSTRAINTS``.
"""

from __future__ import annotations

from collections.abc import Callable

from neurodeploy.errors import Setting, Text
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.ir.schedule import depths, pipeline_delay
from neurodeploy.mapping.mapping import RESOURCES, CoreMapping, Violation
from neurodeploy.mapping.neuron_rules import (
    biases,
    comparison,
    decays,
    neuron_models,
    never_spiking,
    refractory_periods,
    soft_reset,
    thresholds,
)
from neurodeploy.target import Target


def neurons(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """No core holds more neurons than it has."""
    return _overfull("neurons", target, mapping, "split the layer")


def input_axons(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """No core takes input from more sources than it has axons for."""
    return _overfull("input_axons", target, mapping, "reduce fan-in or split the layer")


def output_axons(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """No core sends its spikes to more places than it has axons for."""
    return _overfull("output_axons", target, mapping, "reduce fan-out or split the layer after it")


def synapse_words(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """The synapses onto a core fit its memory."""
    return _overfull("synapse_words", target, mapping, "reduce fan-in or the width of the weights")


def cores(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """The target has a core for every part of the network."""
    if mapping is None or len(mapping.uses) <= mapping.cores:
        return []
    return [
        Violation(
            "cores",
            f"network {network.name!r}",
            f"{len(mapping.uses):,} cores",
            f"{target.name} has {mapping.cores:,}",
            "use smaller layers or a target with more chips",
        )
    ]


def _overfull(
    resource: str, target: Target, mapping: CoreMapping | None, advice: str
) -> list[Violation]:
    """One violation per population with a core beyond the limit, naming its fullest core."""
    if mapping is None or resource not in mapping.limits:
        return []
    limit = mapping.limits[resource]
    found = []
    for name, uses in mapping.by_population().items():
        most = max(getattr(use, resource) for use in uses)
        if most > limit:
            found.append(
                Violation(
                    resource,
                    f"population {name!r}",
                    f"{most:,} {RESOURCES[resource]} per core",
                    f"{target.name} allows {limit:,}",
                    advice,
                )
            )
    return found


def spike_payload(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Spikes carry no larger integer than the target's payload, or none at all.

    Of neurons the whole width of a message counts, its sign among it; of inputs what they send.
    """
    bits = target.spike.payload_bits.value
    most = max(2**bits - 1, 1)
    payloads: dict[str, int] = {}
    for projection in network.projections:
        payloads[projection.source] = max(payloads.get(projection.source, 1), projection.payload)
    found = []
    for population in network.populations:
        neuron, payload = population.neuron, payloads.get(population.name, 1)
        if neuron is None and payload > most:
            used = f"graded spikes up to {payload:,}"
            allowed = f"spikes up to {most:,}" if bits else "binary spikes only"
            advice = Text("train with ", Setting("encoder.name", "rate"))
        elif neuron is not None and neuron.message.graded and neuron.message.bits > bits:
            used = f"neurons of kind {neuron.kind} send messages of {neuron.message.bits} bits"
            allowed = f"{bits} bits" if bits else "binary spikes only"
            advice = Text("use a target with graded spikes, or fewer bits")
        else:
            continue
        where = f"population {population.name!r}"
        allowed = f"{target.name} allows {allowed}"
        found.append(Violation("spike_payload", where, used, allowed, advice))
    return found


def delays(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Synaptic delays, those that line up paths of unequal length included, fit their field."""
    most = target.synapse.delay_max.value
    depth = depths(network)
    return [
        Violation(
            "delays",
            f"projection {projection.name!r}",
            f"{delay:,} steps of synaptic delay",
            f"{target.name} allows {most:,}",
            "shorten the delay or the parallel path",
        )
        for projection in network.projections
        if (delay := pipeline_delay(depth, projection)) > most
    ]


def weight_bits(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Weights fit their field."""
    most = target.synapse.weight_bits.value
    return [
        Violation(
            "weight_bits",
            f"projection {projection.name!r}",
            f"{projection.weight_format.bits}-bit weights",
            f"{target.name} allows {most}",
            f"quantise to {most} bits",
        )
        for projection in network.projections
        if projection.weight_format.bits > most
    ]


def weight_exponents(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Shifts of the accumulated activation are in range."""
    low = target.synapse.weight_exponent_min.value
    high = target.synapse.weight_exponent_max.value
    return [
        Violation(
            "weight_exponents",
            f"projection {projection.name!r}",
            f"weight exponent {projection.exponent}",
            f"{target.name} allows {low} to {high}",
            "bring the weights of the population's projections closer to one another",
        )
        for projection in network.projections
        if not low <= projection.exponent <= high
    ]


Constraint = Callable[[QuantizedNetwork, Target, CoreMapping | None], list[Violation]]

CONSTRAINTS: list[Constraint] = [
    spike_payload,
    soft_reset,
    comparison,
    never_spiking,
    refractory_periods,
    neuron_models,
    delays,
    weight_bits,
    weight_exponents,
    thresholds,
    biases,
    decays,
    neurons,
    input_axons,
    output_axons,
    synapse_words,
    cores,
]


def check(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> tuple[Violation, ...]:
    """All violations, rule by rule.

    Raises:
        UnsupportedError: a cycle has fewer steps of delay than projections.
    """
    return tuple(violation for rule in CONSTRAINTS for violation in rule(network, target, mapping))
