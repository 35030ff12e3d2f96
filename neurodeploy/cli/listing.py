"""Commands that only tell: ``targets``, ``models``, ``inspect`` and ``doctor``."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import click

from neurodeploy.cli.options import PATH
from neurodeploy.cli.output import json_option, print_json, say
from neurodeploy.cli.values import RECIPE
from neurodeploy.cli.wording import worded_here


@click.command()
@json_option
def targets(as_json: bool) -> None:
    """List the built-in targets with their limits."""
    from dataclasses import asdict

    from neurodeploy.target import builtin_targets

    found = builtin_targets()
    if as_json:
        print_json({name: asdict(target) for name, target in found.items()})
        return
    for name, target in found.items():
        cores = target.chip.cores.value * target.chip.chips.value
        neurons = target.core.neurons.value
        click.echo(f"{name:<14} {target.description}: {cores:,} cores of {neurons:,} neurons")


@click.command()
@click.argument("name", required=False, type=RECIPE)
@click.option("--show", is_flag=True, help="Print the recipe NAME as TOML.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of recipes, for editors.")
@json_option
def models(name: str | None, show: bool, schema: bool, as_json: bool) -> None:
    """List the built-in training recipes, or show one.

    NAME is one of those listed, or the path of a recipe. With --json all its keys are printed,
    including those with default values.
    """
    from neurodeploy.recipe import builtin_recipes, load_recipe
    from neurodeploy.recipe.recipe import recipe_file

    if show and name is None:
        raise click.UsageError("--show needs the NAME of a recipe")
    if schema:
        from neurodeploy.workflow.new_recipe import recipe_schema

        click.echo(json.dumps(recipe_schema(), indent=2))
        return
    if name is not None:
        recipe = load_recipe(name)
        if as_json:
            print_json({name: recipe.as_dict()})
        elif show:
            click.echo(recipe_file(name).read_text(encoding="utf-8"), nl=False)
        else:
            click.echo(f"{recipe.name}: {recipe.description}")
            say(as_json, f"Its keys: neurodeploy models {shlex.quote(name)} --show")
        return
    found = builtin_recipes()
    if as_json:
        print_json({name: recipe.as_dict() for name, recipe in found.items()})
        return
    width = max(map(len, found))
    for name, recipe in found.items():
        click.echo(f"{name:<{width}} {recipe.description}")


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "--like",
    type=RECIPE,
    default="digits_conv",
    show_default=True,
    help="Recipe whose values the new one starts with.",
)
@json_option
def new(file: Path, like: str, as_json: bool) -> None:
    """Write a commented recipe to start from.

    FILE is a new TOML file. It gets every key of a recipe, each with its meaning; keys with default
    values are commented out.
    """
    from neurodeploy.workflow.new_recipe import write_recipe

    path = write_recipe(file, like)
    if as_json:
        print_json({"file": str(path)})
        return
    click.echo(f"Wrote {path}")
    say(as_json, f"Next: neurodeploy train {shlex.quote(str(path))}")


@click.command()
@click.argument("file", type=PATH)
@json_option
def inspect(file: Path, as_json: bool) -> None:
    """Describe a .nir or .net file, a training run or a deployment."""
    from neurodeploy.workflow.inspection import describe

    text = worded_here(describe(file))
    if as_json:
        print_json({"file": str(file), "text": text})
    else:
        click.echo(text)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
def doctor(names: tuple[str, ...], as_json: bool) -> None:
    """Say what is installed, which engines work, and how to get what is missing.

    NAMES are engines, packages, frameworks or devices, such as lava, norse or cuda: then only
    these are checked, and the exit code is 1 if one of them is missing. Without NAMES it is 1
    only if nothing can work.
    """
    from dataclasses import asdict

    from neurodeploy.workflow.installation import examine

    findings = examine(names)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        kind, width = "", max(len(finding.name) for finding in findings)
        for finding in findings:
            if finding.kind != kind:
                kind = finding.kind
                click.echo(f"{kind.capitalize()}s")
            missing = finding.needed or finding.name in names
            state = "ok" if finding.works else ("MISSING" if missing else "absent")
            click.echo(f"  {finding.name:<{width}}  {finding.detail:<18} {state}")
        said = [finding.advice for finding in findings if not finding.works and finding.advice]
        for advice in dict.fromkeys(said):
            absent = [f.name for f in findings if not f.works and f.advice == advice]
            click.echo(f"To get {', '.join(absent)}: {worded_here(advice)}")
    if any((finding.needed or finding.name in names) and not finding.works for finding in findings):
        sys.exit(1)
