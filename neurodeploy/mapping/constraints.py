"""The limits of a target as a list of named rules: every rule runs, all violations come at once.

A rule takes the network, the target and, when there is one, the mapping, and returns what it finds
broken; without a mapping the rules on cores find nothing. To add a rule, write a function beside
its like and put it into ``CONSTRAINTS``.
"""

from __future__ import annotations

from collections.abc import Callable

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping.core_rules import cores, input_axons, neurons, output_axons, synapse_words
from neurodeploy.mapping.mapping import CoreMapping, Violation
from neurodeploy.mapping.neuron_rules import (
    biases,
    comparison,
    decays,
    never_spiking,
    soft_reset,
    thresholds,
)
from neurodeploy.mapping.synapse_rules import (
    delays,
    spike_payload,
    weight_bits,
    weight_exponents,
)
from neurodeploy.target import Target

Constraint = Callable[[QuantizedNetwork, Target, CoreMapping | None], list[Violation]]

CONSTRAINTS: list[Constraint] = [
    spike_payload,
    soft_reset,
    comparison,
    never_spiking,
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
