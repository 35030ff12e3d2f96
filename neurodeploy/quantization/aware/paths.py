"""What a network's synapses will be on a chip: the linear paths from spikes to neurons.

Spikes (or the input) pass pooling and constant factors, then one weighted layer, then batch norms
and factors, and reach a neuron or are read out:

    drive = a W m^-1 n + b,    n = m s integers,    a, b from batch norm and factors

m makes pooled spikes and graded input integers again: the area of the pooling and the levels of the
input go in, constant factors before the weights go out. A path without a weighted layer has one
weight per channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.nn.current import LI, CubaLIF
from neurodeploy.nn.delays import DelayedLinear
from neurodeploy.nn.folding import BATCH_NORMS
from neurodeploy.nn.layers import Delay, Dropout, Factors, GridLinear, Scale, WSConv2d
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.neuron import LIF

READOUT = "readout"
"""Name of the population that a network's last layer becomes, unless it ends in neurons."""

NEURONS = (LIF, CubaLIF, LI)
WEIGHTED = (nn.Linear, nn.Conv2d, nn.Conv1d, DelayedLinear)
PASSING = (nn.Flatten, nn.Identity, nn.ZeroPad2d, nn.ConstantPad1d, Dropout, Delay)


@dataclass(frozen=True, eq=False)
class SynapticPath:
    """One weighted layer on its way to its neurons, or a connection without one.

    Attributes:
        at: name of the weighted layer, or of the layer that reads the spikes unweighted.
        weighted: whether ``at`` is a weighted layer.
        sources: populations whose spikes arrive.
        multiplier: m, by which what arrives is an integer.
        levels: largest of these integers.
        after: names of batch norms and factors behind it, in order.
        drops: whether dropout lies before it.
    """

    at: str
    weighted: bool
    sources: tuple[str, ...]
    multiplier: float
    levels: int
    after: tuple[str, ...]
    drops: bool

    @property
    def node(self) -> str:
        """Name of the layer that holds the weights, one made for it where there was none."""
        return self.at if self.weighted else f"{self.sources[0]}_to_{self.at}"


@dataclass(frozen=True, eq=False)
class Receiver:
    """A layer of neurons, or the read-out, with the paths into it.

    Attributes:
        name: as the population will be called.
        entry: name of the layer of neurons, or of the last layer.
    """

    name: str
    entry: str
    paths: tuple[SynapticPath, ...]


def receivers_of(model: SpikingNetwork, payload: int) -> list[Receiver]:
    """All layers of neurons and, where none of them is what is read, the read-out.

    Args:
        payload: largest integer that the input carries.

    Raises:
        UnsupportedError: a layer or a connection that is not one path of weights on a chip.
    """
    finder = _Finder(model, payload)
    *_, last = model.layers
    found = [
        Receiver(name, name, tuple(finder.into(name, ())))
        for name, layer in model.layers.items()
        if isinstance(layer, NEURONS)
    ]
    if ends_in_neurons(model, last):
        return found
    return [*found, Receiver(READOUT, last, tuple(finder.reaching(last, None, ())))]


def ends_in_neurons(model: SpikingNetwork, name: str) -> bool:
    """Whether a layer gives what neurons do, flattened or as it is."""
    layer, sources = model.layers[name], model.sources[name]
    if isinstance(layer, nn.Flatten | nn.Identity | Dropout) and len(sources) == 1:
        return sources[0] != INPUT and ends_in_neurons(model, sources[0])
    return isinstance(layer, NEURONS)


