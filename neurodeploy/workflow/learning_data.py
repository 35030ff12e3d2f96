"""What a deployment learns from: its own data set, and the classes that training left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.data import Dataset
from neurodeploy.errors import InputError, Setting, Step, Text
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.tasks import HeldOut, Task
from neurodeploy.workflow.dataset import dataset_of


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
    dataset = dataset_of(contract, data)
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
        sets[name] = HeldOut(found.x[chosen], found.y[chosen])
    return replace(task, held_out=sets)
