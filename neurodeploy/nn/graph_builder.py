"""Layers gathered one by one into a ``SpikingNetwork``, with what each of them reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.nn.layers import Delay
from neurodeploy.nn.network import INPUT, SpikingNetwork

RESERVED = {INPUT, "output", "readout"}
"""Names of nodes that every exported network has."""


class Earlier(NamedTuple):
    """What a place of the step before gave; places are counted within a step."""

    place: int


LayerSum = tuple["str | Earlier", ...]
"""A sum of the outputs of layers, of this step or of the one before."""


class GraphBuilder:
    """Layers and their sources, in the order in which they are added."""

    def __init__(self) -> None:
        self.layers: dict[str, nn.Module] = {}
        self._reads: dict[str, LayerSum] = {}
        self._where: dict[str, str] = {}
        self._delays: dict[str, str] = {}

    def add(self, wanted: str, layer: nn.Module, reads: LayerSum, where: str) -> LayerSum:
        """One more layer.

        Args:
            wanted: its name, changed where another one has it.
            reads: its input.
            where: its place in the user's code, as the beginning of a message.
        """
        name = wanted.replace(".", "_") or "layer"
        if name in RESERVED:
            name += "_"
        free, number = name, 2
        while free in self.layers:
            free, number = f"{name}_{number}", number + 1
        self.layers[free] = layer
        self._reads[free] = self._distinct(free, reads, where)
        self._where[free] = where
        return (free,)

    def network(
        self, output: LayerSum, places: Callable[[int], LayerSum], sample_shape: tuple[int, ...]
    ) -> SpikingNetwork:
        """The network whose output is a value; layers that it does not depend on are left out.

        Args:
            places: what a place of the step gives, by its number.

        Raises:
            UnsupportedError: something acts over two steps, or on a layer behind it.
        """
        if len(output) != 1 or not isinstance(output[0], str) or output[0] == INPUT:
            output = self.add("sum", nn.Identity(), output, "")
        (last,) = output
        assert isinstance(last, str)
        sources: dict[str, tuple[str, ...]] = {}
        order: dict[str, float] = {name: index for index, name in enumerate(self.layers)}
        waiting = [last]
        while waiting:
            name = waiting.pop()
            if name in sources or name == INPUT:
                continue
            sources[name] = self._sources(name, places, order)
            waiting += sources[name]
        names = sorted(sources, key=order.__getitem__)
        if names[-1] != last:
            # The step goes on computing what only the next one reads.
            names.remove(last)
            if any(last in read for read in sources.values()):
                (end,) = self.add(f"{last}_output", nn.Identity(), (last,), self._where[last])
                names.insert([order[name] > order[last] for name in names].index(True), last)
                last, sources[str(end)] = str(end), (last,)
            names.append(last)
        layers = {name: self.layers[name] for name in names}
        return SpikingNetwork(layers, sample_shape, {name: sources[name] for name in names})

    def _sources(
        self, name: str, places: Callable[[int], LayerSum], order: dict[str, float]
    ) -> tuple[str, ...]:
        """The layers that a layer reads, those of the step before as they stand or delayed."""
        found: list[str] = []
        for part in self._reads[name]:
            if isinstance(part, str):
                found.append(part)
                continue
            for before in places(part.place):
                if isinstance(before, Earlier):
                    raise UnsupportedError(
                        f"{self._where[name]}layer {name!r} reads what happened two steps before; "
                        "a network keeps one"
                    )
                if before == INPUT:
                    raise UnsupportedError(
                        f"{self._where[name]}layer {name!r} reads the input of the step before; a "
                        "network sees that of each step only"
                    )
                late = order[before] >= order[name]
                found.append(before if late else self._delayed(before, order))
        return tuple(found)

    def _delayed(self, name: str, order: dict[str, float]) -> str:
        """A layer that passes another one's output on one step later, made once."""
        if name not in self._delays:
            (made,) = self.add(f"{name}_before", Delay(1), (name,), self._where[name])
            self._delays[name] = str(made)
            order[str(made)] = order[name] + 0.5
        return self._delays[name]

    def _distinct(self, name: str, reads: LayerSum, where: str) -> LayerSum:
        """Refuse to add up one thing twice, which sources cannot say."""
        if len(set(reads)) != len(reads):
            twice = next(part for part in reads if reads.count(part) > 1)
            raise UnsupportedError(
                f"{where}layer {name!r} reads {twice!r} twice in one sum; multiply it by 2 instead"
            )
        return reads
