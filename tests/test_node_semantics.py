"""Resets, comparisons and refractory periods of single nodes: stated, kept, and refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import nir
import numpy as np
import pytest
from click.testing import CliRunner

from neurodeploy.artifacts.deployment import float_network
from neurodeploy.artifacts.integers import arrays_of, network_from, structure_of
from neurodeploy.artifacts.names import QUANTIZED_NIR
from neurodeploy.cli.options import stated_options
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.interchange.nir.importing import Imported, import_nir
from neurodeploy.interchange.nir.network_in import to_network
from neurodeploy.ir.contract import NodeSemantics, Semantics
from neurodeploy.ir.stated import Stated
from neurodeploy.norse.compat import norse_available
from neurodeploy.recipe import load_recipe
from neurodeploy.support.schema import build
from neurodeploy.target import load_target
from neurodeploy.training.imported import NirOptions
from neurodeploy.workflow.export import deploy_network, export
from neurodeploy.workflow.finetune import network_overrides
from neurodeploy.workflow.inspection import describe
from support.random_networks import random_network
from support.random_nir import DT, contract, joined, neuron

FULL: dict[str, Any] = {"dt": DT, "comparison": ">", "integrator": "euler", "steps": 4}


def graph() -> nir.NIRGraph:
    nodes = {name: neuron("LIF", (2,), r=4.0) for name in ("lif1", "lif2", "lif3")}
    return joined(nodes, "input>lif1", "lif1>lif2", "lif2>lif3", "lif3>output")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_nir(tmp_path / "a.nir", graph())
    return tmp_path / "a.nir"


def resets(found: Imported) -> dict[str, str]:
    """What is said of each node."""
    semantics = found.network.contract.semantics
    return {f"lif{n}": semantics.of(f"lif{n}").reset for n in (1, 2, 3)}


def test_one_for_all_or_one_each(file: Path) -> None:
    assert set(resets(import_nir(file, reset="none", **FULL)).values()) == {"none"}
    each: dict[str, Any] = {"lif1": "zero", "lif2": "none", "lif3": "subtract"}
    assert resets(import_nir(file, reset=each, **FULL)) == each
    rest: dict[str, Any] = {"*": "subtract", "lif3": "zero"}
    found = import_nir(file, reset=rest, **FULL)
    assert resets(found) == {"lif1": "subtract", "lif2": "subtract", "lif3": "zero"}
    neurons = [p.leaky.reset for p in found.network.populations if p.neuron]
    assert neurons == ["subtract", "subtract", "zero"]


def test_some_of_them_are_not_all(file: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"state\n  reset: "):
        import_nir(file, reset={"lif1": "zero", "lif2": "none"}, **FULL)


def test_a_file_of_ours_is_overridden_node_by_node(file: Path, tmp_path: Path) -> None:
    first = import_nir(file, reset={"*": "zero", "lif2": "none"}, **FULL)
    ours = tmp_path / "ours.nir"
    write_nir(ours, first.graph)
    assert resets(import_nir(ours)) == {"lif1": "zero", "lif2": "none", "lif3": "zero"}
    again = import_nir(ours, reset={"lif3": "subtract"}, comparison={"lif1": ">="})
    assert resets(again) == {"lif1": "zero", "lif2": "none", "lif3": "subtract"}
    assert again.network.contract.semantics.nodes["lif1"] == NodeSemantics(comparison=">=")
    assert import_nir(ours, reset="subtract").network.contract.semantics.nodes == {}
    assert "but 'lif2': reset none" in describe(ours)


def test_what_is_stated_of_all_leaves_no_node_out() -> None:
    nodes = {"a": NodeSemantics("none", ">=", 2), "b": NodeSemantics(comparison=">=")}
    before = Semantics(DT, "zero", ">", nodes=nodes)
    after = before.stating("subtract", {"*": ">=", "b": ">"})
    assert (after.reset, after.comparison) == ("subtract", ">=")
    assert after.nodes == {
        "a": NodeSemantics(refractory_period=2),
        "b": NodeSemantics(comparison=">"),
    }


def test_files_without_such_nodes_are_as_they_were() -> None:
    table = contract().to_metadata()["semantics"]
    assert list(table) == ["dt", "reset", "comparison", "integrator"]


def test_a_contract_that_names_what_is_not_there_is_refused() -> None:
    how = contract()
    nodes = {"lif4": NodeSemantics("none")}
    how = replace(how, semantics=replace(how.semantics, nodes=nodes))
    with pytest.raises(UnsupportedError, match=r"node 'lif4', which does not fire.*mean 'lif"):
        to_network(graph(), how, "net")


@click.command()
@stated_options
def given(**stated: Any) -> None:
    click.echo(repr({name: value for name, value in stated.items() if value is not None}))


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("", {}),
        ("--reset zero", {"reset": "zero"}),
        ("--reset zero --reset lif2=none", {"reset": {"*": "zero", "lif2": "none"}}),
        ("--reset 1.a=b=subtract", {"reset": {"1.a=b": "subtract"}}),
        ("--compare lif1=ge --compare gt", {"comparison": {"lif1": ">=", "*": ">"}}),
        ("--reset-delay no", {"reset_delay": False}),
        ("--reset-delay yes --reset-delay 1=no", {"reset_delay": {"*": True, "1": False}}),
    ],
)
def test_options_for_all_and_for_one(words: str, value: dict[str, Any]) -> None:
    result = CliRunner().invoke(given, words.split())
    assert result.output.strip() == repr(value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--reset lif1=half", "'lif1=half': expected one of zero, subtract, none"),
        ("--reset lif1", "'lif1': expected one of zero"),
        ("--reset a=zero --reset a=none", "'a=none': stated twice for a"),
        ("--reset-delay", "requires an argument"),
    ],
)
def test_options_that_say_nothing_known(words: str, message: str) -> None:
    result = CliRunner().invoke(given, words.split())
    assert result.exit_code == 2
    assert message in result.output


def test_recipes_state_it_as_text_or_table(file: Path) -> None:
    stated = Stated(**FULL, reset={"*": "zero", "lif2": "none"}, reset_delay={"lif1": False})
    recipe = load_recipe("finetune", network_overrides(str(file), stated, own_recipe=False))
    table = {name: value for name, value in recipe.network.items() if name != "family"}
    options = build(NirOptions, table, "[network]")
    assert (options.reset, options.reset_delay) == (stated.reset, stated.reset_delay)
    assert build(NirOptions, {"reset": "none"}, "[network]").reset == "none"
    with pytest.raises(InputError, match=r"\[network\]: reset\.lif2: 'half' is not one of 'zero'"):
        build(NirOptions, {"reset": {"lif2": "half"}}, "[network]")


def test_what_is_not_reset_has_nothing_to_rest_at() -> None:
    how = contract()
    nodes = {"lif2": NodeSemantics("none", refractory_period=1)}
    how = replace(how, semantics=replace(how.semantics, nodes=nodes))
    with pytest.raises(UnsupportedError, match=r"'lif2'.*rests after a spike, but v is not reset"):
        to_network(graph(), how, "net")


def test_a_potential_is_read_where_no_spikes_are_wanted(file: Path) -> None:
    none: dict[str, Any] = {"*": "zero", "lif3": "none"}
    found = import_nir(file, reset=none, decode="last_v", **FULL).network
    read = found.population("lif3").leaky
    assert read.v_threshold is None
    looped = joined(dict(graph().nodes), "input>lif1", "lif1>output", "lif1>lif2", "lif2>lif1")
    del looped.nodes["lif3"]
    how = contract()
    how = replace(how, decode="sum_v", semantics=how.semantics.stating({"lif1": "none"}, None))
    with pytest.raises(UnsupportedError, match=r"'lif1'.*its spikes are sent to other nodes"):
        to_network(looped, how, "net")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (
            NodeSemantics(refractory_period=2),
            "'lif2'.*rests for 2 steps.*, which Norse",
        ),
        (NodeSemantics("none"), "'lif2'.*is not reset by a spike, which Norse"),
    ],
)
def test_norse_has_no_such_neurons(own: NodeSemantics, message: str) -> None:
    if not norse_available():
        pytest.skip("needs Norse")
    from neurodeploy.norse.engine import NorseEngine

    how = contract()
    how = replace(how, semantics=replace(how.semantics, nodes={"lif2": own}))
    shapes: dict[str, Any] = dict.fromkeys(("input", "lif1", "lif2", "lif3"), (2,))
    with pytest.raises(UnsupportedError, match=message):
        NorseEngine(graph(), shapes, "lif3", how, "a.nir")


def test_deployments_keep_refractory_periods() -> None:
    network = random_network(7, ("LIF", "CubaLIF", "LI"), ("conv2d", "scale"), "chain", 1)
    first, *rest = network.populations[1:]
    resting = replace(first, neuron=replace(first.leaky, refractory_period=3))
    network = replace(network, populations=(network.populations[0], resting, *rest))
    table, arrays = structure_of(network), arrays_of(network)
    read = network_from(table, arrays, "here").population(resting.name).leaky
    assert read.refractory_period == 3
    for population in table["populations"]:
        if population["neuron"]:
            del population["neuron"]["refractory_period"]  # as it was before there were any
    del table["contract"]["semantics"]["nodes"]
    read = network_from(table, arrays, "here").population(resting.name).leaky
    assert read.refractory_period == 0
    np.testing.assert_array_equal(read.v_decay, resting.leaky.v_decay)


def test_a_deployment_of_a_network_with_resets_of_its_own(file: Path, tmp_path: Path) -> None:
    """In memory its populations say it, whatever the contract does."""
    network = import_nir(file, reset="zero", **FULL).network
    own = {"lif1": "subtract", "lif2": "zero", "lif3": "subtract"}
    changed: Any = [
        p if p.neuron is None else replace(p, neuron=replace(p.leaky, reset=own[p.name]))
        for p in network.populations
    ]
    network = replace(network, populations=tuple(changed))
    deployed = deploy_network(network, load_target("loihi2"), tmp_path / "d")
    read = float_network(deployed)
    assert {p.name: p.leaky.reset for p in read.populations if p.neuron} == own


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_integers_without_reset_are_read_again(threshold: float, tmp_path: Path) -> None:
    """Whether the integers still bring back exactly what a spike takes, or nearly."""
    made = graph()
    made.nodes["lif2"] = neuron("LIF", (2,), r=4.0, tau=8 * DT, v_threshold=threshold)
    write_nir(tmp_path / "a.nir", made)
    network = import_nir(tmp_path / "a.nir", reset={"*": "zero", "lif2": "none"}, **FULL).network
    target = load_target("loihi2")
    deployed = deploy_network(network, target, tmp_path / "d").network
    again = export(tmp_path / "d" / QUANTIZED_NIR, "loihi2", tmp_path / "again").network
    integers = arrays_of(again)
    assert any(name.startswith("lif2_kept_1") for name in integers)
    assert integers.keys() == arrays_of(deployed).keys()
    for name, values in arrays_of(deployed).items():
        np.testing.assert_array_equal(integers[name], values, name)
