"""Networks of many populations: pictures that stay readable, and work that grows with the data."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.reporting.crowded import chosen
from neurodeploy.reporting.network_pictures import ARROWS, COLUMNS, LEVELS, network_graph
from neurodeploy.reporting.pictures import firing_rates, raster
from neurodeploy.simulation.trace import PopulationTrace, SpikeTrace

STEPS, SIZE = 6, 3


def neuron() -> QuantizedNeuron:
    one = np.array(1)
    return QuantizedNeuron("LIF", 4096 * one, 0 * one, 0 * one, 0 * one, one, "zero", ">=")


def projection(source: str, target: str, delay: int = 0) -> QuantizedProjection:
    weights = Dense(np.ones((SIZE, SIZE), int), (SIZE,), (SIZE,))
    name = f"{source} to {target}"
    return QuantizedProjection(name, source, target, weights, WeightFormat(8, "mixed"), 0, 1, delay)


def network(names: list[str], edges: list[tuple[str, str]]) -> QuantizedNetwork:
    """The first name is the input, the last the output."""
    first, *others = names
    populations = (
        QuantizedPopulation(first, (SIZE,), None, 1.0),
        *(QuantizedPopulation(name, (SIZE,), neuron(), 1.0) for name in others),
    )
    contract = Contract(
        Semantics(1e-3, "zero", ">=", "euler"), InputCode("events"), STEPS, "spike_count"
    )
    return QuantizedNetwork(
        "many", populations, tuple(projection(*edge) for edge in edges), names[-1], contract
    )


def chain(count: int) -> QuantizedNetwork:
    names = ["input", *(f"p{i}" for i in range(count))]
    return network(names, list(itertools.pairwise(names)))


def wide(count: int) -> QuantizedNetwork:
    middle = [f"p{i}" for i in range(count)]
    edges = [("input", name) for name in middle] + [(name, "out") for name in middle]
    return network(["input", *middle, "out"], edges)


def trace(count: int) -> SpikeTrace:
    rng = np.random.default_rng(0)
    shape = (1, STEPS, SIZE)
    records = {
        f"p{i}": PopulationTrace((rng.random(shape) < 0.5).astype(np.int32)) for i in range(count)
    }
    return SpikeTrace(0, records, f"p{count - 1}")


def texts(figure: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(t.get_text() for t in figure.findobj(Text) if isinstance(t, Text))


def boxes(figure: Figure) -> int:
    return len(figure.findobj(FancyBboxPatch))


def arrows(figure: Figure) -> list[FancyArrowPatch]:
    return [a for a in figure.findobj(FancyArrowPatch) if isinstance(a, FancyArrowPatch)]


def test_few_populations_are_all_drawn() -> None:
    assert len(raster(trace(20), "few").axes) == 20
    figure = network_graph(chain(20))
    assert boxes(figure) == 21 and len(arrows(figure)) == 20
    assert "not drawn" not in texts(figure) and "left out" not in texts(figure)
    (axes,) = firing_rates({f"p{i}": np.ones(SIZE) for i in range(20)}, STEPS).axes
    assert len(axes.patches) == 20


def test_the_raster_of_many_populations_has_one_panel_for_all_and_some_examples() -> None:
    many, more = raster(trace(200), "many"), raster(trace(2000), "more")
    assert len(many.findobj()) == len(more.findobj()) < 1500
    said = texts(many)
    assert "all 200 populations" in said
    assert "p0 (3 neurons" in said and "p199 (3 neurons" in said and "p1 (3 neurons" not in said
    image = np.asarray(many.axes[0].images[0].get_array())
    assert image.shape == (200, STEPS)
    wanted = [[trace(200).populations[f"p{i}"].s[0, t].mean() for t in (0, 5)] for i in (3, 77)]
    assert image[[3, 77]][:, [0, 5]].tolist() == wanted


def test_firing_rates_of_many_populations_are_one_curve_and_the_silent_are_marked() -> None:
    rates = {f"p{i}": np.full(SIZE, float(i % 10)) for i in range(200)}
    figure = firing_rates(rates, STEPS)
    assert "200 populations, 20 of them silent" in texts(figure)
    (axes,) = figure.axes
    curve, marks = axes.lines
    assert np.array_equal(np.asarray(curve.get_ydata()), [i % 10 / STEPS for i in range(200)])
    assert np.asarray(marks.get_xdata()).tolist() == list(range(0, 200, 10))


def test_a_long_graph_says_which_levels_it_leaves_out() -> None:
    figure = network_graph(chain(200))
    assert boxes(figure) == LEVELS
    said = texts(figure)
    assert f"{201 - LEVELS} levels with {201 - LEVELS} populations are left out here" in said
    assert f"{200 - (LEVELS - 2)} of 200 projections are not drawn" in said
    assert "p199" in said and "input" in said and "p100" not in said


def test_a_wide_graph_says_how_many_populations_it_leaves_out() -> None:
    figure = network_graph(wide(200))
    assert boxes(figure) == 2 + COLUMNS - 1
    said = texts(figure)
    assert f"and {200 - COLUMNS + 1} more populations" in said
    assert f"{400 - 2 * (COLUMNS - 1)} of 400 projections are not drawn" in said


def test_so_many_arrows_at_most() -> None:
    base = chain(20)
    names = [p.name for p in base.populations]
    edges = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    figure = network_graph(network(names, edges))
    assert len(arrows(figure)) == ARROWS
    assert f"{len(edges) - ARROWS} of {len(edges)} projections are not drawn" in texts(figure)


@pytest.mark.parametrize("at", ["p0", "p2"])
def test_a_projection_to_its_own_population_is_an_arrow_beside_the_box(at: str) -> None:
    base = chain(3)
    recurrent = replace(base, projections=(*base.projections, projection(at, at, 1)))
    figure = network_graph(recurrent)
    figure.draw_without_rendering()
    found = arrows(figure)[-1].get_window_extent()
    box = figure.findobj(FancyBboxPatch)[1 + int(at[1:])].get_window_extent()
    assert found.x1 > box.x1 + 5
    assert abs((found.y0 + found.y1) / 2 - (box.y0 + box.y1) / 2) < 2


def test_names_are_chosen_evenly_with_both_ends_and_the_one_to_keep() -> None:
    names = [f"p{i}" for i in range(101)]
    assert chosen(names, 5, "p100") == ["p0", "p25", "p50", "p75", "p100"]
    assert chosen(names, 5, "p1") == ["p0", "p1", "p33", "p67", "p100"]
    assert chosen(names[:4], 5, "p1") == names[:4]
