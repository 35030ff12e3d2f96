"""Random NIR graphs of every neuron, linear node and kind of wiring, alive and in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.operators import Shape
from neurodeploy.simulation.trace import SampleBatch

DT = 1e-4
STEPS = 7
BEHIND = ("LI+Threshold", "CubaLI+Threshold", "I+Threshold")
SPIKING = ("LIF", "CubaLIF", "IF", "Threshold", *BEHIND)
NEURONS = (*SPIKING, "LI", "CubaLI", "I")
LINEAR = ("affine", "linear", "conv2d", "grouped", "sum_pool", "avg_pool", "scale", "flatten")
WIRINGS = ("chain", "skip", "delayed", "self_recurrent", "own_spikes", "mutual", "shared")


@dataclass(frozen=True)
class Style:
    """How numbers are drawn.

    Attributes:
        dyadic: weights are multiples of 1/8 and decays powers of two, so that every sum is exact
            in float64 and v often meets its threshold.
    """

    dyadic: bool
    semantics: Semantics


def random_graph(
    seed: int, neurons: tuple[str, str, str], linear: tuple[str, str], wiring: str, style: Style
) -> nir.NIRGraph:
    """input -> a -> b -> out with a linear node before each, and what ``wiring`` adds."""
    rng = np.random.default_rng(seed)
    shape = (2, 4, 4)
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(shape)})}
    edges: list[tuple[str, str]] = []
    shapes: dict[str, Shape] = {"input": shape}

    def add(name: str, node: Any, size: Shape, *sources: str) -> None:
        nodes[name], shapes[name] = node, size
        edges.extend((source, name) for source in sources)

    entry = {name: name for name in ("a", "b", "out")}

    def add_neuron(name: str, kind: str, size: Shape, source: str) -> None:
        """One node, or a node with a potential and a Threshold behind it."""
        dynamics, _, behind = kind.partition("+")
        if behind:
            entry[name] = f"{name}_potential"
            add(entry[name], _neuron(rng, dynamics, size, style), size, source)
            source = entry[name]
        add(name, _neuron(rng, behind or dynamics, size, style), size, source)

    def dense(source: str, target: str) -> Any:
        size = (math.prod(shapes[target]), math.prod(shapes[source]))
        return nir.Linear(_weights(rng, size, size[1], style))

    for name, before, kind, neuron in zip("ab", ("input", "a"), linear, neurons[:2], strict=True):
        # In "shared", the bias before b reaches all neurons behind it as well.
        biased = neuron if wiring != "shared" or name == "a" else "Cuba"
        node, size = _linear(rng, kind, shapes[before], style, biased)
        add(f"to_{name}", node, size, before)
        add_neuron(name, neuron, size, f"to_{name}")
    add("to_out", dense_node(rng, shapes["b"], 5, style, neurons[2]), (5,), "b")
    add_neuron("out", neurons[2], (5,), "to_out")
    nodes["output"] = nir.Output({"output": np.array([5])})
    edges.append(("out", "output"))
    if wiring == "skip":
        add("skip", dense("input", "out"), (5,), "input")
        edges.append(("skip", entry["out"]))
    elif wiring == "delayed":
        nodes["delay"] = nir.Delay(rng.integers(0, 3, shapes["a"]) * DT)
        edges[edges.index(("a", "to_b"))] = ("delay", "to_b")
        edges.append(("a", "delay"))
    elif wiring == "self_recurrent" and len(shapes["a"]) == 1:
        add("back", dense("a", "a"), shapes["a"], "a")
        edges.append(("back", entry["a"]))
    elif wiring == "own_spikes":
        edges.append(("a", entry["a"]))
    elif wiring == "mutual" and len(shapes["a"]) == 1:
        add("back", dense("b", "a"), shapes["a"], "b")
        edges.append(("back", entry["a"]))
    elif wiring == "shared" and len(shapes["b"]) == 1:
        # One linear node inside a cycle and on the way out of it, fed from both sides.
        add("shared", dense("b", "b"), shapes["b"], "b")
        add("late", dense("b", "out"), (5,), "shared")
        edges += [("shared", entry["b"]), ("to_b", "shared"), ("late", entry["out"])]
    return nir.NIRGraph(nodes, edges, {}, type_check=False)


def random_batch(seed: int, payload: int, samples: int = 6) -> SampleBatch:
    """Input integers (N, T, 2, 4, 4) from 0 to the payload."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, payload + 1, (samples, STEPS, 2, 4, 4))
    return SampleBatch(
        0, (values * (rng.random(values.shape) < 0.6)).astype(np.int32), static=False
    )


