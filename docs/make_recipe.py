"""Write docs/recipe.md and docs/recipe.schema.json, the keys of recipes. Run with ``make docs``."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from neurodeploy.nn.families import FAMILIES
from neurodeploy.recipe import Recipe
from neurodeploy.recipe.constants import TimeConstant
from neurodeploy.recipe.reference import Key, keys_of, tables_of, toml_text
from neurodeploy.rules import RULES
from neurodeploy.sparsity import REGULARISERS
from neurodeploy.workflow.new_recipe import recipe_schema

HEAD = """\
# Recipe keys

Written by `make docs` from the classes that recipes are read into.

A recipe is a TOML file that defines a training run. To start one of your own:

    neurodeploy new my_network.toml --like digits_conv

writes all keys below with their meanings; `neurodeploy models digits_conv --show` prints a
built-in one. Any key can be overridden on the command line: `neurodeploy train my_network.toml
--set training.epochs=5`. An unknown key is an error. `neurodeploy train runs/NAME-001/recipe.json`
repeats a run.

Editors that know JSON schemas for TOML (Even Better TOML, Taplo) check and complete recipes by
[recipe.schema.json](recipe.schema.json), which `neurodeploy models --schema` prints too. Name it in
the first line of the recipe:

```toml
#:schema ./recipe.schema.json
```
"""


def recipe_page() -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for path, cls in tables_of(Recipe):
        title = f"[{path}]" if path else "Outside all tables"
        keys = [key for key in keys_of(cls) if key.kind != "table"]
        parts.append(_section(title, "" if not path else _first_line(cls), keys))
        if path == "neuron":
            text = "In place of a number, `tau` and `tau_syn` take a table."
            parts.append(_section("A time constant as a table", text, list(keys_of(TimeConstant))))
    parts.append(
        "## [network]\n\n`family` names one of those below, or `nets.py:build`, a function"
    )
    parts.append("of yours (see [library.md](library.md)). The other keys are its options.\n")
    parts += [
        _section(f'family = "{n}"', _first_line(c), list(keys_of(c)), 3)
        for n, c in FAMILIES.items()
    ]
    parts.append("## [rule]\n\n`name` names one of those below. The other keys are its options.\n")
    parts += [
        _section(f'name = "{n}"', _first_line(c), list(keys_of(c)), 3) for n, c in RULES.items()
    ]
    parts.append("## [regularisers.NAME]\n\nAny number of those below, each a table of its own.\n")
    parts += [
        _section(f"[regularisers.{n}]", _first_line(c), list(keys_of(c)), 3)
        for n, c in REGULARISERS.items()
    ]
    return "\n".join(parts)


def schema_text() -> str:
    """The JSON schema as text."""
    return json.dumps(recipe_schema(), indent=2, ensure_ascii=False) + "\n"


def _section(title: str, text: str, keys: list[Key], level: int = 2) -> str:
    lines = [f"{'#' * level} {title}", ""]
    if text:
        lines += [text, ""]
    if keys:
        lines += ["| key | type | default | meaning |", "|---|---|---|---|", *map(_row, keys), ""]
    return "\n".join(lines)


def _row(key: Key) -> str:
    default = (
        "required" if key.required else "none" if key.default is None else toml_text(key.default)
    )
    if not key.required and key.default is not None:
        default = f"`{default}`"
    cells = (f"`{key.name}`", key.kind, default, key.meaning.replace("``", "`"))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _first_line(cls: type[Any]) -> str:
    return (
        inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
    )


if __name__ == "__main__":
    folder = Path(__file__).parent
    (folder / "recipe.md").write_text(recipe_page(), encoding="utf-8")
    (folder / "recipe.schema.json").write_text(schema_text(), encoding="utf-8")
