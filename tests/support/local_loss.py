"""Rule ``local`` in PyTorch: the gradient that autograd takes of each layer's own loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from neurodeploy.ir.network import Network
from neurodeploy.onchip.local_signal import LocalSignal


class _Spike(torch.autograd.Function):
    """1 where v reaches the threshold, with the triangle for a derivative."""

    @staticmethod
    def forward(ctx: Any, v: torch.Tensor, threshold: float) -> torch.Tensor:
        ctx.save_for_backward(v)
        ctx.threshold = threshold
        return (v >= threshold).double()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> Any:
        (v,) = ctx.saved_tensors
        slope = (ctx.threshold - (v - ctx.threshold).abs()).clamp(min=0) / ctx.threshold**2
        return grad_outputs[0] * slope, None


def local_gradients(
    network: Network, signals: Sequence[LocalSignal], values: np.ndarray, label: int
) -> dict[str, np.ndarray]:
    """dL/dW of a sample (T or 1, inputs), by projection, flat; neurons reset by subtraction.

    L is the mean over steps of the cross-entropy of each layer's votes g B^T s, and of the outputs
    of the last; inputs of a layer and v of the step before are constants.
    """
    target, steps = torch.tensor([label]), network.contract.steps
    weights, numbers, states = {}, {}, {}
    for p in network.projections:
        count = p.operator.weights.size
        numbered = p.operator.with_weights(
            np.arange(1, count + 1).reshape(p.operator.weights.shape)
        )
        numbers[p.name] = torch.from_numpy(numbered.matrix().toarray().astype(np.int64))
        flat = p.operator.weights.ravel().astype(np.float64)
        weights[p.name] = torch.from_numpy(flat.copy()).requires_grad_()
        states[p.name] = torch.zeros(len(numbers[p.name]), dtype=torch.float64)
    loss = torch.zeros((), dtype=torch.float64)
    for t in range(steps):
        frame = values[t % len(values)] / network.contract.input_code.payload
        spikes = torch.from_numpy(frame.astype(np.float64))
        for number, p in enumerate(network.projections):
            population = network.population(p.target)
            bias = np.broadcast_to(population.leaky.bias, population.shape).ravel().copy()
            padded = torch.cat([torch.zeros(1, dtype=torch.float64), weights[p.name]])
            added = padded[numbers[p.name]] @ spikes.detach() + torch.from_numpy(bias)
            if p.target == network.output:
                outputs = added
            else:
                neuron = population.leaky
                assert neuron.v_threshold is not None
                threshold, keep = float(neuron.v_threshold.flat[0]), float(neuron.v_keep.flat[0])
                v = keep * states[p.name] + added
                spikes: Any = _Spike.apply(v, threshold)
                states[p.name] = (v - threshold * spikes).detach()
                signs = torch.from_numpy(signals[number].signs.astype(np.float64))
                outputs = spikes @ signs * 2.0 ** -signals[number].gain_shift
            loss = loss + torch.nn.functional.cross_entropy(outputs[None], target) / steps
    loss.backward()
    found = {}
    for name, weight in weights.items():
        assert weight.grad is not None
        found[name] = weight.grad.numpy()
    return found
