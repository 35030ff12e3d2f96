"""The integer reference of rules ``sltt`` and ``local``: Lava's integers, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.neurons.dynamics import FixedStepper
from neurodeploy.onchip.arithmetic import (
    integer_triangle,
    random_bits,
    shifted_stochastically,
    shifted_to_nearest,
)
from neurodeploy.onchip.learner import Counts, LayerCounts, StreamChunk, Trajectory
from neurodeploy.onchip.plan import ERROR_BITS, UPDATE_BITS, LayerPlan, LearningPlan, SynapsePlan
from neurodeploy.onchip.synapses import exact, largest_activation, plastic


class ReferenceLearner:
    """Rules ``sltt`` and ``local`` on the deployed integers, over the steps between two updates.

    forward    a_l = W_l s_(l-1), u and v as in ``quantized``, surrogate from v before the reset
    error      e_L = softmax(o) - onehot;  e_(l-1) = (W_l^T e_l) surrogate_(l-1) >> shift, clipped,
               by ``local`` with the layer's own signal in place of W_l^T e_l
    gradient   G_l = sum over steps of e_l s_(l-1)^T       (Meng et al. 2023, eq. 12 and 13)
    update     X_l = clip(X_l - clip(G_l / 2^shift, rounded stochastically))

    ``counts`` and ``overflow`` grow with every sample.
    """

    name = "reference"

    def __init__(self, plan: LearningPlan) -> None:
        self.plan = plan
        self.counts = Counts()
        self.layers = [_Layer(layer, plan, self.counts) for layer in plan.layers]
        self.updates = 0

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples, one after the other."""
        plan = self.plan
        per_sample = plan.steps // plan.block
        states = {
            layer.name: np.empty((len(chunk), per_sample, layer.state.size), np.int32)
            for layer in self.layers
        }
        scores = np.empty((len(chunk), math.prod(self.layers[-1].shape)), np.int64)
        lasts = chunk.lasts(plan.steps)
        for sample, (values, label) in enumerate(zip(chunk.values, chunk.labels, strict=True)):
            for layer in self.layers:
                layer.stepper.reset()
            for number in range(per_sample):
                first = number * plan.block
                steps = min(lasts[sample] - first, plan.block)
                if steps > 0:
                    frames = values[first : first + steps] if len(values) > 1 else values
                    self._learn_block(frames.T, int(label), steps)
                # After a sample's end there is nothing to learn from, and updates change nothing.
                self.updates += 1
                for layer in self.layers:
                    states[layer.name][sample, number] = layer.state
            scores[sample] = self.layers[-1].stepper.v.numpy().ravel()
        return Trajectory(states, scores)

    def _learn_block(self, frames: np.ndarray, label: int, steps: int) -> None:
        """The steps between two updates; one frame stands for all of them when it never changes."""
        spikes = frames
        for layer in self.layers:
            spikes = layer.forward(spikes, steps)
        errors = self.plan.readout(self.layers[-1].membranes.T, label).T
        for index in reversed(range(len(self.layers))):
            carried = self.layers[index].learn(errors, self.updates, self.plan.options.seed)
            if index:
                errors = self.layers[index - 1].errors(carried, label)

    def moves(self, values: np.ndarray, label: int, steps: int | None = None) -> dict[str, float]:
        """How far an update by this sample at a rate of 1 would move potentials; nothing learns.

        Of every projection the largest change that its own update makes in what the neurons behind
        it take up from the same sample in a step: for hidden neurons over their threshold, for the
        read-out in the units of its softmax.

        Args:
            values: (T or 1, inputs) integers.
            label: the class that is wanted.
            steps: that the sample lasts; T when None.
        """
        for layer in self.layers:
            layer.stepper.reset()
        spikes = (values[:steps] if len(values) > 1 else values).T
        for layer in self.layers:
            spikes = layer.forward(spikes, steps or self.plan.steps)
        errors = self.plan.readout(self.layers[-1].membranes.T, label).T
        found = {}
        for index in reversed(range(len(self.layers))):
            layer = self.layers[index]
            carried, gradient = layer.gradient(errors)
            found[layer.name] = layer.move(gradient)
            if index:
                errors = self.layers[index - 1].errors(carried, label)
        return found

    def learned(self) -> QuantizedNetwork:
        """The network with the weights as they are now."""
        return self.plan.learned({layer.name: layer.state for layer in self.layers})

    @property
    def overflow(self) -> Mapping[str, tuple[int, int]]:
        """Wraps of u and saturations of v by population."""
        return {
            layer.plan.population.name: (layer.stepper.wraps, layer.stepper.saturations)
            for layer in self.layers
        }

    def close(self) -> None:
        """Nothing to end."""


