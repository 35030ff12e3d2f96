"""A NIR file of any origin as a network: read, set right, put under a contract, discretised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import InputError, nearest
from neurodeploy.interchange.frameworks import FRAMEWORKS, Framework
from neurodeploy.interchange.nir.file import read_nir
from neurodeploy.interchange.nir.layout import Layout
from neurodeploy.interchange.nir.network_in import contract_of, output_spikes, to_network
from neurodeploy.interchange.nir.repairs import repaired
from neurodeploy.interchange.nir.subgraphs import unnested
from neurodeploy.interchange.nir.translation import likely_framework, translated, with_gain_one
from neurodeploy.ir.contract import METADATA_KEY, Contract, ContractOptions, Semantics
from neurodeploy.ir.network import Network
from neurodeploy.ir.operators import Shape


@dataclass(frozen=True, eq=False)
class NirFile:
    """A file as it will be imported, before anything is said about time.

    Attributes:
        graph: without subgraphs, and repaired.
        notes: the repairs, a line each.
        shapes: of what each node sends on, as far as they can be told.
        contract: what the file carries, if any.
        likely: name of the framework that it looks like; only for advice.
    """

    path: Path
    graph: nir.NIRGraph
    notes: list[str]
    shapes: dict[str, Shape]
    contract: Contract | None
    likely: str | None


@dataclass(frozen=True, eq=False)
class Imported:
    """A network and how it was read.

    Attributes:
        graph: the network as NIR, its contract in the metadata; NIR's equations are all it takes
            to read it again.
        notes: repairs and assumptions, a line each.
        unchanged: whether the file says all that ``graph`` does.
    """

    network: Network
    graph: nir.NIRGraph
    notes: list[str]
    unchanged: bool


def open_nir(path: Path) -> NirFile:
    """Read and repair a file.

    Raises:
        InputError: the file cannot be read.
        UnsupportedError: subgraphs that cannot be written out.
    """
    graph, notes = repaired(unnested(read_nir(path), str(path)))
    found = contract_of(graph, str(path))
    likely = None if found else likely_framework(graph)
    return NirFile(path, graph, notes, Layout(graph, path.name).shapes, found, likely)


def import_nir(path: Path, options: ContractOptions) -> Imported:
    """Import a file under what it says and what the user states.

    Raises:
        InputError: the file or an option cannot be read.
        UnsupportedError: the semantics are not stated in full, or the network asks for what cannot
            be expressed; everything is named at once.
    """
    file = open_nir(path)
    framework = _framework(options)
    graph, notes = file.graph, list(file.notes)
    defaults, more = _defaults(framework, options, graph)
    contract = options.applied_to(
        file.contract, str(path), output_spikes(graph), defaults, file.likely
    )
    if framework is not None:
        late = options.reset is None
        done = translated(graph, framework, contract.semantics, path.name, late=late)
        graph, notes = done.graph, [*notes, *more, *done.notes]
    if options.gain == "one":
        graph = with_gain_one(graph, contract.semantics, path.name)
    network = to_network(graph, contract, path.name)
    unchanged = contract == file.contract and not notes and options.gain != "one"
    return Imported(network, _self_contained(graph, contract), notes, unchanged)


def _framework(options: ContractOptions) -> Framework | None:
    if options.origin is None:
        return None
    if options.origin not in FRAMEWORKS:
        raise InputError(
            f"--from {options.origin}: not a framework whose time steps are known"
            f"{nearest(options.origin, FRAMEWORKS)}"
        )
    return FRAMEWORKS[options.origin]


def _defaults(
    framework: Framework | None, options: ContractOptions, graph: nir.NIRGraph
) -> tuple[Semantics | None, list[str]]:
    """The framework's semantics, with the dt that its file tells."""
    if framework is None:
        return None, []
    told = framework.time_step(graph)
    if told is None or options.dt is not None:
        return framework.semantics, []
    note = f"dt = {told:g} s, from r and the time constants"
    return replace(framework.semantics, dt=told), [note]


def _self_contained(graph: nir.NIRGraph, contract: Contract) -> nir.NIRGraph:
    """The graph with its contract, and with the shapes that NIR's convolutions want to say."""
    shapes = Layout(graph, "graph").shapes
    before = {target: source for source, target in graph.edges}
    nodes: dict[str, Any] = {}
    for name, node in graph.nodes.items():
        reached = shapes.get(before.get(name, ""))
        if reached is not None and isinstance(node, nir.Conv1d | nir.Conv2d | nir.Flatten):
            node = _with_shape(node, reached)
        if reached is not None and isinstance(node, nir.Output):
            node = nir.Output({"output": np.array(reached)})
        nodes[name] = node
    metadata = {**graph.metadata, METADATA_KEY: contract.to_metadata()}
    return nir.NIRGraph(nodes, list(graph.edges), metadata, type_check=False)


def _with_shape(node: Any, reached: Shape) -> Any:
    if isinstance(node, nir.Flatten):
        return replace(node, input_type={"input": np.array(reached)})
    copy = replace(node, input_shape=None)
    copy.input_shape = reached[1] if isinstance(node, nir.Conv1d) else reached[1:]
    return copy
