"""Random quantised networks that a .net can hold, and .net files that lava-dl's slayer wrote.

Integers are drawn over their whole range, so that u wraps and v saturates; nothing here knows how
a file is laid out.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense, Operator, Shape, SparseMatrix
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)

KINDS = ("dense", "recurrent", "delay", "delays", "conv", "grouped", "conv1d")

CASES: dict[str, tuple[tuple[str, ...], int, int]] = {
    "dense": (("dense", "dense"), 6, 1),
    "recurrent": (("recurrent", "dense", "recurrent"), 7, 1),
    "convolution": (("conv", "conv", "dense"), 5, 1),
    "grouped convolution": (("grouped", "dense"), 5, 1),
    "convolution over one axis": (("conv1d", "conv1d", "dense"), 5, 1),
    "one delay": (("delay", "dense", "delay"), 6, 1),
    "many delays": (("delays", "recurrent", "delays"), 9, 1),
    "convolution and feedback": (("conv", "recurrent"), 4, 1),
    "graded input": (("dense", "delays"), 4, 255),
    "graded images": (("conv", "dense"), 4, 16),
    "fewer steps than layers": (("dense", "dense", "dense", "recurrent"), 2, 1),
    "one step": (("dense", "delay", "dense"), 1, 1),
}
"""Kinds of layers, steps, and the largest integer of the input."""


def random_net(seed: int, kinds: tuple[str, ...], steps: int, payload: int) -> QuantizedNetwork:
    """input -> one population per kind; the last never spikes in half of the cases."""
    rng = np.random.default_rng(seed)
    over_one = kinds[0] == "conv1d"
    shape: Shape = (2, 9) if over_one else (2, int(rng.integers(4, 7)), int(rng.integers(4, 7)))
    if kinds[0] in ("dense", "recurrent", "delay", "delays"):
        shape = (int(rng.integers(3, 12)),) if rng.random() < 0.5 else shape
    populations = [QuantizedPopulation("input", shape, None, float(payload))]
    projections: list[QuantizedProjection] = []
    for index, kind in enumerate(kinds):
        before, name = populations[-1], f"p{index}"
        operators = _operators(rng, kind, before.shape)
        shape = operators[0][0].output_shape
        silent = index == len(kinds) - 1 and rng.random() < 0.5
        populations.append(QuantizedPopulation(name, shape, _neuron(rng, shape, silent), 1.0))
        form = WeightFormat(int(rng.integers(2, 9)), str(rng.choice(["mixed", "excitatory"])))
        links = [(before.name, operator, delay) for operator, delay in operators]
        if kind == "recurrent":
            links.append((name, Dense(np.ones((shape[0], shape[0])), shape, shape), 1))
        for source, operator, delay in links:
            held = f"{source}_{name}_{delay}", source, name
            carried = payload if source == "input" else 1
            projections.append(_projection(rng, *held, operator, form, carried, delay))
    spiking = populations[-1].neuron and populations[-1].leaky.threshold is not None
    contract = Contract(
        Semantics(1e-4, "zero", ">"),
        InputCode("direct", payload),
        steps,
        "spike_count" if spiking else "sum_v",
    )
    parts = tuple(populations), tuple(projections)
    return QuantizedNetwork("random", *parts, populations[-1].name, contract)


def plain_net(*operators: Operator) -> QuantizedNetwork:
    """One population after the other, all alike, named as in a file that is read."""
    source = QuantizedPopulation("input", operators[0].input_shape, None, 1.0)
    populations, projections = [source], []
    for index, operator in enumerate(operators):
        shape = operator.output_shape
        neuron = QuantizedNeuron(
            kind="CUBA",
            u_decay=np.full(shape, 4096),
            v_decay=np.full(shape, 512),
            bias_mantissa=np.zeros(shape, np.int64),
            bias_exponent=np.full(shape, 6),
            threshold=np.full(shape, 100),
            reset="zero",
            comparison=">",
        )
        name, before = f"p{index}", populations[-1].name
        populations.append(QuantizedPopulation(name, shape, neuron, 1.0))
        form = WeightFormat.fitting(operator.weights, 8)
        projections.append(QuantizedProjection(f"w{index}", before, name, operator, form, 0, 1))
    contract = Contract(Semantics(1e-4, "zero", ">"), InputCode("events"), 6, "spike_count")
    parts = tuple(populations), tuple(projections)
    return QuantizedNetwork("plain", *parts, populations[-1].name, contract)


def _operators(rng: np.random.Generator, kind: str, shape: Shape) -> list[tuple[Operator, int]]:
    """What leads to a population, with ones for weights, and the delay of each."""
    if kind in ("dense", "recurrent", "delay", "delays"):
        outputs, inputs = int(rng.integers(2, 8)), int(np.prod(shape))
        dense = Dense(np.ones((outputs, inputs)), shape, (outputs,))
        if kind == "delay":
            return [(dense, int(rng.integers(1, 6)))]
        if kind == "delays":
            which = rng.choice([0, 1, 3, 62], (outputs, inputs), p=[0.3, 0.3, 0.3, 0.1])
            return [
                (SparseMatrix.of(dense.with_weights(1.0 * (which == delay))), int(delay))
                for delay in np.unique(which)
            ]
        return [(dense, 0)]
    if kind == "conv1d":
        weights = np.ones((int(rng.integers(1, 4)), shape[0], 3))
        return [(Convolution(weights, shape, (int(rng.integers(1, 3)),), ((1, 1),), (1,)), 0)]
    groups = shape[0] if kind == "grouped" else 1
    outputs = groups * int(rng.integers(1, 4))
    kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    weights = np.ones((outputs, shape[0] // groups, *kernel))
    stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    padding = tuple((pad, pad) for pad in rng.integers(1, 3, 2).tolist())
    dilation = (int(rng.integers(1, 3)), 1)
    return [(Convolution(weights, shape, stride, padding, dilation, groups), 0)]


def _projection(
    rng: np.random.Generator,
    name: str,
    source: str,
    target: str,
    operator: Operator,
    form: WeightFormat,
    payload: int,
    delay: int,
) -> QuantizedProjection:
    """Random weights of a format; half of them shifted left as far as a .net can follow."""
    steps = rng.integers(form.minimum // form.step, form.maximum // form.step + 1, 10_000)
    size = operator.weights.size
    weights = (steps[:size] * form.step).reshape(operator.weights.shape)
    weights.flat[0] = form.maximum
    exponent = 0
    if form.step > 2 and rng.random() < 0.5:
        # Weights that mean less than they fill: the sum is shifted back, exactly.
        exponent = -int(rng.integers(1, form.step.bit_length() - 1))
    return QuantizedProjection(
        name, source, target, operator.with_weights(weights), form, exponent, payload, delay
    )


def _neuron(rng: np.random.Generator, shape: Shape, silent: bool) -> QuantizedNeuron:
    """Lava's LIF with decays by channel, or by neuron of a flat population."""

    def draw(low: int, high: int) -> np.ndarray:
        size = (shape[0], *[1] * (len(shape) - 1)) if rng.random() < 0.5 else (1,) * len(shape)
        return np.broadcast_to(rng.integers(low, high + 1, size), shape).copy()

    # A .net has biases in units of 64.
    exponent = draw(6, 7)
    mantissa = rng.integers(-2048, 2048, shape) if rng.random() < 0.3 else draw(-2048, 2047)
    return QuantizedNeuron(
        kind="CubaLIF",
        u_decay=draw(1, 4096),
        v_decay=draw(0, 4095),
        bias_mantissa=mantissa * int(rng.integers(0, 2)),
        bias_exponent=exponent,
        threshold=None
        if silent
        else np.full(
            shape,
            rng.integers(0, int(rng.choice([100, 300, 3000, 131072], p=[0.4, 0.4, 0.1, 0.1]))),
        ),
        reset="zero",
        comparison=">",
    )


