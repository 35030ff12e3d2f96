"""Quantised networks as NIR: floats on the integer grid, with the formats to read them back by."""

from __future__ import annotations

from pathlib import Path

import nir

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.network_in import to_network
from neurodeploy.interchange.nir.network_out import network_to_nir
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import PLAN_KEY, QuantizedNetwork
from neurodeploy.quantization.planned import on_grid, plan_of


def quantized_graph(network: QuantizedNetwork, target: str) -> nir.NIRGraph:
    """A NIR graph whose floats are the deployed integers.

    Exporting it quantises to the same integers again, by the plan in its metadata.

    Args:
        target: name of the target that the integers are for.

    Raises:
        UnsupportedError: NIR has no node for something, which is named.
    """
    floats = on_grid(network)
    graph = network_to_nir(floats)
    _check_names(floats, to_network(graph, floats.contract, floats.name))
    graph.metadata[PLAN_KEY] = plan_of(network, target).to_metadata()
    return graph


def write_quantized(graph: nir.NIRGraph, path: Path) -> None:
    """Write what ``quantized_graph`` made."""
    nir.write(path, graph)


def _check_names(written: Network, read: Network) -> None:
    """The plan finds projections by their names, so these have to survive."""
    before, after = ({p.name for p in network.projections} for network in (written, read))
    if before != after:
        lost = ", ".join(map(repr, sorted(before - after)))
        raise UnsupportedError(f"projection {lost}: takes several NIR nodes, none of that name")
