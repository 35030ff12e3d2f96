"""Post-training quantisation: a float network, rounded population by population.

A population with scale S holds currents and thresholds in units of 1/S; a projection from a source
whose integers mean 1/scale brings weights W S / scale, of which a power of two goes into the weight
exponent. How S is found is in ``scales``. Factors of any size, for example those of average
pooling, go into S and with it into the threshold: they cost no bits of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.models import FloatModel
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.neurons.constant import CONSTANT
from neurodeploy.quantization.parameters import (
    quantized_biases,
    quantized_decays,
    quantized_thresholds,
)
from neurodeploy.quantization.scales import (
    ScaleMethod,
    candidates,
    laid_out,
    max_ratios,
    mse_ratios,
    percentile_ratios,
)
from neurodeploy.quantization.weights import Incoming, payload_of
from neurodeploy.simulation.exact import activation_bound
from neurodeploy.target import Target


class Judge(Protocol):
    """Says how well integers do on data; the scale method ``calibrate`` asks it."""

    def costs(
        self, tries: Sequence[tuple[QuantizedPopulation, Sequence[QuantizedProjection]]]
    ) -> list[float]:
        """How far a population, in each of these forms, is from the float network's.

        Populations settled stand before it.
        """
        ...

    def lacking(
        self, population: QuantizedPopulation, incoming: Sequence[QuantizedProjection]
    ) -> np.ndarray:
        """Mean input per step that the integers lack, (*shape) in units of the float network."""
        ...

    def settle(
        self, population: QuantizedPopulation, incoming: Sequence[QuantizedProjection]
    ) -> None:
        """Take this population as decided: those behind it see its spikes."""
        ...


def quantize(
    network: Network,
    target: Target,
    weight_bits: int | None = None,
    *,
    scale: ScaleMethod = "mse",
    judge: Judge | None = None,
    bias_exponent_min: int = 0,
) -> QuantizedNetwork:
    """Round a network to the integers of a target.

    Args:
        weight_bits: width of all weights; the target's when None.
        scale: how scales are chosen. ``max`` clips nothing, ``percentile`` clips outliers, ``mse``
            minimises the squared error of the weights, ``calibrate`` asks ``judge`` about scales
            around that, population by population from the input on.
        judge: for ``calibrate`` and for nothing else.
        bias_exponent_min: biases are multiples of 2 to this.

    Raises:
        ValueError: ``calibrate`` without a judge.
    """
    if (judge is None) == (scale == "calibrate"):
        raise ValueError(f"scale {scale!r} with judge {judge}: calibrate needs one, others none")
    bits = target.synapse.weight_bits.value if weight_bits is None else weight_bits
    populations: list[QuantizedPopulation] = []
    projections: dict[Projection, list[QuantizedProjection]] = {}
    notes: dict[str, str] = {}
    for population in network.populations:
        if population.neuron is None:
            payload = payload_of(network, population)
            populations.append(
                QuantizedPopulation(population.name, population.shape, None, float(payload))
            )
            continue
        known = {p.name: p for p in populations}
        incoming = [
            part
            for projection in network.projections
            if projection.target == population.name
            for part in Incoming.of(projection, network, bits, known)
        ]
        steps = network.contract.steps
        if isinstance(population.neuron, FloatModel):
            integers = _of_model(population, population.neuron, incoming, target, steps, scale)
            if judge is not None:
                judge.settle(integers.population, integers.incoming)
        else:
            leaky = population.leaky
            layer = _Layer(population, leaky, incoming, target, steps, bias_exponent_min)
            integers = _chosen(layer, scale, judge)
        populations.append(integers.population)
        for item, part in zip(incoming, integers.incoming, strict=True):
            projections.setdefault(item.projection, []).append(part)
        notes |= integers.notes
    return QuantizedNetwork(
        network.name,
        tuple(populations),
        tuple(part for p in network.projections for part in projections[p]),
        network.output,
        network.contract,
        notes,
    )


@dataclass(frozen=True, eq=False)
class _Integers:
    """A population in integers, the projections into it, and notes on both."""

    population: QuantizedPopulation
    incoming: list[QuantizedProjection]
    notes: dict[str, str]


@dataclass(frozen=True, eq=False)
class _Layer:
    """A population with everything that its integers depend on but the ratios of its weights."""

    population: Population
    neuron: Neuron
    incoming: list[Incoming]
    target: Target
    steps: int
    bias_exponent_min: int

    def at(self, ratios: Sequence[float]) -> _Integers:
        """The integers when weights are multiplied by no more than these ratios."""
        scales = laid_out(self.neuron, self.incoming, ratios, self.target, self.steps)
        incoming = [
            item.quantized(scales.scale, exponent)
            for item, exponent in zip(self.incoming, scales.exponents, strict=True)
        ]
        neuron, found = self.integers_of(self.neuron, scales.scale)
        notes = {p.name: f"{p.clipped:,} weights clipped" for p in incoming if p.clipped}
        if found:
            notes[self.population.name] = ", ".join(found)
        population = self.population
        quantized = QuantizedPopulation(population.name, population.shape, neuron, scales.scale)
        return _Integers(quantized, incoming, notes)

    def integers_of(self, neuron: Neuron, scale: float) -> tuple[QuantizedNeuron, list[str]]:
        """Parameters of the population at a scale, and notes on them."""
        return quantized_neuron(neuron, scale, self.target, self.bias_exponent_min)


RATIOS: dict[ScaleMethod, Callable[[Sequence[Incoming]], list[float]]] = {
    "max": max_ratios,
    "percentile": percentile_ratios,
    "mse": mse_ratios,
}


def _of_model(
    population: Population,
    neuron: FloatModel,
    incoming: list[Incoming],
    target: Target,
    steps: int,
    method: ScaleMethod,
) -> _Integers:
    """Neurons of another model, which lay their scale out themselves.

    A calibration tries no others for them: what it would compare, spikes, they do not send.
    """
    ratios = RATIOS["mse" if method == "calibrate" else method](incoming)
    scale, exponents = neuron.laid_out(incoming, ratios, target, steps)
    parts = [item.quantized(scale, e) for item, e in zip(incoming, exponents, strict=True)]
    reach = math.ceil(sum(activation_bound(part) for part in parts))
    quantized, found = neuron.integers(scale, reach, target)
    notes = {p.name: f"{p.clipped:,} weights clipped" for p in parts if p.clipped}
    notes[population.name] = ", ".join(found)
    name, shape = population.name, population.shape
    return _Integers(QuantizedPopulation(name, shape, quantized, scale), parts, notes)


def _chosen(layer: _Layer, scale: ScaleMethod, judge: Judge | None) -> _Integers:
    """The integers at the ratios that the method chooses, the first of equally good ones."""
    if judge is None:
        return layer.at(RATIOS[scale](layer.incoming))
    tried = [layer.at(ratios) for ratios in candidates(layer.incoming)]
    costs = judge.costs([(found.population, found.incoming) for found in tried])
    least = min(costs)
    best = tried[costs.index(least)]
    corrected = _with_corrected_bias(layer, best, judge)
    if judge.costs([(corrected.population, corrected.incoming)])[0] < least:
        best = corrected
    judge.settle(best.population, best.incoming)
    return best


def _with_corrected_bias(layer: _Layer, found: _Integers, judge: Judge) -> _Integers:
    """The same integers with the mean input that rounded weights lack added to the biases.

    Empirical bias correction (Nagel et al. 2019, "Data-free quantization through weight
    equalization and bias correction", section 4.2). Neurons behind convolutions share it within a
    channel. A constant current of u adds up to 1/(1 - u_keep) of it.
    """
    neuron, target = layer.neuron, layer.target
    if neuron.v_threshold is None and not target.neuron.programmable.value:
        # Its scale leaves no room below the highest threshold.
        return found
    lacking = judge.lacking(found.population, found.incoming)
    if all(isinstance(item.projection.operator, Convolution) for item in layer.incoming):
        lacking = np.broadcast_to(
            lacking.mean(axis=tuple(range(1, lacking.ndim)), keepdims=True), lacking.shape
        )
    moved = replace(neuron, bias=neuron.bias + lacking / (1 - neuron.u_keep))
    quantized, notes = layer.integers_of(moved, found.population.scale)
    name = layer.population.name
    return _Integers(
        replace(found.population, neuron=quantized),
        found.incoming,
        {**found.notes, name: ", ".join([*notes, "biases corrected"])},
    )


def quantized_neuron(
    neuron: Neuron, scale: float, target: Target, bias_exponent_min: int = 0
) -> tuple[QuantizedNeuron, list[str]]:
    """Integer parameters at a scale, and notes on what had to give way."""
    u_decay, v_decay, notes = quantized_decays(neuron, target)
    mantissa, exponent, clipped = quantized_biases(neuron, scale, target, bias_exponent_min)
    threshold, lowered = quantized_thresholds(neuron, scale, target)
    quantized = QuantizedNeuron(
        kind=neuron.kind,
        u_decay=u_decay,
        v_decay=v_decay,
        bias_mantissa=mantissa,
        bias_exponent=exponent,
        threshold=threshold,
        reset=neuron.reset,
        comparison=neuron.comparison,
        refractory_period=neuron.refractory_period,
    )
    if neuron.kind == CONSTANT:  # reset at every step, which leaves nothing for a leak
        notes = []
    return quantized, [*clipped, *lowered, *notes]
