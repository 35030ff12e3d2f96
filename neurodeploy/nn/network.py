"""What every network family builds: named layers, and what each of them reads."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from neurodeploy.nn.steps import Stateful, one_step, over_steps
from neurodeploy.recipe import NeuronRecipe

INPUT = "input"
"""The name by which layers read the sample itself."""


Apply = Callable[[nn.Module, Tensor], Tensor]
"""What a layer is taken to compute: itself, or something in its place."""

Watch = Callable[[str, Tensor], None]
"""Is shown the name and the output of every layer that has been computed."""


class SpikingNetwork(nn.Module):
    """Layers applied in order, once per step; the last one is the readout.

    A layer reads the sum of its sources. One that reads itself or a later layer gets what that
    sent at the previous step, and before the first step nothing. The same description, ``layers``
    and ``sources``, serves training and export.

    The readout is linear and has no neuron: its value o[t] is the network's output at step t, and
    the class is argmax of sum_t o[t] (Meng et al. 2023). A network may also end in neurons, whose
    spikes, or the potentials of an ``LI``, are o[t].

    Attributes:
        layers: name to module, in order. Names are those of the nodes in an exported NIR graph.
        sources: for each layer, the layers it reads, or ``INPUT``.
        readers: for each layer and ``INPUT``, the layers that read it.
        fed_back: layers whose output is kept for the next step.
        sample_shape: shape of one sample, without batch.
        watch: looks on while layers are computed; None for nobody.
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
        self.watch: Watch | None = None
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
        # Where each output is read for the last time: it can be let go there.
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
        return self._step({INPUT: x}, None)

    def over_steps(
        self, given: Mapping[str, Tensor], layers: Iterable[str] | None = None
    ) -> Tensor:
        """c steps, layer by layer; what c calls give, except for rounding.

        Where a layer reads the step before, it is c calls.

        Args:
            given: what the layers read from outside, (c, N, ...): the ``INPUT``, or the outputs of
                layers that are left out.
            layers: names in order; all when None.

        Returns:
            Outputs (c, N, classes).
        """
        steps = len(next(iter(given.values())))
        if steps == 1:
            # Unlike an index, this costs nothing in backward.
            one = {name: value.squeeze(0) for name, value in given.items()}
            return self._step(one, layers).unsqueeze(0)
        if not self.fed_back:
            return self.compute({**given}, over_steps, layers)
        each = ({name: value[t] for name, value in given.items()} for t in range(steps))
        return torch.stack([self._step(values, layers) for values in each])

    def _step(self, given: Mapping[str, Tensor], layers: Iterable[str] | None) -> Tensor:
        """One step, (N, ...), and what it leaves for the next."""
        values = {**given, **self._previous}
        output = self.compute(values, layers=layers)
        self._previous = {
            name: values[name].detach() if self._cut else values[name]
            for name in self.fed_back
            if name in values
        }
        return output

    def compute(
        self,
        values: dict[str, Tensor],
        apply: Apply = one_step,
        layers: Iterable[str] | None = None,
    ) -> Tensor:
        """Apply layers in order to the sums of their sources, and return the last one's output.

        Args:
            values: by layer, what is there to read. Outputs are added to it, and each is taken out
                behind its last reader: without a graph that saves most of the memory.
            apply: computes a layer.
            layers: names in order; all when None.
        """
        output = torch.empty(0)
        for name in self.layers if layers is None else layers:
            arriving = [values[source] for source in self.sources[name] if source in values]
            if arriving:
                output = apply(self.layers[name], functools.reduce(torch.add, arriving))
                values[name] = output
                if self.watch is not None:
                    self.watch(name, output)
            for source in self._let_go[name]:
                values.pop(source, None)
        return output

    @property
    def values_per_step(self) -> int:
        """Values that all layers together put out in one step of one sample."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @functools.cached_property
    @torch.no_grad()
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What each layer puts out for one sample, without batch.

        Found once, by running a step, or several where layers read the step before; the state is
        reset.
        """
        found: dict[str, tuple[int, ...]] = {}
        names = {layer: name for name, layer in self.layers.items()}

        def noted(layer: nn.Module, x: Tensor) -> Tensor:
            output = layer(x)
            found[names[layer]] = tuple(output.shape[1:])
            return output

        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        self.reset_state()
        parameter = next(self.parameters(), torch.zeros(()))
        frame = parameter.new_zeros(1, *self.sample_shape)
        values = {INPUT: frame}
        self.compute(values, noted)
        for _ in self.fed_back:
            kept = {name: values[name] for name in self.fed_back if name in values}
            values = {INPUT: frame, **kept}
            self.compute(values, noted)
        self.reset_state()
        for module, training in modes:
            module.training = training
        return found


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
