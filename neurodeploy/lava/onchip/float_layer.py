"""What the processes of one layer compute in one time step, in floating point.

Here nothing is rounded, so that the sum of error times spike over a sample can be held against the
gradient that PyTorch takes. Recorded is that sum; weights stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.ir.network import Network, Population, Projection
from neurodeploy.lava.onchip.table import SynapseTable


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

    def __init__(self, population: Population) -> None:
        neuron = population.neuron
        assert neuron is not None and neuron.v_threshold is not None
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
        outputs = self.neurons.u + self.neurons.bias_mant
        terms = np.exp(outputs - outputs.max())
        error = terms / terms.sum()
        error[label] -= 1
        return error / self.steps

    @property
    def scores(self) -> np.ndarray:
        """v."""
        return self.neurons.v


def float_layers(network: Network) -> list[tuple[Any, Any]]:
    """Synapses and neurons of each layer of a chain, the last neurons being the read-out."""
    payload = network.contract.input_code.payload
    layers: list[tuple[Any, Any]] = []
    for projection in network.projections:
        population = network.population(projection.target)
        synapses = FloatSynapses(projection, payload if not layers else 1)
        if projection.target == network.output:
            layers.append((synapses, FloatReadout(population, network.contract.steps)))
        else:
            layers.append((synapses, FloatNeurons(population)))
    return layers


def _lava_float(population: Population) -> Any:
    """Lava's float model of a population, outside of any Lava runtime."""
    from lava.proc.lif.models import PyLifModelFloat

    neuron = population.neuron
    assert neuron is not None

    def flat(values: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(values, np.float64), population.shape).ravel()

    make: Any = PyLifModelFloat
    model = make({})
    model.du, model.dv = 1 - flat(neuron.u_keep), 1 - flat(neuron.v_keep)
    model.bias_mant = flat(neuron.bias)
    return model
