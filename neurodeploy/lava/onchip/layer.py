"""The work of one layer's processes in one time step, in integers and in floating point.

Only numpy, scipy and Lava's own arithmetic: torch can hang in a forked process. In floating point
nothing is rounded, so that the sum of error times spike over a sample can be held against the
gradient that PyTorch takes. Recorded is that sum; weights stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from neurodeploy.ir.network import Network, Population, Projection
from neurodeploy.ir.operators import Operator
from neurodeploy.lava.fused import lava_neurons
from neurodeploy.onchip.arithmetic import ReadoutError, integer_triangle, random_bits
from neurodeploy.onchip.local_signal import LocalSignal
from neurodeploy.onchip.plan import ERROR_BITS, UPDATE_BITS, LayerPlan, SynapsePlan


@dataclass(frozen=True, eq=False)
class Rows:
    """Synapses one by one, as a chip's tables hold them, sorted by one of their ends.

    Attributes:
        starts: where the synapses of each neuron begin, and where the last ones end.
        others: the neuron at the other end.
        weight: which weight a synapse has.
    """

    starts: np.ndarray
    others: np.ndarray
    weight: np.ndarray
    shape: tuple[int, int]

    def matrix(self, weights: np.ndarray) -> sparse.csr_matrix:
        """(this end, other end) with these weights, zeros stored."""
        return sparse.csr_matrix((weights[self.weight], self.others, self.starts), self.shape)


class SynapseTable:
    """All synapses of a projection, in the orders in which they are walked through.

    Attributes:
        shape: (targets, sources).
        weights: how many weights there are; the synapses of a kernel share theirs.
        by_target, by_source: sorted by either end.
    """

    def __init__(self, operator: Operator) -> None:
        """Write an operator's connections out, also those whose weight is 0 now."""
        self.weights = operator.weights.size
        self.shape = math.prod(operator.output_shape), math.prod(operator.input_shape)
        numbers = np.arange(1, self.weights + 1).reshape(operator.weights.shape)
        synapses = operator.with_weights(numbers).matrix().tocoo()
        weight = synapses.data.astype(np.int64) - 1
        targets, sources = (ends.astype(np.int64) for ends in (synapses.row, synapses.col))
        self.by_target = _rows(targets, sources, weight, self.shape)
        self.by_source = _rows(sources, targets, weight, (self.shape[1], self.shape[0]))
        order = np.argsort(weight, kind="stable")
        self._targets, self._sources = targets[order], sources[order]
        # A weight without a synapse, of a kernel that reads nothing but padding, has no products.
        self._used, self._firsts = np.unique(weight[order], return_index=True)

    def products(self, errors: np.ndarray, spikes: np.ndarray) -> np.ndarray:
        """Error times spike, summed over the synapses of each weight, in the dtype of errors."""
        total = np.zeros(self.weights, errors.dtype)
        if len(self._used):
            product = errors[self._targets] * spikes[self._sources]
            total[self._used] = np.add.reduceat(product, self._firsts)
        return total


def _rows(ends: np.ndarray, others: np.ndarray, weight: np.ndarray, shape: tuple[int, int]) -> Rows:
    order = np.lexsort((others, ends))
    starts = np.searchsorted(ends[order], np.arange(shape[0] + 1))
    # 32 bits, because scipy would convert to them each time a matrix is made.
    return Rows(starts.astype(np.int32), others[order].astype(np.int32), weight[order], shape)


