"""What every network family builds: named layers, and what each of them reads."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from neurodeploy.recipe import NeuronRecipe

INPUT = "input"
"""The name by which layers read the sample itself."""


@runtime_checkable
class Stateful(Protocol):
    """A layer that remembers something from one step to the next."""

    def reset_state(self, cut: bool) -> None:
        """Forget it; ``cut`` says whether gradients are cut between steps."""
        ...


class SpikingNetwork(nn.Module):
    """Layers applied in order, once per step; the last one is the readout.

    A layer reads the sum of its sources. One that reads itself or a later layer gets what that
    sent at the previous step, and before the first step nothing. The same description, ``layers``
    and ``sources``, serves training and export.

    The readout is linear and has no neuron: its value o[t] is the network's output at step t, and
    the class is argmax of sum_t o[t] (Meng et al. 2023).

    Attributes:
        layers: name to module, in order. Names are those of the nodes in an exported NIR graph.
        sources: for each layer, the layers it reads, or ``INPUT``.
        readers: for each layer and ``INPUT``, the layers that read it.
        fed_back: layers whose output is kept for the next step.
        sample_shape: shape of one sample, without batch.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        sample_shape: tuple[int, ...],
        sources: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """A layer that ``sources`` does not name reads the one before it."""
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.sample_shape = sample_shape
        names = [INPUT, *layers]
        given = sources or {}
        self.sources = {
            name: given.get(name, (before,))
            for before, name in zip(names, layers, strict=False)  # the readout is before none
        }
        unknown = {s for read in given.values() for s in read} - {*names} | {*given} - {*layers}
        if unknown:
            raise ValueError(f"sources name {sorted(unknown)}, which are no layers")
        self.readers = {
            name: tuple(reader for reader, read in self.sources.items() if name in read)
            for name in names
        }
        place = {name: index for index, name in enumerate(names)}
        self.fed_back = tuple(
            name for name in layers if any(place[r] <= place[name] for r in self.readers[name])
        )
        # Where each output is read for the last time: it can be let go there, which without a
        # graph saves most of the memory.
        self._let_go: dict[str, list[str]] = {name: [] for name in layers}
        for name, readers in self.readers.items():
            if readers and name not in self.fed_back:
                self._let_go[max(readers, key=place.__getitem__)].append(name)
        self._previous: dict[str, Tensor] = {}
        self._cut = True

    def reset_state(self, cut: bool = True) -> None:
        """Start a batch: forget every state; ``cut`` detaches what is carried between steps."""
        self._previous = {}
        self._cut = cut
        for layer in self.layers.values():
            if isinstance(layer, Stateful):
                layer.reset_state(cut)

    def forward(self, x: Tensor) -> Tensor:
        """One step: input (N, *sample_shape) to output o[t] (N, classes)."""
        outputs = {INPUT: x, **self._previous}
        for name, layer in self.layers.items():
            arriving = [outputs[source] for source in self.sources[name] if source in outputs]
            if arriving:
                x = outputs[name] = layer(functools.reduce(torch.add, arriving))
            for source in self._let_go[name]:
                outputs.pop(source, None)
        self._previous = {
            name: outputs[name].detach() if self._cut else outputs[name] for name in self.fed_back
        }
        return x


class Family(Protocol):
    """A network family: a frozen dataclass of options, which it turns into a network."""

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network with freshly drawn weights.

        Raises:
            InputError: the options do not suit samples of this shape.
        """
        ...
