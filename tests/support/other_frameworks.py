"""Files run by other frameworks, each through the importer that it ships and nothing else.

Every runner takes a file and frames (T, N, *input), and gives what the network puts out at each
step, (T, N, outputs). None is told anything that is not in the file, but for dt where it asks.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch

from neurodeploy.ir.contract import EXPORT_DT

Runner = Callable[[Path, np.ndarray], np.ndarray]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """They warn of their own age, and print what they do."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _step_by_step(module: Any, frames: np.ndarray) -> np.ndarray:
    """Outputs of a module that returns (output, state), in float32."""
    outputs, state = [], None
    for frame in torch.from_numpy(frames).float():
        out, state = module(frame) if state is None else module(frame, state)
        outputs.append(out.reshape(len(frame), -1).numpy())
    return np.stack(outputs)


def _one_at_a_time(load: Callable[[], Any], frames: np.ndarray) -> np.ndarray:
    """For importers that flatten the batch away with the rest: a fresh network per sample."""
    samples = [_step_by_step(load(), frames[:, [n]]) for n in range(frames.shape[1])]
    return np.concatenate(samples, axis=1)


def snntorch(path: Path, frames: np.ndarray) -> np.ndarray:
    """snnTorch 1.0.0; its dt is 1e-4."""
    with quietly():
        from snntorch.import_nir import import_from_nir

        return _one_at_a_time(lambda: import_from_nir(nir.read(path)), frames)


def spikingjelly(path: Path, frames: np.ndarray) -> np.ndarray:
    """SpikingJelly 2.0.0."""
    with quietly():
        from spikingjelly.activation_based.nir_exchange import import_from_nir

        return _step_by_step(import_from_nir(path, dt=EXPORT_DT), frames)


def sinabs(path: Path, frames: np.ndarray) -> np.ndarray:
    """sinabs 3.1.3; counts time in steps and takes NIR's seconds for them."""
    with quietly():
        from sinabs.nir import from_nir

        return _step_by_step(from_nir(nir.read(path), batch_size=frames.shape[1]), frames)


def norse(path: Path, frames: np.ndarray) -> np.ndarray:
    """Norse 1.1.0 through its own importer, which our Norse engine does not use."""
    with quietly():
        import norse.torch

        def load() -> Any:
            return norse.torch.from_nir(nir.read(path), dt=EXPORT_DT)

        return _one_at_a_time(load, frames)


RUNNERS: dict[str, Runner] = {
    "snntorch": snntorch,
    "spikingjelly": spikingjelly,
    "sinabs": sinabs,
    "norse": norse,
}


def ending_at(graph: nir.NIRGraph, population: str) -> nir.NIRGraph:
    """The part of a graph that ``population`` depends on, with its spikes as output."""
    needed = {population}
    while more := {a for a, b in graph.edges if b in needed} - needed:
        needed |= more
    nodes = {name: node for name, node in graph.nodes.items() if name in needed}
    nodes["output"] = nir.Output({"output": np.array(nodes[population].output_type["output"])})
    edges = [(a, b) for a, b in graph.edges if {a, b} <= needed]
    edges.append((population, "output"))
    return nir.NIRGraph(nodes, edges, dict(graph.metadata), type_check=False)


def last_spiking(graph: nir.NIRGraph) -> str:
    """The population whose spikes the output depends on last."""
    (name,) = (name for name, node in graph.nodes.items() if isinstance(node, nir.Output))
    while not isinstance(graph.nodes[name], nir.LIF):
        (name,) = (a for a, b in graph.edges if b == name)
    return name


def rewritten(graph: nir.NIRGraph, change: Callable[[nir.LIF], dict[str, Any]]) -> nir.NIRGraph:
    """The graph with other parameters in its LIF nodes."""

    def changed(node: Any) -> Any:
        if not isinstance(node, nir.LIF):
            return node
        names = ("tau", "r", "v_leak", "v_threshold", "v_reset")
        return nir.LIF(**{**{name: getattr(node, name) for name in names}, **change(node)})

    nodes = {name: changed(node) for name, node in graph.nodes.items()}
    return nir.NIRGraph(nodes, list(graph.edges), dict(graph.metadata), type_check=False)


def tau_in_steps(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph as sinabs takes it: time constants in steps, with exp(-1/tau) = 1 - dt/tau."""
    return rewritten(graph, lambda node: {"tau": -1 / np.log1p(-EXPORT_DT / node.tau)})
