"""A network made ready to be trained on a target's integers, and the moment when that begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.network import Neuron
from neurodeploy.nn.current import LI, CubaLIF, spiking
from neurodeploy.nn.delays import DelayedLinear
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.quantization.aware.currents import BIAS_BITS, BiasedCurrents, QuantizedCubaLIF
from neurodeploy.quantization.aware.delayed import DelayedSynapse
from neurodeploy.quantization.aware.grid import Grid
from neurodeploy.quantization.aware.neurons import (
    QuantizedLIF,
    QuantizedNorm,
    bias_into,
)
from neurodeploy.quantization.aware.paths import (
    Receiver,
    SynapticPath,
    effective_weight,
    receivers_of,
)
from neurodeploy.quantization.aware.readout import QuantizedLI, QuantizedReadout
from neurodeploy.quantization.aware.synapse import QuantizedSynapse, steps_of
from neurodeploy.quantization.scales import laid_out, mse_ratios
from neurodeploy.quantization.weights import Weights
from neurodeploy.target import Target

ROOM = 0.5
"""Of what v can hold, or the highest threshold of fixed neurons, what the worst input to a read-out
may reach at first: weights grow in training."""


class IntegerNetwork(SpikingNetwork):
    """A network whose layers compute in a target's integers once ``begin`` was called.

    The layers of the float network are in it, with their names and parameters.

    Attributes:
        target: the chip.
        bits: width of a weight.
        steps: T, for which the first scales leave room.
        receivers: populations with neurons, and the read-out.
    """

    def __init__(self, model: SpikingNetwork, target: Target, bits: int, payload: int, steps: int):
        """Take the layers of ``model``, whose weights go on being the ones trained.

        Args:
            payload: largest integer that the input carries.

        Raises:
            UnsupportedError: the target's weights are narrower, or a layer has no integers.
        """
        if bits > target.synapse.weight_bits.value:
            raise UnsupportedError(
                f"[quantize] bits = {bits}: {target.name} has weights of at most "
                f"{target.synapse.weight_bits.value} bits"
            )
        receivers = receivers_of(model, payload)
        layers, sources = _converted(model, receivers, target, bits)
        super().__init__(layers, model.sample_shape, sources)
        self.target = target
        self.bits = bits
        self.steps = steps
        self.receivers = tuple(receivers)

    @property
    def is_active(self) -> bool:
        """Whether it computes in integers yet."""
        return self.grid(self.receivers[-1]).is_active

    def grid(self, receiver: Receiver) -> Grid:
        """Scale and limits of a population."""
        layer: Any = self.layers[receiver.entry]
        return layer.grid

    def synapse(self, path: SynapticPath) -> QuantizedSynapse:
        """The projection of a path."""
        layer: Any = self.layers[path.node]
        found: QuantizedSynapse = getattr(layer, "synapse", layer)
        return found

    def bias(self, receiver: Receiver) -> torch.Tensor | None:
        """Bias of a population in state units, (channels,), or None without one."""
        layer: Any = self.layers[receiver.entry]
        if isinstance(layer, BiasedCurrents) and layer.remembers:
            return layer.integer_bias()
        found = layer.float_bias()
        return None if found is None else layer.grid.bias(found)

    @torch.no_grad()
    def begin(self) -> None:
        """Choose scales and exponents from the weights as they are, and compute in integers.

        Ratios are those of the scale search ``mse``.
        """
        for receiver in self.receivers:
            grid = self.grid(receiver)
            found = [self.synapse(path) for path in receiver.paths]
            incoming = [_weights(synapse) for synapse in found]
            layer = self.layers[receiver.entry]
            bias = layer.bias_weights() if isinstance(layer, BiasedCurrents) else None
            if bias is not None:
                incoming.append(_bias_weights(bias))
            neuron = self._neuron(receiver)
            ratios = mse_ratios(incoming)
            scales = laid_out(neuron, incoming, ratios, self.target, self.steps, silent=ROOM)
            for synapse, exponent in zip(found, scales.exponents, strict=False):
                synapse.exponent.fill_(exponent)
            if isinstance(layer, BiasedCurrents) and bias is not None:
                layer.exponent.fill_(scales.exponents[-1])
            grid.start(scales.scale)
        self.train(self.training)

    def _neuron(self, receiver: Receiver) -> Neuron:
        """A population as scales see it."""
        layer: Any = self.layers[receiver.entry]
        bias = layer.float_bias()
        values = np.zeros(1) if bias is None else bias.double().cpu().numpy().reshape(-1)
        if isinstance(layer, QuantizedReadout):
            return Neuron("I", np.zeros(1), np.ones(1), values, None, "zero", ">")
        if isinstance(layer, QuantizedLI):
            shares = _array(layer.layer.u_keep), _array(layer.layer.keep)
            return Neuron(
                "LI", *shares, np.zeros(1) if layer.remembers else values, None, "zero", ">"
            )
        u_keep = np.zeros(1)
        lif = layer.lif
        if isinstance(layer, QuantizedCubaLIF):
            lif, u_keep, values = layer.lif.lif, _array(layer.lif.u_keep), np.zeros(1)
        return Neuron(
            kind="LIF",
            u_keep=u_keep,
            v_keep=_array(lif.keep),
            bias=values,
            v_threshold=_array(lif.v_threshold),
            reset=lif.reset,
            comparison=lif.comparison,
        )


def without_grids(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of a network trained on integers under the names that they have in floats.

    Those of a network in floats stay as they are.
    """
    found = {}
    if not any("grid" in name.split(".") for name in weights):
        return dict(weights)
    for name, value in weights.items():
        parts = name.split(".")
        if parts[2:4] == ["lif", "lif"]:
            # Of neurons behind a current, which keep theirs one layer further down.
            found[".".join((*parts[:2], "lif", parts[-1]))] = value
            continue
        if "grid" not in parts and parts[-1] != "exponent":
            # "layers", the layer, what it was wrapped in, the parameter
            found[".".join((*parts[:2], parts[-1]))] = value
    return found