def contract_for(style: Style, payload: int = 1) -> Contract:
    return Contract(style.semantics, InputCode("events", payload), STEPS, "spike_count")


def _weights(rng: np.random.Generator, size: Shape, fan_in: int, style: Style) -> np.ndarray:
    weights = rng.normal(0.6 / fan_in, 1.2 / math.sqrt(fan_in), size)
    return np.rint(weights * 8) / 8 if style.dyadic else weights


def _bias(rng: np.random.Generator, outputs: int, style: Style, neuron: str) -> np.ndarray:
    # A bias into a synaptic current cannot be deployed.
    bias = rng.normal(0, 0.2, outputs) * (not neuron.startswith("Cuba"))
    return np.rint(bias * 8) / 8 if style.dyadic else bias


def dense_node(
    rng: np.random.Generator, shape: Shape, outputs: int, style: Style, neuron: str
) -> nir.Affine:
    """Affine over the flattened array."""
    size = math.prod(shape)
    weights = _weights(rng, (outputs, size), size, style)
    return nir.Affine(weights, _bias(rng, outputs, style, neuron))


def _linear(
    rng: np.random.Generator, kind: str, shape: Shape, style: Style, neuron: str
) -> tuple[Any, Shape]:
    """A linear node and the shape behind it; dense where the kind needs an image and has none."""
    channels = shape[0]
    if kind in ("scale", "flatten"):
        factor = rng.uniform(0.5, 2, shape)
        node = nir.Scale(np.rint(factor * 4) / 4 if style.dyadic else factor)
        if kind == "scale":
            return node, shape
        flat = (math.prod(shape),)
        return nir.Flatten({"input": np.array(shape)}, 0, -1), flat
    if len(shape) == 1 or kind in ("affine", "linear") or min(shape[1:]) < 3:
        node = dense_node(rng, shape, 12, style, neuron)
        return (nir.Linear(node.weight) if kind == "linear" else node), (12,)
    if kind in ("sum_pool", "avg_pool"):
        make = nir.SumPool2d if kind == "sum_pool" else nir.AvgPool2d
        pad = int(rng.integers(0, 2))
        size = tuple((n + 2 * pad - 2) // 2 + 1 for n in shape[1:])
        pool = make(np.array([2, 2]), np.array([2, 2]), np.array([pad, pad]))
        return pool, (channels, *size)
    groups = channels if kind == "grouped" else 1
    stride, pad = int(rng.integers(1, 3)), int(rng.integers(0, 2))
    size = tuple((n + 2 * pad - 3) // stride + 1 for n in shape[1:])
    weights = _weights(rng, (4, channels // groups, 3, 3), 9 * channels // groups, style)
    bias = _bias(rng, 4, style, neuron)
    conv = nir.Conv2d((shape[1], shape[2]), weights, stride, pad, 1, groups, bias)
    return conv, (4, *size)


def _neuron(rng: np.random.Generator, kind: str, shape: Shape, style: Style) -> Any:
    """Parameters per neuron, or one for all."""

    def draw(low: float, high: float, grid: float) -> np.ndarray:
        size = shape if rng.random() < 0.5 else (1,)
        values = rng.uniform(low, high, size)
        return np.rint(values / grid) * grid if style.dyadic else values

    def tau() -> np.ndarray:
        if style.dyadic:
            return DT * 2.0 ** rng.integers(0, 4, shape)
        return DT * rng.uniform(1.05, 8, shape)

    if kind == "Threshold":
        return nir.Threshold(np.broadcast_to(draw(0.25, 1.0, 0.125), shape).copy())
    cuba = kind.startswith("Cuba")
    parameters: dict[str, np.ndarray] = {}
    if kind in ("IF", "I"):
        parameters["r"] = draw(0.5, 2, 0.5) / DT
        # 1/DT times DT is 1, but not every multiple of it.
        parameters["r"] = np.full(shape, 1 / DT) if style.dyadic else parameters["r"]
    else:
        taus = ("tau_syn", "tau_mem") if cuba else ("tau",)
        parameters |= {name: tau() for name in taus}
        parameters["r"] = draw(1, 4, 0.5)
        parameters["v_leak"] = draw(-0.5, 0.5, 0.25)
    if cuba:
        parameters["w_in"] = draw(1, 4, 0.5)
    if kind in SPIKING:
        parameters["v_threshold"] = draw(0.25, 1.5, 0.125)
        hard = style.semantics.reset == "zero"
        parameters["v_reset"] = draw(-0.5, 0.25, 0.125) * hard
    full = {name: np.broadcast_to(value, shape).copy() for name, value in parameters.items()}
    return getattr(nir, kind)(**full)
