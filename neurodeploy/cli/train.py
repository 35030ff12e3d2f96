"""``neurodeploy train``."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from neurodeploy.artifacts.names import LEARNING_CURVE, METRICS, NIR_FILE
from neurodeploy.cli.options import (
    KEYS,
    PATH,
    json_option,
    print_json,
    say,
    stated_options,
    worded_here,
)
from neurodeploy.errors import InputError
from neurodeploy.support.processes import connect, disconnect, is_main


@click.command()
@click.argument("recipe", required=False)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a recipe key, e.g. training.epochs=5.",
)
@click.option(
    "--rule",
    metavar="NAME",
    help="Train by this rule instead: sltt, sltt-k, bptt, ottt or rate, with its default options; "
    "--set rule.K=2 sets one.",
)
@click.option("--seed", type=int, help="Seed; the recipe's when not given.")
@click.option(
    "--data",
    metavar="NAME, FILE or FOLDER",
    help="Another data set by name, or where the recipe's lies: an .npz with x_train, y_train, "
    "x_test and y_test, or a folder with the official files.",
)
@click.option(
    "--init",
    metavar="RUN or FILE.nir",
    help="Start with the best weights of this run, or of the newest run of this recipe; or with "
    "the network of a file, which is then the recipe's. The options --from to --decode state what "
    "the file leaves open.",
)
@click.option(
    "--target",
    metavar="NAME or FILE",
    help="Whose integers to train on, a name from `neurodeploy targets` or a TOML file; goes with "
    "--set quantize.bits=4, say.",
)
@click.option(
    "--precision",
    metavar="NAME",
    help="Number format of training: fp32, fp64, bf16 or fp16; the recipe's when not given.",
)
@click.option(
    "--device",
    help="Where to train, e.g. cuda.  [default: cpu, or what accelerate launch assigns]",
)
@click.option("--out", type=PATH, help="Run folder.  [default: runs/RECIPE-NNN]")
@click.option("--resume", type=PATH, metavar="RUN", help="Go on with an interrupted run.")
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
    resume: Path | None,
    as_json: bool,
    **stated: Any,
) -> None:
    """Train RECIPE (a name from `neurodeploy models` or a TOML file; default digits_conv, and with
    --init FILE.nir finetune).

    On several devices or machines: `accelerate launch -m neurodeploy train ...`.
    """
    options = (recipe, overrides, rule, data, init, target, precision, out, *stated.values())
    if resume and any(value is not None and value != () for value in (*options, seed)):
        raise InputError("--resume takes everything from the run; give it alone (or with --device)")
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
            raise InputError(
                "the options --from to --decode state what a .nir file leaves open; they go with "
                "--init FILE.nir"
            )
        if rule is not None:
            # The whole table, and first: options of the recipe's rule are not this one's.
            overrides = (f"rule={{name = {json.dumps(rule)}}}", *overrides)
        name = (finetune.RECIPE if from_file else "digits_conv") if recipe is None else recipe
        chosen = processes.on_main(lambda: load_recipe(name, overrides))
        if target is not None and not chosen.quantize.bits:
            raise InputError("--target is for training on integers; --set quantize.bits=4, say")
        say(as_json, f"Training {chosen.name}: {chosen.description}")
        from neurodeploy.training.run import train as train_recipe

        result = train_recipe(chosen, out, device=device, remark=remark)
    else:
        say(as_json, f"Resuming {resume}")
        from neurodeploy.training.run import resume_run

        result = resume_run(resume, device=device, remark=remark)
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
        say(as_json, f"Warning: {worded_here(warning)}")
    costs = "" if result.metrics is None else sparsity_text(result.metrics)
    costs = costs and f"{costs}\n"
    made = (name for name in (NIR_FILE, LEARNING_CURVE, METRICS) if (result.path / name).exists())
    say(
        as_json,
        f"{run_text(result.scores, result.best_epoch, result.epochs)}, "
        f"{result.seconds:.1f} s of training\n"
        f"{by_class_text(result.outcome.test.summary())}\n"
        f"{costs}"
        f"Wrote {result.path}/ ({', '.join(made)})",
    )
    if against:
        say(as_json, f"It cannot be deployed on {chip} as it is:")
        for obstacle in against:
            say(as_json, f"  {worded_here(obstacle)}")
    else:
        say(as_json, f"Next: neurodeploy export --target {shlex.quote(chip)}")
