"""A NIR file of any origin as a network: read, set right, put under a contract, discretised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import InputError, Setting, Text, UnsupportedError, Value, nearest
from neurodeploy.interchange.frameworks import FRAMEWORKS, Framework
from neurodeploy.interchange.nir.currents import with_currents
from neurodeploy.interchange.nir.file import read_nir
from neurodeploy.interchange.nir.layout import Layout
from neurodeploy.interchange.nir.network_in import (
    contract_of,
    firing,
    network_from_layout,
    output_spikes,
)
from neurodeploy.interchange.nir.plain_graph import repaired, unnested
from neurodeploy.interchange.nir.readout import with_integrator
from neurodeploy.interchange.nir.translation import (
    likely_frameworks,
    translated,
    with_gain_one,
    with_own_synapses,
)
from neurodeploy.ir.contract import (
    METADATA_KEY,
    Comparison,
    Contract,
    Decode,
    Encoder,
    Gain,
    Integrator,
    NodeReset,
    Origin,
    Semantics,
)
from neurodeploy.ir.network import Network
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.per_node import check_named, for_node
from neurodeploy.ir.quantized import PLAN_KEY
from neurodeploy.ir.stated import Stated
from neurodeploy.support.files import as_path


@dataclass(frozen=True, eq=False)
class NirFile:
    """A file as it will be imported, before anything is said about time.

    Attributes:
        graph: without subgraphs, and repaired.
        notes: the repairs, a line each.
        contract: what the file carries, if any.
    """

    path: Path
    graph: nir.NIRGraph
    notes: list[str]
    contract: Contract | None

    @cached_property
    def likely(self) -> dict[str, list[str]]:
        """The frameworks that it could come from, the likeliest first, and what speaks for each.

        Only for advice; empty where the file says itself how it is stepped.
        """
        return {} if self.contract else likely_frameworks(self.graph)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Of what each node sends on, as far as they can be told."""
        return Layout(self.graph, self.path.name).shapes


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


def open_nir(path: Path | str) -> NirFile:
    """Read and repair a file.

    Raises:
        InputError: the file cannot be read.
        UnsupportedError: subgraphs that cannot be written out.
    """
    path = as_path(path, "open_nir")
    graph, notes = repaired(unnested(read_nir(path), str(path)))
    return NirFile(path, graph, notes, contract_of(graph, str(path)))


def import_nir(
    path: Path | str,
    *,
    framework: Origin | None = None,
    dt: float | None = None,
    reset: NodeReset | dict[str, NodeReset] | None = None,
    comparison: Comparison | dict[str, Comparison] | None = None,
    integrator: Integrator | None = None,
    gain: Gain | None = None,
    steps: int | None = None,
    encoder: Encoder | None = None,
    levels: int | None = None,
    decode: Decode | None = None,
    reset_delay: bool | dict[str, bool] | None = None,
    relays: int | None = None,
) -> Imported:
    """Import a file under what it says and what is stated here.

    A file of ours says everything. Any other needs ``steps`` and either ``framework`` or all of
    ``dt``, ``reset``, ``comparison`` and ``integrator``. What is given overrides what the file or
    the framework says.

    Args:
        path: of a ``.nir`` file.
        framework: the one that wrote the file, which says how it is stepped.
        dt: seconds per step.
        reset: after a spike, v becomes ``zero``, loses (``subtract``) the threshold, or stays as it
            is (``none``); of all nodes, or by the name of each, with ``*`` for all others.
        comparison: a neuron fires when v ``>`` or ``>=`` its threshold; likewise.
        integrator: how leaks step, ``euler`` or ``exponential``.
        gain: ``one`` takes the input of every neuron as it is, whatever r and tau make of it.
        steps: T, time steps per sample.
        encoder: how samples become input; ``events`` where nothing says it.
        levels: the largest integer of the input.
        decode: how the class is read; the number of spikes of an output that fires, else the sum
            of its potential, where nothing says it.
        reset_delay: whether snnTorch's neurons, which alone have it, are reset at the step after a
            spike; of all nodes or by name. Where nothing says it, with ``reset="subtract"`` they
            are not, and otherwise they are, as by its own default.
        relays: as for ``network_in.network_from_layout``: sums of real numbers may become relays.

    Raises:
        InputError: the file or what is stated cannot be read.
        UnsupportedError: the semantics are not stated in full, or the network asks for what cannot
            be expressed; everything is named at once.
    """
    stated = Stated(
        framework=framework,
        dt=dt,
        reset=reset,
        comparison=comparison,
        integrator=integrator,
        gain=gain,
        steps=steps,
        encoder=encoder,
        levels=levels,
        decode=decode,
        reset_delay=reset_delay,
    )
    return import_nir_stated(as_path(path, "import_nir"), stated, relays=relays)


