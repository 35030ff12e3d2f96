"""The metrics of the NeuroBench harness 2.3.0, of deployed integers instead of a torch module.

Definitions are those of its code (Yik et al. 2025, "The neurobench framework for benchmarking
neuromorphic computing algorithms and systems"), where a layer is the projections of one weight
array, and means are over samples:

    footprint            4 bytes for each weight, bias and constant of neurons, as float32 has
    connection sparsity  share of weights that are 0, to four decimals
    activation sparsity  share of neurons and steps without a spike, of neurons with a threshold
    Dense                every input of a layer times every output that it reaches, at every step
    Effective_ACs        those of them where input and weight are not 0, in steps whose inputs are
                         all -1, 0 or 1
    Effective_MACs       the same in the other steps
    membrane updates     at the first step every membrane, later those whose v changed

Whether a step counts as ACs is decided for a layer and a whole batch together, as the harness does.
Biases are no synaptic operations. Beside them stands a footprint at the widths that the chip has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.data.lasting import own_steps
from neurodeploy.errors import InputError
from neurodeploy.ir.fixed_point import DECAY_ONE
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.operators import Operator
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.neurons.constant import is_constant
from neurodeploy.simulation.trace import PopulationTrace
from neurodeploy.target import Target

FLOAT_BYTES = 4
"""Of a number in the harness's footprint: its networks are in float32."""


@dataclass(frozen=True)
class Numbers:
    """Numbers that a network keeps, each once however many neurons or connections share it.

    Attributes:
        weights, biases: of synapses, and added to v or to its input at every step.
        constants: decays and thresholds.
        bits: of all of them, at the widths that they have on the chip.
    """

    weights: int
    biases: int
    constants: int
    bits: int

    @property
    def count(self) -> int:
        """All of them."""
        return self.weights + self.biases + self.constants


@dataclass(frozen=True)
class NeuroBench:
    """The harness's metrics.

    Attributes:
        numbers: what the footprints are of.
        connection_sparsity: 0 to 1, to four decimals.
        activation_sparsity: 0 to 1.
        macs, acs: effective synaptic operations by layer, of all samples.
        dense: synaptic operations by layer, zeros included, of all samples.
        membrane_updates: by population, of all samples.
        samples: how many.
        batch: most samples that were looked at together.
    """

    numbers: Numbers
    connection_sparsity: float
    activation_sparsity: float
    macs: dict[str, int]
    acs: dict[str, int]
    dense: dict[str, int]
    membrane_updates: dict[str, int]
    samples: int
    batch: int

    @property
    def footprint(self) -> int:
        """Bytes as the harness counts them."""
        return FLOAT_BYTES * self.numbers.count

    @property
    def bit_footprint(self) -> float:
        """Bytes at the widths that weights, biases and constants have on the chip."""
        return self.numbers.bits / 8

    def as_dict(self) -> dict[str, Any]:
        """Means per sample under the harness's own names, and what is ours, as JSON holds it."""
        operations = {
            "Effective_MACs": self.macs,
            "Effective_ACs": self.acs,
            "Dense": self.dense,
        }
        return {
            "footprint": self.footprint,
            "bit_footprint": self.bit_footprint,
            "parameters": {
                "weights": self.numbers.weights,
                "biases": self.numbers.biases,
                "constants": self.numbers.constants,
            },
            "connection_sparsity": self.connection_sparsity,
            "activation_sparsity": self.activation_sparsity,
            "synaptic_operations": {
                key: sum(counts.values()) / self.samples for key, counts in operations.items()
            },
            "membrane_updates": sum(self.membrane_updates.values()) / self.samples,
            "by_layer": {
                name: {key: counts[name] / self.samples for key, counts in operations.items()}
                for name in self.dense
            },
            "membrane_updates_by_population": {
                name: count / self.samples for name, count in self.membrane_updates.items()
            },
            "batch": self.batch,
        }


def neurobench(
    network: QuantizedNetwork,
    traces: Iterable[Mapping[str, PopulationTrace]],
    target: Target,
    lengths: np.ndarray | None = None,
) -> NeuroBench:
    """The metrics of what was simulated.

    Args:
        traces: what populations did, with state, batch by batch: for example one ``WholeTrace``.
        target: whose widths the numbers have.
        lengths: (N,) steps that each sample lasts; None where all last T.

    Raises:
        InputError: v was not recorded, or there are no samples.
    """
    counting = NeuroBenchCount(network)
    for trace in traces:
        own = None if lengths is None else lengths[counting.samples :]
        counting.add(trace, own)
    return counting.result(target)


