"""SLTT in PyTorch on a discrete float network: what learning on a chip is measured against.

The network is a chain of projections and LIF neurons, as ``neurodeploy.ir.network`` describes it,
so that learning can go on from any deployment and not only from a module trained here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.network import Network, Neuron
from neurodeploy.ir.operators import Operator
from neurodeploy.nn.layers import Constant
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.synapses import as_tensor, whole_layer
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
        self.synapses: dict[str, nn.Parameter] = {}
        layers: dict[str, nn.Module] = {}
        sources: dict[str, tuple[str, ...]] = {}
        for number, projection in enumerate(network.projections):
            population = network.population(projection.target)
            neuron = population.leaky
            synapses, self.synapses[projection.name] = _synapses(projection.operator)
            bias = np.broadcast_to(neuron.bias, population.shape)
            read = projection.target == network.output
            before, place = [*layers][-1:] or [INPUT], f"{number}"
            layers[f"synapses{place}"] = synapses
            layers[f"bias{place}"] = Constant(as_tensor(bias), learns=False)
            layers[f"neurons{place}"] = nn.Identity() if read else _lif(neuron, population.name)
            sources[f"synapses{place}"] = tuple(before)
            sources[f"bias{place}"] = (INPUT,)
            sources[f"neurons{place}"] = (f"synapses{place}", f"bias{place}")
        self.sample_shape = network.projections[0].operator.input_shape
        self.model = SpikingNetwork(layers, self.sample_shape, sources).double()
        self.rule = SLTT(update)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate)

    def learn(self, values: np.ndarray, labels: np.ndarray, lasts: list[int] | None = None) -> None:
        """Go on with samples (N, T, inputs), or (N, 1, inputs) when every step is the same.

        Args:
            lasts: steps of each, of which every one weighs 1/T; T when None.
        """

        def update() -> None:
            self.optimizer.step()
            self.optimizer.zero_grad()

        lasts = [self.steps] * len(labels) if lasts is None else lasts
        for sample, label, last in zip(values, labels, lasts, strict=True):
            self._train(sample, int(label), update, last)

    def gradients(self, values: np.ndarray, label: int) -> dict[str, np.ndarray]:
        """dL/dW of one sample (T or 1, inputs), by projection; changes nothing."""
        self._train(values, label, lambda: None, self.steps)
        found = {}
        for name, weight in self.synapses.items():
            assert weight.grad is not None
            found[name] = weight.grad.numpy().copy()
        self.optimizer.zero_grad()
        return found

    def weights(self) -> Mapping[str, np.ndarray]:
        """Weights by projection, in the operator's shape."""
        return {name: weight.detach().numpy().copy() for name, weight in self.synapses.items()}

    def _train(self, values: np.ndarray, label: int, update: Update, last: int) -> None:
        frames = torch.from_numpy(values.astype(np.float64) / self.payload)
        frames = frames.unflatten(1, self.sample_shape)[:, None]
        steps = [frames[t % len(frames)] for t in range(last)]
        batch = Batch(steps, last, torch.tensor([label]))
        # A rule divides the loss of a step by how many there are.
        loss = InstantaneousLoss(factor=last / self.steps)
        self.rule.train_batch(self.model, batch, loss, update, torch.Generator().manual_seed(0))


def _synapses(operator: Operator) -> tuple[nn.Module, nn.Parameter]:
    """The layer of an operator as it is deployed, and its weights, as the operator stores them."""
    layers: list[Any] = whole_layer(operator)
    weight = next(layer.weight for layer in layers if hasattr(layer, "weight"))
    return nn.Sequential(*layers), weight


def _lif(neuron: Neuron, where: str) -> LIF:
    """The training's neuron with the same step."""
    values = [np.unique(np.asarray(v)) for v in (neuron.u_keep, neuron.v_keep, neuron.v_threshold)]
    if any(len(found) != 1 for found in values) or values[0][0] != 0:
        raise UnsupportedError(
            f"population {where!r} is a {neuron.kind} with a synaptic current or with parameters "
            "that differ between neurons; learning has no such neuron"
        )
    keep, threshold = float(values[1][0]), float(values[2][0])
    return LIF.keeping(keep, threshold, neuron.reset, neuron.comparison)
