"""Residual networks as NIR graphs: every reader of the stream has an edge from all of its parts."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from neurodeploy.ir.contract import Contract, InputCode, Semantics

DT = 1e-4
SHAPE = (2, 6, 6)
CHANNELS = 4


def contract(steps: int = 6) -> Contract:
    """Leaks of one half a step, graded input, a read-out that adds up."""
    return Contract(Semantics(DT, "subtract", ">"), InputCode("direct", 15), steps, "last_v")


def residual_graph(seed: int, blocks: int, *, delay: int = 0) -> nir.NIRGraph:
    """conv -> blocks of (beta -> LIF -> conv -> LIF -> conv), each added to the stream -> classes.

    Args:
        delay: steps by which the residual of the first block comes late.
    """
    rng = np.random.default_rng(seed)
    size = (CHANNELS, *SHAPE[1:])
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(SHAPE)})}
    edges: list[tuple[str, str]] = []

    def add(name: str, node: Any, *sources: str) -> str:
        nodes[name] = node
        edges.extend((source, name) for source in sources)
        return name

    def conv(inputs: int) -> nir.Conv2d:
        weight = rng.normal(0, 1 / np.sqrt(2 * inputs), (CHANNELS, inputs, 3, 3))
        return nir.Conv2d(None, weight, 1, 1, 1, 1, rng.normal(0, 0.1, CHANNELS))

    def lif() -> nir.LIF:
        full = np.ones(size)
        return nir.LIF(2 * DT * full, 2 * full, 0 * full, 0.5 * full, 0 * full)

    stream = [add("stem", conv(SHAPE[0]), "input")]
    for number in range(1, blocks + 1):
        beta = add(f"beta{number}", nir.Scale(np.full(size, number**-0.5)), *stream)
        first = add(f"lif{number}a", lif(), beta)
        inner = add(f"conv{number}a", conv(CHANNELS), first)
        second = add(f"lif{number}b", lif(), inner)
        residual = add(f"conv{number}b", conv(CHANNELS), second)
        if delay and number == 1:
            residual = add("late", nir.Delay(np.full(size, delay * DT)), residual)
        stream.append(residual)
    flat = add("flat", nir.Flatten({"input": np.array(size)}, 0, -1), *stream)
    outputs = rng.normal(0, 0.1, (5, int(np.prod(size))))
    add("classes", nir.Affine(outputs, np.zeros(5)), flat)
    add("out", nir.I(np.full(5, 1 / DT)), "classes")
    add("output", nir.Output({"output": np.array([5])}), "out")
    return nir.NIRGraph(nodes, edges, type_check=False)
