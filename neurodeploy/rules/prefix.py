"""The layers that a constant input reaches before any neuron does: run once for all steps.

With direct encoding, the first convolution and its batch norm see the same frame at every step.
They run forward once. Errors are linear in what they act on, so those of all steps are added up
where the first neurons read, and go backward through these layers once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.steps import Stateful


class ConstantPrefix:
    """Outputs of a network's first layers for one frame that is shown at every step.

    Attributes:
        layers: the names of the other layers, in order.
    """

    def __init__(self, model: SpikingNetwork, frame: Tensor, steps: int) -> None:
        """Run the layers for ``frame``, (N, *sample).

        Args:
            steps: how often the frame is shown: running statistics of batch norm move as often.
        """
        names = prefix_of(model)
        self.layers = tuple(name for name in model.layers if name not in names)
        self._reached = {INPUT: frame}
        with _statistics_moving(model, names, steps):
            model.compute(self._reached, layers=names)
        self._seen = {
            name: value.detach().requires_grad_(value.requires_grad)
            for name, value in self._reached.items()
        }

    def over_steps(self, steps: int) -> dict[str, Tensor]:
        """What the other layers read, (steps, N, ...), without copies."""
        if steps == 1:
            return {name: value.unsqueeze(0) for name, value in self._seen.items()}
        return {name: value.expand(steps, *value.shape) for name, value in self._seen.items()}

    def backward(self) -> None:
        """Add the gradients of these layers' parameters, once all other layers have theirs."""
        ends = [
            (value, self._seen[name].grad)
            for name, value in self._reached.items()
            if self._seen[name].grad is not None
        ]
        if ends:
            values, errors = zip(*ends, strict=True)
            torch.autograd.backward(values, errors)


def prefix_of(model: SpikingNetwork) -> tuple[str, ...]:
    """Layers that read the input alone, through layers without a state; never the readout."""
    found: list[str] = []
    for name in list(model.layers)[:-1]:
        layer = model.layers[name]
        stateful = any(isinstance(part, Stateful) for part in layer.modules())
        if not stateful and {*model.sources[name]} <= {INPUT, *found}:
            found.append(name)
    return tuple(found)


@contextmanager
def _statistics_moving(model: SpikingNetwork, names: tuple[str, ...], steps: int) -> Iterator[None]:
    """Let one call of a batch norm move its running statistics as ``steps`` equal calls would.

    Each call keeps the share 1 - m of them, so all of them keep (1 - m)^steps.
    """
    parts: Iterator[Any] = (part for name in names for part in model.layers[name].modules())
    norms = [p for p in parts if isinstance(p, _BatchNorm) and p.training]
    momenta = [norm.momentum for norm in norms]
    for norm, momentum in zip(norms, momenta, strict=True):
        if norm.num_batches_tracked is None:  # it keeps no running statistics
            continue
        if momentum is None:  # they are means over all calls so far
            norm.momentum = steps / (int(norm.num_batches_tracked) + steps)
        else:
            norm.momentum = 1 - (1 - momentum) ** steps
        norm.num_batches_tracked += steps - 1
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
