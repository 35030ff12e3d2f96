"""Recipes, contracts and the strict reading of tables: what is refused, and with which words."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import InputError, nearest
from neurodeploy.interchange.nir.file import read_nir
from neurodeploy.interchange.nir.network_in import contract_of
from neurodeploy.ir.contract import METADATA_KEY, Contract, InputCode, Semantics
from neurodeploy.recipe import builtin_recipes, load_recipe, recipe_from_dict
from neurodeploy.support.reading import read_toml
from neurodeploy.support.schema import build, builtin_names, find_toml
from neurodeploy.target import builtin_targets
from support.wording import said_by

RECIPE = """
description = "for tests"
[data]
name = "digits"
[network]
family = "mlp"
hidden = [10, 10]
[neuron]
tau = 2
[training]
steps = 4
epochs = 2
batch_size = 8
learning_rate = 1e-3
"""


def recipe_file(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, old: str, new: str, message: str) -> None:
    """The recipe with one line changed is refused with that message."""
    assert RECIPE.count(old) == 1
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(recipe_file(folder, RECIPE.replace(old, new)))
    assert "mine.toml" in str(caught.value)


# --- recipes ---


def test_a_recipe_reads_as_written_with_its_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file(tmp_path))
    assert (recipe.name, recipe.seed, recipe.rule) == ("mine", 0, {"name": "sltt"})
    assert recipe.network == {"family": "mlp", "hidden": [10, 10]}
    assert recipe.neuron.tau == 2.0
    assert isinstance(recipe.neuron.tau, float)
    assert (recipe.neuron.reset, recipe.neuron.comparison) == ("subtract", ">=")
    assert (recipe.encoder.name, recipe.data.validation) == ("direct", 0.1)


@pytest.mark.parametrize("name", builtin_names("neurodeploy.models"))
def test_built_in_recipes_load_by_name_and_by_path(name: str) -> None:
    by_name = load_recipe(name)
    assert by_name == builtin_recipes()[name]
    assert by_name.name == name
    assert by_name.description
    assert load_recipe(find_toml(name, "neurodeploy.models", "recipe")) == by_name


def test_the_default_recipe_is_built_in() -> None:
    assert "digits_conv" in builtin_recipes()


def test_a_recipe_survives_as_a_dictionary(tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file(tmp_path))
    assert recipe_from_dict(recipe.as_dict(), "run.json") == recipe


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 2", "epoch = 2", r"training: unknown key 'epoch'; did you mean 'epochs'\?"),
        ("[training]", "[trianing]", r"unknown key 'trianing'; did you mean 'training'\?"),
        ("epochs = 2", "", "training: key 'epochs' is missing"),
        ("description", "title", r"unknown key 'title'"),
        ("epochs = 2", 'epochs = "2"', "training: epochs: expected int, found '2'"),
        ("epochs = 2", "epochs = 2.0", "epochs: expected int, found 2.0"),
        ("epochs = 2", "epochs = true", "epochs: expected int, found True"),
        ("tau = 2", "tau = true", "tau: expected float, found True"),
        ("tau = 2", "tau = nan", "tau: expected a number, found nan"),
        ("learning_rate = 1e-3", "learning_rate = inf", "expected a number, found inf"),
        ("[data]", "[[data]]", "data: expected a table"),
        ("tau = 2", 'tau = 2\nreset = "soft"', "'soft' is not one of 'zero', 'subtract'"),
        ("tau = 2", "tau = 1", "neuron: tau is in steps and must be above 1, found 1.0"),
        ("tau = 2", "tau = 2\nv_threshold = 0", "v_threshold must be positive"),
        ("epochs = 2", "epochs = 0", "epochs must be at least 1, found 0"),
        ("steps = 4", "steps = -1", "steps must be at least 1"),
        ("batch_size = 8", "batch_size = 0", "batch_size must be at least 1"),
        ("learning_rate = 1e-3", "learning_rate = 0", "learning_rate must be positive"),
        ("learning_rate = 1e-3", "learning_rate = 3e38", r"learning_rate must be 1e\+30 or less"),
        ("steps = 4", "steps = 4\nmomentum = 1", "momentum must be from 0 to below 1"),
        ("steps = 4", "steps = 4\nweight_decay = -1", "weight_decay must not be negative"),
        ("steps = 4", "steps = 4\nwarmup_epochs = 2", "warmup_epochs .* below the 2 epochs"),
        ("steps = 4", "steps = 4\nmse_weight = 1.5", "mse_weight is a share"),
        ('name = "digits"', 'name = "digits"\nvalidation = 1', "validation is a share"),
        ('family = "mlp"', "", r"\[network\] needs a 'family'"),
        ("[neuron]", "[rule]\nk = 2\n[neuron]", r"\[rule\] needs a 'name'"),
        ("[neuron]", "[neuron", "not valid TOML"),
    ],
)
def test_a_recipe_with_a_mistake_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    refused(tmp_path, old, new, message)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("digits_con", r"recipe 'digits_con' is not built in; did you mean 'digits_conv'\?"),
        ("zzz", "'zzz' is not built in; known: .*digits_conv"),
        ("absent.toml", "recipe 'absent.toml': no such file"),
        ("some/folder", "recipe 'some/folder': no such file"),
        ("", "'' is not a path"),
    ],
)
def test_a_recipe_that_is_not_there(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(source)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"a\.toml: not valid TOML"):
        read_toml(path)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_toml(tmp_path)


# --- overrides ---


@pytest.mark.parametrize(
    ("override", "where", "value"),
    [
        ("training.epochs=5", ("training", "epochs"), 5),
        ("training.learning_rate = 0.5", ("training", "learning_rate"), 0.5),
        ("training.optimizer=sgd", ("training", "optimizer"), "sgd"),
        ('training.optimizer="sgd"', ("training", "optimizer"), "sgd"),
        ("neuron.tau=3", ("neuron", "tau"), 3.0),
        ("seed=7", ("seed",), 7),
        ("name=a=b", ("name",), "a=b"),
        ("description=two words", ("description",), "two words"),
        ("data.validation=0.25", ("data", "validation"), 0.25),
        ("encoder.name=rate", ("encoder", "name"), "rate"),
    ],
)
def test_set_changes_one_key(
    tmp_path: Path, override: str, where: tuple[str, ...], value: Any
) -> None:
    changed: Any = load_recipe(recipe_file(tmp_path), [override])
    plain: Any = load_recipe(recipe_file(tmp_path))
    for name in where[:-1]:
        changed, plain = getattr(changed, name), getattr(plain, name)
    assert getattr(changed, where[-1]) == value != getattr(plain, where[-1])
    assert dataclasses.replace(changed, **{where[-1]: getattr(plain, where[-1])}) == plain


def test_set_reaches_options_of_the_network_and_the_rule(tmp_path: Path) -> None:
    overrides = ["network.hidden=[20]", "network.bias=true", "rule.name=sltt_k", "rule.k=2"]
    recipe = load_recipe(recipe_file(tmp_path), overrides)
    assert recipe.network == {"family": "mlp", "hidden": [20], "bias": True}
    assert recipe.rule == {"name": "sltt_k", "k": 2}


def test_the_last_of_two_overrides_counts(tmp_path: Path) -> None:
    assert load_recipe(recipe_file(tmp_path), ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "--set 'seed': expected KEY=VALUE"),
        ("=5", "expected KEY=VALUE"),
        ("seed.x=1", "unknown key 'x'|seed: expected int"),
        ("description.x=1", "'description' is a value, not a table"),
        ("training.epoch=5", r"did you mean 'epochs'\?"),
        ("training=5", "training: expected a table, found 5"),
        ("training.epochs=", "epochs: expected int, found ''"),
        ("training.epochs=0", "epochs must be at least 1"),
        ("a..b=1", "unknown key 'a'"),
    ],
)
def test_set_with_a_mistake_is_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe(recipe_file(tmp_path), [override])
    assert re.search(message, said_by("train", caught.value.text))


# --- tables ---


@dataclass(frozen=True)
class Inner:
    value: int


@dataclass(frozen=True)
class Outer:
    """One field of each kind that a table can fill."""

    sizes: tuple[int, ...] = ()
    table: dict[str, int] = dataclasses.field(default_factory=dict)
    inner: Inner | None = None
    mode: Literal["a", "b"] = "a"
    flag: bool = False
    text: str = ""


def test_a_table_becomes_a_dataclass() -> None:
    table = {"sizes": [1, 2], "table": {"x": 3}, "inner": {"value": 4}, "mode": "b", "flag": True}
    assert build(Outer, table, "t") == Outer((1, 2), {"x": 3}, Inner(4), "b", True)
    assert build(Outer, {"inner": None}, "t") == Outer()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sizes": 3}, "t: sizes: expected a list, found 3"),
        ({"sizes": [1, "x"]}, r"t: sizes\[1\]: expected int, found 'x'"),
        ({"table": {"x": "y"}}, r"t: table\.x: expected int, found 'y'"),
        ({"table": []}, "t: table: expected a table"),
        ({"inner": {"valeu": 4}}, r"t: inner: unknown key 'valeu'; did you mean 'value'\?"),
        ({"inner": {}}, "t: inner: key 'value' is missing"),
        ({"mode": "c"}, "t: mode: 'c' is not one of 'a', 'b'"),
        ({"flag": 1}, "t: flag: expected bool, found 1"),
        ({"text": 1}, "t: text: expected str, found 1"),
    ],
)
def test_a_wrong_table_is_named_to_the_key(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        build(Outer, table, "t")


def test_nearest_says_what_is_meant_or_all_there_is() -> None:
    assert nearest("stpes", ["steps", "seed"]) == "; did you mean 'steps'?"
    assert nearest("zzz", ["b", "a"]) == "; known: a, b"
    assert nearest("zzz", []) == ""


def test_built_in_targets_load() -> None:
    assert {"loihi1", "loihi2"} <= set(builtin_targets())


# --- the contract ---

contracts = st.builds(
    Contract,
    semantics=st.builds(
        Semantics,
        dt=st.floats(1e-9, 1e3),
        reset=st.sampled_from(["zero", "subtract"]),
        comparison=st.sampled_from([">", ">="]),
        integrator=st.sampled_from(["euler", "exponential"]),
    ),
    input_code=st.builds(
        InputCode,
        encoder=st.sampled_from(["direct", "rate", "events"]),
        levels=st.integers(1, 2**24),
    ),
    steps=st.integers(1, 10**6),
    decode=st.sampled_from(["last_v", "sum_v", "spike_count"]),
    dataset=st.sampled_from(["", "digits"]),
)


@settings(deadline=None, max_examples=30)
@given(contracts)
def test_a_contract_survives_a_real_nir_file(contract: Contract) -> None:
    import tempfile

    nodes = {"input": nir.Input({"input": np.array([2])}), "lif": nir.I(np.ones(2))}
    nodes["output"] = nir.Output({"output": np.array([2])})
    edges = [("input", "lif"), ("lif", "output")]
    graph = nir.NIRGraph(nodes, edges, {METADATA_KEY: contract.to_metadata(), "other": "kept"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nir"
        nir.write(path, graph)
        assert contract_of(read_nir(path), "a.nir") == contract


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Semantics(0.0, "zero", ">"), "dt is in seconds and must be positive, found 0.0"),
        (lambda: Semantics(float("nan"), "zero", ">"), "found nan"),
        (lambda: Semantics(float("inf"), "zero", ">"), "found inf"),
        (lambda: InputCode("direct", 0), "levels must be at least 1"),
        (
            lambda: Contract(Semantics(1.0, "zero", ">"), InputCode("rate"), 0, "last_v"),
            "steps must be at least 1",
        ),
    ],
)
def test_contracts_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("encoder", "levels", "payload"),
    [("direct", 16, 16), ("direct", 1, 1), ("events", 9, 9), ("rate", 16, 1)],
)
def test_only_integers_that_reach_the_network_are_its_payload(
    encoder: Any, levels: int, payload: int
) -> None:
    code = InputCode(encoder, levels)
    assert (code.payload, code.graded) == (payload, payload > 1)
