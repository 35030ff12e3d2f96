"""Rules on cores: how many there are and what one holds, by the uses of a mapping."""

from __future__ import annotations

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping.mapping import RESOURCES, CoreMapping, Violation
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