def _converted(
    model: SpikingNetwork, receivers: list[Receiver], target: Target, bits: int
) -> tuple[dict[str, nn.Module], dict[str, tuple[str, ...]]]:
    """Layers on the grids of their populations, and what each reads."""
    layers: dict[str, nn.Module] = dict(model.layers.items())
    floats, sources = dict(layers), dict(model.sources)
    for receiver in receivers:
        entry = floats[receiver.entry]
        grid = Grid(
            target,
            _threshold(entry),
            _integers(receiver, floats, bits),
        )
        for path in receiver.paths:
            after = [floats[name] for name in path.after]
            layer = floats[path.at] if path.weighted else nn.Identity()
            if isinstance(layer, DelayedLinear):
                synapse = DelayedSynapse(layer, path, after, grid, bits)
            else:
                synapse = QuantizedSynapse(layer, path, after, grid, bits)
            for name in path.after:
                layers[name] = QuantizedNorm(floats[name], grid)
            if path.weighted:
                layers[path.at] = synapse
            else:
                (source,) = path.sources
                name = path.node
                layers = _before(layers, path.at, name, synapse)
                sources[path.at] = tuple(name if s == source else s for s in sources[path.at])
                sources[name] = (source,)
        bias = bias_into(model, receiver.entry, floats)
        if isinstance(entry, CubaLIF):
            layers[receiver.entry] = QuantizedCubaLIF(entry, grid, target, bias)
        elif isinstance(entry, LIF):
            layers[receiver.entry] = QuantizedLIF(entry, grid, target, bias)
        elif isinstance(entry, LI):
            layers[receiver.entry] = QuantizedLI(entry, grid, target, bias)
        else:
            layers[receiver.entry] = QuantizedReadout(layers[receiver.entry], grid, bias)
    return layers, sources


def _before(
    layers: dict[str, nn.Module], reader: str, name: str, layer: nn.Module
) -> dict[str, nn.Module]:
    """The layers with one more in front of its reader."""
    found: dict[str, nn.Module] = {}
    for other, module in layers.items():
        if other == reader:
            found[name] = layer
        found[other] = module
    return found


def _threshold(entry: nn.Module) -> float | torch.Tensor | None:
    """Of spiking neurons; None of a read-out."""
    return spiking(entry).v_threshold if isinstance(entry, LIF | CubaLIF) else None


def _bias_weights(bias: torch.Tensor) -> Weights:
    """A bias into a current as the weights that it is on a chip."""
    values = bias.detach().double().cpu().numpy().reshape(-1, 1)
    weight_format = WeightFormat(BIAS_BITS, "mixed")
    return Weights(values, weight_format, 1, len(values), float(np.abs(values).max(initial=0)))


def _array(values: float | torch.Tensor) -> np.ndarray:
    """One number, or one per neuron, in float64."""
    return torch.as_tensor(values, dtype=torch.float64).detach().cpu().numpy().reshape(-1)


def _integers(receiver: Receiver, layers: dict[str, nn.Module], bits: int) -> float:
    """Weights of all projections times the largest integer of one (Esser et al. 2020, sec. 2.2)."""
    weights = sum(
        effective_weight(layers[path.at]).numel() if path.weighted else 1 for path in receiver.paths
    )
    return weights * steps_of(bits)[2]


def _weights(synapse: QuantizedSynapse) -> Weights:
    """What a search for scales needs of a projection."""
    folded = synapse.folded().double().cpu().numpy()
    path = synapse.path
    rows = folded.reshape(len(folded), -1) if path.weighted else folded.reshape(-1, 1)
    sign = "mixed" if synapse.bits > 1 else "excitatory"
    values = rows if synapse.bits > 1 else np.abs(rows)
    return Weights(
        weights=values,
        weight_format=WeightFormat(synapse.bits, sign),
        # Pooled spikes are binary on the chip: their factor is in the weights.
        payload=path.levels if INPUT in path.sources else 1,
        rows=len(rows),
        bound=float(np.abs(rows).sum(1).max()) * path.levels,
    )