@dataclass(frozen=True, eq=False)
class _Layer:
    """Projections of one weight array: one, or the two of one sign that it was split into.

    Attributes:
        connected: the map with 1 for each weight that is not 0.
        dense: connections of a step; those into padding are none.
    """

    name: str
    projection: QuantizedProjection
    weights: np.ndarray
    connected: Operator
    dense: int

    @staticmethod
    def of(name: str, parts: list[QuantizedProjection]) -> _Layer:
        operator = parts[0].operator
        weights = np.sum([part.operator.weights for part in parts], axis=0)
        everywhere = operator.with_weights(np.ones(weights.shape))
        dense = everywhere(np.ones((1, *operator.input_shape))).sum()
        connected = operator.with_weights((weights != 0).astype(np.float64))
        return _Layer(name, parts[0], weights, connected, round(float(dense)))

    def operations(self, inputs: np.ndarray) -> int:
        """Products of an input and a weight, neither of them 0.

        Args:
            inputs: how often each input was not 0.
        """
        return round(float(self.connected(inputs[None]).sum()))


def _layers(network: QuantizedNetwork) -> list[_Layer]:
    """All but the synapses of constant sources, which are biases."""
    constant = {p.name for p in network.populations if is_constant(p)}
    groups: dict[object, list[QuantizedProjection]] = {}
    for p in network.projections:
        if p.source in constant:
            continue
        # Halves of one sign have the name of the whole, and its ends.
        stem, _, sign = p.name.rpartition(".")
        whole = sign in ("excitatory", "inhibitory") and p.weight_format.sign == sign
        key = (stem if whole else p.name, p.source, p.target, p.delay, p.operator.weights.shape)
        groups.setdefault(key, []).append(p)
    return [
        _Layer.of(parts[0].name.rpartition(".")[0] if len(parts) > 1 else parts[0].name, parts)
        for parts in groups.values()
    ]


class NeuroBenchCount:
    """Sums over batches; ``result`` makes the metrics of them."""

    def __init__(self, network: QuantizedNetwork) -> None:
        self.network = network
        self.samples = 0
        self._layers = _layers(network)
        self._neurons = [p for p in network.populations if p.neuron and not is_constant(p)]
        self._macs: Counter[str] = Counter()
        self._acs: Counter[str] = Counter()
        self._dense: Counter[str] = Counter()
        self._updates: Counter[str] = Counter()
        self._silent = self._activations = self._batch = 0

    def add(
        self, populations: Mapping[str, PopulationTrace], lengths: np.ndarray | None = None
    ) -> None:
        """Count a batch.

        Args:
            populations: with v of every one that has neurons.
            lengths: of the batch's samples and perhaps more, as for ``neurobench``.

        Raises:
            InputError: v of one was not recorded.
        """
        count, steps = next(iter(populations.values())).s.shape[:2]
        own = np.full(count, steps) if lengths is None else lengths[:count]
        for layer in self._layers:
            self._operations(layer, populations[layer.projection.source].s, own)
        for population in self._neurons:
            record = populations[population.name]
            if record.v is None:
                raise InputError(
                    f"population {population.name!r}: membrane updates are counted of v, which "
                    "was not recorded; simulate with state, on an engine that has all of it"
                )
            size, lasting = math.prod(population.shape), int(own.sum())
            changed = (record.v[:, 1:] != record.v[:, :-1]) & own_steps(record.v, own)[:, 1:]
            self._updates[population.name] += count * size + int(np.count_nonzero(changed))
            if population.neuron and population.neuron.spiking:
                spikes = int(np.count_nonzero(np.where(own_steps(record.s, own), record.s, 0)))
                self._activations += lasting * size
                self._silent += lasting * size - spikes
        self.samples += count
        self._batch = max(self._batch, count)

    def __getstate__(self) -> dict[str, Any]:
        """Counts alone travel, without the weights; what arrives can only be joined."""
        return {**vars(self), "network": None, "_layers": [], "_neurons": []}

    def counts(self) -> dict[str, Any]:
        """What was counted so far, as JSON holds it; ``count_on`` takes it back."""
        tables = (self._macs, self._acs, self._dense, self._updates)
        return {
            "tables": [dict(table) for table in tables],
            "numbers": [self._silent, self._activations, self.samples, self._batch],
        }

    def count_on(self, counts: Mapping[str, Any]) -> None:
        """Go on from counts of earlier samples."""
        tables = [Counter(table) for table in counts["tables"]]
        self._macs, self._acs, self._dense, self._updates = tables
        self._silent, self._activations, self.samples, self._batch = counts["numbers"]

    def join(self, other: NeuroBenchCount) -> None:
        """Count what another one has counted of the same network."""
        for own, theirs in (
            (self._macs, other._macs),
            (self._acs, other._acs),
            (self._dense, other._dense),
            (self._updates, other._updates),
        ):
            for name, count in theirs.items():
                own[name] += count
        self._silent += other._silent
        self._activations += other._activations
        self.samples += other.samples
        self._batch = max(self._batch, other._batch)

    def _operations(self, layer: _Layer, spikes: np.ndarray, own: np.ndarray) -> None:
        """Add a layer's operations on (N, T, *source) of a batch."""
        delay = layer.projection.delay
        # What arrives after a sample's end comes of a spike less than the delay before it.
        arriving = spikes[:, : max(spikes.shape[1] - delay, 0)]
        arriving = np.where(own_steps(arriving, own - delay), arriving, 0)
        others = tuple(axis for axis in range(arriving.ndim) if axis != 1)
        plain = ~((arriving > 1) | (arriving < -1)).any(axis=others)
        inputs = np.count_nonzero(arriving, axis=0)
        self._acs[layer.name] += layer.operations(inputs[plain].sum(axis=0))
        self._macs[layer.name] += layer.operations(inputs[~plain].sum(axis=0))
        self._dense[layer.name] += layer.dense * int(own.sum())

    def result(self, target: Target) -> NeuroBench:
        """The metrics of all batches so far.

        Raises:
            InputError: there was none.
        """
        if not self.samples:
            raise InputError("metrics of no samples; simulate at least one")
        weights = [layer.weights for layer in self._layers]
        zeros = sum(w.size - np.count_nonzero(w) for w in weights)
        share = zeros / max(sum(w.size for w in weights), 1)
        return NeuroBench(
            numbers=numbers(self.network, target),
            connection_sparsity=round(float(share), 4),
            activation_sparsity=self._silent / self._activations if self._activations else 0.0,
            macs=dict(self._macs),
            acs=dict(self._acs),
            dense=dict(self._dense),
            membrane_updates=dict(self._updates),
            samples=self.samples,
            batch=self._batch,
        )


