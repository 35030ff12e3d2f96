"""Integers of a deployed network in torch modules, as somebody would write them for NeuroBench.

Layers are torch's own; a neuron is a ``SpikingNeuron`` of snnTorch, which is what the harness looks
for, and steps in Lava's integer equations, written here a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection

STATE = 2**23


class IntegerNeuron(snntorch.SpikingNeuron):
    """One population: a step takes its input and gives its spikes, of a read-out nothing.

    Attributes:
        mem: v after the step, as the harness looks for it.
    """

    u_decay: Tensor
    v_decay: Tensor
    bias: Tensor
    v_threshold: Tensor

    def __init__(self, population: QuantizedPopulation) -> None:
        # The buffers that snnTorch's own neurons have are not those of this one.
        nn.Module.__init__(self)
        neuron = population.leaky
        self.init_hidden, self.output = True, False
        self.subtracts, self.least = neuron.reset == "subtract", int(neuron.comparison == ">")
        self.rest, self.fires = neuron.refractory_period, neuron.threshold is not None
        self.shared("v_decay", neuron.v_decay)
        self.current = bool((neuron.u_decay != 4096).any())
        if self.current:
            self.shared("u_decay", neuron.u_decay)
        bias = neuron.bias_mantissa << neuron.bias_exponent
        self.biased = bool(bias.any())
        if self.biased:
            self.shared("bias", bias)
        if neuron.threshold is not None:
            self.shared("v_threshold", neuron.threshold)

    def shared(self, name: str, values: np.ndarray) -> None:
        """Keep values, one per channel where neurons of a channel share theirs, or one for all."""
        flat = values.reshape(len(values), -1)
        per_channel = (flat == flat[:, :1]).all()
        kept = flat[:, :1].reshape(-1, *[1] * (values.ndim - 1)) if per_channel else values
        kept = kept[:1] if per_channel and (kept == kept[:1]).all() else kept
        self.register_buffer(name, torch.from_numpy(kept).to(torch.float32))

    def begin(self, shape: tuple[int, ...]) -> None:
        """The state of a new batch."""
        self.u = torch.zeros(shape, dtype=torch.int64)
        self.mem, self.resting = self.u, self.u

    def kept(self, state: Tensor, decay: Tensor) -> Tensor:
        return state.sign() * (state.abs() * (4096 - decay.long()) >> 12)

    def forward(self, activation: Tensor) -> Tensor:
        self.u = (self.kept(self.u, self.u_decay) if self.current else 0) + (activation << 6)
        self.u = torch.where(self.u.abs() > STATE, (self.u + STATE) % (2 * STATE) - STATE, self.u)
        v = self.kept(self.mem, self.v_decay) + self.u
        v = (v + (self.bias.long() if self.biased else 0)).clamp(1 - STATE, STATE - 1)
        v = torch.where(self.resting > 0, self.mem, v)
        if not self.fires:
            self.mem = v
            return torch.empty(0)
        threshold = self.v_threshold.long() << 6
        spikes = (v >= threshold + self.least) & (self.resting == 0)
        self.resting = torch.where(spikes, self.rest, (self.resting - 1).clamp(min=0))
        self.mem = torch.where(spikes, v - threshold if self.subtracts else 0, v)
        return spikes.float()


def layer(projection: QuantizedProjection) -> nn.Module:
    """A projection's weights in a layer of torch, without bias."""
    operator = projection.operator
    weights = torch.from_numpy(np.array(operator.weights)).to(torch.float32)
    if isinstance(operator, Convolution):
        assert all(before == after for before, after in operator.padding)
        options: dict[str, Any] = {
            "stride": operator.stride,
            "padding": tuple(before for before, _ in operator.padding),
        }
        outputs, inputs, *kernel = weights.shape
        made = nn.Conv2d(inputs, outputs, (kernel[0], kernel[1]), bias=False, **options)
    else:
        made = nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    made.weight.data = weights
    return made


class IntegerModule(nn.Module):
    """A network of populations and projections, stepped in the order of its populations.

    Args:
        network: with populations in an order in which projections without delay go forward.
    """

    def __init__(self, network: QuantizedNetwork) -> None:
        super().__init__()
        self.network = network
        self.neurons = nn.ModuleDict(
            {p.name: IntegerNeuron(p) for p in network.populations if p.neuron}
        )
        self.layers = nn.ModuleDict({p.name: layer(p) for p in network.projections})

    def reset(self) -> None:
        """Forget the last batch."""
        self.sent: dict[str, list[Tensor]] = {p.name: [] for p in self.network.populations}

    def forward(self, values: Tensor) -> tuple[Tensor, None]:
        """One step."""
        for population in self.network.populations:
            shape = (len(values), *population.shape)
            if population.neuron is None:
                self.sent[population.name].append(values)
                continue
            neuron: Any = self.neurons[population.name]
            if not self.sent[population.name]:
                neuron.begin(shape)
            activation = torch.zeros(shape, dtype=torch.int64)
            for projection in self.network.projections:
                if projection.target == population.name:
                    arriving = self.arriving(projection, len(values))
                    summed = self.layers[projection.name](arriving).long().reshape(shape)
                    activation = activation + self.shifted(summed, projection.exponent)
            self.sent[population.name].append(neuron(activation))
        return torch.zeros(len(values), 1), None

    def arriving(self, projection: QuantizedProjection, count: int) -> Tensor:
        """What a projection brings in this step, flat where its layer is."""
        sent, shape = self.sent[projection.source], projection.operator.input_shape
        now = len(self.sent[self.network.populations[0].name]) - 1 - projection.delay
        values = sent[now] if now >= 0 else torch.zeros(count, *shape)
        return values if isinstance(projection.operator, Convolution) else values.flatten(1)

    @staticmethod
    def shifted(values: Tensor, exponent: int) -> Tensor:
        shift: Callable[[Tensor, int], Tensor] = (
            torch.bitwise_left_shift if exponent >= 0 else torch.bitwise_right_shift
        )
        return shift(values, abs(exponent))
