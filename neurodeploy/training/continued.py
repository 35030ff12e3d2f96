"""SLTT in PyTorch on a discrete float network: what learning on a chip is measured against.

The network is a chain of projections and LIF neurons, as ``neurodeploy.ir.network`` describes it,
so that learning can go on from any deployment and not only from a module trained here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network, Neuron, Projection
from neurodeploy.ir.operators import Dense, SparseMatrix
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.neuron import LIF
from neurodeploy.rules import Batch
from neurodeploy.rules.rule import Update, UpdateTime
from neurodeploy.rules.sltt import SLTT


class FloatLearner:
    """Cross-entropy, SLTT and plain SGD on the weights, in float64, one sample at a time.

    Args:
        network: a chain of LIF layers that ends in a read-out.
        rate: of SGD.
        update: change weights after all T ``steps`` or after each ``step``.

    Raises:
        UnsupportedError: neurons that the training's LIF does not describe.
    """

    def __init__(self, network: Network, rate: float, update: UpdateTime) -> None:
        self.network = network
        self.payload = network.contract.input_code.payload
        self.steps = network.contract.steps
        self.synapses: dict[str, _Weighted] = {}
        layers: dict[str, nn.Module] = {}
        for projection in network.projections:
            population = network.population(projection.target)
            assert population.neuron is not None
            weighted = _Weighted(projection, population.neuron, population.shape)
            self.synapses[projection.name] = layers[f"synapses{len(layers)}"] = weighted
            if projection.target != network.output:
                layers[f"neurons{len(layers)}"] = _lif(population.neuron, population.name)
        self.sample_shape = network.projections[0].operator.input_shape
        self.model = SpikingNetwork(layers, self.sample_shape).double()
        self.rule = SLTT(update)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate)

    def learn(self, values: np.ndarray, labels: np.ndarray) -> None:
        """Go on with samples (N, T, inputs), or (N, 1, inputs) when every step is the same."""

        def update() -> None:
            self.optimizer.step()
            self.optimizer.zero_grad()

        for sample, label in zip(values, labels, strict=True):
            self._train(sample, int(label), update)

    def gradients(self, values: np.ndarray, label: int) -> dict[str, np.ndarray]:
        """dL/dW of one sample (T or 1, inputs), by projection; changes nothing."""
        self._train(values, label, lambda: None)
        found = {}
        for name, synapses in self.synapses.items():
            assert synapses.weight.grad is not None
            found[name] = synapses.weight.grad.numpy().copy()
        self.optimizer.zero_grad()
        return found

    def weights(self) -> Mapping[str, np.ndarray]:
        """Weights by projection, in the operator's shape."""
        return {name: s.weight.detach().numpy().copy() for name, s in self.synapses.items()}

    def _train(self, values: np.ndarray, label: int, update: Update) -> None:
        frames = torch.from_numpy(values.astype(np.float64) / self.payload)
        frames = frames.unflatten(1, self.sample_shape)[:, None]
        steps = [frames[t % len(frames)] for t in range(self.steps)]
        batch = Batch(steps, self.steps, torch.tensor([label]))
        self.rule.train_batch(
            self.model, batch, InstantaneousLoss(), update, torch.Generator().manual_seed(0)
        )


class _Weighted(nn.Module):
    """A projection whose weights learn, and the constant bias of the neurons behind it."""

    bias: Tensor

    def __init__(self, projection: Projection, neuron: Neuron, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.operator = projection.operator
        self.weight = nn.Parameter(torch.from_numpy(projection.operator.weights.astype(np.float64)))
        bias = np.broadcast_to(np.asarray(neuron.bias, np.float64), shape)
        self.register_buffer("bias", torch.from_numpy(bias.copy()))

    def forward(self, x: Tensor) -> Tensor:
        """(N, *source) to (N, *target)."""
        return _apply(self.operator, self.weight, x) + self.bias


def _apply(
    operator: Convolution | Dense | SparseMatrix | object, weight: Tensor, x: Tensor
) -> Tensor:
    """What an operator does, as a function of its weights."""
    if isinstance(operator, Convolution):
        ends = [end for pair in reversed(operator.padding) for end in pair]
        convolve = functional.conv1d if len(operator.kernel) == 1 else functional.conv2d
        return convolve(
            functional.pad(x, ends),
            weight,
            stride=operator.stride,
            dilation=operator.dilation,
            groups=operator.groups,
        )
    if isinstance(operator, Dense):
        return functional.linear(x.flatten(1), weight).unflatten(1, operator.output_shape)
    if isinstance(operator, SparseMatrix):
        rows = np.repeat(np.arange(len(operator.indptr) - 1), np.diff(operator.indptr))
        where = torch.from_numpy(np.stack([rows, operator.indices]).astype(np.int64))
        size = (len(operator.indptr) - 1, int(np.prod(operator.input_shape)))
        matrix = torch.zeros(size, dtype=weight.dtype).index_put((where[0], where[1]), weight)
        return functional.linear(x.flatten(1), matrix).unflatten(1, operator.output_shape)
    raise UnsupportedError(f"no gradient for operators of kind {type(operator).__name__}")


def _lif(neuron: Neuron, where: str) -> LIF:
    """The training's neuron with the same step."""
    values = [np.unique(np.asarray(v)) for v in (neuron.u_keep, neuron.v_keep, neuron.v_threshold)]
    if any(len(found) != 1 for found in values) or values[0][0] != 0:
        raise UnsupportedError(
            f"population {where!r} is a {neuron.kind} with a synaptic current or with parameters "
            "that differ between neurons; training has no such neuron"
        )
    keep, threshold = float(values[1][0]), float(values[2][0])
    return LIF.keeping(keep, threshold, neuron.reset, neuron.comparison)