def numbers(network: QuantizedNetwork, target: Target) -> Numbers:
    """The numbers that a network keeps.

    A constant that all neurons share is one, as is one for each channel that shares it; a bias
    that is 0 everywhere, and a current that is kept by nobody, need none. State is left out: the
    harness looks before the first sample, when there is none.
    """
    limits, constant = target.neuron, {p.name for p in network.populations if is_constant(p)}
    exponent = int(limits.bias_exponent_max.value).bit_length()
    bias_bits = int(limits.bias_mantissa_bits.value) + exponent
    weights = biases = constants = bits = 0
    for layer in _layers(network):
        weights += layer.weights.size
    for projection in network.projections:
        operator, width = projection.operator, projection.weight_format.bits
        bits += operator.weights.size * width
        if projection.source in constant:
            biases += operator.weights.size
    for population in network.populations:
        if population.neuron is None or population.name in constant:
            continue
        own = _of_neurons(population)
        biases += own["bias"]
        constants += own["decay"] + own["threshold"]
        bits += own["bias"] * bias_bits
        bits += own["decay"] * int(limits.decay_bits.value)
        bits += own["threshold"] * int(limits.threshold_bits.value)
    return Numbers(weights, biases, constants, bits)


def _of_neurons(population: QuantizedPopulation) -> dict[str, int]:
    """How many numbers of each kind the neurons of a population keep.

    Parameters of models other than the leaky one count as thresholds do.
    """
    shape = population.shape
    if isinstance(population.neuron, IntegerModel):
        own = sum(_distinct(array, shape) for array in population.neuron.arrays().values())
        return {"bias": 0, "decay": 0, "threshold": own}
    neuron = population.leaky
    bias = neuron.bias_mantissa * 2.0**neuron.bias_exponent
    current = (neuron.u_decay != DECAY_ONE).any()
    decays = _distinct(neuron.v_decay, shape)
    return {
        "bias": _distinct(bias, shape) if bias.any() else 0,
        "decay": decays + (_distinct(neuron.u_decay, shape) if current else 0),
        "threshold": 0 if neuron.threshold is None else _distinct(neuron.threshold, shape),
    }


def _distinct(values: np.ndarray, shape: tuple[int, ...]) -> int:
    """Numbers that an array keeps: along an axis where it does not change, one."""
    values = np.broadcast_to(values, shape)
    kept = 1
    for axis, size in enumerate(shape):
        first = np.take(values, [0], axis)
        kept *= 1 if (values == first).all() else size
    return kept
