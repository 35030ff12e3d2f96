"""Accuracy against weight bits: rounded after training, and trained on the integers.

The float network is trained once, or taken from a run. For each width it is quantised as ``export``
does, and trained further on the integers from the same weights. Every accuracy is that of the
deployed integers on the reference engine, over the whole test set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from neurodeploy.artifacts.folders import read_training
from neurodeploy.artifacts.names import NIR_FILE
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.farm import Calls, Farm, plan
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizationPlan
from neurodeploy.ir.stated import Stated
from neurodeploy.quantization.scales import ScaleMethod
from neurodeploy.recipe import QuantizeRecipe, Recipe, load_recipe
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.target import load_target
from neurodeploy.workflow.exported import read_planned
from neurodeploy.workflow.kept_runs import check_kept, folder_for_runs, with_data_at
from neurodeploy.workflow.kept_runs import trained as trained_run
from neurodeploy.workflow.quantization import QuantizationOptions, quantized
from neurodeploy.workflow.samples import dataset_samples
from neurodeploy.workflow.task import check_tells_classes

Mode = Literal["post-training", "aware"]
MODES: tuple[Mode, ...] = ("post-training", "aware")

EPOCHS = 5
"""A recipe's epochs divided by this are trained on integers when nobody says how many."""

RATE = 0.1
"""Share of the recipe's learning rate that training on integers begins with: it only fine-tunes."""

BATCH = 256


@dataclass(frozen=True)
class QuantizationRow:
    """One width in one mode.

    Attributes:
        bits: width of all weights.
        accuracy: of the integers, 0 to 1.
        float_accuracy: of the float network that they were made from.
    """

    bits: int
    mode: Mode
    accuracy: float
    float_accuracy: float


def bench_quantization(
    source: Recipe | Path,
    bits: Sequence[int],
    modes: Sequence[Mode] = MODES,
    *,
    target: str = "loihi2",
    scale: ScaleMethod | None = None,
    epochs: int = 0,
    data: Path | None = None,
    keep: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = False,
) -> Iterator[QuantizationRow]:
    """Measure every width in every mode; yields each as soon as it is there.

    Args:
        source: a recipe, whose float network is trained first, or a run with one.
        target: a name, or the path of a TOML.
        scale: of post-training; what ``export`` takes when None.
        epochs: of training on integers; a share of the recipe's (``EPOCHS``) when 0.
        data: where the data set lies now; None for where the recipe or the run says.
        keep: folder that all runs are left in. Those that are there are taken, or finished where
            they were interrupted, instead of trained again.
        workers: processes of this machine that take widths at the same time, once the float
            network is trained.
        scheduler: address of a Dask scheduler whose workers take them; they share ``keep``.
        progress: show bars on stderr where that is a terminal, with one width at a time.

    Raises:
        InputError: a width that the target does not have, no such run, or a kept one of another
            recipe.
        DivergedError: a training ran away.
        InterruptionError: Ctrl-C ended a training.
        UnsupportedError: the network cannot be deployed, or trained on integers.
    """
    chip = load_target(target)
    most = chip.synapse.weight_bits.value
    for width in bits:
        if not 1 <= width <= most:
            raise InputError(
                Text(Setting("bits"), f": {width} is not from 1 to {most}, as {chip.name} has")
            )
    if epochs < 0:
        raise InputError(
            Text(Setting("epochs", str(epochs)), ": needs a number from 1, or 0 for a share")
        )
    recipe = with_data_at(source if isinstance(source, Recipe) else _recipe_of(source), data)
    check_tells_classes(recipe, "bench quantization")
    place = plan(workers, scheduler)
    check_kept(place, keep)
    with folder_for_runs(keep) as folder:
        given = source if isinstance(source, Path) else None
        run = given or trained_run(recipe, folder / "float", progress)
        network, _ = _network_of(run, recipe)
        floats = _accuracy(FloatEngine(network), network)
        # Workers elsewhere have a working directory of their own.
        base = folder if place is None else folder.absolute()
        cases = [
            _Case(recipe, run.absolute(), base, width, mode, target, scale, epochs)
            for width in bits
            for mode in modes
        ]
        if place is None:
            for case in cases:
                accuracy = _measured(replace(case, progress=progress))
                yield QuantizationRow(case.bits, case.mode, accuracy, floats)
            return
        with Farm(place, Calls(_measured), len(cases)) as farm:
            farm.check_sees(str(run.absolute()), "keep")
            answers = farm.in_order(
                cases,
                lambda number: f"{cases[number].bits} bits, {cases[number].mode}",
                lambda row: None,
            )
            for case, accuracy in zip(cases, answers, strict=True):
                yield QuantizationRow(case.bits, case.mode, accuracy, floats)


