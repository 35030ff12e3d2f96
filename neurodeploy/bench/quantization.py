"""Accuracy against weight bits: rounded after training, and trained on the integers.

The float network is trained once, or taken from a run. For each width it is quantised as ``export``
does, and trained further on the integers from the same weights. Every accuracy is that of the
deployed integers on the reference engine, over the whole test set.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from neurodeploy.errors import InputError
from neurodeploy.network import Network
from neurodeploy.quantization.scales import ScaleMethod
from neurodeploy.recipe import QuantizeRecipe, Recipe, recipe_from_dict
from neurodeploy.simulation.float_engine import FloatEngine
from neurodeploy.simulation.reference import ReferenceEngine
from neurodeploy.target import load_target
from neurodeploy.workflow.export import ContractOptions, read_planned
from neurodeploy.workflow.locate import read_run
from neurodeploy.workflow.quantization import QuantizationOptions, quantized
from neurodeploy.workflow.samples import dataset_samples

Mode = Literal["post-training", "aware"]
MODES: tuple[Mode, ...] = ("post-training", "aware")

EPOCHS = 5
"""A recipe's epochs divided by this are trained on integers when nobody says how many."""

RATE = 0.1
"""Share of the recipe's learning rate that training on integers begins with: it only fine-tunes."""

NETWORK = "network.nir"
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
    progress: bool = False,
) -> Iterator[QuantizationRow]:
    """Measure every width in every mode; yields each as soon as it is there.

    Args:
        source: a recipe, whose float network is trained first, or a run with one.
        target: a name, or the path of a TOML.
        scale: of post-training; what ``export`` takes when None.
        epochs: of training on integers; a share of the recipe's (``EPOCHS``) when 0.
        progress: show bars on stderr where that is a terminal.

    Raises:
        InputError: a width that the target does not have, or no such run.
        SimulationError: a training diverged or was interrupted.
        UnsupportedError: the network cannot be deployed, or trained on integers.
    """
    from neurodeploy.training.run import train

    chip = load_target(target)
    most = chip.synapse.weight_bits.value
    for width in bits:
        if not 1 <= width <= most:
            raise InputError(f"--bits: {width} is not from 1 to {most}, as {chip.name} has")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = source if isinstance(source, Path) else None
        recipe = source if isinstance(source, Recipe) else _recipe_of(source)
        if run is None:
            run = train(recipe, folder / "float", progress=progress).path
        network, _ = read_planned(run / NETWORK, ContractOptions())
        floats = _accuracy(FloatEngine(network), network)
        for width in bits:
            for mode in modes:
                if mode == "aware":
                    tuned = _on_integers(recipe, run, width, target, epochs)
                    found = train(tuned, folder / f"aware-{width}", progress=progress).path
                    planned = read_planned(found / NETWORK, ContractOptions())
                    integers = quantized(planned[0], chip, QuantizationOptions(), planned[1])
                else:
                    options = QuantizationOptions(width, scale)
                    integers = quantized(network, chip, options, None)
                accuracy = _accuracy(ReferenceEngine(integers), network)
                yield QuantizationRow(width, mode, accuracy, floats)


def widths_named(text: str) -> list[int]:
    """Widths from a list such as ``8,4,2``, each once and in that order.

    Raises:
        InputError: not whole numbers.
    """
    try:
        return [*dict.fromkeys(int(width) for width in text.split(","))]
    except ValueError:
        raise InputError(f"--bits {text}: expected whole numbers, as in 8,4,2") from None


def modes_named(text: str) -> list[Mode]:
    """Modes from a list such as ``post-training,aware``, in the order of ``MODES``.

    Raises:
        InputError: one is not known.
    """
    names = text.split(",")
    for name in names:
        if name not in MODES:
            raise InputError(f"--modes: {name!r} is not one of {', '.join(MODES)}")
    return [mode for mode in MODES if mode in names]


def _recipe_of(run: Path) -> Recipe:
    """The recipe that a run was trained with."""
    return recipe_from_dict(read_run(run)["recipe"], str(run))


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
    (source,) = (p for p in network.populations if p.neuron is None)
    samples = dataset_samples(contract, source.shape, None)
    right = sum(
        int((trace.predictions(contract.decode) == batch.labels).sum())
        for batch in samples.batches(BATCH)
        for trace in engine.run([batch])
    )
    return right / samples.count