# What leaves the floats on the way is refused by name where it would be used.
@np.errstate(all="ignore")
def import_nir_stated(path: Path | str, stated: Stated, *, relays: int | None = None) -> Imported:
    """``import_nir`` with all that is stated in one value.

    Args:
        relays: as for ``network_in.network_from_layout``: sums of real numbers may become relays.

    Raises:
        InputError, UnsupportedError: as ``import_nir``.
    """
    path = as_path(path, "import_nir")
    file = open_nir(path)
    framework = _framework(stated)
    graph, notes = file.graph, list(file.notes)
    nodes = firing(graph.nodes)
    _check_named(stated, nodes, path.name)
    defaults, more = _defaults(framework, stated, graph)
    likely = () if defaults else tuple(file.likely)
    contract = stated.applied_to(
        file.contract, str(path), output_spikes(graph), defaults, likely, nodes
    )
    name, late = path.name, frozenset[str]()
    _check_delay(framework, stated, name)
    if framework is not None:
        done = translated(graph, framework, contract.semantics, stated, name)
        graph, notes, late = done.graph, [*notes, *more, *done.notes], done.late
        contract = replace(contract, semantics=done.semantics)
    semantics = contract.semantics
    if stated.gain == "one":
        graph = with_gain_one(graph, semantics, name)
    if stated.decode or file.contract:
        graph = with_integrator(graph, contract.decode, semantics, name, notes)
    from_leak = framework is not None and framework.starts == "v_leak"
    graph = with_currents(graph, semantics, name, notes, takes_bias=not from_leak)
    moved = frozenset[str]()
    if framework is not None:
        grown = with_own_synapses(graph, framework, semantics, name, late=late)
        graph, notes, moved = grown.graph, [*notes, *grown.notes], grown.moved
    layout = Layout(graph, name)
    told: list[str] = []
    # What was trained on a chip's integers keeps the populations that it was trained with.
    relays = None if PLAN_KEY in graph.metadata else relays
    network = network_from_layout(layout, contract, relays=relays, notes=told)
    if network.output in moved and contract.decode != "spike_count":
        raise UnsupportedError(
            f"{name}: node {network.output!r}: v counts from v_leak here, which differs "
            "between neurons or from where a spike takes v, so that the largest v is another",
            fix=Text("decode ", Setting("decode", "spike_count"), ", or give all one v_leak"),
        )
    notes += _unread_potential(layout, contract, stated)
    unchanged = contract == file.contract and not notes and stated.gain != "one"
    notes += told
    return Imported(network, _self_contained(graph, contract, layout.shapes), notes, unchanged)


def _check_named(stated: Stated, nodes: Mapping[str, str], where: str) -> None:
    """Refuse a reset or comparison of nodes that are not there.

    Raises:
        InputError: there are some.
    """
    check_named("comparison", stated.comparison, nodes, where)
    reset = {name: kind for name, kind in nodes.items() if kind != "Threshold"}
    check_named("reset", stated.reset, reset, where)
    check_named("reset_delay", stated.reset_delay, reset, where)


def _check_delay(framework: Framework | None, stated: Stated, where: str) -> None:
    """Refuse a delay of resets that no neuron of the framework has.

    Raises:
        UnsupportedError: it is stated.
    """
    if stated.reset_delay is not None and (framework is None or framework.after_spike is None):
        raise UnsupportedError(
            Text(f"{where}: ", Setting("reset_delay"), " is for snnTorch, whose neurons have it"),
            fix=Text("leave it out, or state ", Setting("framework", "snntorch")),
        )


def _framework(stated: Stated) -> Framework | None:
    if stated.framework is None:
        return None
    if stated.framework not in FRAMEWORKS:
        raise InputError(
            Text(
                Setting("framework", stated.framework),
                ": not a framework whose time steps are known",
                nearest(stated.framework, FRAMEWORKS),
            )
        )
    return FRAMEWORKS[stated.framework]


def _unread_potential(layout: Layout, contract: Contract, stated: Stated) -> list[str]:
    """A note where the output is stated never to be reset, which a read-out of its potential is."""
    output = layout.output()
    unreset = output is not None and contract.semantics.of(output).reset == "none"
    counted = stated.decode is None and contract.decode == "spike_count"
    if not (unreset and counted and for_node(stated.reset, str(output)) is not None):
        return []
    settings = Setting("decode", "last_v"), " or ", Value("decode", "sum_v")
    return [
        Text(
            f"the spikes of output {output!r} are counted; to read its potential state ", *settings
        )
    ]


def _defaults(
    framework: Framework | None, stated: Stated, graph: nir.NIRGraph
) -> tuple[Semantics | None, list[str]]:
    """The framework's semantics, with the dt that its file tells."""
    if framework is None:
        return None, []
    told = framework.time_step(graph)
    if told is None or stated.dt is not None:
        return framework.semantics, []
    note = f"dt = {told:g} s, from r and the time constants"
    return replace(framework.semantics, dt=told), [note]


def _self_contained(
    graph: nir.NIRGraph, contract: Contract, shapes: dict[str, Shape]
) -> nir.NIRGraph:
    """The graph with its contract, and with the shapes that NIR's convolutions want to say."""
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