class FixedSynapses:
    """Weights and tags of one projection."""

    def __init__(self, plan: SynapsePlan, seed: int) -> None:
        self.plan, self.seed = plan, seed
        projection = plan.projection
        self.name = projection.name
        self.table = SynapseTable(projection.operator)
        self.exponent = projection.exponent
        self.tags = plan.tags.copy()
        self.indices = projection.operator.weights.ravel().astype(np.int64) // plan.step
        self.gradient = np.zeros(self.table.weights, np.int64)
        self._load()

    def _load(self) -> None:
        """Take the weights through Lava's clipping and truncation."""
        from lava.utils.weightutils import SignMode, clip_weights, truncate_weights

        form = self.plan.projection.weight_format
        sign = SignMode[form.sign.upper()]
        weights: Any = clip_weights(self.indices * self.plan.step, sign, num_bits=8)
        weights = truncate_weights(weights, sign, form.bits)
        back = weights if self.plan.feedback is None else self.plan.feedback.ravel()
        self.matrix = self.table.by_target.matrix(weights)
        self.feedback = self.table.by_source.matrix(back)

    def activate(self, spikes: np.ndarray) -> np.ndarray:
        """Activation of one step from (inputs,) spikes."""
        total = self.matrix @ spikes
        return total << self.exponent if self.exponent > 0 else total >> -self.exponent

    def carry_back(self, errors: np.ndarray) -> np.ndarray:
        """What the errors of one step come to at each input."""
        return self.feedback @ errors

    def accumulate(self, errors: np.ndarray, spikes: np.ndarray) -> None:
        """Add errors times the spikes of the same model step to the gradient."""
        self.gradient += self.table.products(errors.astype(np.int64), spikes)

    def update(self, number: int) -> None:
        """Change every synapse by its gradient and forget that."""
        plan = self.plan
        change = -self.gradient
        # As many as a counter of updates has passed, each a bit more.
        shift = plan.rate_shift + sum(number >= halved for halved in plan.halvings)
        if shift > 0:
            change += random_bits(self.seed, number, plan.index, change.size, shift)
            change >>= shift
        else:
            change <<= -shift
        most = 2 ** (UPDATE_BITS - 1) - 1
        tags = self.tags + np.maximum(np.minimum(change, most), -most)
        # What a tag cannot hold goes over into the weight.
        half = 2 ** (plan.tag - 1)
        over = (tags + half) // (2 * half)
        indices, tags = self.indices + over, tags - over * (2 * half)
        above, below = indices > plan.highest, indices < plan.lowest
        self.indices = np.where(above, plan.highest, np.where(below, plan.lowest, indices))
        self.tags = np.where(above, half - 1, np.where(below, -half, tags))
        self.gradient[:] = 0
        self._load()

    @property
    def state(self) -> np.ndarray:
        """X of every synapse: weight index and tag in one integer."""
        return (self.indices << self.plan.tag) + self.tags


