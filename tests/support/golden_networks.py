"""What ``tests/data/golden`` holds the answers to: small networks of every kind.

Each is drawn from a seed, so that other seeds give others of its kind. What was recorded is held by
its integers: changes here change nothing of what lies there until it is recorded again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from neurodeploy.interchange.netx.network_in import input_shape, to_quantized
from neurodeploy.interchange.netx.read import read_net
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.learner import LearningOptions, StreamChunk
from neurodeploy.onchip.prototype_plan import (
    PrototypePlan,
    check_prototypes,
    make_prototype_plan,
)
from neurodeploy.onchip.prototypes import UNLABELLED, SpikeCounts
from neurodeploy.simulation.trace import Samples
from support.graph_networks import NETWORKS, graph_chunk, small_graph
from support.learning_networks import random_tags, small_chain, small_chunk
from support.net_networks import CASES, random_net, slayer_files
from support.novel_rows import with_spare_rows
from support.random_models import MAKERS, drawn_kinds, random_model_network
from support.random_networks import (
    GRAPHS,
    NEURONS,
    OPERATORS,
    SPIKING,
    random_input,
    random_network,
)
from support.sigma_delta_networks import slayer_changes
from support.temporal_networks import sparse_events, temporal_network

ENGINES = ("lava", "lava-fused")
NETX = (*ENGINES, "netx")


@dataclass(frozen=True, eq=False)
class ToSimulate:
    """A network, its input, and who is to answer; all of them have to say the same.

    Attributes:
        batch: samples at a time.
        net: the ``.net`` that the network came from, if it did.
        written_out: whether projections go to Lava's own synapses where these can hold them.
    """

    network: QuantizedNetwork
    samples: Samples
    engines: tuple[str, ...] = ENGINES
    batch: int = 2
    net: bytes | None = None
    written_out: bool = True


@dataclass(frozen=True, eq=False)
class ToLearn:
    """A network that learns, and from what; ``prototypes`` is the plan of that rule."""

    network: QuantizedNetwork
    options: LearningOptions
    tags: dict[str, np.ndarray]
    chunks: tuple[StreamChunk, ...]
    prototypes: PrototypePlan | None = None


Drawn = Callable[[int], "ToSimulate | ToLearn"]
"""From a seed to what is to be recorded."""


def corpus() -> dict[str, Drawn]:
    """All of them, by name."""
    found: dict[str, Drawn] = {}
    for number, (graph, again) in enumerate(itertools.product(GRAPHS, range(2))):
        found[f"leaky_{graph}_{again + 1}"] = partial(_leaky, number, graph, None)
    for number, kind in enumerate(OPERATORS):
        found[f"operator_{kind}"] = partial(_leaky, number, "chain", kind)
    found["long_delays"] = _long_delays
    found["many_connections"] = _many_connections
    for bits in range(1, 9):
        found[f"bits_{bits}"] = partial(_of_bits, bits)
    graphs = itertools.cycle(("chain", "skip", "delayed", "loop", "own"))
    for (model, _), graph in zip(itertools.product(MAKERS, range(3)), graphs, strict=False):
        found[f"{model.lower()}_{graph}"] = partial(_of_model, model, graph)
    for number in range(4):
        found[f"time_{number + 1}"] = _in_time
    for case in CASES:
        found[f"net_{case.replace(' ', '_')}"] = partial(_net, case)
    for name in ("dense", "conv", "recurrent", "driven"):
        found[f"slayer_{name}"] = partial(_slayer, slayer_files, name)
    for name in ("dense", "conv"):
        found[f"slayer_changes_{name}"] = partial(_slayer, slayer_changes, name)
    for name, (kind, chain, options) in _LEARNING.items():
        found[f"learning_{name}"] = partial(_learning, kind, chain, options)
    for name, (kind, graph, options) in _GRAPHS_THAT_LEARN.items():
        found[f"learning_{name}"] = partial(_learning_graph, kind, graph, options)
    for name, (kind, base) in _PROTOTYPES.items():
        found[f"learning_prototypes_{name}"] = partial(_prototypes, kind, base, 3 * (name == "new"))
    return found


def _leaky(number: int, graph: str, operator: str | None, seed: int) -> ToSimulate:
    """Leaky neurons of all kinds in turn, and all operators."""
    neurons = (
        SPIKING[number % 3],
        SPIKING[(number + 1) % 3],
        NEURONS[number % len(NEURONS)],
    )
    first = OPERATORS[number % len(OPERATORS)]
    operators = (operator or first, operator or OPERATORS[(number + 3) % len(OPERATORS)])
    network = random_network(seed, neurons, operators, graph, (1, 16, 255)[number % 3])
    return ToSimulate(network, random_input(network, seed, 3, over_time=number % 2 == 0))


def _long_delays(seed: int) -> ToSimulate:
    network = random_net(seed, ("delays", "dense", "delay"), 70, 1)
    return ToSimulate(network, random_input(network, seed, 2, over_time=True))


def _many_connections(seed: int) -> ToSimulate:
    """Through the synapses that Lava does not have, as in networks too large for its own."""
    network = random_network(seed, ("LIF", "CubaLIF", "LI"), ("conv2d", "composed"), "chain", 1)
    samples = random_input(network, seed, 3, over_time=True)
    return ToSimulate(network, samples, written_out=False)


def _of_bits(bits: int, seed: int) -> ToSimulate:
    """What quantisation makes of a float network, at every width."""
    kind, payload = ("conv", 16) if bits % 2 else ("dense", 1)
    resets = {"reset": ("zero", "subtract")[bits % 2], "comparison": (">", ">=")[bits // 2 % 2]}
    network = small_chain(kind, bits=bits, payload=payload, steps=6, seed=seed, **resets)
    return ToSimulate(network, random_input(network, seed, 3, over_time=payload == 1))


def _of_model(model: str, graph: str, seed: int) -> ToSimulate:
    kinds = drawn_kinds(np.random.default_rng(seed), model)
    network = random_model_network(seed, kinds, graph)
    return ToSimulate(network, random_input(network, seed, 3, over_time=bool(seed % 2)))


def _in_time(seed: int) -> ToSimulate:
    """Currents and recurrence over 60 steps; the second batch is smaller than the first."""
    network = temporal_network(seed, 60)
    return ToSimulate(network, sparse_events(network, seed, 3))


def _net(case: str, seed: int) -> ToSimulate:
    network = random_net(seed, *CASES[case])
    samples = random_input(network, seed, 3, over_time=seed % 2 == 0)
    return ToSimulate(network, samples, NETX)


def _slayer(files: Callable[[Path], dict[str, Path]], name: str, seed: int) -> ToSimulate:
    """Of a file that lava-dl's own training half wrote."""
    with TemporaryDirectory() as folder:
        path = files(Path(folder))[name]
        layers, net = read_net(path), path.read_bytes()
    changes = files is slayer_changes
    code = InputCode("direct", 4 if changes else 32)
    if not changes and name != "driven":
        code = InputCode("events")
    decode = "last_v" if changes and name == "conv" else "spike_count"
    contract = Contract(Semantics(1e-4, "zero", ">"), code, 9, decode)
    network = to_quantized(layers, input_shape(layers, None, name), contract, name)
    samples = random_input(network, seed, 3, over_time=name != "driven")
    return ToSimulate(network, samples, NETX, net=net)