def slayer() -> Any:
    """lava-dl's training half, without the part that wants OpenCV."""
    from neurodeploy.lava.compat import require_lava

    require_lava()
    name = "lava.lib.dl.slayer.object_detection"
    sys.modules.setdefault(name, types.ModuleType(name))
    from lava.lib.dl import slayer as module

    return module


def slayer_files(folder: Path) -> dict[str, Path]:
    """Networks that slayer built, ran once to learn their shapes, and exported."""
    import torch

    module = slayer()
    block = module.block.cuba
    norm = module.neuron.norm.MeanOnlyBatchNorm

    def neuron(**more: Any) -> dict[str, Any]:
        return {
            "threshold": 1.25,
            "current_decay": 0.25,
            "voltage_decay": 0.03,
            "shared_param": True,
            "requires_grad": False,
            **more,
        }

    def spikes(*shape: int) -> torch.Tensor:
        return (torch.rand(2, *shape, 20) < 0.4).float()

    torch.manual_seed(0)
    networks: dict[str, tuple[list[Any], torch.Tensor]] = {
        "dense": (
            [
                block.Dense(neuron(shared_param=False), 8, 6, weight_scale=2),
                block.Dense(neuron(norm=norm), 6, 4, weight_scale=2, delay=True),
            ],
            spikes(8),
        ),
        "conv": (
            [
                block.Input(None, delay_shift=False),
                block.Conv(neuron(), 2, 4, 3, padding=1, stride=2, groups=2, weight_scale=3),
                block.Conv(neuron(norm=norm), 4, 3, 3, padding=1, weight_scale=3),
                block.Flatten(),
                block.Dense(neuron(), 48, 5, weight_scale=2),
            ],
            spikes(2, 8, 8),
        ),
        "recurrent": (
            [block.Recurrent(neuron(), 8, 6, weight_scale=2), block.Affine(neuron(), 6, 3)],
            spikes(8),
        ),
        "driven": (
            [
                block.Input(neuron(), weight=1.0, bias=0.25),
                block.Conv(neuron(), 2, 4, 3, weight_scale=3),
                block.Flatten(),
                block.Dense(neuron(), 144, 5, weight_scale=2),
            ],
            spikes(2, 8, 8),
        ),
    }
    files = {}
    for name, (blocks, x) in networks.items():
        with torch.no_grad():
            for layer in blocks:
                x = layer(x)
        if name == "dense":
            blocks[1].delay.delay.data = torch.tensor([0.0, 2.7, 5.0, 1.0])
        files[name] = folder / f"{name}.net"
        with h5py.File(files[name], "w") as file:
            for index, layer in enumerate(blocks):
                layer.export_hdf5(file.create_group(f"layer/{index}"))
    return files
