"""What is known of a framework's NIR files: its time steps, and what its nodes really compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import nir
import numpy as np

from neurodeploy.errors import Setting, Text, UnsupportedError
from neurodeploy.ir.contract import NodeReset, Semantics
from neurodeploy.neurons.leak import keep_and_feed, time_constant

Translate = Callable[[Any, Semantics], Any]
"""A neuron node of the framework, to one whose step as NIR's equations say is what it computes."""


@dataclass(frozen=True)
class SpikingLayer:
    """A neuron node of a framework's file, and what is stated of its resets; None for nothing.

    Attributes:
        kind: of the primitive.
        recurrent: whether it reads its own spikes through one linear node.
        delay: whether the reset comes at the step after the spike.
    """

    name: str
    kind: str
    recurrent: bool
    reset: NodeReset | None
    delay: bool | None


@dataclass(frozen=True)
class AfterSpike:
    """What a spike does to v in a layer.

    Attributes:
        reset: as in ``Semantics``.
        late: whether it acts at the next step only, on what the leak left of v.
        refractory_period: steps for which v is held.
        words: how that is said in the framework, for people.
    """

    reset: NodeReset
    late: bool = False
    refractory_period: int = 0
    words: str = ""


@dataclass(frozen=True)
class Framework:
    """One framework that writes NIR, or for which a script is known that runs NIR.

    Attributes:
        title: as its authors write it.
        version: the one whose source was read.
        sources: the files read, from the root of its package.
        semantics: its time step and the choices it makes by default.
        neurons: a translation per neuron primitive that it writes or reads; others are refused.
        notes: what its files do not say and what is taken instead, for people to read.
        late_reset: primitives whose spike by default lowers v at the next step only, undecayed.
        evidence: what in a graph speaks for this framework, a few words each; None where something
            speaks against it that its translations would take. Only for advice.
        writes: whether it writes NIR, or a script reads NIR into it.
        starts: where v is when a sample starts.
        unread: parameters that it does not read, by primitive; others than 1 are noted.
        after_spike: tells what a layer's spikes do where its files do not, from what is stated;
            None where that is ``semantics`` or what is stated in its place, and ``late_reset``.
        prepared: changes to the whole graph before the nodes are translated, and what was done.
        time_step: reads dt off the graph, where files differ in it; None where they do not say.
    """

    title: str
    version: str
    sources: tuple[str, ...]
    semantics: Semantics
    neurons: Mapping[str, Translate]
    notes: tuple[str, ...]
    evidence: Callable[[nir.NIRGraph], list[str] | None]
    writes: bool = True
    starts: Literal["v_reset", "v_leak"] = "v_reset"
    unread: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    late_reset: frozenset[str] = frozenset()
    after_spike: Callable[[SpikingLayer], AfterSpike] | None = None
    prepared: Callable[[nir.NIRGraph, Semantics], tuple[nir.NIRGraph, list[str]]] = field(
        default=lambda graph, semantics: (graph, [])
    )
    time_step: Callable[[nir.NIRGraph], float | None] = field(default=lambda graph: None)


def as_it_says(node: Any, semantics: Semantics) -> Any:
    """A node whose equation in NIR, stepped as the semantics say, is what is computed."""
    return node


IN_PLACE_OF_A_FRAMEWORK = Text(
    "state ",
    Setting("dt"),
    ", ",
    Setting("reset"),
    ", ",
    Setting("comparison"),
    " and ",
    Setting("integrator"),
    " in place of ",
    Setting("framework"),
)
"""What helps where a file is not one of the framework's."""


def fixed(framework: str, translate: Translate, **values: float) -> Translate:
    """A translation of nodes whose other parameters have the one value that the framework knows.

    Args:
        framework: its title.
        values: by name of the parameter; each of the others is used by ``translate``.
    """

    def checked(node: Any, semantics: Semantics) -> Any:
        for name, value in values.items():
            if getattr(node, name) is None:
                continue
            found = numbers(getattr(node, name))
            others = np.ravel(found)[np.ravel(found) != value]
            if others.size:
                raise UnsupportedError(
                    f"{name} is {others[0]:g}, where {framework} has {value:g}",
                    fix=IN_PLACE_OF_A_FRAMEWORK,
                )
        return translate(node, semantics)

    return checked


def require_written(name: str, found: Any, written: Any, framework: str, fix: Text) -> None:
    """Refuse a parameter that follows from others in the framework's files and does not here.

    Raises:
        UnsupportedError: it differs by more than single precision rounds.
    """
    found, written = np.broadcast_arrays(numbers(found), numbers(written))
    with np.errstate(invalid="ignore"):
        other = ~((found == written) | np.isclose(found, written, rtol=1e-3, atol=1e-6))
    if other.any():
        raise UnsupportedError(
            f"{name} is {found[other].flat[0]:g}, where {framework} has {written[other].flat[0]:g}",
            fix=fix,
        )


