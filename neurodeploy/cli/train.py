"""``neurodeploy train``."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from neurodeploy.artifacts.names import LEARNING_CURVE, LOG_FILE, METRICS, NIR_FILE
from neurodeploy.cli.defaults import was_typed
from neurodeploy.cli.options import PATH, WHOLE_NUMBER, stated_options, track_option
from neurodeploy.cli.output import is_quiet, json_option, print_json, say
from neurodeploy.cli.values import (
    DATA,
    DEVICE,
    PRECISION,
    PRECISIONS,
    RECIPE,
    RULE,
    RULES,
    TARGET,
    listed,
)
from neurodeploy.cli.wording import KEYS, worded_here
from neurodeploy.errors import InputError
from neurodeploy.support.processes import connect, disconnect, is_main


@click.command()
@click.argument("recipe", required=False, type=RECIPE)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a recipe key, e.g. training.epochs=5; repeatable.",
)
@click.option(
    "--rule",
    type=RULE,
    help=f"Train by another rule: {listed(RULES)}, with its default options; --set rule.K=2 sets "
    "one.",
)
@click.option("--seed", type=WHOLE_NUMBER, help="Seed; the recipe's when not given.")
@click.option(
    "--data",
    type=DATA,
    help="Another data set by name, or where the recipe's data set is: an .npz with x_train, "
    "y_train, x_test and y_test, or a folder with the official files.",
)
@click.option(
    "--init",
    metavar="RUN|FILE",
    help="Start from the best weights of this run, or of the newest run of this recipe; or from "
    "the network in a .nir file, which replaces the recipe's. The options --from to --decode state "
    "what the file leaves open.",
)
@click.option(
    "--target",
    type=TARGET,
    help="Target whose integers to train on: a name from `neurodeploy targets` or a TOML file. "
    "Use it with, for example, --set quantize.bits=4.",
)
@click.option(
    "--precision",
    type=PRECISION,
    help=f"Number format of training: {listed(PRECISIONS)}; the recipe's when not given.",
)
@click.option(
    "--device",
    type=DEVICE,
    help="Where to train: cpu, cuda, cuda:1, or auto for a GPU if there is one.  [default: cpu, or "
    "what accelerate launch assigns]",
)
@click.option(
    "--out", type=PATH, metavar="FOLDER", help="New run folder.  [default: runs/RECIPE-NNN]"
)
@track_option
@click.option("--resume", type=PATH, metavar="RUN", help="Continue an interrupted run.")
@stated_options
@json_option
def train(
    recipe: str | None,
    overrides: tuple[str, ...],
    rule: str | None,
    seed: int | None,
    data: str | None,
    init: str | None,
    target: str | None,
    precision: str | None,
    device: str | None,
    out: Path | None,
    track: tuple[str, ...],
    resume: Path | None,
    as_json: bool,
    **stated: Any,
) -> None:
    """Train a spiking network as a recipe says.

    RECIPE is a name from `neurodeploy models`, a TOML file, or the recipe.json of a run; without
    it digits_conv is trained, or with --init FILE.nir finetune.

    The run folder gets metrics, checkpoints, a log and network.nir. On several devices or machines:
    `accelerate launch -m neurodeploy train ...`.
    """
    taken = ("recipe", "overrides", "rule", "data", "init", "target", "precision", "out", "seed")
    if resume and any(map(was_typed, (*taken, "track", *stated))):
        raise InputError("--resume takes everything from the run; give it alone, or with --device")
    from neurodeploy.ir.stated import Stated
    from neurodeploy.recipe import load_recipe
    from neurodeploy.workflow import finetune

    def remark(warning: str) -> None:
        click.echo(f"Warning: {worded_here(warning)}", err=True)

    processes = connect()
    if resume is None:
        from_file = finetune.is_network_file(init)
        given = {
            "seed": seed,
            "init": None if from_file else init,
            "precision": precision,
            "target": target,
        }
        keys = {key: given[name] for key, name in KEYS.items() if given.get(name) is not None}
        own = recipe is not None or not from_file
        overrides = (
            *overrides,
            *finetune.data_overrides(data, own_recipe=own),
            *(f"{key}={json.dumps(value)}" for key, value in keys.items()),
        )
        if init is not None and from_file:
            said = finetune.network_overrides(init, Stated(**stated), own_recipe=own)
            # First, so that single keys can still be set.
            overrides = (*said, *overrides)
        elif any(value is not None for value in stated.values()):
            raise InputError(_without_file(stated))
        if rule is not None:
            # The whole table, and first: options of the recipe's rule are not this one's.
            overrides = (f"rule={{name = {json.dumps(rule)}}}", *overrides)
        name = (finetune.RECIPE if from_file else "digits_conv") if recipe is None else recipe
        chosen = processes.on_main(lambda: load_recipe(name, overrides))
        if was_typed("target") and not chosen.quantize.bits:
            raise InputError(
                "--target is for training on integers; add --set quantize.bits=4, for example, or "
                "name the target in export"
            )
        say(as_json, f"Training {chosen.name}: {chosen.description}")
        from neurodeploy.training.run import train as train_recipe

        result = train_recipe(
            chosen, out, device=device, progress=not is_quiet(), remark=remark, track=track
        )
    else:
        say(as_json, f"Resuming {resume}")
        from neurodeploy.training.run import resume_run

        result = resume_run(resume, device=device, progress=not is_quiet(), remark=remark)
    disconnect()
    if not is_main():
        return
    from neurodeploy.artifacts.folders import read_recipe
    from neurodeploy.training.deployable import obstacles

    chip = read_recipe(result.path).quantize.target
    against = obstacles(result.path, chip)
    if as_json:
        print_json(
            {
                "run": str(result.path),
                "network": str(result.path / NIR_FILE),
                "log": str(result.path / LOG_FILE),
                **result.scores,
                "best_epoch": result.best_epoch,
                "epochs": result.epochs,
                "seconds": result.seconds,
                "predictions": result.outcome.as_dict(),
                "warnings": list(result.warnings),
                "target": chip,
                "obstacles": list(against),
                "metrics": result.metrics and asdict(result.metrics),
            }
        )
        return
    from neurodeploy.reporting.text import by_class_text, run_text, sparsity_text

    for warning in result.warnings:
        click.echo(f"Warning: {worded_here(warning)}")
    costs = "" if result.metrics is None else sparsity_text(result.metrics)
    costs = costs and f"{costs}\n"
    made = (name for name in (NIR_FILE, LEARNING_CURVE, METRICS) if (result.path / name).exists())
    click.echo(
        f"{run_text(result.scores, result.best_epoch, result.epochs)}, "
        f"{result.seconds:.1f} s of training\n"
        f"{by_class_text(result.outcome.test.summary())}\n"
        f"{costs}"
        f"Wrote {result.path}/ ({', '.join(made)})",
    )
    if against:
        click.echo(f"It cannot be deployed on {chip} as it is:")
        for obstacle in against:
            click.echo(f"  {worded_here(obstacle)}")
    else:
        say(as_json, f"Next: neurodeploy export --target {shlex.quote(chip)}")


def _without_file(stated: dict[str, Any]) -> str:
    """What to do instead with options that are for a file, where a recipe is trained."""
    keys = {"encoder": "encoder.name", "steps": "training.steps", "levels": "data.levels"}
    said = [f"--set {key}={stated[name]}" for name, key in keys.items() if stated[name]]
    return (
        "the options --from to --decode state what a .nir file leaves open; they go with --init "
        "FILE.nir" + (f". For this recipe: {' '.join(said)}" if said else "")
    )
