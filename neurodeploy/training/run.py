"""A training run as a folder: from a recipe to a trained network in NIR.

recipe.json            written first; what to resume with
metrics.jsonl          one line per epoch
tensorboard/           the same for TensorBoard
last.safetensors       state after the last finished epoch
best.safetensors       weights of the best epoch on the validation samples
network.nir            those weights, exported
learning_curve.png
run.json               written last: a run is complete when it is there
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import nir
import torch

from neurodeploy.data import Dataset, check_encoder, load_dataset
from neurodeploy.errors import InputError, SimulationError
from neurodeploy.files import (
    check_new_folder,
    next_free,
    read_json,
    sha256,
    write_json,
    written_whole,
)
from neurodeploy.recipe import Recipe, recipe_from_dict
from neurodeploy.training.checkpoint import TrainingState, load_state
from neurodeploy.training.evaluate import evaluate
from neurodeploy.training.export import input_code, to_nir
from neurodeploy.training.loop import batch_count, fit, reproducible
from neurodeploy.training.loss import InstantaneousLoss
from neurodeploy.training.networks import SpikingNetwork, build_network
from neurodeploy.training.rules import build_rule
from neurodeploy.training.split import split_training
from neurodeploy.training.start import COMPLETE, find_start, load_start
from neurodeploy.versions import versions

RUNS = Path("runs")
RECIPE, NETWORK, CURVE = "recipe.json", "network.nir", "learning_curve.png"
FORMAT = 1
"""Version of ``run.json``."""


@dataclass(frozen=True)
class RunResult:
    """What came out of a run.

    Attributes:
        path: the run folder.
        test_accuracy: of the best epoch's weights on the test samples, 0 to 1.
        validation_accuracy: the one that the epoch was chosen by, 0 to 1.
        best_epoch: counted from 1.
        epochs: how many were trained.
        seconds: wall time of all epochs, also of those before an interruption.
    """

    path: Path
    test_accuracy: float
    validation_accuracy: float
    best_epoch: int
    epochs: int
    seconds: float


def train(
    recipe: Recipe,
    out: Path | None = None,
    *,
    device: str = "cpu",
    resume: bool = False,
    progress: bool = True,
) -> RunResult:
    """Train a recipe's network and fill a run folder.

    Args:
        recipe: everything that defines the run.
        out: the run folder, new or empty; None takes the next free ``runs/<recipe name>-NNN``.
        device: as torch names it, for example ``cpu`` or ``cuda``.
        resume: go on with the incomplete run of this very recipe in ``out``.
        progress: show a bar on stderr where that is a terminal.

    Raises:
        InputError: the recipe, device or folder cannot be used.
        SimulationError: the training diverged or was interrupted.
    """
    if not 0 <= recipe.seed < 2**32:
        raise InputError(f"recipe {recipe.name}: seed must be from 0 to 2^32 - 1: {recipe.seed}")
    data = recipe.data
    dataset = load_dataset(data.name, data.source, recipe.training.steps, data.levels)
    check_encoder(dataset, recipe.encoder.name)
    recipe = _as_found(recipe, dataset)
    where = _find_device(device)
    with reproducible(where, recipe.training.threads):
        torch.manual_seed(recipe.seed)
        model = build_network(recipe, dataset).to(where)
        if recipe.training.start_from:
            load_start(model, Path(recipe.training.start_from))
        rule = build_rule(recipe)
        split = split_training(recipe, dataset)
        batch_count(model, recipe, len(split.y_train))
        # Only now: a recipe that cannot be trained leaves no folder behind.
        run = _open_run(recipe, out) if not resume else _reopen_run(recipe, out)
        code = input_code(recipe, dataset)
        try:
            before = load_state(run) if resume else None
            state = fit(model, rule, recipe, split, code, run, before, progress)
            return _finish(run, recipe, dataset, model, state)
        except KeyboardInterrupt:
            raise SimulationError(
                f"{run}: interrupted; every finished epoch is on disk. Continue with: "
                f"neurodeploy train --resume {run}"
            ) from None


def resume_run(path: Path, *, device: str = "cpu", progress: bool = True) -> RunResult:
    """Go on with an interrupted run; the result is that of a run never interrupted.

    Raises:
        InputError: not a run folder, or a complete one.
        SimulationError: the training diverged or was interrupted again.
    """
    recipe = _read_recipe(path)
    return train(recipe, path, device=device, resume=True, progress=progress)


def _as_found(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The recipe with paths that stay true: those of the data read and of the run begun with.

    It is what the run folder keeps, so that resuming reads the same data or says that it changed.
    """
    source = dataset.source
    data = replace(recipe.data, path=source.path, sha256=source.sha256)
    start = recipe.training.start_from and str(find_start(recipe.training.start_from, RUNS))
    return replace(recipe, data=data, training=replace(recipe.training, start_from=start))