_GRADED = {"payload": 16, "steps": 4}

_LEARNING: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "sltt_dense": ("dense", {"comparison": ">"}, {"rate": 2**-2}),
    "sltt_dense_step": ("dense", {"bits": 6}, {"rate": 2**-3, "update": "step"}),
    "sltt_conv": ("conv", {"reset": "zero"}, {"rate": 2**-4}),
    "sltt_conv_step": ("conv", {"bits": 4, "payload": 16}, {"rate": 2**-3, "update": "step"}),
    "sltt_conv_random": ("conv", {"bits": 8}, {"rate": 2**-4, "feedback": "random", "seed": 3}),
    "sltt_step_random": ("dense", {}, {"rate": 2**-3, "update": "step", "feedback": "random"}),
    "local_dense": ("dense", {"bits": 5}, {"rule": "local", "rate": 2**-3}),
    "local_conv": ("conv", {"payload": 16}, {"rule": "local", "rate": 2**-4, "seed": 5}),
    "local_step": ("dense", {"reset": "zero"}, {"rule": "local", "rate": 2**-3, "update": "step"}),
    "delta_step": ("conv", _GRADED, {"rule": "delta", "rate": 0.5, "update": "step"}),
    "delta_sample": ("conv", _GRADED, {"rule": "delta", "rate": 2.0}),
    "delta_saturates": ("conv", _GRADED, {"rule": "delta", "rate": 16.0, "update": "step"}),
}


