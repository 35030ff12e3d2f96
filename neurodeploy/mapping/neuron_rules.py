"""Rules on neurons: what they do at and after a spike, and the widths of their parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurodeploy.errors import Setting, Text
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_ONE, STATE_LIMIT
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedNeuron
from neurodeploy.ir.schedule import guard_steps
from neurodeploy.mapping.mapping import CoreMapping, Violation
from neurodeploy.target import Target


def soft_reset(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Subtracting the threshold after a spike needs programmable neurons."""
    if target.neuron.programmable.value:
        return []
    return [
        Violation(
            "soft_reset",
            f"population {name!r}",
            "reset by subtraction",
            f"{target.name} allows reset to zero only",
            Text("train with ", Setting("neuron.reset", "zero")),
        )
        for name, neuron in _spiking(network)
        if neuron.reset == "subtract"
    ]


def comparison(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Firing at the threshold itself needs programmable neurons."""
    if target.neuron.programmable.value:
        return []
    return [
        Violation(
            "comparison",
            f"population {name!r}",
            "fires at v >= threshold",
            f"{target.name} allows v > threshold only",
            Text("train with ", Setting("neuron.comparison", '">"')),
        )
        for name, neuron in _spiking(network)
        if neuron.comparison == ">="
    ]


def never_spiking(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """A population that never spikes needs programmable neurons, or a threshold out of reach.

    Fixed neurons always have a threshold. The largest one stands for none when v cannot exceed it
    within a sample whatever the input: on Loihi 1 that is 131,071 << 6 = 8,388,544, just below the
    2^23 - 1 where v saturates.
    """
    if target.neuron.programmable.value:
        return []
    highest = (2**target.neuron.threshold_bits.value - 1) << ACTIVATION_SHIFT
    found = []
    for population in network.populations:
        if population.neuron is None or population.neuron.spiking:
            continue
        worst = worst_potential(network, population.name)
        if worst is not None and worst <= highest:
            continue
        reach = "can wrap u" if worst is None else f"can reach v = {worst:,}"
        found.append(
            Violation(
                "never_spiking",
                f"population {population.name!r}",
                f"never spikes but {reach}",
                f"{target.name} allows thresholds up to {highest:,}",
                Text("use fewer steps (", Setting("training.steps", "..."), ") or fewer inputs"),
            )
        )
    return found


def worst_potential(network: QuantizedNetwork, name: str) -> int | None:
    """Largest |v| that a population without threshold can reach in a sample, guard steps included.

    Every source spikes at every step with its largest payload, every weight counts with its
    magnitude, and one neuron has the slowest decays and the largest bias of all. None when u could
    leave its 24 bits, after which v can be anything.
    """
    neuron = network.population(name).leaky
    activation = 0
    for p in network.projections:
        if p.target == name:
            bound = int(p.operator.absolute_row_bound()) * p.payload
            activation += bound << p.exponent if p.exponent >= 0 else -(-bound >> -p.exponent)
    u_keep = DECAY_ONE - int(neuron.u_decay.min())
    v_keep = DECAY_ONE - int(neuron.v_decay.min())
    bias = int(np.abs(neuron.bias_mantissa << neuron.bias_exponent).max(initial=0))
    u = v = u_before = 0
    for _ in range(network.contract.steps + guard_steps(network)):
        u = u * u_keep // DECAY_ONE + (activation << ACTIVATION_SHIFT)
        if u >= STATE_LIMIT:
            return None
        before, v = (u_before, v), min(v * v_keep // DECAY_ONE + u + bias, STATE_LIMIT - 1)
        if before == (u, v):
            break  # nothing changes from here on, however many steps there are
        u_before = u
    return v


def thresholds(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Thresholds fit their field."""
    allowed = 0, 2**target.neuron.threshold_bits.value - 1
    advice = "lower v_threshold or quantise again for this target"
    return _outside(
        network, "thresholds", "threshold", allowed, lambda n: n.threshold, target, advice
    )


def biases(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Bias mantissas and exponents fit their fields."""
    half = 2 ** (target.neuron.bias_mantissa_bits.value - 1)
    mantissas, exponents = (-half, half - 1), (0, target.neuron.bias_exponent_max.value)
    advice = "lower the bias or quantise again for this target"
    return [
        *_outside(
            network, "biases", "bias mantissa", mantissas, lambda n: n.bias_mantissa, target, advice
        ),
        *_outside(
            network, "biases", "bias exponent", exponents, lambda n: n.bias_exponent, target, advice
        ),
    ]


def decays(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Decays fit their field; that of u is stored as one less."""
    most = 2**target.neuron.decay_bits.value - 1
    advice = "quantise again for this target"
    return [
        *_outside(network, "decays", "u_decay", (1, most + 1), lambda n: n.u_decay, target, advice),
        *_outside(network, "decays", "v_decay", (0, most), lambda n: n.v_decay, target, advice),
    ]


def refractory_periods(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Neurons rest after a spike for as long as their field can say."""
    most = target.neuron.refractory_max
    if most is None:
        return []
    return [
        Violation(
            "refractory_periods",
            f"population {name!r}",
            f"rests for {neuron.refractory_period:,} steps after a spike",
            f"{target.name} allows {most.value:,}",
            "shorten the refractory period",
        )
        for name, neuron in _spiking(network)
        if neuron.refractory_period > most.value
    ]


def neuron_models(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping | None = None
) -> list[Violation]:
    """Models other than the leaky one need programmable neurons."""
    if target.neuron.programmable.value:
        return []
    return [
        Violation(
            "neuron_models",
            f"population {population.name!r}",
            f"neurons of kind {population.neuron.kind}",
            f"{target.name} has only leaky integrate-and-fire neurons",
            "use a target with programmable neurons",
        )
        for population in network.populations
        if isinstance(population.neuron, IntegerModel)
    ]


def _spiking(network: QuantizedNetwork) -> list[tuple[str, QuantizedNeuron]]:
    """Populations whose neurons can spike."""
    return [
        (population.name, population.neuron)
        for population in network.populations
        if isinstance(population.neuron, QuantizedNeuron) and population.neuron.spiking
    ]


def _outside(
    network: QuantizedNetwork,
    rule: str,
    parameter: str,
    allowed: tuple[int, int],
    values: Callable[[QuantizedNeuron], np.ndarray | None],
    target: Target,
    advice: str,
) -> list[Violation]:
    """One violation per population with parameters outside ``allowed``, naming the farthest."""
    low, high = allowed
    found = []
    for population in network.populations:
        leaky = isinstance(population.neuron, QuantizedNeuron)
        array = values(population.leaky) if leaky else None
        if array is None or array.size == 0 or (low <= array.min() and array.max() <= high):
            continue
        above = array.max() - high >= low - array.min()
        farthest = int(array.max() if above else array.min())
        found.append(
            Violation(
                rule,
                f"population {population.name!r}",
                f"{parameter} {farthest:,}",
                f"{target.name} allows {low:,} to {high:,}",
                advice,
            )
        )
    return found
