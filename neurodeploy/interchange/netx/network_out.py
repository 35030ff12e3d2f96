"""From a ``QuantizedNetwork`` to the layers of a ``.net``, or every reason why not.

A ``.net`` holds a chain of layers with Lava's LIF neurons and the plain weights between them; what
lava-dl makes of the file has to be the deployed integers themselves.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from neurodeploy.interchange.netx.layers import (
    BIAS_EXPONENT,
    CONV_LIMIT,
    LAVA_INT8,
    NEVER_SPIKES,
    SILENT,
    ConvLayer,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    NetLayer,
    NetNeuron,
    image_shape,
    packing,
    refused_by_lava_dl,
)
from neurodeploy.interchange.netx.read import LARGEST_DELAY
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.operators import Dense, Shape
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)

BIAS_RANGE = -(2**12), 2**12 - 1
"""Of a bias mantissa, 13 bits with its sign."""


@dataclass(frozen=True, eq=False)
class NetExport:
    """What a network is as a ``.net``.

    Attributes:
        layers: in order; complete only when nothing is missing.
        missing: what the format cannot hold, one reason each.
        roundable: whether all of that is a matter of scale, which other integers would not need.
    """

    layers: list[NetLayer]
    missing: tuple[str, ...]
    roundable: bool = False


def to_layers(network: QuantizedNetwork, silent: Collection[str] = ()) -> NetExport:
    """The layers that hold a network, and what they cannot hold.

    Args:
        silent: populations without spikes whose v provably stays below the highest threshold,
            131,071 << 6. Others get slayer's own mark for such layers, 2^18 - 1, which Lava can
            never exceed but which is a bit wider than the field on the chip.
    """
    chain, missing = _chain(network)
    missing += [
        f"population {p.name!r}: neurons of kind {p.neuron.kind}, a .net is written of leaky "
        "integrate-and-fire neurons"
        for p in network.populations
        if isinstance(p.neuron, IntegerModel)
    ]
    if missing:
        return NetExport([], tuple(missing))
    source = network.population(chain[0])
    scale_alone = 0
    layers: list[NetLayer] = [InputLayer(image_shape(source.shape))]
    flat = False
    for before, name in pairwise(chain):
        block = _Block(network, before, name, flat, name in silent)
        if not block.is_conv and not flat and len(network.population(before).shape) > 1:
            layers.append(FlattenLayer())
        layer = block.layer()
        missing += [*block.reasons, *block.scale_reasons]
        scale_alone += len(block.scale_reasons)
        if layer is not None:
            layers.append(layer)
        flat = isinstance(layer, DenseLayer)
    return NetExport(layers, tuple(missing), roundable=0 < scale_alone == len(missing))


def _chain(network: QuantizedNetwork) -> tuple[list[str], list[str]]:
    """Populations from the input on, and where the network is no chain."""
    missing = []
    reads: dict[str, set[str]] = {p.name: set() for p in network.populations}
    for p in network.projections:
        if p.source != p.target:
            reads[p.target].add(p.source)
    order = [p.name for p in network.inputs]
    while True:
        after = [name for name, sources in reads.items() if order[-1] in sources]
        missing += [
            f"population {name!r} reads {', '.join(map(repr, sorted(reads[name])))}: a .net is a "
            "chain without skip connections or loops over several layers"
            for name in after
            if len(reads[name]) > 1
        ]
        if len(after) > 1:
            missing.append(
                f"population {order[-1]!r} feeds {', '.join(map(repr, after))}: a .net is a chain"
            )
        if len(after) != 1 or missing:
            break
        order.append(after[0])
    if not missing and (len(order) < len(network.populations) or order[-1] != network.output):
        missing.append(
            f"the output {network.output!r} is not the end of a chain of all populations"
        )
    return order, missing


class _Block:
    """One population with what leads into it."""

    def __init__(
        self, network: QuantizedNetwork, before: str, name: str, flat: bool, silent: bool
    ) -> None:
        self.population: QuantizedPopulation = network.population(name)
        self.before = network.population(before)
        self.flat = flat
        self.silent = silent
        into = [p for p in network.projections if p.target == name]
        self.forward = [p for p in into if p.source == before]
        self.recurrent = [p for p in into if p.source == name]
        self.is_conv = any(isinstance(p.operator, Convolution) for p in self.forward)
        self.reasons: list[str] = []
        self.scale_reasons: list[str] = []

    def layer(self) -> NetLayer | None:
        """The layer, None when it has no counterpart at all; what it cannot hold is kept."""
        neuron = self._neuron()
        bias = self._bias()
        graded = [p.name for p in self.forward if p.payload > 1 and self.before.neuron is not None]
        if graded:
            self._no(f"projection {graded[0]!r}: graded spikes between neurons")
        if neuron is None:
            return None
        return self._conv(neuron, bias) if self.is_conv else self._dense(neuron, bias)

    def _no(self, reason: str, *, scale: bool = False) -> None:
        (self.scale_reasons if scale else self.reasons).append(reason)

    def _neuron(self) -> NetNeuron | None:
        neuron, where = self.population.leaky, f"population {self.population.name!r}"
        if neuron.threshold is not None and neuron.reset == "subtract":
            self._no(f"{where}: resets by subtraction, lava-dl's neurons go to 0")
        if neuron.threshold is not None and neuron.comparison == ">=":
            self._no(f"{where}: fires at v >= threshold, lava-dl's neurons at v > threshold")
        if neuron.threshold is not None and neuron.refractory_period:
            self._no(f"{where}: rests after a spike, which lava-dl's reader skips")
        thresholds = np.unique(self._threshold(neuron))
        if thresholds.size > 1:
            self._no(f"{where}: {thresholds.size} thresholds, a layer of a .net has one")
        decays = [self._by_channel(values) for values in (neuron.u_decay, neuron.v_decay)]
        if decays[0] is None or decays[1] is None:
            self._no(f"{where}: decays differ within a channel")
            return None
        return NetNeuron(decays[0], decays[1], int(thresholds[0]))

    def _threshold(self, neuron: QuantizedNeuron) -> np.ndarray:
        if neuron.threshold is not None:
            return neuron.threshold
        return np.array([NEVER_SPIKES - 1 if self.silent else SILENT])

    def _bias(self) -> np.ndarray | None:
        """Mantissas by channel, or by neuron where they differ; None when all are 0."""
        neuron, where = self.population.leaky, f"population {self.population.name!r}"
        if not neuron.bias_mantissa.any():
            return None
        bias = neuron.bias_mantissa << neuron.bias_exponent
        if (bias & ((1 << BIAS_EXPONENT) - 1)).any():
            self._no(f"{where}: biases that are not multiples of {1 << BIAS_EXPONENT}", scale=True)
        bias >>= BIAS_EXPONENT
        if bias.min() < BIAS_RANGE[0] or bias.max() > BIAS_RANGE[1]:
            self._no(
                f"{where}: biases from {bias.min():,} to {bias.max():,} << {BIAS_EXPONENT} beyond "
                "13 bits",
                scale=True,
            )
        if not self.is_conv:
            return np.broadcast_to(bias, self.population.shape).ravel()
        by_channel = self._by_channel(bias)
        if by_channel is None:
            return np.broadcast_to(bias, self.population.shape).reshape(self._shape)
        return np.broadcast_to(by_channel, self._shape[:1])

    @property
    def _shape(self) -> Shape:
        return image_shape(self.population.shape)

    def _by_channel(self, values: np.ndarray) -> np.ndarray | None:
        """One number, or one per channel (per neuron of a dense layer); None when neither."""
        if (values == values.flat[0]).all():
            return np.array(int(values.flat[0]))
        full = np.broadcast_to(values, self.population.shape)
        rows = full.reshape(full.shape[0] if self.is_conv else full.size, -1)
        return rows[:, 0] if (rows == rows[:, :1]).all() else None

    def _conv(self, neuron: NetNeuron, bias: np.ndarray | None) -> NetLayer | None:
        where = f"population {self.population.name!r}"
        operator, projection = self.forward[0].operator, self.forward[0]
        if self.recurrent or len(self.forward) > 1 or not isinstance(operator, Convolution):
            self._no(f"{where}: a convolution beside other connections into the same neurons")
            return None
        if self.flat:
            self._no(f"{where}: a convolution behind a dense layer")
        if projection.delay:
            self._no(f"projection {projection.name!r}: a convolution with a delay")
        if any(before != after for before, after in operator.padding):
            self._no(f"projection {projection.name!r}: padding that differs between two sides")
        weight = self._plain(projection)
        if packing(weight) is None:
            self._no(
                f"projection {projection.name!r}: weights from {weight.min()} to {weight.max()} do "
                "not fit 8 bits",
                scale=True,
            )
        if not weight.any():
            self._no(f"projection {projection.name!r}: all weights are 0")
        if operator.with_weights(weight).absolute_row_bound() * projection.payload >= CONV_LIMIT:
            self._no(f"projection {projection.name!r}: sums beyond the 24 bits of Lava's Conv")
        layer = ConvLayer(
            self._shape,
            neuron,
            weight if weight.ndim == 4 else weight[:, :, None],
            _pair(operator.stride, 1),
            _pair(tuple(pad for pad, _ in operator.padding), 0),
            _pair(operator.dilation, 1),
            operator.groups,
            bias,
        )
        counts = (*layer.stride, *layer.padding, *layer.dilation, *weight.shape[2:], layer.groups)
        if max(counts) > LAVA_INT8:
            self._no(
                f"projection {projection.name!r}: a stride, padding, dilation, kernel size or "
                f"number of groups of {max(counts)}; Lava's Conv takes up to {LAVA_INT8}"
            )
        return layer

    def _dense(self, neuron: NetNeuron, bias: np.ndarray | None) -> NetLayer | None:
        where = f"population {self.population.name!r}"
        for p in self.forward:
            if not isinstance(p.operator, Dense) and len(self.forward) == 1:
                self._no(
                    f"projection {p.name!r}: synapses listed one by one, as of pooling or scaling "
                    "that is not folded into a convolution or a dense layer"
                )
                return None
        weight, delay = self._joined(self.forward)
        recurrent = None
        if self.recurrent:
            if any(p.delay > 1 for p in self.recurrent) or len(self.recurrent) > 1:
                self._no(f"{where}: recurrent connections that take more than one step")
            if delay is not None:
                self._no(f"{where}: delays beside recurrent weights")
            recurrent = self._joined(self.recurrent)[0]
        parts = [weight] if recurrent is None else [weight, recurrent]
        reason = refused_by_lava_dl(*parts)
        if reason:
            names = ", ".join(repr(p.name) for p in (*self.forward, *self.recurrent))
            self._no(f"projection {names}: {reason}", scale=packing(*parts) is None)
        return DenseLayer(neuron, weight, recurrent, bias, delay)

    def _joined(
        self, projections: list[QuantizedProjection]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Weights and delays of projections that share no synapse, as dense matrices."""
        first = projections[0].operator
        shape = math.prod(first.output_shape), math.prod(first.input_shape)
        weight, delay = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for p in projections:
            values = self._plain(p)
            if not isinstance(p.operator, Dense):
                values = p.operator.with_weights(values).matrix().toarray()
            if (weight[values != 0] != 0).any():
                self._no(f"projection {p.name!r}: two synapses between the same neurons")
            weight += values
            delay[values != 0] = p.delay
        if delay.max() > LARGEST_DELAY:
            self._no(f"projection {projections[-1].name!r}: delays above {LARGEST_DELAY} steps")
        return weight, delay if delay.any() else None

    def _plain(self, p: QuantizedProjection) -> np.ndarray:
        """What a synapse is worth, its exponent applied."""
        weights = p.operator.weights
        if p.exponent >= 0:
            return weights << p.exponent
        if (weights & ((1 << -p.exponent) - 1)).any():
            self._no(
                f"projection {p.name!r}: weight exponent {p.exponent} leaves fractions", scale=True
            )
        return weights >> -p.exponent


def _pair(numbers: Shape, missing: int) -> Shape:
    """Numbers of a convolution over one axis, seen as one over two."""
    return numbers if len(numbers) == 2 else (missing, *numbers)