class _Finder:
    def __init__(self, model: SpikingNetwork, payload: int) -> None:
        self.model = model
        self.payload = payload

    def into(self, name: str, after: tuple[str, ...]) -> list[SynapticPath]:
        """Paths through each source of a layer."""
        return [
            path
            for source in self.model.sources[name]
            for path in self.reaching(source, name, after)
        ]

    def reaching(self, name: str, reader: str | None, after: tuple[str, ...]) -> list[SynapticPath]:
        """Paths that end with layer ``name``, which ``reader`` reads."""
        layer = self.model.layers[name] if name != INPUT else None
        if layer is None or isinstance(layer, LIF | CubaLIF):
            if reader is None:
                raise UnsupportedError(f"layer {name!r}: the input cannot be the read-out")
            return [
                SynapticPath(reader, False, (name,), *self._integers(name, 1.0, 1), after, False)
            ]
        if isinstance(layer, WEIGHTED):
            self._check_reader(name, reader)
            if isinstance(layer, DelayedLinear) and reader is None:
                raise UnsupportedError(
                    f"layer {name!r}: a read-out with delays cannot be trained on integers"
                )
            for behind in after:
                if isinstance(self.model.layers[behind], Factors):
                    raise UnsupportedError(
                        f"layer {behind!r}: Factors behind weights cannot be trained on integers"
                    )
            return [self._weighted(name, after)]
        if isinstance(layer, (*BATCH_NORMS, Scale, Factors)):
            self._check_reader(name, reader)
            return self.into(name, (name, *after))
        if isinstance(layer, nn.Identity | Dropout):
            return self.into(name, after)
        raise UnsupportedError(
            f"layer {name!r}: {type(layer).__name__} between weights and neurons cannot be "
            "trained on integers"
        )

    def _check_reader(self, name: str, reader: str | None) -> None:
        """Folding what comes behind into weights needs that nothing else reads them."""
        if self.model.readers[name] not in ((), (reader,)):
            raise UnsupportedError(
                f"layer {name!r}: {', '.join(self.model.readers[name])} all read it, so that its "
                "weights would belong to several projections; it cannot be trained on integers"
            )

    def _weighted(self, name: str, after: tuple[str, ...]) -> SynapticPath:
        found = [part for source in self.model.sources[name] for part in self._before(source)]
        scales = {(multiplier, levels) for _, multiplier, levels, _ in found}
        if len(scales) > 1:
            raise UnsupportedError(
                f"layer {name!r}: reads spikes and pooled spikes alike, which training on integers "
                "cannot weight together"
            )
        ((multiplier, levels),) = scales
        sources = tuple(source for source, *_ in found)
        return SynapticPath(
            name, True, sources, multiplier, levels, after, any(d for *_, d in found)
        )

    def _before(self, name: str) -> list[tuple[str, float, int, bool]]:
        """Populations in front of a layer, each with multiplier, levels, and dropout or not."""
        layer = self.model.layers[name] if name != INPUT else None
        if layer is None or isinstance(layer, LIF | CubaLIF):
            return [(name, *self._integers(name, 1.0, 1), False)]
        factor, area, drops = 1.0, 1, isinstance(layer, Dropout)
        if isinstance(layer, nn.AvgPool2d):
            area = _area(name, layer)
        elif isinstance(layer, Scale):
            factor = layer.factor
        elif not isinstance(layer, PASSING):
            raise UnsupportedError(
                f"layer {name!r}: {type(layer).__name__} between neurons and the weights behind "
                "it cannot be trained on integers"
            )
        return [
            (source, multiplier * area / factor, levels * area, dropped or drops)
            for before in self.model.sources[name]
            for source, multiplier, levels, dropped in self._before(before)
        ]

    def _integers(self, name: str, multiplier: float, levels: int) -> tuple[float, int]:
        """Multiplier and levels of spikes, or of the input."""
        payload = self.payload if name == INPUT else 1
        return multiplier * payload, levels * payload


def _area(name: str, layer: nn.AvgPool2d) -> int:
    """Spikes that an average pooling adds up."""
    if layer.ceil_mode or layer.divisor_override or not layer.count_include_pad:
        raise UnsupportedError(
            f"layer {name!r}: its windows differ in size, so that their sums are no multiples of "
            "one number; it cannot be trained on integers"
        )
    size: Any = layer.kernel_size
    return size**2 if isinstance(size, int) else math.prod(size)


def effective_weight(layer: nn.Module) -> Tensor:
    """What a weighted layer multiplies by."""
    if isinstance(layer, WSConv2d | GridLinear):
        return layer.effective_weight()
    if isinstance(layer, WEIGHTED):
        return layer.weight
    raise TypeError(f"{type(layer).__name__} has no weights")


def affine(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Factor and offset of a batch norm with its running statistics, (channels,), or of factors.

    a = gamma / sqrt(variance + eps), b = beta - mean a (Jacob et al. 2018, section 3.2). The
    statistics carry no gradient, gamma and beta do.
    """
    if isinstance(layer, Scale):
        return torch.tensor(layer.factor), torch.zeros(())
    if isinstance(layer, Factors):
        return layer.weight, torch.zeros(())
    if not isinstance(layer, BATCH_NORMS) or layer.running_var is None:
        raise TypeError(f"{type(layer).__name__} is neither a factor nor a batch norm")
    factor = layer.weight * torch.rsqrt(layer.running_var + layer.eps)
    mean = layer.running_mean
    return factor, layer.bias - (0 if mean is None else mean) * factor
