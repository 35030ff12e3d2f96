"""Fully connected networks of spiking neurons, forward or recurrent, each with a linear readout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from neurodeploy.nn.delays import DelayedLinear
from neurodeploy.nn.layers import Dropout
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.populations import Neurons
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.target import builtin_targets

RECURRENT_GAIN = 0.5
"""Length of what comes back of a layer's spikes, over that of the spikes, before any training."""


@dataclass(frozen=True)
class DelayOptions:
    """Delays of a layer's connections, in steps, drawn from 0 to ``max``.

    Attributes:
        max: the longest, 1 to what the chips hold.
        per: one for each ``synapse``, or for each ``neuron`` that sends.
        learn: learned by Gaussians that narrow to whole steps (``nn.delays``); else they stay as
            they were drawn.
    """

    max: int
    per: Literal["synapse", "neuron"] = "synapse"
    learn: bool = False

    def __post_init__(self) -> None:
        longest = {n: t.synapse.delay_max.value for n, t in builtin_targets().items()}
        name = max(longest, key=longest.__getitem__)
        if not 1 <= self.max <= longest[name]:
            raise ValueError(
                f"max is in steps, from 1 to the longest delay of a chip, {longest[name]} on "
                f"{name}, found {self.max}"
            )


@dataclass(frozen=True)
class Mlp:
    """Options of family ``mlp``. After flattening, layer i is fc_i - (bn_i) - lif_i - (drop_i).

    With ``recurrent``, every hidden layer also reads rec_i, which maps the spikes that lif_i sent
    at the previous step: x[t] = W s_below[t] + b + R s[t-1]. Rules that cut gradients between
    steps (SLTT, OTTT) train R on the previous spikes as given, and nothing flows through them into
    the past.

    Attributes:
        hidden: neurons of each hidden layer.
        batch_norm: normalise before each LIF with the statistics of the step; the running ones
            are folded into the weights at export. Recurrent input is not normalised.
        recurrent: whether each hidden layer projects onto itself, a step later.
        recurrent_gain: R is at first this factor times a random orthogonal matrix (Saxe et al.
            2014), so that the recurrent input is as long as the spikes, times the factor.
        delays: those of the weights fc_i of hidden layers; without the table there are none.
        dropout: share of the neurons whose spikes are dropped for the next layer, the same ones at
            all steps of an iteration; recurrent input is not affected.
        gain: factor on torch's initial weights fc_i of hidden layers, one or one for each. Sparse
            input through weights of 1/sqrt(inputs) may not reach the threshold.
    """

    hidden: tuple[int, ...]
    batch_norm: bool = False
    recurrent: bool = False
    recurrent_gain: float = RECURRENT_GAIN
    delays: DelayOptions | None = None
    dropout: float = 0.0
    gain: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        _check_hidden(self.hidden)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share from 0 to below 1, found {self.dropout:g}")
        if len(self.gains) != len(self.hidden):
            raise ValueError(
                f"gain lists {len(self.gains)} factors for {len(self.hidden)} hidden layers; give "
                "one per layer, or one for all"
            )
        if not all(gain > 0 for gain in self.gains):
            raise ValueError(f"gain must be above 0, found {min(self.gains):g}")
        if self.recurrent_gain < 0:
            raise ValueError(f"recurrent_gain must not be negative, found {self.recurrent_gain:g}")

    @property
    def gains(self) -> tuple[float, ...]:
        """The factor of each hidden layer."""
        return self.gain if isinstance(self.gain, tuple) else (self.gain,) * len(self.hidden)

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network for samples of any shape."""
        return self.built(sample_shape, classes, neuron)

    def built(
        self,
        sample_shape: tuple[int, ...],
        classes: int,
        neuron: NeuronRecipe,
        orthogonal: bool = True,
    ) -> SpikingNetwork:
        """The network; R as torch draws it where it is not to be ``orthogonal``."""
        neurons = Neurons(neuron)
        layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
        sources: dict[str, tuple[str, ...]] = {}
        width = math.prod(sample_shape)
        for i, (size, gain) in enumerate(zip(self.hidden, self.gains, strict=True), start=1):
            # A bias before batch norm would be subtracted again by it.
            layers[f"fc{i}"] = self._weights(width, size, gain)
            if self.batch_norm:
                layers[f"bn{i}"] = nn.BatchNorm1d(size)
            if self.recurrent:
                *_, before = layers
                # The layer has one bias already.
                rec = layers[f"rec{i}"] = nn.Linear(size, size, bias=False)
                if orthogonal:
                    nn.init.orthogonal_(rec.weight, self.recurrent_gain)
                sources[f"rec{i}"] = (f"lif{i}",)
                sources[f"lif{i}"] = (before, f"rec{i}")
            layers[f"lif{i}"] = neurons.layer(size)
            if self.dropout:
                layers[f"drop{i}"] = Dropout(self.dropout)
            width = size
        layers["fc"] = nn.Linear(width, classes)
        return SpikingNetwork(layers, sample_shape, sources)

    def _weights(self, inputs: int, outputs: int, gain: float) -> nn.Module:
        bias, delays = not self.batch_norm, self.delays
        if delays is None:
            layer = nn.Linear(inputs, outputs, bias)
        else:
            options = {"per_synapse": delays.per == "synapse", "learn": delays.learn}
            layer = DelayedLinear(inputs, outputs, delays.max, bias, **options)
        with torch.no_grad():
            layer.weight.mul_(gain)
        return layer


@dataclass(frozen=True)
class Recurrent:
    """Options of family ``recurrent``: ``mlp`` with ``recurrent``, R drawn as torch draws it.

    Attributes:
        hidden: neurons of each hidden layer.
    """

    hidden: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_hidden(self.hidden)

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network for samples of any shape."""
        mlp = Mlp(self.hidden, recurrent=True)
        return mlp.built(sample_shape, classes, neuron, orthogonal=False)


def _check_hidden(hidden: tuple[int, ...]) -> None:
    """Refuse hidden layers that cannot be built.

    Raises:
        ValueError: there are none, or one without neurons.
    """
    if not hidden:
        raise ValueError("hidden needs at least one layer")
    if min(hidden) < 1:
        raise ValueError(f"hidden sizes must be at least 1, found {list(hidden)}")
