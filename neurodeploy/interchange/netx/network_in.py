"""From the layers of a ``.net`` to a ``QuantizedNetwork``: its integers as they are.

Nothing is quantised again. Weights are held as lava-dl packs them into Loihi's bits, shifted left
with an exponent that shifts back, so a synapse is worth exactly the integer in the file.
"""

from __future__ import annotations

import math

import numpy as np

from neurodeploy.errors import Setting, Text, UnsupportedError
from neurodeploy.interchange.netx.changes import changes, check_changes, check_drive
from neurodeploy.interchange.netx.layers import (
    BIAS_EXPONENT,
    CONV_LIMIT,
    MESSAGE_EXPONENT,
    STATE_EXPONENT,
    ConvLayer,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    NetChanges,
    NetLayer,
    NetNeuron,
    packing,
    refused_by_lava_dl,
)
from neurodeploy.ir.contract import Contract
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import Dense, Operator, Shape, SparseMatrix, identity
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)

BIAS_LIMIT = 2**12 - 1
"""Largest bias mantissa, 13 bits with its sign: what drives an input block."""


def input_shape(layers: list[NetLayer], stated: Shape | None, where: str) -> Shape:
    """Shape of a sample: what the file says, or what the first layer leaves no choice about.

    Args:
        stated: what the user says, or None.

    Raises:
        UnsupportedError: neither says it, or the two differ.
    """
    first = layers[0]
    if isinstance(first, InputLayer):
        if stated not in (None, first.shape):
            raise UnsupportedError(
                Text(
                    f"{where}: ",
                    Setting("input_shape", str(stated)),
                    f", but the file's input layer says {first.shape}",
                )
            )
        return first.shape
    if stated is not None:
        return stated
    reading = next((layer for layer in layers if not isinstance(layer, FlattenLayer)), None)
    if isinstance(reading, DenseLayer):
        return (reading.weight.shape[1],)
    raise UnsupportedError(
        f"{where}: the file has no input layer, so the size of an image is unknown",
        fix=Text("state ", Setting("input_shape", "CHANNELS,HEIGHT,WIDTH")),
    )


def to_quantized(
    layers: list[NetLayer],
    shape: Shape,
    contract: Contract,
    name: str,
    message_exponent: int = MESSAGE_EXPONENT,
) -> QuantizedNetwork:
    """The network that lava-dl makes of these layers.

    Populations are named ``layerN`` by their number in the file, after ``input``.

    Args:
        message_exponent: lava-dl's ``spike_exp``, of sigma-delta neurons: by how many bits their
            messages are finer than the numbers in the file.

    Raises:
        UnsupportedError: layers that do not fit one another, or integers that cannot be deployed.
    """
    return _Chain(layers, shape, contract, name, message_exponent).network()