def one_value(values: np.ndarray, digits: int) -> float | None:
    """The number that all of these are but for rounding; None where they differ."""
    if not values.size or not np.all(np.isfinite(values) & (values > 0)):
        return None
    if np.ptp(values) > 1e-3 * values.mean():
        return None
    return float(f"{np.median(values):.{digits}g}")


def is_round(value: float | None) -> bool:
    """Whether a number has three digits at most, as a person would choose it."""
    return value is not None and abs(float(f"{value:.3g}") - value) <= 1e-4 * abs(value)


def neurons_of(graph: nir.NIRGraph, *kinds: str) -> list[Any]:
    """The nodes of these primitives."""
    return [node for node in graph.nodes.values() if type(node).__name__ in kinds]


def one_step_late(graph: nir.NIRGraph, dt: float, late: Callable[[str, str], bool]) -> nir.NIRGraph:
    """The graph with a step of delay on the edges that ``late`` says yes to.

    All such edges of one node, ``name``, lead through one Delay, ``name.late``.
    """
    nodes, edges = dict(graph.nodes), []
    for source, target in graph.edges:
        if not late(source, target):
            edges.append((source, target))
            continue
        delay = f"{source}.late"
        if delay not in nodes:
            nodes[delay] = nir.Delay(np.array([dt]))
            edges.append((source, delay))
        edges.append((delay, target))
    return nir.NIRGraph(nodes, edges, graph.metadata, type_check=False)


def membrane_time(node: Any) -> Any:
    """The time constant of a leaking neuron's membrane."""
    return node.tau if hasattr(node, "tau") else node.tau_mem


def numbers(values: Any) -> np.ndarray:
    """A parameter in float64, whatever number type or tensor it came as."""
    return np.asarray(values).astype(np.float64)


def held_in_single(values: np.ndarray) -> np.ndarray:
    """Numbers as a float32 tensor holds them, where they are that but for rounding.

    A framework that keeps beta in float32 writes tau = dt/(1 - beta), and 1 - dt/tau is beta again
    but for the last bits; those matter where v is exactly at its threshold.
    """
    single = values.astype(np.float32).astype(np.float64)
    return np.where(np.abs(single - values) <= 1e-7, single, values)


def learned_share(tau: Any, dt: float) -> np.ndarray:
    """beta of a framework that holds it in float32 and writes tau = dt/(1 - beta).

    Of the float32 values that it would write as this tau, one of six digits where there is one:
    1 - dt/tau in the last bits is another where beta is small.
    """
    tau = numbers(tau)
    found = held_in_single(1 - dt / tau)
    with np.errstate(divide="ignore"):
        digits = 10.0 ** (5 - np.floor(np.log10(np.abs(found))))
        short = (np.rint(found * digits) / digits).astype(np.float32)
        written = np.float32(dt) / (1 - short)
    return np.where(written == tau.astype(np.float32), short, found)


def stepping(
    kind: str,
    semantics: Semantics,
    *,
    keep: Any = None,
    current_keep: Any = None,
    gain: Any = 1.0,
    v_leak: Any = 0.0,
    v_threshold: Any = None,
    v_reset: Any = 0.0,
) -> Any:
    """The NIR node that keeps and takes in these shares per step.

    Args:
        kind: of the primitive.
        keep, current_keep: shares of v and of the synaptic current kept per step.
        gain: factor of the input on its way to v, or to the current of a kind that has one.
    """
    values: dict[str, Any] = {}
    if kind in ("IF", "I"):
        values["r"] = numbers(gain) / semantics.dt
    else:
        tau = time_constant(keep, semantics)
        one = 1 / keep_and_feed(tau, semantics, kind)[1]
        if kind.startswith("Cuba"):
            tau_syn = time_constant(current_keep, semantics)
            w_in = numbers(gain) / keep_and_feed(tau_syn, semantics, kind)[1]
            values |= {"tau_mem": tau, "tau_syn": tau_syn, "r": one, "w_in": w_in}
        else:
            values |= {"tau": tau, "r": numbers(gain) * one}
        values["v_leak"] = numbers(v_leak)
    if v_threshold is not None:
        values |= {"v_threshold": numbers(v_threshold), "v_reset": numbers(v_reset)}
    spread = np.broadcast_arrays(*values.values())
    return getattr(nir, kind)(**dict(zip(values, map(np.array, spread), strict=True)))


def require(condition: Any, message: str, fix: Text | None = None) -> None:
    """Refuse a node whose parameters the framework does not write or cannot mean.

    Raises:
        UnsupportedError: the condition does not hold; the caller adds which node it is.
    """
    if not np.all(condition):
        raise UnsupportedError(message, fix=fix)


def same_for_all(node: Any, framework: str, *names: str) -> None:
    """Refuse parameters that the framework has once for a layer and that differ in it.

    Raises:
        UnsupportedError: one does.
    """
    for name in names:
        require(
            np.unique(numbers(getattr(node, name))).size == 1,
            f"{framework} takes one {name} for all neurons of a layer",
        )
