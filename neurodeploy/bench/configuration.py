"""What is measured: networks named by their layers, and methods of training on them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np

from neurodeploy.data import Dataset
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.contract import Contract, Encoder, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Dense, Operator, Shape
from neurodeploy.recipe import (
    DataRecipe,
    EncoderRecipe,
    NeuronRecipe,
    Precision,
    Recipe,
    TrainingRecipe,
)

SEED = 0
LEAK = 0.5
FORMS = "mlp-IN-HIDDEN-OUT or conv-SIZE-CHANNELS-OUT, as in mlp-784-256-10 or conv-28-16-32-10"
RECURRENT = "or rnn-IN-HIDDEN-OUT"
U_KEEP, SLOW_LEAK = 0.9, 0.95
"""Of the neurons with a current, from step to step: of milliseconds, for long samples."""


def bench_network(name: str, steps: int) -> Network:
    """A network of LIF neurons with hard reset and random weights, for binary input over time.

    ``mlp-...`` is dense throughout. ``conv-SIZE-...`` takes a square image of one channel through
    3x3 convolutions of padding 1, the first of stride 1 and the others of stride 2, then a dense
    layer. ``rnn-...`` is dense, each hidden layer projects to itself, and neurons have a current.

    Raises:
        InputError: the name has no such form.
    """
    kind, sizes = layers_of(name)
    shape: Shape = (1, sizes[0], sizes[0]) if kind == "conv" else (sizes[0],)
    rng = np.random.default_rng(SEED)
    populations = [Population("input", shape, None)]
    projections = []
    for index, size in enumerate(sizes[1:], start=1):
        dense = kind != "conv" or index == len(sizes) - 1
        operator = _operator(rng, shape, size, dense, stride=1 if index == 1 else 2)
        shape = operator.output_shape
        neuron = _cuba(shape) if kind == "rnn" else _lif(shape)
        populations.append(Population(f"lif{index}", shape, neuron))
        source = populations[-2].name
        projections.append(Projection(f"w{index}", source, f"lif{index}", operator))
        if kind == "rnn" and index < len(sizes) - 1:
            again = Dense(rng.normal(0, 0.1 / math.sqrt(size), (size, size)), shape, shape)
            projections.append(Projection(f"r{index}", f"lif{index}", f"lif{index}", again, 1))
    contract = Contract(
        Semantics(1e-4, "zero", ">"), InputCode("events"), steps, decode="spike_count"
    )
    return Network(name, tuple(populations), tuple(projections), populations[-1].name, contract)


def layers_of(name: str) -> tuple[str, list[int]]:
    """Kind, ``mlp``, ``conv`` or ``rnn``, and numbers of a network's name.

    Raises:
        InputError: the name has no such form.
    """
    if not re.fullmatch(r"(mlp|rnn|conv-\d+)(-\d+){2,}", name):
        raise InputError(Text(Setting("network", name), f": expected {FORMS}, {RECURRENT}"))
    kind, *numbers = name.split("-")
    sizes = [int(number) for number in numbers]
    if min(sizes) < 1 or (kind == "conv" and sizes[0] < 2):
        raise InputError(Text(Setting("network", name), f": expected {FORMS}, {RECURRENT}"))
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
    return _neuron("LIF", shape, 0.0, LEAK)


def _cuba(shape: Shape) -> Neuron:
    return _neuron("CubaLIF", shape, U_KEEP, SLOW_LEAK)


def _neuron(kind: str, shape: Shape, u_keep: float, v_keep: float) -> Neuron:
    parameters: dict[str, Any] = {"reset": "zero", "comparison": ">"}
    return Neuron(
        kind,
        u_keep=np.full(shape, u_keep),
        v_keep=np.full(shape, v_keep),
        bias=np.zeros(shape),
        v_threshold=np.ones(shape),
        **parameters,
    )


YARDSTICK = "yardstick"
METHODS: dict[str, dict[str, Any]] = {
    YARDSTICK: {"name": "sltt"},
    "sltt": {"name": "sltt"},
    "bptt": {"name": "bptt"},
    "ottt": {"name": "ottt"},
    "eprop": {"name": "eprop"},
    "rate_m": {"name": "rate", "variant": "m"},
    "rate_s": {"name": "rate", "variant": "s"},
}
"""Methods and their ``[rule]``; ``sltt-K`` with any number comes on top."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

NEURON = NeuronRecipe(tau=1.1)
"""Soft reset, threshold 1 and the triangle surrogate: all of Meng et al. 2023."""

SLOW = NeuronRecipe(tau=1 / (1 - SLOW_LEAK), tau_syn=1 / (1 - U_KEEP))
"""The same with a current, of ``rnn-...``."""

ACTIVITY = 0.01
"""Share of inputs that spike at a step of an ``rnn-...``."""


