"""Networks to measure with, named by their layers, and random ones for the simulators."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Convolution, Dense, Operator, Shape

SEED = 0
LEAK = 0.5
FORMS = "mlp-IN-HIDDEN-OUT or conv-SIZE-CHANNELS-OUT, as in mlp-784-256-10 or conv-28-16-32-10"


def bench_network(name: str, steps: int) -> Network:
    """A network of LIF neurons with hard reset and random weights, for binary input over time.

    ``mlp-...`` is dense throughout. ``conv-SIZE-...`` takes a square image of one channel through
    3x3 convolutions of padding 1, the first of stride 1 and the others of stride 2, then a dense
    layer.

    Raises:
        InputError: the name has neither form.
    """
    kind, sizes = layers_of(name)
    shape: Shape = (sizes[0],) if kind == "mlp" else (1, sizes[0], sizes[0])
    rng = np.random.default_rng(SEED)
    populations = [Population("input", shape, None)]
    projections = []
    for index, size in enumerate(sizes[1:], start=1):
        dense = kind == "mlp" or index == len(sizes) - 1
        operator = _operator(rng, shape, size, dense, stride=1 if index == 1 else 2)
        shape = operator.output_shape
        populations.append(Population(f"lif{index}", shape, _lif(shape)))
        source = populations[-2].name
        projections.append(Projection(f"w{index}", source, f"lif{index}", operator))
    contract = Contract(
        Semantics(1e-4, "zero", ">"), InputCode("events"), steps, decode="spike_count"
    )
    return Network(name, tuple(populations), tuple(projections), populations[-1].name, contract)


def layers_of(name: str) -> tuple[str, list[int]]:
    """Kind, ``mlp`` or ``conv``, and numbers of a network's name.

    Raises:
        InputError: the name has neither form.
    """
    if not re.fullmatch(r"(mlp|conv-\d+)(-\d+){2,}", name):
        raise InputError(Text(Setting("network", name), f": expected {FORMS}"))
    kind, *numbers = name.split("-")
    sizes = [int(number) for number in numbers]
    if min(sizes) < 1 or (kind == "conv" and sizes[0] < 2):
        raise InputError(Text(Setting("network", name), f": expected {FORMS}"))
    return kind, sizes


def _operator(
    rng: np.random.Generator, shape: Shape, size: int, dense: bool, stride: int
) -> Operator:
    """Weights scaled such that a tenth of the inputs firing drives some neurons over threshold."""
    if dense:
        inputs = math.prod(shape)
        return Dense(rng.normal(0, 3 / math.sqrt(inputs), (size, inputs)), shape, (size,))
    weights = rng.normal(0, 3 / math.sqrt(9 * shape[0]), (size, shape[0], 3, 3))
    return Convolution(weights, shape, (stride,) * 2, ((1, 1),) * 2, (1, 1))


def _lif(shape: Shape) -> Neuron:
    parameters: dict[str, Any] = {"reset": "zero", "comparison": ">"}
    return Neuron(
        "LIF",
        u_keep=np.zeros(shape),
        v_keep=np.full(shape, LEAK),
        bias=np.zeros(shape),
        v_threshold=np.ones(shape),
        **parameters,
    )