class FixedNeurons:
    """A hidden population: Lava's LIF, and its errors."""

    def __init__(self, plan: LayerPlan) -> None:
        assert plan.neurons is not None
        self.plan, self.signal = plan.neurons, plan.neurons.signal
        self.neurons: Any = lava_neurons(plan.population)
        self.size = int(np.prod(plan.population.shape))
        self.reset()

    def reset(self) -> None:
        """Start a sample."""
        self.neurons.u, self.neurons.v = (np.zeros(self.size, np.int32) for _ in "uv")

    def step(self, activation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One step: spikes, and the surrogate derivative at v before the reset."""
        neurons = self.neurons
        neurons.subthr_dynamics(activation_in=activation.astype(np.int32))
        slope = integer_triangle(neurons.v, self.plan.threshold, self.plan.surrogate_shift)
        fires = neurons.spiking_activation()
        neurons.reset_voltage(spike_vector=fires)
        return fires.astype(np.int32), slope

    def errors(self, carried: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """The error of a step from what came back of it and its surrogate derivative."""
        product, shift = carried * slope, self.plan.error_shift
        if shift:
            product = (product + (1 << (shift - 1))) >> shift
        most = 2 ** (ERROR_BITS - 1) - 1
        return np.maximum(np.minimum(product, most), -most)

    def own_errors(self, spikes: np.ndarray, slopes: np.ndarray, label: int) -> np.ndarray:
        """Errors (T, neurons) of steps by rule ``local``, from what the neurons did in each."""
        assert self.signal is not None
        return self.errors(self.signal(spikes, label), slopes)


class FixedReadout:
    """The read-out: Lava's integrator, and the error of its outputs."""

    def __init__(self, plan: LayerPlan, error: ReadoutError) -> None:
        self.error = error
        self.neurons: Any = lava_neurons(plan.population)
        self.size = int(np.prod(plan.population.shape))
        self.reset()

    def reset(self) -> None:
        """Start a sample."""
        self.neurons.u, self.neurons.v = (np.zeros(self.size, np.int32) for _ in "uv")

    def step(self, activation: np.ndarray, label: int) -> np.ndarray:
        """One step: the error of what it adds to v."""
        return self.error(self.added(activation)[None], label)[0]

    def added(self, activation: np.ndarray) -> np.ndarray:
        """One step: what it adds to v."""
        neurons = self.neurons
        neurons.subthr_dynamics(activation_in=activation.astype(np.int32))
        return neurons.u.astype(np.int64) + neurons.effective_bias

    @property
    def scores(self) -> np.ndarray:
        """v."""
        return self.neurons.v


class FloatSynapses:
    """Weights of one projection per integer of its source, and their gradient."""

    def __init__(self, projection: Projection, payload: int) -> None:
        self.name, self.payload = projection.name, payload
        self.table = SynapseTable(projection.operator)
        weights = projection.operator.weights.ravel().astype(np.float64)
        self.matrix = self.table.by_target.matrix(weights / payload)
        self.feedback = self.table.by_source.matrix(weights)
        self.gradient = np.zeros(self.table.weights)
        self.state = self.gradient

    def activate(self, spikes: np.ndarray) -> np.ndarray:
        """Activation of one step."""
        return self.matrix @ spikes

    def carry_back(self, errors: np.ndarray) -> np.ndarray:
        """What the errors of one step come to at each input."""
        return self.feedback @ errors

    def accumulate(self, errors: np.ndarray, spikes: np.ndarray) -> None:
        """Add errors times the spikes of the same model step to the gradient."""
        self.gradient += self.table.products(errors, spikes / self.payload)

    def update(self, number: int) -> None:
        """Let the gradient be recorded as ``state``, and start the next one."""
        self.state, self.gradient = self.gradient, np.zeros(self.table.weights)


class FloatNeurons:
    """A hidden population: Lava's float LIF, and its errors."""

    def __init__(
        self, population: Population, steps: int, signal: LocalSignal | None = None
    ) -> None:
        neuron = population.leaky
        assert neuron.v_threshold is not None
        self.steps, self.signal = steps, signal
        self.neurons = _lava_float(population)
        self.threshold = float(np.asarray(neuron.v_threshold).flat[0])
        self.subtract, self.at_threshold = neuron.reset == "subtract", neuron.comparison == ">="
        self.size = int(np.prod(population.shape))
        self.reset()

    def reset(self) -> None:
        """Start a sample."""
        self.neurons.u, self.neurons.v = np.zeros(self.size), np.zeros(self.size)

    def step(self, activation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One step: spikes, and the surrogate derivative (Meng et al. 2023, eq. 6)."""
        neurons, theta = self.neurons, self.threshold
        neurons.subthr_dynamics(activation_in=activation)
        slope = np.maximum(theta - np.abs(neurons.v - theta), 0) / theta**2
        fires = neurons.v >= theta if self.at_threshold else neurons.v > theta
        neurons.v[fires] = neurons.v[fires] - theta if self.subtract else 0.0
        return fires.astype(np.int32), slope

    def errors(self, carried: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """The error of a step from what came back of it and its surrogate derivative."""
        return carried * slope

    def own_errors(self, spikes: np.ndarray, slopes: np.ndarray, label: int) -> np.ndarray:
        """Errors (T, neurons) of steps by rule ``local``: dL/du of each layer's own loss."""
        assert self.signal is not None
        signs = self.signal.signs * 2.0**-self.signal.gain_shift
        sent = [float_error(s @ signs, label) / self.steps @ signs.T for s in spikes]
        return np.array(sent) * slopes


class FloatReadout:
    """The read-out: Lava's float integrator, and (softmax - onehot) / T of each step's output."""

    def __init__(self, population: Population, steps: int) -> None:
        self.neurons, self.steps = _lava_float(population), steps
        self.size = int(np.prod(population.shape))
        self.reset()

    def reset(self) -> None:
        """Start a sample."""
        self.neurons.u, self.neurons.v = np.zeros(self.size), np.zeros(self.size)

    def step(self, activation: np.ndarray, label: int) -> np.ndarray:
        """One step: the error of what it adds to v."""
        self.neurons.subthr_dynamics(activation_in=activation)
        return float_error(self.neurons.u + self.neurons.bias_mant, label) / self.steps

    @property
    def scores(self) -> np.ndarray:
        """v."""
        return self.neurons.v


def float_error(outputs: np.ndarray, label: int) -> np.ndarray:
    """Softmax minus one-hot."""
    terms = np.exp(outputs - outputs.max())
    error = terms / terms.sum()
    error[label] -= 1
    return error


def float_layers(network: Network, signals: Sequence[LocalSignal]) -> list[tuple[Any, Any]]:
    """Synapses and neurons of each layer of a chain, the last neurons being the read-out.

    Args:
        signals: of hidden populations, by rule ``local``; else empty.
    """
    payload = network.contract.input_code.payload
    layers: list[tuple[Any, Any]] = []
    steps = network.contract.steps
    for number, projection in enumerate(network.projections):
        population = network.population(projection.target)
        synapses = FloatSynapses(projection, payload if not layers else 1)
        if projection.target == network.output:
            layers.append((synapses, FloatReadout(population, steps)))
        else:
            signal = signals[number] if signals else None
            layers.append((synapses, FloatNeurons(population, steps, signal)))
    return layers


def _lava_float(population: Population) -> Any:
    """Lava's float model of a population, outside of any Lava runtime."""
    from lava.proc.lif.models import PyLifModelFloat

    neuron = population.leaky

    def flat(values: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(values, np.float64), population.shape).ravel()

    make: Any = PyLifModelFloat
    model = make({})
    model.du, model.dv = 1 - flat(neuron.u_keep), 1 - flat(neuron.v_keep)
    model.bias_mant = flat(neuron.bias)
    return model