def _find_device(name: str) -> torch.device:
    """The torch device of that name, if it is there."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used: {reason}; 'cpu' always can") from None
    return device


def _open_run(recipe: Recipe, out: Path | None) -> Path:
    """Make the run folder and write the recipe into it.

    Raises:
        InputError: the folder exists and is not empty, or cannot be written.
    """
    if out is None:
        run = _make_next_free(recipe)
    else:
        run = out
        if (run / RECIPE).is_file() and not (run / COMPLETE).exists():
            raise InputError(
                f"{run}: holds an unfinished run; choose another folder, or continue it with: "
                f"neurodeploy train --resume {run}"
            )
        check_new_folder(run)
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{run}: cannot be written: {error.strerror}") from None
    write_json(run / RECIPE, recipe.as_dict())
    return run


def _make_next_free(recipe: Recipe) -> Path:
    """Make ``runs/<name>-NNN`` with the next free number."""
    if not re.fullmatch(r"[\w.+-]+", recipe.name):
        raise InputError(f"recipe name {recipe.name!r} cannot name a folder; give the run folder")
    while True:
        run = next_free(RUNS, recipe.name)
        try:
            run.mkdir(parents=True)
            return run
        except FileExistsError:
            # Another run, started at the same moment, was faster.
            continue
        except OSError as error:
            raise InputError(f"{run}: cannot be written: {error.strerror}") from None


def _reopen_run(recipe: Recipe, out: Path | None) -> Path:
    """Check that ``out`` is an incomplete run of the same recipe.

    Raises:
        InputError: it is not.
    """
    if out is None:
        raise InputError("resuming needs the folder of the run")
    if _read_recipe(out) != _as_read_back(recipe):
        raise InputError(f"{out / RECIPE}: differs from the recipe given; start a new run with it")
    if (out / COMPLETE).exists():
        raise InputError(f"{out}: this run is complete, there is nothing to resume")
    for leftover in out.glob(".*.partial"):
        # Of a file that was being written when the run was killed.
        leftover.unlink(missing_ok=True)
    return out


def _read_recipe(run: Path) -> Recipe:
    """The recipe that a run folder was started with."""
    if not (run / RECIPE).is_file():
        raise InputError(f"{run}: not a run folder (no {RECIPE})")
    return recipe_from_dict(read_json(run / RECIPE), str(run / RECIPE))


def _as_read_back(recipe: Recipe) -> Recipe:
    """The recipe as JSON gives it back, where tuples have become lists."""
    return recipe_from_dict(json.loads(json.dumps(recipe.as_dict())), recipe.name)


def _finish(
    run: Path, recipe: Recipe, dataset: Dataset, model: SpikingNetwork, state: TrainingState
) -> RunResult:
    """Test the best weights, once; export and plot them; mark the run complete."""
    # matplotlib is slow to import and only needed here.
    from neurodeploy.training.curve import learning_curve

    model.load_state_dict(dict(state.best))
    loss, code = InstantaneousLoss.of(recipe.training), input_code(recipe, dataset)
    tested = evaluate(model, dataset.x_test, dataset.y_test, code, recipe.training.steps, loss)
    best = state.history[state.best_epoch - 1]
    result = RunResult(
        path=run,
        test_accuracy=tested.accuracy,
        validation_accuracy=best.validation_accuracy,
        best_epoch=state.best_epoch,
        epochs=len(state.history),
        seconds=sum(metrics.seconds for metrics in state.history),
    )
    with written_whole(run / NETWORK) as temporary:
        nir.write(temporary, to_nir(model, recipe, dataset))
    curve = learning_curve(recipe.name, state.history, state.best_epoch, tested.accuracy)
    with written_whole(run / CURVE) as temporary:
        temporary.write_bytes(curve)
    summary = {
        "format": FORMAT,
        "kind": "run",
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "recipe": recipe.as_dict(),
        "test_accuracy": result.test_accuracy,
        "validation_accuracy": result.validation_accuracy,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "versions": versions(),
        "sha256": {NETWORK: sha256(run / NETWORK)},
    }
    write_json(run / COMPLETE, summary)
    return result
