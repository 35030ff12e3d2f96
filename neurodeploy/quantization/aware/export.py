"""From a network trained on integers to one in floats that stands for exactly these integers.

With it goes the plan by which a deployment finds them again.
"""

from __future__ import annotations

import copy
from typing import Any

import nir
import torch
from torch import Tensor, nn

from neurodeploy.ir.contract import DataSource, InputCode
from neurodeploy.ir.quantized import PLAN_KEY, PopulationPlan, ProjectionPlan, QuantizationPlan
from neurodeploy.neurons.constant import CONSTANT, bias_name
from neurodeploy.nn.export import module_to_nir
from neurodeploy.nn.layers import Factors, Scale
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.quantization.aware.convert import IntegerNetwork
from neurodeploy.quantization.aware.currents import BIAS_BITS, BiasedCurrents, QuantizedCubaLIF
from neurodeploy.quantization.aware.delayed import DelayedSynapse
from neurodeploy.quantization.aware.grid import STATE
from neurodeploy.quantization.aware.neurons import QuantizedLIF, QuantizedNorm
from neurodeploy.quantization.aware.paths import Receiver
from neurodeploy.quantization.aware.readout import QuantizedLI, QuantizedReadout
from neurodeploy.quantization.aware.synapse import QuantizedSynapse


def trained_to_nir(
    model: SpikingNetwork,
    input_code: InputCode,
    steps: int,
    dataset: str = "",
    source: DataSource | None = None,
) -> nir.NIRGraph:
    """Write a trained network as a NIR graph, whether it was trained in floats or on integers.

    As ``nn.export.module_to_nir`` writes it. Of a network trained on integers the parameters are
    those integers in units of the network, and its plan goes with it.

    Raises:
        UnsupportedError: as ``module_to_nir``.
    """
    if not (isinstance(model, IntegerNetwork) and model.is_active):
        return module_to_nir(model, input_code, steps, dataset, source)
    graph = module_to_nir(in_floats(model), input_code, steps, dataset, source)
    graph.metadata[PLAN_KEY] = learned_plan(model).to_metadata()
    return graph


@torch.no_grad()
def in_floats(model: IntegerNetwork) -> SpikingNetwork:
    """The network with float64 weights and biases that lie on the grid, batch norms folded.

    Its weights are q 2^e step m / S with the multiplier m of what arrives (``paths.Path``).
    """
    layers: dict[str, nn.Module] = {}
    for name, layer in model.layers.items():
        if isinstance(layer, QuantizedReadout):
            layer = layer.synapse
        if isinstance(layer, QuantizedSynapse):
            layer = _weighted(layer)
        elif isinstance(layer, QuantizedNorm):
            layer = nn.Identity()
        elif isinstance(layer, QuantizedLIF | QuantizedCubaLIF):
            layer = layer.lif
        elif isinstance(layer, QuantizedLI):
            layer = layer.layer
        layers[name] = copy.deepcopy(layer)
    for receiver in model.receivers:
        _place_bias(layers, model, receiver)
    found = SpikingNetwork(layers, model.sample_shape, model.sources)
    return found.to(torch.float64).train(model.training)


@torch.no_grad()
def learned_plan(model: IntegerNetwork) -> QuantizationPlan:
    """Scales and exponents, by population."""
    populations = {}
    for receiver in model.receivers:
        incoming = {}
        for path in receiver.paths:
            synapse = model.synapse(path)
            sign: Any = "mixed" if synapse.bits > 1 else "split"
            planned = ProjectionPlan(synapse.bits, sign, int(synapse.exponent))
            if isinstance(synapse, DelayedSynapse):
                incoming |= {f"{path.node}_{d}": planned for d in synapse.delays}
            else:
                incoming[path.node] = planned
        layer = model.layers[receiver.entry]
        if isinstance(layer, BiasedCurrents) and layer.bias_weights() is not None:
            # What comes back of it is synapses from a constant source.
            planned = ProjectionPlan(BIAS_BITS, "mixed", int(layer.exponent))
            incoming[bias_name(receiver.name, 0)] = planned
            populations[CONSTANT] = PopulationPlan(1.0, {})
        populations[receiver.name] = PopulationPlan(_scale(model, receiver), incoming)
    return QuantizationPlan(model.target.name, populations)


def _scale(model: IntegerNetwork, receiver: Receiver) -> float:
    """Activation units per unit of the network in floats."""
    return float(model.grid(receiver).unit().double()) / STATE


def _weighted(synapse: QuantizedSynapse) -> nn.Module:
    """The layer in floats that computes what a synapse does, without bias."""
    unit = synapse.grid.unit().double() / (STATE * synapse.path.multiplier)
    weight = synapse.integers().double() * (synapse.step * 2.0 ** int(synapse.exponent)) / unit
    if isinstance(synapse, DelayedSynapse):
        return synapse.in_floats(weight)
    layer: Any = synapse.layer
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        options: Any = (layer.stride, layer.padding, layer.dilation, layer.groups)
        inputs = weight.shape[1] * layer.groups
        kernel: Any = layer.kernel_size
        make: Any = nn.Conv1d if isinstance(layer, nn.Conv1d) else nn.Conv2d
        found: Any = make(inputs, len(weight), kernel, *options)
    elif synapse.path.weighted:
        found = nn.Linear(weight.shape[1], len(weight))
    else:
        return _factors(weight, synapse.one_each)
    found.weight, found.bias = (
        nn.Parameter(weight),
        nn.Parameter(weight.new_zeros(len(weight))),
    )
    return found


def _factors(weight: Tensor, one_each: bool) -> nn.Module:
    """A factor per channel, which export knows as a batch norm that does nothing else.

    Args:
        one_each: whether there is one for each value, so that channels are not all there is.
    """
    if weight.numel() == 1:
        return Scale(float(weight))
    if weight.ndim > 1 or one_each:
        return Factors(weight)
    norm: Any = nn.BatchNorm2d(len(weight), eps=0.0)
    norm.weight = nn.Parameter(weight)
    return norm


def _place_bias(layers: dict[str, nn.Module], model: IntegerNetwork, receiver: Receiver) -> None:
    """Give the whole bias of a population to the first weighted layer before it."""
    bias = model.bias(receiver)
    if bias is None:
        return
    first: Any = next(layers[path.at] for path in receiver.paths if path.weighted)
    spread = (bias.double() / model.grid(receiver).unit().double()).expand(len(first.weight))
    first.bias = nn.Parameter(spread.clone())
