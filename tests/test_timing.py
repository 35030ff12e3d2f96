"""Timing: order, pipeline depth, delays and guard steps of every kind of graph."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.schedule import (
    components,
    depths,
    guard_steps,
    is_recurrent,
    needs_silence,
    pipeline_delay,
    step_order,
)


@dataclass(frozen=True)
class Named:
    name: str


@dataclass(frozen=True)
class Edge:
    name: str
    source: str
    target: str
    delay: int = 0


@dataclass(frozen=True)
class Graph:
    populations: tuple[Named, ...]
    projections: tuple[Edge, ...]


def graph(names: str, *edges: str) -> Graph:
    """``graph("in a", "in>a", "a>a:1")``: populations, and projections with their delays."""
    projections = []
    for edge in edges:
        ends, _, delay = edge.partition(":")
        source, target = ends.split(">")
        projections.append(Edge(edge, source, target, int(delay or 0)))
    return Graph(tuple(Named(name) for name in names.split()), tuple(projections))


CHAIN = graph("in a b out", "in>a", "a>b", "b>out")
SKIP = graph("in a b out", "in>a", "a>b", "b>out", "in>out", "a>out")
SELF = graph("in a out", "in>a", "a>a:1", "a>out")
MUTUAL = graph("in a b out", "in>a", "a>b:1", "b>a:1", "b>out")
DELAYED = graph("in a out", "in>a:3", "a>out:1")


def extra_delays(of: Graph) -> dict[str, int]:
    found = depths(of)
    return {edge.name: pipeline_delay(found, edge) for edge in of.projections}


# --- order ---


def test_a_chain_is_one_component_after_the_other() -> None:
    assert components(CHAIN) == [["in"], ["a"], ["b"], ["out"]]
    assert step_order(CHAIN) == ["in", "a", "b", "out"]
    assert not any(is_recurrent(CHAIN, component) for component in components(CHAIN))


def test_order_does_not_depend_on_the_order_of_declaration() -> None:
    shuffled = graph("out b in a", "b>out", "in>a", "a>b")
    assert components(shuffled) == [["in"], ["a"], ["b"], ["out"]]
    assert step_order(shuffled) == ["in", "a", "b", "out"]


def test_populations_in_a_cycle_are_one_component_in_the_graphs_own_order() -> None:
    assert components(MUTUAL) == [["in"], ["a", "b"], ["out"]]
    backwards = graph("out b a in", "in>a", "a>b:1", "b>a:1", "b>out")
    assert components(backwards) == [["in"], ["b", "a"], ["out"]]
    assert is_recurrent(MUTUAL, ["a", "b"])


def test_only_a_projection_to_itself_makes_one_population_recurrent() -> None:
    assert [is_recurrent(SELF, [name]) for name in ("in", "a", "out")] == [False, True, False]


def test_two_cycles_that_share_a_population_are_one_component() -> None:
    eight = graph("in a b c", "in>a", "a>b:1", "b>a:1", "b>c:1", "c>b:1")
    assert components(eight) == [["in"], ["a", "b", "c"]]


def test_a_delayed_projection_does_not_bind_the_order_within_a_step() -> None:
    assert step_order(graph("b a", "b>a:1", "a>b")) == ["a", "b"]


@settings(deadline=None, max_examples=60)
@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6))))
def test_components_are_the_mutually_reachable_in_topological_order(
    pairs: set[tuple[int, int]],
) -> None:
    names = [f"p{i}" for i in range(7)]
    found = components(graph(" ".join(names), *sorted(f"p{a}>p{b}" for a, b in pairs)))
    reach = {(a, b): a == b or (a, b) in pairs for a in range(7) for b in range(7)}
    for middle in range(7):  # Warshall
        for a in range(7):
            for b in range(7):
                reach[a, b] |= reach[a, middle] and reach[middle, b]
    place = {name: index for index, group in enumerate(found) for name in group}
    assert sorted(place) == names
    for a in range(7):
        for b in range(7):
            together = place[f"p{a}"] == place[f"p{b}"]
            assert together == (reach[a, b] and reach[b, a])
            if reach[a, b]:
                assert place[f"p{a}"] <= place[f"p{b}"]


def test_a_cycle_without_delay_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"cycle \((a -> b -> a|b -> a -> b)\).*a delay"):
        step_order(graph("a b", "a>b", "b>a"))
    with pytest.raises(UnsupportedError, match=r"cycle \(a -> a\)"):
        step_order(graph("a", "a>a"))


# --- pipeline ---


def test_a_chain_lags_one_step_per_projection_and_needs_no_extra_delay() -> None:
    assert depths(CHAIN) == {"in": 0, "a": 1, "b": 2, "out": 3}
    assert set(extra_delays(CHAIN).values()) == {0}


def test_shorter_paths_are_delayed_to_the_longest() -> None:
    assert depths(SKIP) == {"in": 0, "a": 1, "b": 2, "out": 3}
    assert extra_delays(SKIP) == {"in>a": 0, "a>b": 0, "b>out": 0, "in>out": 2, "a>out": 1}


def test_one_step_of_recurrent_delay_is_the_synapses_own() -> None:
    assert depths(SELF) == {"in": 0, "a": 1, "out": 2}
    assert extra_delays(SELF) == {"in>a": 0, "a>a:1": 0, "a>out": 0}
    assert extra_delays(graph("in a", "in>a", "a>a:3"))["a>a:3"] == 2


def test_two_populations_that_feed_each_other_lag_alike() -> None:
    assert depths(MUTUAL) == {"in": 0, "a": 1, "b": 1, "out": 2}
    assert set(extra_delays(MUTUAL).values()) == {0}


def test_a_cycle_may_spend_all_its_delay_on_one_projection() -> None:
    uneven = graph("in a b", "in>a", "a>b", "b>a:2")
    assert depths(uneven) == {"in": 0, "a": 1, "b": 2}
    assert extra_delays(uneven) == {"in>a": 0, "a>b": 0, "b>a:2": 0}


def test_a_delay_stands_in_for_depth() -> None:
    assert depths(DELAYED) == {"in": 0, "a": 0, "out": 0}
    assert extra_delays(DELAYED) == {"in>a:3": 2, "a>out:1": 0}


def test_a_cycle_that_is_too_fast_for_a_pipeline_is_refused() -> None:
    fast = graph("in a b", "in>a", "a>b", "b>a:1")
    assert step_order(fast) == ["in", "a", "b"]
    with pytest.raises(UnsupportedError, match="fewer steps of delay than projections"):
        depths(fast)


@st.composite
def pipelines(draw: st.DrawFn) -> Graph:
    """Forward projections of any delay, backward ones late enough for any cycle."""
    count = draw(st.integers(1, 6))
    edges = []
    for source in range(count):
        for target in range(count):
            if draw(st.booleans()):
                least = 0 if source < target else count
                edges.append(f"p{source}>p{target}:{draw(st.integers(least, least + 3))}")
    return graph(" ".join(f"p{i}" for i in range(count)), *edges)


@settings(deadline=None, max_examples=60)
@given(pipelines())
def test_a_pulse_through_the_pipeline_arrives_when_the_model_says(of: Graph) -> None:
    found = depths(of)
    assert min(found.values()) == 0
    for edge in of.projections:
        extra = pipeline_delay(found, edge)
        assert extra >= 0
        # A spike of model step t leaves at t + depth(source) and spends one step in the synapse
        # besides the extra delay; the target must then be at its model step t + delay.
        assert found[edge.source] + 1 + extra == found[edge.target] + edge.delay


# --- samples one after the other ---


@pytest.mark.parametrize(
    ("of", "guard", "silent"),
    [
        (CHAIN, 0, set()),
        (SKIP, 0, set()),
        (SELF, 1, {"a"}),
        (MUTUAL, 1, {"a", "b"}),
        (DELAYED, 3, {"in", "a"}),
    ],
    ids=["chain", "skip", "self", "mutual", "delayed"],
)
def test_spikes_in_flight_decide_the_pause_between_samples(
    of: Graph, guard: int, silent: set[str]
) -> None:
    assert guard_steps(of) == guard
    assert {p.name for p in of.populations if needs_silence(of, p.name)} == silent


def test_the_pause_is_no_longer_and_no_shorter_than_the_longest_delay_needs() -> None:
    steps, late = 5, graph("in a", "in>a:2", "a>a:4")
    arrival = steps - 1 + max(edge.delay for edge in late.projections)
    next_sample = steps + guard_steps(late)
    assert arrival == next_sample - 1


def test_a_graph_without_projections_needs_no_pause() -> None:
    assert guard_steps(graph("in")) == 0
    assert depths(graph("in")) == {"in": 0}