def _learning(kind: str, chain: dict[str, Any], options: dict[str, Any], seed: int) -> ToLearn:
    network = small_chain(kind, seed=seed, **chain)
    rule = LearningOptions(**options)
    chunk = small_chunk(network, 9, seed + 1)
    chunks = [StreamChunk(chunk.values[p], chunk.labels[p]) for p in (slice(3), slice(3, None))]
    # Rule delta's tags are Lava's own, and start at 0.
    tags = random_tags(network) if rule.everywhere else {}
    return ToLearn(network, rule, tags, tuple(chunks))


_GRAPHS_THAT_LEARN: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "eprop_recurrent": ("recurrent", {}, {"rule": "eprop", "rate": 2**-3}),
    "eprop_deep_random": ("deep", {}, {"rule": "eprop", "rate": 2**-4, "feedback": "random"}),
    "eprop_step": ("leaky", {"bits": 6}, {"rule": "eprop", "rate": 2**-3, "update": "step"}),
    "eprop_counted": ("counted", {"reset": "zero"}, {"rule": "eprop", "rate": 2**-3}),
    "sltt_shortcut": ("shortcut", {}, {"rate": 2**-3}),
    "sltt_late": ("late", {}, {"rate": 2**-3}),
    "sltt_residual": ("residual", {}, {"rate": 2**-4}),
    "sltt_thresholds": ("thresholds", {"bits": 6}, {"rate": 2**-4, "update": "step"}),
    "sltt_resting": ("resting", {}, {"rate": 2**-2}),
    "eprop_thresholds": ("thresholds", {"reset": "zero"}, {"rule": "eprop", "rate": 2**-4}),
    "delta_summed": ("deep", {}, {"rule": "delta", "rate": 0.5}),
    "delta_leaky": ("leaky", {}, {"rule": "delta", "rate": 0.5, "update": "step"}),
    "local_late": ("late", {}, {"rule": "local", "rate": 2**-3}),
    "local_residual": ("residual", {"bits": 4}, {"rule": "local", "rate": 2**-3}),
}


def _learning_graph(
    kind: str, graph: dict[str, Any], options: dict[str, Any], seed: int
) -> ToLearn:
    """What is no chain: loops, shortcuts, delays, leaky read-outs."""
    network = small_graph(kind, seed=seed, **graph)
    chunk = graph_chunk(network, 9, seed + 1)
    chunks = [StreamChunk(chunk.values[p], chunk.labels[p]) for p in (slice(3), slice(3, None))]
    return ToLearn(network, LearningOptions(**options), {}, tuple(chunks))


_PROTOTYPES = {
    "dense": ("dense", (0, 1)),
    "conv": ("conv", (1, 2, 3)),
    "empty": ("dense", ()),
    "recurrent": ("recurrent", (0, 1)),
    "new": ("conv", (0, 1)),
}
"""Kinds of chains or graphs, and the classes whose rows are there in the beginning."""


def _prototypes(kind: str, base: tuple[int, ...], novel: int, seed: int) -> ToLearn:
    """Classes that arrive on the way; every fifth sample has no label, or most where there are rows
    for what is new."""
    if kind in NETWORKS:
        network = small_graph(kind, seed=seed)
    else:
        network = small_chain(kind, payload=16 if kind == "conv" else 1, seed=seed)
    options = LearningOptions(rule="prototypes", rate=2**-5, seed=seed)
    known = small_chunk(network, 60, seed + 2)
    counts = SpikeCounts(network, check_prototypes(network).projection).of(known)
    use = np.isin(known.labels, base or (0, 1))
    plan = make_prototype_plan(
        network, options, counts[use], known.labels[use], () if base else (0, 1)
    )
    chunk = small_chunk(network, 30, seed + 1)
    plan = with_spare_rows(plan, counts, novel) if novel else plan
    nameless = np.arange(30) % 5 != 2 if novel else np.arange(30) % 5 == 2
    labels = np.where(nameless, UNLABELLED, chunk.labels)
    chunks = [StreamChunk(chunk.values[p], labels[p]) for p in (slice(12), slice(12, None))]
    return ToLearn(network, options, {}, tuple(chunks), plan)
