"""Spikes of a network's neurons while it is evaluated.

They are counted on the samples that every epoch is judged by, not while gradients are made: that
costs training nothing, and tells of the network as it would be deployed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from types import TracebackType

import torch
from torch import Tensor

from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.nn.network import INPUT
from neurodeploy.nn.populations import spikes


class SpikeCount:
    """Adds up the spikes of every neuron of a network, while it is entered.

    Attributes:
        sizes: neurons of each layer that spikes, in order, behind the values of the input.
        spikes: of each neuron, (size,) float64; of the input, how often a value was not 0.
        steps: of all samples together that each layer was seen at.
    """

    def __init__(self, model: SpikingNetwork) -> None:
        self._model = model
        self._axes = {INPUT: len(model.sample_shape)}
        self.sizes = {INPUT: math.prod(model.sample_shape)}
        for name, layer in model.layers.items():
            if spikes(layer):
                self._axes[name] = len(model.shapes[name])
                self.sizes[name] = math.prod(model.shapes[name])
        like = next(model.parameters())
        self.spikes = {
            name: like.new_zeros(size, dtype=torch.float64) for name, size in self.sizes.items()
        }
        self.steps = dict.fromkeys(self.sizes, 0)
        self._step = dict.fromkeys(self.sizes, 0)
        self._lengths: Tensor | None = None

    def begin(self, lengths: Tensor | None = None) -> None:
        """Start a batch.

        Args:
            lengths: (N,) steps of each sample that count; None for all.
        """
        self._lengths, self._step = lengths, dict.fromkeys(self.sizes, 0)

    def __enter__(self) -> SpikeCount:
        self._model.watch = self._add
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._model.watch = None

    def inputs(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """The frames (N, *sample) of a batch on their way into the network, looked at."""
        for frame in frames:
            self._add(INPUT, (frame != 0).to(frame.dtype))
            yield frame

    def rates(self) -> dict[str, float]:
        """Spikes per neuron and step by layer; of the input, the share of values that are not 0."""
        return {
            name: float(self.spikes[name].sum()) / max(self.steps[name] * size, 1)
            for name, size in self.sizes.items()
        }

    def _add(self, name: str, spikes: Tensor) -> None:
        """Count some steps of a layer, (N, ...) or (c, N, ...)."""
        if name not in self.sizes:
            return
        each = spikes.flatten(-self._axes[name])
        shown = each.numel() // self.sizes[name]
        if self._lengths is not None:
            each = each.unsqueeze(0) if each.ndim == 2 else each
            first = self._step[name]
            self._step[name] += len(each)
            now = torch.arange(first, self._step[name], device=each.device)
            own = now[:, None] < self._lengths
            each, shown = each * own[..., None], int(own.sum())
        # The spikes of a batch are few enough for float32 to count.
        wide = torch.promote_types(each.dtype, torch.float32)
        self.spikes[name] += each.flatten(0, -2).sum(0, dtype=wide)
        self.steps[name] += shown
