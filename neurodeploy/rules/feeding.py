"""Steps of a batch on their way into a network: how many at once, and what is not done twice.

Each saving leaves the gradients as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.batchnorm import _BatchNorm

from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.steps import Stateful
from neurodeploy.rules.any_module import Model


class Feed:
    """Shows a network the frames of a batch, in order, as many at once as it is asked for.

    The network's state must have been reset, and its parameters must stay as they are.
    """

    def __init__(
        self,
        model: Model,
        frames: Iterable[Tensor],
        steps: int,
        constant: bool = False,
        lean: bool = False,
    ) -> None:
        """Look at the first frame where all are the same; else ask for none yet.

        Args:
            frames: (N, *sample) for each step.
            steps: how many will be shown.
            constant: every frame is the same.
            lean: where one step is shown, compute its spikes again for backward.
        """
        self._model = model
        self._frames = iter(frames)
        self._prefix: ConstantPrefix | None = None
        if constant and isinstance(model, SpikingNetwork):
            self._prefix = ConstantPrefix(model, next(self._frames), steps)
        self._lean = lean

    def show(self, steps: int) -> Tensor:
        """Outputs (steps, N, classes) of the next steps."""
        if self._lean and steps == 1 and torch.is_grad_enabled():
            with spikes_computed_again(self._model):
                return self._show(steps)
        return self._show(steps)

    def _show(self, steps: int) -> Tensor:
        if self._prefix is not None and isinstance(self._model, SpikingNetwork):
            return self._model.over_steps(self._prefix.over_steps(steps), self._prefix.layers)
        if steps == 1:
            return self._model(next(self._frames)).unsqueeze(0)
        frames = [*itertools.islice(self._frames, steps)]
        if isinstance(self._model, SpikingNetwork):
            return self._model.over_steps({INPUT: torch.stack(frames)})
        return torch.stack([self._model(frame) for frame in frames])

    def backward(self) -> None:
        """Add the gradients of the layers that saw the constant frame, if there are any.

        It comes after the backward passes of all steps shown.
        """
        if self._prefix is not None:
            self._prefix.backward()


class ConstantPrefix:
    """Outputs of a network's first layers for one frame that is shown at every step.

    With direct encoding, the layers that the input reaches before any neuron does, such as the
    first convolution and its batch norm, see the same frame at every step. They run forward once.
    Errors are linear in what they act on, so those of all steps are added up where the first
    neurons read, and go backward through these layers once.

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


class _Fired(NamedTuple):
    """Spikes, as what they came from."""

    layer: LIF
    u: Tensor
    dtype: torch.dtype


@contextmanager
def spikes_computed_again(model: Model) -> Iterator[None]:
    """Let one step computed in this context keep no outputs of ``LIF`` layers for backward.

    The gradient of a weight needs the spikes that it saw, that of a surrogate the membrane. The
    second gives the first: one comparison instead of a third of what a step keeps. The gradients
    stay the same to the last bit.
    """
    known: dict[int, tuple[StorageWeakRef, LIF, Tensor]] = {}

    def note(layer: nn.Module, given: Any, spikes: Tensor) -> None:
        if isinstance(layer, LIF) and layer.u is not None:
            # While it is referred to, no other storage gets its address.
            reference = StorageWeakRef(spikes.untyped_storage())
            known[reference.cdata] = reference, layer, layer.u

    def pack(kept: Tensor) -> Tensor | _Fired:
        place = kept.untyped_storage()._cdata
        if place not in known:
            return kept
        reference, layer, u = known[place]
        whole = kept.shape == u.shape and kept.stride() == u.stride()
        return _Fired(layer, u, kept.dtype) if whole and not reference.expired() else kept

    def unpack(kept: Tensor | _Fired) -> Tensor:
        return kept if isinstance(kept, Tensor) else kept.layer.fired(kept.u).to(kept.dtype)

    layers = [layer for layer in model.modules() if isinstance(layer, LIF)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        with saved_tensors_hooks(pack, unpack):
            yield
    finally:
        for handle in handles:
            handle.remove()


BUDGET = 16 << 20
"""Bytes of one chunk's activations below which an automatic choice stays, if it can.

More steps at once are faster, and need more memory.
"""


def parts(steps: int, at_once: int) -> Iterator[int]:
    """``steps`` cut into parts of ``at_once``; the last one may be smaller."""
    for first in range(0, steps, at_once):
        yield min(at_once, steps - first)


def steps_at_once(model: Model, samples: int, steps: int, wanted: int = 0) -> int:
    """How many of ``steps`` steps to run at once.

    Args:
        samples: N, samples in a batch.
        wanted: ``training.time_chunk``: this many, or as suits the budget when 0.
    """
    if not isinstance(model, SpikingNetwork) or model.fed_back:
        return 1
    if wanted:
        return min(wanted, steps)
    value = next(model.parameters()).element_size()
    return max(1, min(steps, BUDGET // (samples * model.values_per_step * value)))