class _Layer:
    """One layer: its synapses, its neurons, and what they remember of the current block.

    Arrays are (size, block): a flattened population by the steps between two updates.
    """

    def __init__(self, plan: LayerPlan, learning: LearningPlan, counts: Counts) -> None:
        self.plan, self.block, self.steps = plan, learning.block, learning.steps
        self.synapses: SynapsePlan = plan.synapses
        projection = self.synapses.projection
        self.name, self.exponent = projection.name, projection.exponent
        self.shape = plan.population.shape
        self.plastic = plastic(projection.operator)
        self.sends_back = learning.options.rule == "sltt"
        bound = largest_activation(projection)
        self.dtype = exact(bound)
        self.state = self.synapses.initial()
        self.weights = self.synapses.weights(self.state)
        self.counts: LayerCounts = counts.of(self.name)
        neuron = plan.population.leaky
        self.stepper = FixedStepper(
            neuron, self.shape, bound * 2.0 ** max(self.exponent, 0), learning.steps
        )
        bias = np.broadcast_to(neuron.bias_mantissa << neuron.bias_exponent, self.shape)
        self.bias = bias.ravel().astype(np.int64)
        size = math.prod(self.shape)
        self.all_membranes = np.empty((size, self.block), np.int32)
        self.all_spikes = np.empty((size, self.block), np.int32)
        self.membranes, self.spikes = self.all_membranes, self.all_spikes
        self.gathered, self.static = np.zeros(0), False

    def forward(self, spikes: np.ndarray, steps: int) -> np.ndarray:
        """(inputs, steps or 1) integers to (outputs, steps) spikes; remembers what ``learn`` needs.

        ``membranes`` are v before any reset; of a read-out, what each step adds to v.
        """
        self.gathered = self.plastic.gather(spikes.astype(self.dtype))
        self.membranes, self.spikes = self.all_membranes[:, :steps], self.all_spikes[:, :steps]
        repeats = steps // spikes.shape[1]
        self.static = repeats > 1
        self.counts.spikes += int(np.count_nonzero(spikes)) * repeats
        total = self.plastic.activate(self.weights.astype(self.dtype), self.gathered)
        total = total.astype(np.int64)
        total = total << self.exponent if self.exponent >= 0 else total >> -self.exponent
        if self.block == self.steps:
            self.stepper.expect(float(np.abs(total).max(initial=0)))
        activation = torch.from_numpy(np.ascontiguousarray(total.T)).reshape(-1, *self.shape)
        for t in range(steps):
            self.stepper.integrate(activation[t % len(activation)])
            if self.plan.neurons is None:
                self.membranes[:, t] = self.stepper.u.numpy().ravel() + self.bias
            else:
                self.membranes[:, t] = self.stepper.v.numpy().ravel()
            self.spikes[:, t] = self.stepper.fire().numpy().ravel()
        return self.spikes

    def errors(self, carried: np.ndarray, label: int) -> np.ndarray:
        """dL/du of hidden neurons from what came back through the layer above, or their signal."""
        plan = self.plan.neurons
        assert plan is not None
        if plan.signal is not None:
            carried = plan.signal(self.spikes.T, label).T
        slope = integer_triangle(self.membranes, plan.threshold, plan.surrogate_shift)
        return shifted_to_nearest(carried.astype(np.int64) * slope, plan.error_shift)

    def learn(self, errors: np.ndarray, update: int, seed: int) -> np.ndarray:
        """Carry errors (outputs, block) back through this block's weights, then change them."""
        carried, gradient = self.gradient(errors)
        self._update(gradient.astype(np.int64), update, seed)
        return carried

    def gradient(self, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What errors (outputs, block) are behind this block's weights, and G, flat."""
        plan = self.synapses
        largest = (1 << (ERROR_BITS - 1)) - 1
        sent = np.clip(errors, -largest, largest)
        self.counts.clipped_errors += int(np.count_nonzero(sent != errors))
        self.counts.error_events += int(np.count_nonzero(sent))
        errors = sent.astype(np.float64)
        carried = np.zeros(0)
        if plan.index and self.sends_back:
            back = self.weights if plan.feedback is None else plan.feedback.ravel()
            carried = self.plastic.carry_back(back.astype(np.float64), errors)
        if self.static:
            # An input that never changes was gathered once, and meets the sum of the errors.
            errors = errors.sum(axis=1, keepdims=True)
        return carried, self.plastic.gradient(errors, self.gathered)

    def move(self, gradient: np.ndarray) -> float:
        """What -G at a rate of 1 changes at most in a step's input; see ``moves``."""
        plan, neurons = self.synapses, self.plan.neurons
        summed = self.plastic.activate(gradient, self.gathered.astype(np.float64))
        weight = plan.per_rate * plan.step / 2**plan.tag
        state = weight * 2.0**self.exponent * 2**ACTIVATION_SHIFT
        scale = self.plan.population.scale * 2**ACTIVATION_SHIFT
        return (
            float(np.abs(summed).max(initial=0)) * state / (neurons.threshold if neurons else scale)
        )

    def _update(self, gradient: np.ndarray, update: int, seed: int) -> None:
        self.state = updated(self.synapses, self.state, gradient, update, seed, self.counts)
        self.weights = self.synapses.weights(self.state)


def updated(
    plan: SynapsePlan,
    state: np.ndarray,
    gradient: np.ndarray,
    update: int,
    seed: int,
    counts: LayerCounts,
) -> np.ndarray:
    """X after an update by a gradient, flat int64, which is counted."""
    shift = plan.shift_at(update)
    bits = random_bits(seed, update, plan.index, gradient.size, max(shift, 0))
    change = shifted_stochastically(-gradient, shift, bits)
    largest = (1 << (UPDATE_BITS - 1)) - 1
    kept = np.clip(change, -largest, largest)
    counts.clipped_updates += int(np.count_nonzero(kept != change))
    wanted = state + kept
    found = np.clip(wanted, *plan.bounds)
    counts.saturated += int(np.count_nonzero(found != wanted))
    counts.updates += int(np.count_nonzero(found != state))
    return found
