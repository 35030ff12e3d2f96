"""Rules on spikes and synapses: payloads, delays, and the widths of weights."""

from __future__ import annotations

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.ir.schedule import depths, pipeline_delay
from neurodeploy.mapping.mapping import CoreMapping, Violation
from neurodeploy.target import Target


def spike_payload(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Spikes carry no larger integer than the target's payload, or none at all."""
    bits = target.spike.payload_bits.value
    most = max(2**bits - 1, 1)
    allowed = f"spikes up to {most:,}" if bits else "binary spikes only"
    payloads: dict[str, int] = {}
    for projection in network.projections:
        payloads[projection.source] = max(payloads.get(projection.source, 1), projection.payload)
    return [
        Violation(
            "spike_payload",
            f"population {name!r}",
            f"graded spikes up to {payload:,}",
            f"{target.name} allows {allowed}",
            "train with --set encoder.name=rate",
        )
        for name, payload in payloads.items()
        if payload > most
    ]


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
            "shorten the delay or the path beside it",
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
