"""Recipes of one's own: written with comments, described by a schema, repeated from a run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from neurodeploy.data import DATASETS
from neurodeploy.errors import InputError
from neurodeploy.nn.families import FAMILIES
from neurodeploy.recipe import Recipe, builtin_recipes, load_recipe
from neurodeploy.recipe.constants import TimeConstant
from neurodeploy.recipe.reference import keys_of, tables_of
from neurodeploy.recipe.samples import DataRecipe
from neurodeploy.rules import RULES
from neurodeploy.sparsity import REGULARISERS
from neurodeploy.workflow.new_recipe import recipe_schema, recipe_text, write_recipe
from support.command import run_cli, run_json

DOCS = Path(__file__).resolve().parents[1] / "docs"
RECIPES = builtin_recipes()


def test_every_key_has_a_meaning_and_a_type() -> None:
    tables = [cls for _, cls in tables_of(Recipe)] + [TimeConstant]
    tables += [*FAMILIES.values(), *RULES.values(), *REGULARISERS.values()]
    assert [
        (cls.__name__, key.name)
        for cls in tables
        for key in keys_of(cls)
        if not key.meaning or key.kind == "value"
    ] == []


def test_the_data_sets_are_named_where_one_is_chosen() -> None:
    (key,) = (key for key in keys_of(DataRecipe) if key.name == "name")
    assert set(re.findall(r"`+(\w+)`+", key.meaning)) == set(DATASETS)


@pytest.mark.parametrize("name", RECIPES)
def test_a_commented_recipe_is_the_one_it_is_like(name: str, tmp_path: Path) -> None:
    text = recipe_text(RECIPES[name])
    (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    assert load_recipe(tmp_path / f"{name}.toml") == RECIPES[name]
    # With the # taken away, the defaults say the same.
    stated = re.sub(r"^#(?=[\w.]+ = \S)", "", text, flags=re.MULTILINE)
    stated = stated.replace("\nweight = 1.0\n", "\n") if not RECIPES[name].regularisers else stated
    (tmp_path / f"{name}.toml").write_text(stated, encoding="utf-8")
    again = load_recipe(tmp_path / f"{name}.toml").as_dict()
    wanted = RECIPES[name].as_dict()
    for table in ("network", "rule"):
        assert again.pop(table).items() >= wanted.pop(table).items()
    assert again == wanted


def test_new_writes_a_file_that_trains_and_spares_what_is_there(tmp_path: Path) -> None:
    written = run_json("new", "mine.toml", "--like", "digits_mlp", folder=tmp_path)
    assert written["file"] == "mine.toml"
    assert load_recipe(tmp_path / "mine.toml").training == RECIPES["digits_mlp"].training
    again = run_cli("new", "mine.toml", folder=tmp_path)
    assert again.exit_code == 2 and "already exists" in again.output
    with pytest.raises(InputError, match=r"end its name in \.toml"):
        write_recipe(tmp_path / "mine.json")


def test_models_shows_one(tmp_path: Path) -> None:
    shown = run_cli("models", "digits_conv", "--show", folder=tmp_path).output
    assert shown == (DOCS.parent / "models" / "digits_conv.toml").read_text(encoding="utf-8")
    found = run_json("models", "digits_conv", folder=tmp_path)
    assert found["digits_conv"]["training"]["momentum"] == 0.9
    assert run_cli("models", "--show", folder=tmp_path).exit_code == 2


def test_all_missing_keys_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        "description = 'x'\n[data]\n[training]\nsteps = 2\n[network]\nfamily = 'mlp'\n"
    )
    with pytest.raises(InputError) as caught:
        load_recipe(tmp_path / "own.toml")
    assert str(caught.value) == (
        "own.toml: keys are missing: data.name, neuron, training.epochs, training.batch_size, "
        "training.learning_rate"
    )
    (tmp_path / "own.toml").write_text(
        (DOCS.parent / "models/digits_mlp.toml").read_text().replace("epochs =", "epohcs =")
    )
    with pytest.raises(InputError, match=r"own.toml: training: unknown key 'epohcs'; did you mean"):
        load_recipe(tmp_path / "own.toml")


def test_the_recipe_of_a_run_is_a_recipe(workspace: Path, tmp_path: Path) -> None:
    file = workspace / "runs/digits_conv-001/recipe.json"
    kept = load_recipe("digits_conv", ["training.epochs=1"])
    assert load_recipe(file).training == kept.training
    assert load_recipe(file, ["training.epochs=7"]).training.epochs == 7
    shown = run_json("models", str(file), folder=workspace)
    assert shown[str(file)]["training"]["epochs"] == 1
    with pytest.raises(InputError, match=r"'none\.json': no such file"):
        load_recipe("none.json")


def pages() -> Any:
    sys.path.insert(0, str(DOCS))
    try:
        import make_recipe
    finally:
        sys.path.remove(str(DOCS))
    return make_recipe


def test_the_page_and_the_schema_are_current() -> None:
    assert (DOCS / "recipe.md").read_text(encoding="utf-8") == pages().recipe_page(), "make docs"
    schema = (DOCS / "recipe.schema.json").read_text(encoding="utf-8")
    assert schema == pages().schema_text(), "make docs"


def test_every_key_has_its_whole_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", pages().recipe_page(), re.MULTILINE)
    assert len(rows) > 80
    assert [name for name, meaning in rows if not meaning.endswith((".", ".)"))] == []


def follows(schema: Any, value: Any, path: str = "") -> list[str]:
    """Where a value breaks a schema, of the words that ours use."""
    kinds = {
        "object": dict, "array": list, "string": str, "boolean": bool,
        "integer": int, "number": (int, float),
    }  # fmt: skip
    if "anyOf" in schema:
        wrong = [follows(choice, value, path) for choice in schema["anyOf"]]
        return min(wrong, key=len)
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{path}: {value!r}"]
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        return [f"{path}: {value!r} is no {schema['type']}"]
    found = []
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found += [f"{path}: no {key}" for key in schema.get("required", ()) if key not in value]
        for key, item in value.items():
            if key in known:
                found += follows(known[key], item, f"{path}.{key}")
            elif schema.get("additionalProperties") is False:
                found.append(f"{path}.{key}: unknown")
    if isinstance(value, list):
        for item in value:
            found += follows(schema.get("items", {}), item, path)
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_built_in_recipes_follow_the_schema(name: str) -> None:
    def stated(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: stated(item) for key, item in value.items() if item is not None}
        return value

    table = stated(json.loads(json.dumps(RECIPES[name].as_dict())))
    assert follows(recipe_schema(), table) == []
    table["training"]["epochs"] = "many"
    table["nothing"] = 1
    assert len(follows(recipe_schema(), table)) == 2
