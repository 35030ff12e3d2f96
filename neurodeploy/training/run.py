"""A training run as a folder: from a recipe to a trained network in NIR.

recipe.json            written first; what to resume with
start.nir              the file that the network came from, if it came from one
metrics.jsonl          one line per epoch
tensorboard/           the same for TensorBoard
trackers.json          what MLflow and others that are told know the run by, if any are
last.safetensors       state after the last finished epoch, or within a long one
best.safetensors       weights of the best epoch on the validation samples
network.nir            those weights, exported
train.log              what was said meanwhile, with times
learning_curve.png
predictions.csv        their class for every test sample; validation_predictions.csv likewise
run.json               written last: a run is complete when it is there
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurodeploy.artifacts.epochs import EpochMetrics
from neurodeploy.artifacts.folders import as_read_back, open_run, read_recipe, reopen_run
from neurodeploy.artifacts.names import (
    COMPLETE,
    LEARNING_CURVE,
    LOG_FILE,
    METRICS,
    NIR_FILE,
    RUN_FORMAT,
    RUNS,
)
from neurodeploy.data import Dataset
from neurodeploy.errors import (
    InputError,
    InterruptionError,
    Setting,
    SimulationError,
    Step,
    Text,
    UnwritableError,
)
from neurodeploy.interchange.nir.file import write_own_nir
from neurodeploy.nn.device import find_device, lay_out, parameter_dtype
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.nn.families.user import pinned
from neurodeploy.recipe import Recipe
from neurodeploy.rules import Rule
from neurodeploy.simulation.values import PredictedValues
from neurodeploy.support.figures import ornament, png
from neurodeploy.support.files import as_path, check_writable, sha256, write_json, write_whole
from neurodeploy.support.log import LOG, kept, told
from neurodeploy.support.processes import ContactLostError, connect
from neurodeploy.support.seals import sealed
from neurodeploy.support.system import freed_memory_kept, versions
from neurodeploy.training.assembly import (
    check_batches_of,
    check_pruning,
    graph_of,
    input_code,
    load_data,
    loss_of,
    network_of,
    quantization_aware,
    regularisers_of,
    rule_of,
    split_of,
)
from neurodeploy.training.augmentation_over_time import check_augmentation
from neurodeploy.training.checkpoint import (
    TrainingState,
    check_room_for,
    copy_weights,
    find_start,
    load_start,
    load_state,
)
from neurodeploy.training.deployable import check_deployable
from neurodeploy.training.epoch import Job
from neurodeploy.training.imported import keep_copy, located
from neurodeploy.training.loop import fit, reproducible
from neurodeploy.training.outcome import Outcome, data_warnings, measured
from neurodeploy.training.trackers.tracking import Tracking


@dataclass(frozen=True)
class RunResult:
    """What came out of a run.

    Attributes:
        path: the run folder.
        test_accuracy: of the best epoch's weights on the test samples, 0 to 1; NaN where values are
            predicted, whose errors are in ``outcome``.
        validation_accuracy: the one that the epoch was chosen by, likewise.
        best_epoch: counted from 1.
        epochs: how many were trained.
        seconds: wall time of all epochs, also of those before an interruption.
        outcome: the class, or the values, of every validation and test sample with the best epoch's
            weights.
        warnings: what looks like a mistake in the data, or in what came of them: layers, too, that
            carry nothing.
        metrics: of the best epoch.
    """

    path: Path
    test_accuracy: float
    validation_accuracy: float
    best_epoch: int
    epochs: int
    seconds: float
    outcome: Outcome
    warnings: tuple[str, ...] = ()
    metrics: EpochMetrics | None = None

    @property
    def scores(self) -> dict[str, Any]:
        """How good it is, as JSON holds it: accuracies, or of values their errors."""
        validation, test = self.outcome
        if isinstance(test, PredictedValues) and isinstance(validation, PredictedValues):
            return {
                "task": "regression",
                "test_accuracy": None,
                "validation_accuracy": None,
                "test_smape": test.smape,
                "validation_smape": validation.smape,
                "test_mse": test.mse,
                "validation_mse": validation.mse,
            }
        return {
            "test_accuracy": self.test_accuracy,
            "validation_accuracy": self.validation_accuracy,
        }


def _to_stderr(warning: str) -> None:
    print(f"Warning: {warning}", file=sys.stderr)


def train(
    recipe: Recipe,
    out: Path | str | None = None,
    *,
    device: str | None = None,
    resume: bool = False,
    progress: bool = True,
    remark: Callable[[str], None] = _to_stderr,
    after_epoch: Callable[[EpochMetrics], None] | None = None,
    track: Sequence[str] = (),
) -> RunResult:
    """Train a recipe's network and fill a run folder.

    Under ``accelerate launch`` every process calls this with the same arguments, and they share
    the work; the main one alone touches the run folder.

    Args:
        recipe: everything that defines the run.
        out: the run folder, new or empty; None takes the next free ``runs/<recipe name>-NNN``.
        device: as torch names it, for example ``cuda``, or ``auto`` for a GPU where there is one;
            None for the launcher's choice, or the CPU without a launcher.
        resume: go on with the incomplete run of this very recipe in ``out``.
        progress: show a bar on stderr where that is a terminal, else a line for each epoch.
        remark: with ``progress``, is told before the first epoch what is worth knowing of the data.
        after_epoch: is told of each epoch on the main process once it is on disk. What it raises
            ends the training there, which can be resumed.
        track: services to tell of the epochs as well: ``mlflow``, ``wandb``. A run gone on with
            tells those that it began with.

    Raises:
        InputError: the recipe, device or folder cannot be used, or a service does not answer.
        MissingDependencyError: the package of a service is not installed.
        CheckFailedError: the recipe trains on integers of a chip that cannot hold the network.
        DivergedError: the loss or the weights ran away.
        InterruptionError: Ctrl-C ended the training, which can be resumed.
        SimulationError: another process of this training is gone.
    """
    if not 0 <= recipe.seed < 2**32:
        raise InputError(f"recipe {recipe.name}: seed must be from 0 to 2^32 - 1: {recipe.seed}")
    out = None if out is None else as_path(out, "train")
    training, processes = recipe.training, connect()
    planned = out or RUNS / recipe.name
    processes.on_main(lambda: check_writable(planned))
    tracking = Tracking()
    processes.on_main(lambda: tracking.check(track, out if resume else None))
    with processes.together():
        _check_launcher_precision(recipe)
        where = find_device(device, training.precision, processes)
    dataset = processes.on_each_machine_first(lambda: load_data(recipe))
    recipe = processes.on_main(lambda: with_data_as_found(recipe, dataset))
    with processes.together():
        _check_data(dataset, recipe)
    if progress and processes.is_main:
        for warning in data_warnings(dataset, recipe):
            remark(warning)
    with reproducible(where, training.threads) as threads, freed_memory_kept(), ExitStack() as held:
        torch.manual_seed(recipe.seed)
        model = network_of(recipe, dataset, out if resume else None)
        model = model.to(where, parameter_dtype(training.precision))
        model = lay_out(model, training.batch_size, training.precision)
        rule = rule_of(recipe)
        regularisers = regularisers_of(recipe, model)
        check_pruning(recipe, model)
        split = split_of(recipe, dataset)
        _check_rule(rule, recipe)
        check_augmentation(recipe.augmentation, dataset, f"recipe {recipe.name}: ")
        _ = loss_of(recipe, split.y_train, dataset.classes)
        check_batches_of(recipe, model, len(split.y_train), processes)
        model.load_state_dict(processes.on_main(lambda: _first_weights(model, recipe)))
        code = input_code(recipe, dataset)
        floats = model
        model = quantization_aware(floats, recipe, code.payload, rule)
        if not resume:
            processes.on_main(lambda: check_deployable(model, recipe, dataset))
        processes.on_main(
            lambda: check_room_for(planned, model, training.optimizer, training.average > 0)
        )
        # Only now: a recipe that cannot be trained leaves no folder behind.
        open_folder = reopen_run if resume else open_run
        run = processes.on_main(lambda: held.enter_context(open_folder(recipe, out)))
        processes.on_main(lambda: keep_copy(recipe, run))
        job = Job(recipe, model, rule, split, code, processes, threads, regularisers, floats)
        if processes.is_main:
            held.enter_context(kept(run / LOG_FILE))
            if progress:
                held.enter_context(told())
            doing = "Resuming" if resume else "Training"
            LOG.debug(f"{doing} {recipe.name} in {run} on {where}; {versions()}")
        held.enter_context(tracking)

        def tell(metrics: EpochMetrics) -> None:
            tracking.log(metrics)
            if after_epoch is not None:
                after_epoch(metrics)

        try:
            before = processes.on_main(lambda: load_state(run) if resume else None)
            done = before.history if before else ()
            processes.on_main(lambda: tracking.begin(run, recipe, done))
            state = fit(job, run, before, progress, tell)
            result = _finish(run, job, dataset, state)
            tracking.summarize({**result.scores, "best_epoch": result.best_epoch})
            return result
        except KeyboardInterrupt:
            raise InterruptionError(
                f"interrupted; every finished epoch of {run} is on disk", fix=_continuation(run)
            ) from None
        except UnwritableError as error:
            raise UnwritableError(
                error.text, fix=Text("make room and ", _continuation(run))
            ) from None
        except ContactLostError as error:
            raise SimulationError(
                f"{run}: {error}; every finished epoch is on disk", fix=_continuation(run)
            ) from None


def _continuation(run: Path) -> Text:
    return Text("continue with: ", Step("resume_run", str(run)))


def resume_run(
    path: Path | str,
    *,
    device: str | None = None,
    progress: bool = True,
    remark: Callable[[str], None] = _to_stderr,
) -> RunResult:
    """Go on with an interrupted run; the result is that of a run never interrupted.

    Raises:
        InputError: not a run folder, or a complete one.
        DivergedError, SimulationError: as ``train``.
    """
    run = as_path(path, "resume_run")
    recipe = connect().on_main(lambda: read_recipe(run))
    return train(recipe, run, device=device, resume=True, progress=progress, remark=remark)


def is_run_of(recipe: Recipe, run: Path) -> bool:
    """Whether a run was started with this very recipe, on the data that it means here.

    Raises:
        InputError: the data or the run cannot be read.
    """
    return read_recipe(run) == as_read_back(with_data_as_found(recipe, load_data(recipe)))


def with_data_as_found(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The recipe with paths that stay true: those of the data, the run begun with, the chip.

    It is what the run folder keeps, so that resuming reads the same data or says that it changed.
    """
    source = dataset.source
    data = replace(recipe.data, path=source.path, sha256=source.sha256)
    start = recipe.training.start_from and str(find_start(recipe.training.start_from, RUNS))
    training, quantize = replace(recipe.training, start_from=start), recipe.quantize
    if quantize.target.endswith(".toml"):
        quantize = replace(quantize, target=str(Path(quantize.target).absolute()))
    network = pinned(recipe.network)
    found = replace(recipe, data=data, training=training, quantize=quantize, network=network)
    return located(found)


