"""What a deployment learns from, and accuracy of networks on the samples held out from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.data import Dataset
from neurodeploy.errors import InputError, Setting, Step, Text, UnsupportedError
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.graph_plan import graph_plan_of_any_rate
from neurodeploy.onchip.learner import SENDING_BACK, LearningOptions
from neurodeploy.onchip.plans import in_a_graph
from neurodeploy.onchip.task import HeldOut, Task
from neurodeploy.quantization.planned import real_network
from neurodeploy.simulation.trace import SampleBatch, Samples
from neurodeploy.workflow.engines import MOST_SAMPLES, Engine, batch_size
from neurodeploy.workflow.samples import dataset_of


def learning_data(network: QuantizedNetwork, data: Path | None) -> Dataset:
    """The data set that a deployment was trained with.

    Args:
        data: where it lies now.

    Raises:
        InputError: the deployment names none, it cannot be read, or its samples do not fit.
    """
    contract, (source,) = network.contract, network.inputs
    if not contract.dataset:
        raise InputError(
            "this deployment names no data set to learn from",
            fix=Text("export a network that `", Step("train"), "` made"),
        )
    dataset = dataset_of(contract, data, network.classes)
    if dataset.sample_shape != source.shape:
        raise InputError(
            f"data set {dataset.name!r} has samples of shape {dataset.sample_shape}; the "
            f"deployment's input is {source.shape}"
        )
    return dataset


def excluded_classes(deployment: Deployment) -> tuple[int, ...]:
    """Classes that the deployment's training left out; none for a network from elsewhere."""
    training = deployment.training
    return training.recipe.data.exclude if training else ()


def thinned(task: Task, most: int) -> Task:
    """The task with at most so many samples in each held-out set, spread evenly over it.

    Raises:
        InputError: ``most`` is below 1.
    """
    if most < 1:
        raise InputError(Text(Setting("held_out", str(most)), ": needs at least 1"))
    sets = {}
    for name, found in task.held_out.items():
        count = len(found.y)
        chosen = np.arange(min(most, count)) * count // min(most, count)
        sets[name] = found.part(chosen)
    return replace(task, held_out=sets)


def measure(
    network: QuantizedNetwork,
    sets: Mapping[str, HeldOut],
    engine: str,
    timeout: float | None = None,
) -> dict[str, float]:
    """Accuracy of a deployed network on each set, in Lava unless the engine is the reference."""
    found = which_are_right(network, sets, engine, timeout)
    return {name: float(right.mean()) for name, right in found.items()}


def which_are_right(
    network: QuantizedNetwork,
    sets: Mapping[str, HeldOut],
    engine: str,
    timeout: float | None = None,
) -> dict[str, np.ndarray]:
    """(N,) bool for each set, in Lava unless the engine is the reference."""
    size = batch_size(network)
    if engine == "reference":
        from neurodeploy.simulation.engines import ReferenceEngine

        return _right(ReferenceEngine(network), network, sets, size)
    from neurodeploy.lava.fused import FusedLavaEngine

    return _right(FusedLavaEngine(network, capacity=size, timeout=timeout), network, sets, size)


def measure_float(network: Network, sets: Mapping[str, HeldOut]) -> dict[str, float]:
    """Accuracy of a float network on each set."""
    from neurodeploy.simulation.engines import FloatEngine

    return _accuracies(FloatEngine(network), network, sets, MOST_SAMPLES)


def float_learner(network: QuantizedNetwork, options: LearningOptions) -> Any:
    """The rule in floats from the deployed weights; None where PyTorch has no such neurons.

    It is ``sltt``, or ``eprop`` where that learns. On networks that are no chains, and of rule
    ``eprop``, it is the integers' own steps without rounding, whose gradients are those of the
    rules for training.
    """
    from neurodeploy.training.continued import FloatLearner

    when = "steps" if options.update == "sample" else "step"
    try:
        if in_a_graph(network, options):
            from neurodeploy.onchip.graph_real import RealGraph

            sends_back = options if options.rule in SENDING_BACK else replace(options, rule="sltt")
            plan = graph_plan_of_any_rate(network, sends_back)
            return RealGraph(plan, real_network(network))
        return FloatLearner(real_network(network), options.rate, when)
    except UnsupportedError:
        return None


def learnt_floats(learner: Any) -> Network:
    """The network of a ``float_learner`` with the weights it has learnt."""
    weights = learner.weights()
    return replace(
        learner.network,
        projections=tuple(
            replace(p, operator=p.operator.with_weights(weights[p.name]))
            if p.name in weights
            else p
            for p in learner.network.projections
        ),
    )


def labelled_samples(
    x: Any, y: np.ndarray, network: Any, seed: int, lengths: np.ndarray | None = None
) -> Samples:
    """Samples of a data set, encoded as the network's contract says.

    Args:
        x: (N, *sample) or (N, T, *sample) integers, an array or anything that slices like one.
        y: (N,) class numbers.
        seed: of the ``rate`` encoder.
        lengths: (N,) steps that each lasts; None where all last T.
    """
    contract = network.contract
    over_time = contract.input_code.encoder == "events"
    dtype = np.uint8 if contract.input_code.levels == 1 else np.int32

    def take(first: int, last: int) -> np.ndarray:
        return x[first:last].astype(dtype)

    return Samples(len(y), take, y, contract, "", over_time, seed, lengths=lengths)


def samples_of(part: HeldOut, network: Any, seed: int) -> Samples:
    """The same of samples that belong together."""
    return labelled_samples(part.x, part.y, network, seed, part.lengths)


def by_class(labels: np.ndarray, right: np.ndarray) -> dict[int, float]:
    """Accuracy on each class that has samples."""
    return {int(label): float(right[labels == label].mean()) for label in np.unique(labels)}


def _accuracies(
    engine: Engine, network: Any, sets: Mapping[str, HeldOut], size: int
) -> dict[str, float]:
    return {name: float(r.mean()) for name, r in _right(engine, network, sets, size).items()}


def _right(
    engine: Engine, network: Any, sets: Mapping[str, HeldOut], size: int
) -> dict[str, np.ndarray]:
    """Which samples are right, in one run over all sets, numbered on from set to set."""
    counts = [len(found.y) for found in sets.values()]
    *starts, total = accumulate(counts, initial=0)
    right = np.empty(total, bool)

    def batches() -> Iterator[SampleBatch]:
        for start, found in zip(starts, sets.values(), strict=True):
            for batch in samples_of(found, network, 0).batches(size):
                yield replace(batch, first=start + batch.first)

    try:
        for batch, trace in engine.run(batches()):
            found = trace.predictions(network.contract.decode, batch.lengths) == batch.labels
            right[batch.first :][: len(batch)] = found
    finally:
        engine.close()
    by_set = np.split(right, starts[1:])
    return dict(zip(sets, by_set, strict=True))
