"""A trained network of ReLUs as one of integrate-and-fire neurons: rates in place of activations.

A neuron without leak whose reset subtracts its threshold theta,

    v[t] = v[t-1] + x[t] - theta s[t]

has sent theta sum_t s[t] = sum_t x[t] - v[T] after T steps. Under a steady input x this is the
activation max(0, x) in T + 1 levels from 0 to theta, per step:

    theta/T clip(floor(T x / theta), 0, T)

(Cao et al. 2015; Rueckauer et al. 2017.) What is left to choose is theta. A high one
makes the levels coarse, a low one cuts off large activations.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from neurodeploy.errors import InputError, nearest
from neurodeploy.nn.folding import PASSING
from neurodeploy.nn.layers import Scale
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF

Method = Literal["max", "percentile", "mmse"]
METHODS: tuple[Method, ...] = get_args(Method)

MOST_VALUES = 2**22
"""Activations of a layer that its threshold is chosen by at most."""

CANDIDATES = 100
"""Thresholds that ``mmse`` tries, evenly from the largest activation down."""


@dataclass(frozen=True)
class Balance:
    """How thresholds are chosen.

    Attributes:
        method: ``max``, the largest activation on samples (Diehl et al. 2015, data-based
            normalisation); ``percentile``, one that few of those above 0 exceed (Rueckauer et al.
            2017); ``mmse``, that with the smallest mean squared error of an activation in T + 1
            levels (Li et al. 2021, ICML).
        percentile: of ``percentile``, above 0 to 100.
        half: whether neurons get theta/(2T) more at each step, half a threshold over T steps, so
            that ``floor`` above rounds to the nearest level (Deng and Gu 2021, ICLR). A membrane
            that starts at theta/2 does so too (Bu et al. 2022, ICLR), but a chip's starts at 0.
    """

    method: Method = "mmse"
    percentile: float = 99.9
    half: bool = True

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method {self.method!r} is not known{nearest(self.method, METHODS)}")
        if not 0 < self.percentile <= 100:
            raise InputError(f"percentile is above 0 and at most 100, found {self.percentile}")


def with_neurons(network: SpikingNetwork, thresholds: dict[str, float]) -> SpikingNetwork:
    """The network with neurons of these thresholds in place of its ReLUs.

    A spike stands for theta, which goes into the weights that read it.

    Args:
        network: of ReLUs; left as it is.
        thresholds: by ReLU, in units of its activation.
    """
    sources = {**network.sources}
    amplitudes: dict[str, dict[str, nn.Module]] = {}
    for name, theta in thresholds.items():
        for source, reader in _weighted(network, name):
            amplitude = f"{source}_amplitude"
            amplitudes[source] = {amplitude: Scale(theta)}
            sources[amplitude] = (source,)
            sources[reader] = tuple(amplitude if s == source else s for s in sources[reader])
    layers: dict[str, nn.Module] = {}
    for name, layer in copy.deepcopy(network).layers.items():
        neurons = name in thresholds
        layers[name] = LIF(math.inf, thresholds[name]) if neurons else layer
        layers |= amplitudes.get(name, {})
    return SpikingNetwork(layers, network.sample_shape, sources).train(network.training)


def _weighted(network: SpikingNetwork, name: str) -> Iterator[tuple[str, str]]:
    """Where what a layer gives is read: the last of the layers that pass it on, and the reader."""
    for reader in network.readers[name]:
        passes = isinstance(network.layers[reader], (nn.AvgPool2d, nn.Flatten, *PASSING))
        if passes and network.sources[reader] == (name,):
            yield from _weighted(network, reader)
        else:
            yield name, reader


def balanced(
    network: SpikingNetwork, batches: Callable[[], Iterator[Tensor]], steps: int, balance: Balance
) -> dict[str, float]:
    """A threshold for every ReLU, from its activations on samples.

    Args:
        network: of ReLUs.
        batches: of samples (N, *sample_shape), as the network takes them.
        steps: T.

    Raises:
        InputError: a ReLU is silent on all samples, or not finite.
    """
    return {
        name: _threshold(values, steps, balance, name)
        for name, values in activations(network, batches()).items()
    }


@torch.no_grad()
def activations(network: SpikingNetwork, batches: Iterator[Tensor]) -> dict[str, Tensor]:
    """Activations of every ReLU above 0, (values,) float32, of large layers every so manieth."""
    found: dict[str, list[Tensor]] = {
        name: [] for name, layer in network.layers.items() if isinstance(layer, nn.ReLU)
    }

    def note(name: str, output: Tensor) -> None:
        if name in found:
            values = output.flatten()
            found[name].append(values[~(values <= 0)].float().cpu())

    trial = copy.deepcopy(network).eval()
    trial.watch = note
    for batch in batches:
        trial(batch)
        for kept in found.values():
            if sum(map(len, kept)) > MOST_VALUES:
                kept[:] = [torch.cat(kept)[::2]]
    return {name: torch.cat(kept) for name, kept in found.items()}


def _threshold(values: Tensor, steps: int, balance: Balance, name: str) -> float:
    if not len(values) or not bool(torch.isfinite(values).all()):
        how = "silent" if not len(values) else "not finite"
        raise InputError(
            f"layer {name!r} is {how} on the samples, which its threshold is chosen by; give "
            "samples of the data that the network was trained on, scaled as they were then"
        )
    highest = float(values.max())
    if balance.method == "max":
        return highest
    if balance.method == "percentile":
        place = math.ceil(balance.percentile / 100 * len(values))
        return float(values.kthvalue(place).values)
    tried = [highest * share / CANDIDATES for share in range(CANDIDATES, 0, -1)]
    return min(tried, key=lambda theta: squared_error(values, theta, steps, balance.half))


def squared_error(values: Tensor, theta: float, steps: int, half: bool) -> float:
    """Mean squared error of activations in T + 1 levels from 0 to theta."""
    levels = (values * (steps / theta) + (0.5 if half else 0.0)).floor_().clamp_(0, steps)
    return float((levels.mul_(theta / steps) - values).square_().mean())
