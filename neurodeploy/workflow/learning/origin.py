"""What learning begins with: integers of a deployment, or random ones that a recipe asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.artifacts.deployment import Deployment, TrainingRecord
from neurodeploy.artifacts.names import DEPLOYMENTS, MANIFEST
from neurodeploy.data import Dataset
from neurodeploy.errors import InputError, Setting, Text, UnsupportedError
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.onchip.real import remainders
from neurodeploy.recipe import Recipe, load_recipe
from neurodeploy.support.file_names import file_name
from neurodeploy.support.partial import temporary_folder
from neurodeploy.target import Target, load_target
from neurodeploy.workflow.learning.data import excluded_classes, learning_data
from neurodeploy.workflow.learning.tags import first_tags
from neurodeploy.workflow.task import check_tells_classes

ROOM = 8
"""How many times as large as the largest random weight a learnt one may be: formats end there.

Weights of 400 inputs begin below 0.05 and end at 0.3; with 4 the read-out of MNIST saturates, and
with 16 little is left of 4 bits."""

EXAMPLE = "mnist_400_400"


@dataclass(frozen=True, eq=False)
class Origin:
    """Attributes:
    path: of the deployment, or the recipe as it was named.
    network: that learns.
    target: the chip that it is for.
    tags: what is below its weights in the beginning, by projection.
    dataset: that it learns from.
    deployment: None where there was none.
    training: of a network that was trained here.
    unseen: classes that training left out.
    epochs: how often ``scratch`` goes through the data.
    folder: of the new deployment, before its number.
    warnings: what makes it worth less than others.
    """

    path: Path
    network: QuantizedNetwork
    target: Target
    tags: Mapping[str, np.ndarray]
    dataset: Dataset
    deployment: Deployment | None
    training: TrainingRecord | None
    unseen: tuple[int, ...]
    epochs: int
    folder: Path
    warnings: tuple[str, ...]


def deployed_origin(deployment: Deployment, data: Path | None) -> Origin:
    """A deployment that goes on learning.

    Raises:
        InputError: it names no data set, or one that cannot be read or does not fit.
    """
    path = deployment.path
    if path.name in ("", ".."):
        # Of "." and ".." the last part is no name.
        path = path.resolve()
    return Origin(
        path=deployment.path,
        network=deployment.network,
        target=deployment.target,
        tags=first_tags(deployment),
        dataset=learning_data(deployment.network, data),
        deployment=deployment,
        training=deployment.training,
        unseen=excluded_classes(deployment),
        epochs=1,
        folder=path.parent / learned_stem(path.name),
        warnings=deployment.warnings,
    )


def held_back(origin: Origin) -> np.ndarray | None:
    """Numbers of the training samples kept for validation; None where training was not ours.

    Raises:
        InputError: the data set is not what it was.
    """
    from neurodeploy.training.assembly import split_of

    if origin.deployment is None or origin.training is None:
        return None
    return split_of(origin.training.recipe, origin.dataset).held_back


def random_origin(
    name: str | Path | None,
    target_name: str | Path | None,
    bits: int | None,
    seed: int,
    data: Path | None,
    overrides: Iterable[str] = (),
) -> Origin:
    """A recipe's network with random integer weights.

    Args:
        name: of the recipe, or its file.
        bits: width of all weights; the target's when None.
        seed: of the weights.
        data: where the recipe's data set lies.

    Raises:
        InputError: no recipe or no target is named, a deployment is named instead, or the data
            cannot be read.
        UnsupportedError: the network cannot begin with random weights, or not on the target.
    """
    from neurodeploy.training.assembly import load_data

    if name is None:
        raise InputError(f"task scratch starts from a recipe; name one, for example {EXAMPLE}")
    if (Path(name) / MANIFEST).is_file():
        raise InputError(
            f"{name} is a deployment, and task scratch starts from random weights",
            fix=Text(
                f"name a recipe, for example {EXAMPLE}, or continue from the deployment with ",
                Setting("task", "continue"),
            ),
        )
    if target_name is None:
        raise InputError(
            "task scratch makes a network for a chip", fix=Text("name it with ", Setting("target"))
        )
    target = load_target(target_name)
    recipe = load_recipe(name, overrides)
    if data is not None:
        recipe = replace(recipe, data=replace(recipe.data, path=str(data), sha256=""))
    check_tells_classes(recipe, "learn")
    dataset = load_data(recipe)
    floats = _random_network(recipe, dataset, seed)
    network = with_room(floats, target, bits)
    return Origin(
        path=Path(name),
        network=network,
        target=target,
        tags=remainders(network, floats),
        dataset=dataset,
        deployment=None,
        training=None,
        unseen=(),
        epochs=recipe.training.epochs,
        folder=DEPLOYMENTS / f"{file_name(recipe.name)}-{file_name(target.name)}-learned",
        warnings=_left_out(recipe),
    )


def with_room(network: Network, target: Target, bits: int | None) -> QuantizedNetwork:
    """A network in integers whose weights may grow to ``ROOM`` times the largest of them.

    Scales, exponents and thresholds are those of a network that has grown so; the weights are
    this one's, rounded.

    Raises:
        UnsupportedError: the target has no such width, or cannot hold the network.
    """
    from neurodeploy.workflow.quantization import quantized_on

    grown = replace(
        network,
        projections=tuple(
            replace(p, operator=p.operator.with_weights(p.operator.weights * ROOM))
            for p in network.projections
        ),
    )
    integers = quantized_on(grown, target, bits, "max")
    weights = {p.name: p.operator.weights for p in network.projections}

    def rounded(p: QuantizedProjection) -> QuantizedProjection:
        if p.name not in weights:
            raise UnsupportedError(
                f"projection {p.name!r}: weights of both signs of {p.weight_format.bits} bit have "
                "no room to grow",
                fix=Text("use ", Setting("weight_bits", "2"), " or more"),
            )
        ratio = integers.population(p.target).scale / (2.0**p.exponent * p.payload)
        form = p.weight_format
        found = np.rint(weights[p.name] * (ratio / form.step)) * form.step
        found = np.clip(found, form.minimum, form.maximum).astype(np.int64)
        return replace(p, operator=p.operator.with_weights(found), clipped=0)

    notes = {**integers.notes, "scales": f"with room for weights {ROOM} times as large"}
    projections = tuple(map(rounded, integers.projections))
    return replace(integers, projections=projections, notes=notes)


def _random_network(recipe: Recipe, dataset: Dataset, seed: int) -> Network:
    """The recipe's network as its family draws it, in floats.

    Raises:
        UnsupportedError: batch norm, which has no statistics yet, or what NIR cannot hold.
    """
    import torch

    from neurodeploy.interchange.nir.file import write_nir
    from neurodeploy.ir.stated import Stated
    from neurodeploy.training.assembly import graph_of, network_of
    from neurodeploy.workflow.exported import read_network

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network_of(recipe, dataset)
    if any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        raise UnsupportedError(
            f"recipe {recipe.name}: batch norm takes its statistics from batches, and learning "
            "sample by sample on a chip has none",
            fix=Text("use ", Setting("network.batch_norm", "false")),
        )
    with temporary_folder() as folder:
        file = folder / f"{file_name(recipe.name)}.nir"
        write_nir(file, graph_of(model, recipe, dataset))
        network = read_network(file, Stated())
    contract: Any = replace(network.contract, source=dataset.source)
    return replace(network, name=recipe.name, contract=contract)


def _left_out(recipe: Recipe) -> tuple[str, ...]:
    """What a recipe says that is for training in floats, and does nothing here."""
    plain = type(recipe)(
        *(recipe.name, recipe.description, recipe.data, recipe.neuron, recipe.training),
        network=recipe.network,
    )
    said = [
        f"[{part}]"
        for part in ("augmentation", "quantize", "regularisers", "prune")
        if getattr(recipe, part) != getattr(plain, part)
    ]
    said += [f"data.{key}" for key in ("exclude", "limit") if getattr(recipe.data, key)]
    said += ["training.start_from"] if recipe.training.start_from else []
    if not said:
        return ()
    return (f"recipe {recipe.name}: {', '.join(said)} is for train and has no effect here",)


def learned_stem(name: str) -> str:
    """What a number goes behind to name what a deployment learnt, or learnt again."""
    return f"{re.sub(r'-learned-[0-9]+$', '', file_name(name))}-learned"
