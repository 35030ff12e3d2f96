"""A recipe of one's own to begin with: every key, with its meaning and its default."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neurodeploy.errors import InputError
from neurodeploy.nn.families import FAMILIES
from neurodeploy.recipe import Recipe, load_recipe
from neurodeploy.recipe.reference import Key, json_schema, keys_of, toml_text
from neurodeploy.rules import RULES
from neurodeploy.sparsity import REGULARISERS
from neurodeploy.support.files import as_path, check_place, write_whole

WIDTH = 96

HEAD = """\
A recipe for neurodeploy. Keys that are commented out, as in #seed = 0, have the default shown.
Lines that begin with "# " explain the key below them."""


def write_recipe(out: Path | str, base: str = "digits_conv") -> Path:
    """Write a recipe with all keys, each explained.

    Args:
        out: the TOML file, which is not there yet.
        base: the recipe whose values it has, a built-in name or a path.

    Raises:
        InputError: the file exists or cannot be written, or the base cannot be read.
    """
    path = as_path(out, "write_recipe")
    if path.suffix != ".toml":
        raise InputError(f"{path}: a recipe is a TOML file; end its name in .toml")
    if path.exists():
        raise InputError(f"{path}: already exists; choose another name")
    check_place(path)
    write_whole(path, recipe_text(load_recipe(base)))
    return path


def recipe_text(recipe: Recipe) -> str:
    """The TOML of a recipe, commented."""
    table = recipe.as_dict()
    # Its name is that of its file.
    del table["name"]
    lines = [*_comment(HEAD), ""]
    keys = [key for key in keys_of(Recipe) if key.name != "name"]
    values = [key for key in keys if key.kind != "table"]
    for key in values:
        lines += _lines(key, table.get(key.name))
    for key in keys:
        if key.kind == "table":
            lines += _table(key, table[key.name], key.name, key.default)
    return "\n".join(lines) + "\n"


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, with the options of families, rules and regularisers."""
    free = {
        "network": _chosen("family", FAMILIES, "or your own function, as in nets.py:build"),
        "rule": _chosen("name", RULES, ""),
        "regularisers": {
            "type": "object",
            "properties": {name: json_schema(cls) for name, cls in REGULARISERS.items()},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "neurodeploy recipe",
        **json_schema(Recipe, free),
        # A file's name is the recipe's, where it states none.
        "required": [key.name for key in keys_of(Recipe) if key.required and key.name != "name"],
    }


def _chosen(selector: str, registry: Mapping[str, type[Any]], more: str) -> dict[str, Any]:
    """A table whose options depend on which of a registry it names."""
    known = ", ".join(registry)
    options: dict[str, Any] = {}
    for cls in registry.values():
        for name, schema in json_schema(cls)["properties"].items():
            options[name] = {"description": schema["description"]}
    said = f"one of {known}{f', {more}' if more else ''}"
    return {
        "type": "object",
        "properties": {
            selector: {"type": "string", "description": said, "examples": list(registry)},
            **options,
        },
        "required": [selector],
    }


def _table(key: Key, table: Mapping[str, Any], path: str, default: Any) -> Iterator[str]:
    """A table, its keys and then the tables in it."""
    yield ""
    yield from _comment(key.meaning)
    if key.table is None:
        yield from _free_table(key.name, table, path)
        return
    yield f"[{path}]"
    keys = keys_of(key.table)
    for inner in keys:
        if inner.table is None:
            yield from _lines(inner, table[inner.name])
    for inner in keys:
        if inner.table is not None:
            yield from _table(inner, table[inner.name], f"{path}.{inner.name}", inner.default)


def _free_table(name: str, table: Mapping[str, Any], path: str) -> Iterator[str]:
    """A table whose keys are the options of what it names."""
    if name == "regularisers":
        yield from _comment(f"Known: {', '.join(REGULARISERS)}.")
        for regulariser, options in table.items():
            yield f"[{path}.{regulariser}]"
            yield from (f"{key} = {toml_text(value)}" for key, value in options.items())
        if not table:
            yield f"#[{path}.{next(iter(REGULARISERS))}]"
            yield "#weight = 1.0"
        return
    yield f"[{path}]"
    selector, registry = ("family", FAMILIES) if name == "network" else ("name", RULES)
    chosen = table[selector]
    yield from _comment(f"One of {', '.join(registry)}.")
    yield f"{selector} = {toml_text(chosen)}"
    known = keys_of(registry[chosen]) if chosen in registry else ()
    for key in known:
        yield from _lines(key, table.get(key.name, key.default), key.name in table)
    for option, value in table.items():
        if option != selector and option not in [key.name for key in known]:
            yield f"{option} = {toml_text(value)}"


def _lines(key: Key, value: Any, stated: bool = False) -> Iterator[str]:
    """A key's meaning and its value, commented out where it is the default and not stated."""
    yield from _comment(f"{key.meaning} ({key.kind})")
    stated = stated or key.required or toml_text(value) != toml_text(key.default)
    if value is None:
        yield f"#{key.name} =  # nothing by default"
    else:
        yield f"{'' if stated else '#'}{key.name} = {toml_text(value)}"


def _comment(text: str) -> Iterator[str]:
    for line in text.replace("``", "`").splitlines():
        yield from (f"# {wrapped}" for wrapped in textwrap.wrap(line, WIDTH) or [""])