def _first_weights(model: SpikingNetwork, recipe: Recipe) -> dict[str, Tensor]:
    """The weights to start with: as they were drawn, or another run's."""
    if recipe.training.start_from:
        load_start(model, Path(recipe.training.start_from))
    return copy_weights(model)


def _check_data(dataset: Dataset, recipe: Recipe) -> None:
    """Refuse data that are not those of the main process, as on another machine they may be.

    Raises:
        InputError: they are not.
    """
    found, wanted = dataset.source.sha256, recipe.data.sha256
    if found != wanted:
        raise InputError(
            f"{dataset.source.path}: sha256 {found}, but the main process reads {wanted}; give "
            "every machine the same data"
        )


def _check_rule(rule: Rule, recipe: Recipe) -> None:
    """Refuse what does not go with updates within a batch.

    Raises:
        InputError: the recipe asks for it.
    """
    training = recipe.training
    if getattr(rule, "update", "steps") == "steps":
        return
    where = f"recipe {recipe.name}: the rule's update = 'step' changes the parameters at each step"
    if training.accumulate > 1:
        raise InputError(
            f"{where} of the whole batch, which training.accumulate = {training.accumulate} would "
            "cut into pieces; set one of the two to its default"
        )
    if training.precision == "fp16":
        raise InputError(
            f"{where}, but fp16 keeps one scale of the loss for all of them; set "
            "training.precision=bf16"
        )