@dataclass(frozen=True)
class _Case:
    """One width in one mode.

    Attributes:
        run: with the float network.
        folder: that trainings on integers go to.
    """

    recipe: Recipe
    run: Path
    folder: Path
    bits: int
    mode: Mode
    target: str
    scale: ScaleMethod | None
    epochs: int
    progress: bool = False


def _measured(case: _Case) -> float:
    """Accuracy of its integers on the test set."""
    recipe, chip = case.recipe, load_target(case.target)
    network, _ = _network_of(case.run, recipe)
    if case.mode == "aware":
        tuned = _on_integers(recipe, case.run, case.bits, case.target, case.epochs)
        found = trained_run(tuned, case.folder / f"aware-{case.bits}", case.progress)
        trained, chosen = _network_of(found, recipe)
        integers = quantized(trained, chip, QuantizationOptions(), chosen)
    else:
        integers = quantized(network, chip, QuantizationOptions(case.bits, case.scale), None)
    return _accuracy(ReferenceEngine(integers), network)


def source_named(recipe: str | None, run: Path | None) -> Recipe | Path:
    """The run, or the recipe of that name; digits_conv without either.

    Raises:
        InputError: both are given, or there is no such recipe.
    """
    if recipe is not None and run is not None:
        raise InputError(
            Text(
                "give either ",
                Setting("recipe"),
                " or ",
                Setting("run"),
                ", not both: a run has its recipe with it",
            )
        )
    return run or load_recipe(recipe or "digits_conv")


def widths_named(text: str) -> list[int]:
    """Widths from a list such as ``8,4,2``, each once and in that order.

    Raises:
        InputError: not whole numbers.
    """
    try:
        return [*dict.fromkeys(int(width) for width in text.split(","))]
    except ValueError:
        raise InputError(
            Text(Setting("bits", text), ": expected whole numbers, as in 8,4,2")
        ) from None


def modes_named(text: str) -> list[Mode]:
    """Modes from a list such as ``post-training,aware``, in the order of ``MODES``.

    Raises:
        InputError: one is not known.
    """
    names = text.split(",")
    for name in names:
        if name not in MODES:
            raise InputError(Text(Setting("modes"), f": {name!r} is not one of {', '.join(MODES)}"))
    return [mode for mode in MODES if mode in names]


def _recipe_of(run: Path) -> Recipe:
    """The recipe that a run was trained with."""
    return read_training(run).recipe


def _network_of(run: Path, recipe: Recipe) -> tuple[Network, QuantizationPlan | None]:
    """What a run left, on the data that the recipe names."""
    network, plan = read_planned(run / NIR_FILE, Stated())
    contract = replace(network.contract, source=recipe.data.source)
    return replace(network, contract=contract), plan


def _on_integers(recipe: Recipe, run: Path, bits: int, target: str, epochs: int) -> Recipe:
    """The recipe that fine-tunes a run's weights on the target's integers."""
    training = replace(
        recipe.training,
        epochs=epochs or max(1, recipe.training.epochs // EPOCHS),
        learning_rate=recipe.training.learning_rate * RATE,
        warmup_epochs=0,
        start_from=str(run.absolute()),
    )
    return replace(recipe, training=training, quantize=QuantizeRecipe(bits, target, 1))


def _accuracy(engine: FloatEngine | ReferenceEngine, network: Network) -> float:
    """Share of right answers on the test set."""
    contract = network.contract
    samples = dataset_samples(network, None)
    right = sum(
        int((trace.predictions(contract.decode, batch.lengths) == batch.labels).sum())
        for batch, trace in engine.run(samples.batches(BATCH))
    )
    return right / samples.count
