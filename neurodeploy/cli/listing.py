"""Commands that only tell: ``targets``, ``models``, ``inspect`` and ``doctor``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from neurodeploy.cli.options import PATH, json_option, print_json, worded_here


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
@json_option
def models(as_json: bool) -> None:
    """List the built-in training recipes."""
    from neurodeploy.recipe import builtin_recipes

    found = builtin_recipes()
    if as_json:
        print_json({name: recipe.as_dict() for name, recipe in found.items()})
        return
    width = max(map(len, found))
    for name, recipe in found.items():
        click.echo(f"{name:<{width}} {recipe.description}")


@click.command()
@click.argument("file", type=PATH)
def inspect(file: Path) -> None:
    """Say what is in a .nir or .net file, a training run or a deployment."""
    from neurodeploy.workflow.inspection import describe

    click.echo(worded_here(describe(file)))


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say which versions are here, what works, and how to get what is missing."""
    from dataclasses import asdict

    from neurodeploy.workflow.inspection import examine

    findings = examine()
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            state = "ok" if finding.works else ("MISSING" if finding.needed else "absent")
            click.echo(f"{finding.name:<14} {finding.detail:<16} {state}")
            if not finding.works:
                click.echo(f"{'':<14} {worded_here(finding.advice)}")
    if any(finding.needed and not finding.works for finding in findings):
        sys.exit(1)