def _check_launcher_precision(recipe: Recipe) -> None:
    """Refuse a precision of the launcher that the recipe does not have.

    Raises:
        InputError: they differ.
    """
    asked, precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no"), recipe.training.precision
    if asked not in ("no", precision):
        raise InputError(
            f"accelerate launch asks for mixed precision {asked}, recipe {recipe.name} for "
            f"{precision}, and the recipe decides",
            fix=Text(
                "train with ",
                Setting("training.precision", asked),
                ", or launch with --mixed_precision no",
            ),
        )


def _finish(run: Path, job: Job, dataset: Dataset, state: TrainingState) -> RunResult:
    """Test the best weights, once; on the main process, write what came out."""
    job.model.load_state_dict(dict(state.best))
    outcome = measured(job, dataset)
    return job.processes.on_main(lambda: _write_result(run, job, dataset, state, outcome))


def _write_result(
    run: Path, job: Job, dataset: Dataset, state: TrainingState, outcome: Outcome
) -> RunResult:
    """Export and plot the best weights; mark the run complete."""
    # matplotlib is slow to import and only needed here.
    from neurodeploy.training.training_curve import curve_figure

    recipe, best = job.recipe, state.history[state.best_epoch - 1]
    values = isinstance(outcome.test, PredictedValues)
    tested = math.nan if values else outcome.test.accuracy or 0.0
    result = RunResult(
        path=run,
        test_accuracy=tested,
        validation_accuracy=math.nan
        if best.validation_accuracy is None
        else best.validation_accuracy,
        best_epoch=state.best_epoch,
        epochs=len(state.history),
        seconds=sum(metrics.seconds for metrics in state.history),
        outcome=outcome,
        warnings=(
            *data_warnings(dataset, recipe),
            *best.warnings,
            *outcome.warnings(recipe.data.exclude),
        ),
        metrics=best,
    )
    write_own_nir(run / NIR_FILE, graph_of(job.model, recipe, dataset, job.loss))
    with ornament(run / LEARNING_CURVE):
        shown = outcome.test.smape if isinstance(outcome.test, PredictedValues) else tested
        curve = curve_figure(recipe.name, state.history, state.best_epoch, shown or 0.0)
        write_whole(run / LEARNING_CURVE, png(curve))
    outcome.write(run, job.split.held_back)
    summary = {
        "format": RUN_FORMAT,
        "kind": "run",
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "recipe": recipe.as_dict(),
        **result.scores,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "predictions": outcome.summary(),
        "warnings": list(result.warnings),
        "processes": job.processes.count,
        "device": next(job.model.parameters()).device.type,
        "versions": versions(),
        "sha256": {name: sha256(run / name) for name in (NIR_FILE, METRICS)},
    }
    write_json(run / COMPLETE, sealed(summary))
    return result