@dataclass(frozen=True)
class Configuration:
    """One row to measure.

    Attributes:
        method: a key of ``METHODS``, or ``sltt-1``, ``sltt-2`` and so on.
        network: ``resnet18``, ``vgg11``, or layers by name, as in ``conv-28-16-32-10``.
        T: steps per sample.
        batch: samples per iteration, from 2, because batch norm needs two.
        device: as torch names it.
        precision: as in ``TrainingRecipe``.
        threads: CPU threads of torch, 0 for as many as other programs leave cores.
        time_chunk: steps run at once, 0 for the rule's own choice; as in ``TrainingRecipe``.
    """

    method: str
    network: str
    T: int
    batch: int
    device: str = "cpu"
    precision: Precision = "fp32"
    threads: int = 0
    time_chunk: int = 0

    @property
    def recipe(self) -> Recipe:
        """The training of which one iteration is measured: SGD as in the paper.

        Raises:
            InputError: unknown method or network, or a number out of its range.
        """
        shape = network_shape(self.network)
        if self.batch < 2:
            raise InputError(
                Text(Setting("batch", str(self.batch)), ": batch norm needs at least 2 samples")
            )
        try:
            training = TrainingRecipe(
                steps=self.T,
                epochs=1,
                batch_size=self.batch,
                learning_rate=0.01,
                optimizer="sgd",
                mse_weight=0.05,
                threads=self.threads,
                precision=self.precision,
                time_chunk=self.time_chunk,
            )
        except ValueError as error:
            raise InputError(f"bench train: {error}") from None
        return Recipe(
            name=f"bench of {self}",
            description="",
            data=DataRecipe("random"),
            neuron=shape.neuron,
            training=training,
            network=shape.options,
            rule=rule_options(self.method),
            encoder=EncoderRecipe(shape.encoder),
            seed=SEED,
        )

    def dataset(self) -> Dataset:
        """One batch of random integers, of the kind that the network is trained on."""
        shape = network_shape(self.network)
        rng = np.random.default_rng(SEED)
        over_time = shape.encoder == "events"
        size = (self.batch, *((self.T,) if over_time else ()), *shape.sample)
        if shape.levels == 1:
            samples = (rng.random(size, np.float32) < ACTIVITY).astype(np.uint8)
        elif over_time:
            samples = rng.poisson(0.5, size).clip(0, shape.levels).astype(np.uint8)
        else:
            samples = rng.integers(0, shape.levels + 1, size, dtype=np.uint8)
        labels = rng.integers(0, shape.classes, self.batch)
        labels[0] = shape.classes - 1  # a data set counts its classes by the highest
        return Dataset("random", shape.levels, samples, labels, samples, labels, over_time)

    def __str__(self) -> str:
        return f"{self.method} on {self.network}, T = {self.T}, {self.precision}"


class NetworkShape(NamedTuple):
    """A network to train: its ``[network]`` table, and what goes in and comes out.

    Attributes:
        levels: largest integer of a sample.
        encoder: ``direct`` for images; ``events`` where every step brings a frame of its own.
        neuron: of its hidden layers.
    """

    options: dict[str, Any]
    sample: tuple[int, ...]
    classes: int
    levels: int
    encoder: Encoder
    neuron: NeuronRecipe = NEURON


CIFAR_RESNET18 = NetworkShape({"family": "resnet18"}, (3, 32, 32), 10, 255, "direct")
DVS_VGG11 = NetworkShape({"family": "vgg11"}, (2, 48, 48), 10, 15, "events")


def network_shape(name: str) -> NetworkShape:
    """The network of that name, as its recipe builds it.

    ``resnet18`` and ``vgg11`` are those of the recipes ``cifar10_resnet18`` and
    ``dvscifar10_vgg11``. ``mlp-...``, ``conv-SIZE-...`` and ``rnn-...`` have the layers of
    ``bench_network``, the convolutions with batch norm; the last one's spikes are the ``events`` of
    long recordings.

    Raises:
        InputError: no network has that name.
    """
    if name == "resnet18":
        return CIFAR_RESNET18
    if name == "vgg11":
        return DVS_VGG11
    try:
        kind, (first, *hidden, classes) = layers_of(name)
    except InputError:
        raise InputError(
            Text(Setting("network", name), f": expected resnet18, vgg11, {FORMS}, {RECURRENT}")
        ) from None
    if kind == "rnn":
        options: dict[str, Any] = {"family": "mlp", "hidden": hidden, "recurrent": True}
        return NetworkShape(options, (first,), classes, 1, "events", SLOW)
    if kind == "mlp":
        return NetworkShape({"family": "mlp", "hidden": hidden}, (first,), classes, 255, "direct")
    options = {
        "family": "conv",
        "channels": hidden,
        "strides": [1, *[2] * (len(hidden) - 1)],
        "batch_norm": True,
    }
    return NetworkShape(options, (1, first, first), classes, 255, "direct")


def rule_options(method: str) -> dict[str, Any]:
    """The ``[rule]`` table of a method.

    Raises:
        InputError: no method has that name.
    """
    if method in METHODS:
        return dict(METHODS[method])
    if drawn := re.fullmatch(r"sltt-([1-9]\d*)", method):
        return {"name": "sltt-k", "K": int(drawn[1])}
    raise InputError(
        Text(
            Setting("methods"),
            f": {method!r} is not one of {', '.join(METHODS)}, nor sltt-K as in sltt-1",
        )
    )
