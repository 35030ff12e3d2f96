"""Rule ``local`` in PyTorch: the gradient that autograd takes of each population's own loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from neurodeploy.ir.network import Network, Population, Projection
from neurodeploy.ir.schedule import step_order
from neurodeploy.onchip.local_signal import LocalSignal


class _Spike(torch.autograd.Function):
    """1 where v reaches the threshold, with the triangle for a derivative."""

    @staticmethod
    def forward(ctx: Any, v: torch.Tensor, threshold: torch.Tensor, strict: bool) -> torch.Tensor:
        ctx.save_for_backward(v, threshold)
        return ((v > threshold) if strict else (v >= threshold)).double()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> Any:
        v, threshold = ctx.saved_tensors
        slope = (threshold - (v - threshold).abs()).clamp(min=0) / threshold**2
        return grad_outputs[0] * slope, None, None


def local_gradients(
    network: Network, signals: Mapping[str, LocalSignal], values: np.ndarray, label: int
) -> dict[str, np.ndarray]:
    """dL/dW of a sample (T or 1, inputs), by projection, flat.

    L is the mean over steps of the cross-entropy of each population's votes g B^T s, and of the
    outputs; what arrives, and what is left of the step before, are constants.
    """
    target, steps = torch.tensor([label]), network.contract.steps
    arcs = {p.name: _Arc(p) for p in network.projections}
    populations = {p.name: p for p in network.populations}
    (source,) = (name for name, p in populations.items() if p.neuron is None)
    nodes = {name: _Neurons(p) for name, p in populations.items() if p.neuron is not None}
    sent: dict[str, list[torch.Tensor]] = {name: [] for name in populations}
    loss = torch.zeros((), dtype=torch.float64)
    for t in range(steps):
        frame = values[t % len(values)] / network.contract.input_code.payload
        sent[source].append(torch.from_numpy(frame.astype(np.float64)))
        for name in step_order(network):
            if name == source:
                continue
            arrived: Any = torch.zeros(nodes[name].size, dtype=torch.float64)
            for p in network.projections:
                if p.target == name and t >= p.delay:
                    arrived = arrived + arcs[p.name](sent[p.source][t - p.delay].detach())
            node = nodes[name]
            before = node.v
            spikes, v = node.step(arrived)
            sent[name].append(spikes)
            if name == network.output:
                shown = {"spike_count": spikes, "sum_v": v, "last_v": v - before}
                outputs: Any = shown[network.contract.decode]
            elif name in signals:
                signs = torch.from_numpy(signals[name].signs.astype(np.float64))
                outputs = spikes @ signs * 2.0 ** -signals[name].gain_shift
            else:
                continue
            loss = loss + torch.nn.functional.cross_entropy(outputs[None], target) / steps
    loss.backward()
    found = {name: arc.weights.grad for name, arc in arcs.items()}
    return {name: grad.numpy() for name, grad in found.items() if grad is not None}


class _Arc:
    """A projection with every synapse written out."""

    def __init__(self, projection: Projection) -> None:
        operator = projection.operator
        count = operator.weights.size
        numbered = operator.with_weights(np.arange(1, count + 1).reshape(operator.weights.shape))
        self.numbers = torch.from_numpy(numbered.matrix().toarray().astype(np.int64))
        flat = operator.weights.ravel().astype(np.float64)
        self.weights = torch.from_numpy(flat.copy()).requires_grad_()

    def __call__(self, spikes: torch.Tensor) -> torch.Tensor:
        padded = torch.cat([torch.zeros(1, dtype=torch.float64), self.weights])
        return padded[self.numbers] @ spikes


class _Neurons:
    """A population; the state of the step before has no gradient."""

    def __init__(self, population: Population) -> None:
        neuron = population.leaky

        def each(given: Any) -> torch.Tensor:
            values = np.broadcast_to(np.asarray(given, np.float64), population.shape)
            return torch.from_numpy(values.ravel().copy())

        self.neuron = neuron
        self.u_keep, self.v_keep, self.bias = map(each, (neuron.u_keep, neuron.v_keep, neuron.bias))
        self.threshold = None if neuron.v_threshold is None else each(neuron.v_threshold)
        self.size = len(self.bias)
        self.u, self.v, self.resting = (torch.zeros_like(self.bias) for _ in range(3))

    def step(self, arrived: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Spikes, and v before the reset."""
        u = self.u_keep * self.u + arrived
        v: Any = self.v_keep * self.v + u + self.bias
        self.u = u.detach()
        if self.threshold is None:
            self.v = v.detach()
            return torch.zeros_like(v), v
        spikes: Any = _Spike.apply(v, self.threshold, self.neuron.comparison == ">")
        rests = self.resting > 0
        v, spikes = torch.where(rests, self.v, v), spikes.masked_fill(rests, 0.0)
        left = (self.resting - 1).clamp(min=0)
        self.resting = left.masked_fill(spikes > 0, self.neuron.refractory_period)
        after = v - self.threshold * spikes if self.neuron.reset == "subtract" else v * (1 - spikes)
        self.v = after.detach()
        return spikes, v
