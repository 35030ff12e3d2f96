"""An integrator behind a network that ends in weights."""

from __future__ import annotations

import nir
import numpy as np

from neurodeploy.interchange.nir.layout import Layout
from neurodeploy.ir.contract import Decode, Semantics

WEIGHTS = (nir.Affine, nir.Linear, nir.Scale, nir.Conv1d, nir.Conv2d, nir.SumPool2d, nir.AvgPool2d)
"""Nodes that an integrator may be put behind."""


def with_integrator(
    graph: nir.NIRGraph, decode: Decode, semantics: Semantics, where: str, notes: list[str]
) -> nir.NIRGraph:
    """The graph with an integrator where its output reads weights and a potential is decoded.

    Its v adds up what the weights send over the steps, as those do who sum a network's outputs.

    Args:
        notes: gets what was done, if anything was.
    """
    outputs = [at for at, node in graph.nodes.items() if isinstance(node, nir.Output)]
    read = [source for source, target in graph.edges if target in outputs]
    if decode == "spike_count" or len(outputs) != 1 or len(read) != 1:
        return graph
    if not isinstance(graph.nodes.get(read[0]), WEIGHTS):
        return graph
    shape = Layout(graph, where).shapes.get(read[0])
    if shape is None:
        return graph
    added = "readout"
    while added in graph.nodes:
        added += "_"
    nodes = {**graph.nodes, added: nir.I(r=np.full(shape, 1 / semantics.dt))}
    edges = [edge for edge in graph.edges if edge != (read[0], outputs[0])]
    edges += [(read[0], added), (added, outputs[0])]
    notes.append(
        f"the output reads {read[0]!r}, which has no neurons: the v of integrator {added!r} behind "
        "it adds up what it sends over the steps"
    )
    return nir.NIRGraph(nodes, edges, graph.metadata, type_check=False)