class _Chain:
    def __init__(
        self,
        layers: list[NetLayer],
        shape: Shape,
        contract: Contract,
        name: str,
        message_exponent: int,
    ) -> None:
        self.layers = layers
        self.contract = contract
        self.name = name
        self.message_exponent = message_exponent
        self.notes: dict[str, str] = {}
        payload = contract.input_code.payload
        self.payload = payload
        self.populations = [QuantizedPopulation("input", shape, None, float(payload))]
        self.projections: list[QuantizedProjection] = []
        self.flattened = False

    def network(self) -> QuantizedNetwork:
        for index, layer in enumerate(self.layers):
            where = f"{self.name}: layer {index}"
            if isinstance(layer, FlattenLayer):
                self.flattened = True
            elif isinstance(layer, InputLayer):
                self._input(layer, index, where)
            elif isinstance(layer, DenseLayer):
                self._dense(layer, index, where)
            else:
                self._conv(layer, index, where)
        if len(self.populations) == 1 or self.flattened:
            raise UnsupportedError(f"{self.name}: the last layer has no neurons")
        return QuantizedNetwork(
            self.name,
            tuple(self.populations),
            tuple(self.projections),
            self.populations[-1].name,
            self.contract,
            self.notes,
        )

    def _input(self, layer: InputLayer, index: int, where: str) -> None:
        if index:
            raise UnsupportedError(f"{where}: an input layer behind others")
        if layer.neuron is None:
            return
        if isinstance(layer.neuron, NetChanges):
            check_drive(layer, self.contract.input_code.levels, self.message_exponent, where)
            self._project([(self._drive(layer), 0)], index, where)
            bias = np.full(layer.shape, layer.bias)
            self._send_changes(layer.neuron, layer.shape, bias, index, where, first=True)
            return
        highest = layer.weight * self.contract.input_code.levels + layer.bias
        reach = max(abs(layer.bias), abs(highest))
        if reach > BIAS_LIMIT:
            raise UnsupportedError(
                f"{where}: input up to {self.contract.input_code.levels} times {layer.weight} plus "
                f"{layer.bias} makes biases up to {reach:,}; {BIAS_LIMIT:,} fit",
                fix=Text("lower ", Setting("levels")),
            )
        # The drive stands for u: none of the block's own current is left to decay.
        self._project([(self._drive(layer), 0)], index, where)
        bias = np.full(layer.shape, layer.bias)
        self._populate(layer.neuron, layer.shape, bias, index, keeps_current=False)

    @staticmethod
    def _drive(layer: InputLayer) -> Operator:
        """A synapse of the layer's weight into each of its neurons."""
        ones = identity(layer.shape)
        return ones.with_weights(np.full(ones.weights.shape, layer.weight))

    def _dense(self, layer: DenseLayer, index: int, where: str) -> None:
        before = self.populations[-1]
        if math.prod(before.shape) != layer.weight.shape[1]:
            raise UnsupportedError(
                f"{where}: weights for {layer.weight.shape[1]} inputs, but {before.name!r} has "
                f"shape {before.shape}"
            )
        if before.neuron is not None and len(before.shape) == 3 and not self.flattened:
            raise UnsupportedError(
                f"{where}: a dense layer behind {before.shape} without a flatten layer between "
                "them, which lava-dl cannot connect"
            )
        parts = [layer.weight] if layer.recurrent is None else [layer.weight, layer.recurrent]
        reason = refused_by_lava_dl(*parts)
        if reason:
            raise UnsupportedError(f"{where}: {reason}")
        self._project(_by_delay(layer, before.shape), index, where, layer.recurrent)
        self._neurons(layer, index, where)
        self.flattened = False

    def _conv(self, layer: ConvLayer, index: int, where: str) -> None:
        before = self.populations[-1]
        if len(before.shape) != 3 or self.flattened:
            raise UnsupportedError(
                f"{where}: a convolution of {before.name!r}, which is flat or has shape "
                f"{before.shape}; expected (channels, height, width)"
            )
        try:
            operator = Convolution(
                layer.weight,
                before.shape,
                layer.stride,
                tuple((pad, pad) for pad in layer.padding),
                layer.dilation,
                layer.groups,
            )
        except ValueError as error:
            raise UnsupportedError(f"{where}: {error}") from None
        if operator.output_shape != layer.shape:
            raise UnsupportedError(
                f"{where}: says its shape is {layer.shape}, but it makes {operator.output_shape} "
                f"of {before.shape}"
            )
        self._check_sums(operator, index, where)
        self._project([(operator, 0)], index, where)
        self._neurons(layer, index, where)

    def _check_sums(self, operator: Operator, index: int, where: str) -> None:
        """Lava's convolution wraps at 24 bits; of changes nobody knows how large they can be."""
        if operator.absolute_row_bound() * self._sent < CONV_LIMIT:
            return
        if self.populations[-1].neuron is None or self._sent == 1:
            raise UnsupportedError(f"{where}: its sums can leave the 24 bits of Lava's convolution")
        self.notes[f"synapses{index}"] = (
            "lava-dl's convolution wraps at 24 bits, beyond which only messages go that are larger "
            "than any that came; where no wrap is counted behind it, it did not"
        )

    @property
    def _sent(self) -> int:
        """The largest magnitude that the last population sends."""
        neuron = self.populations[-1].neuron
        return self.payload if neuron is None else neuron.largest_message

    def _project(
        self,
        operators: list[tuple[Operator, int]],
        index: int,
        where: str,
        recurrent: np.ndarray | None = None,
    ) -> None:
        """Projections with their delays from the last population to a layer's, and within it."""
        name, before, sent = f"layer{index}", self.populations[-1].name, self._sent
        found = [
            (f"synapses{index}" + (f"_delay{delay}" if delay else ""), before, operator, delay)
            for operator, delay in operators
        ]
        if recurrent is not None:
            shape = recurrent.shape[:1]
            found.append((f"recurrent{index}", name, Dense(recurrent, shape, shape), 1))
        held = packing(*[operator.weights for _, _, operator, _ in found])
        if held is None:
            raise UnsupportedError(
                f"{where}: weights do not fit 8 bits; of both signs they are even from -256 to "
                "254, or any from -128 to 127"
            )
        left, form = held
        for projection, source, operator, delay in found:
            self.projections.append(
                QuantizedProjection(
                    projection,
                    source,
                    name,
                    operator.with_weights(operator.weights << left),
                    form,
                    -left,
                    sent if source == before else 1,
                    delay,
                )
            )

    def _neurons(self, layer: DenseLayer | ConvLayer, index: int, where: str) -> None:
        if isinstance(layer.neuron, NetChanges):
            self._send_changes(layer.neuron, layer.shape, layer.bias, index, where)
        else:
            self._populate(layer.neuron, layer.shape, layer.bias, index)

    def _send_changes(
        self,
        neuron: NetChanges,
        shape: Shape,
        bias: np.ndarray | None,
        index: int,
        where: str,
        *,
        first: bool = False,
    ) -> None:
        """Sigma, Delta or SigmaDelta, with numbers of the file in units of their states."""
        if self.populations[-1].neuron is None and not first:
            check_changes(self.contract.input_code, where)
        biases = _spread(np.zeros(1, np.int64) if bias is None else bias, shape)
        model = changes(neuron, biases, self.message_exponent, where, encodes=first)
        unit = 2.0 ** (self.message_exponent + STATE_EXPONENT)
        self.populations.append(QuantizedPopulation(f"layer{index}", shape, model, unit))

    def _populate(
        self,
        neuron: NetNeuron,
        shape: Shape,
        bias: np.ndarray | None,
        index: int,
        *,
        keeps_current: bool = True,
    ) -> None:
        i_decay = neuron.i_decay if keeps_current else np.array(4096)
        quantized = QuantizedNeuron(
            kind="CUBA",
            u_decay=_spread(i_decay, shape),
            v_decay=_spread(neuron.v_decay, shape),
            bias_mantissa=_spread(np.zeros(1, np.int64) if bias is None else bias, shape),
            bias_exponent=np.full(shape, BIAS_EXPONENT),
            threshold=np.full(shape, neuron.threshold) if neuron.spikes else None,
            reset="zero",
            comparison=">",
        )
        self.populations.append(QuantizedPopulation(f"layer{index}", shape, quantized, 1.0))


def _spread(values: np.ndarray, shape: Shape) -> np.ndarray:
    """One number, one per channel, or one per neuron, over an array of neurons."""
    if values.ndim == 1 and values.size > 1:
        values = values.reshape(-1, *[1] * (len(shape) - 1))
    return np.broadcast_to(values, shape).astype(np.int64)


def _by_delay(layer: DenseLayer, shape: Shape) -> list[tuple[Operator, int]]:
    """The weights of each delay; when there are several, each lists its synapses."""
    if layer.delay is None or not layer.delay.any():
        return [(Dense(layer.weight, shape, layer.shape), 0)]
    present = np.unique(layer.delay[layer.weight != 0]).tolist()
    found: list[tuple[Operator, int]] = []
    for delay in present:
        weights = np.where(layer.delay == delay, layer.weight, 0)
        operator = Dense(weights, shape, layer.shape)
        found.append((operator if len(present) == 1 else SparseMatrix.of(operator), delay))
    return found
