"""Whether a trained network, or one that is about to be trained, fits a chip.

Before training, random weights stand in for those to come. What a chip says of the structure, of
the neurons, of the input and of the room that synapses take holds for any weights of that width,
but for rows of nothing but zeros; what it says of scales does not, and is left to the export.
"""

from __future__ import annotations

import copy
from pathlib import Path

from neurodeploy.artifacts.names import NIR_FILE
from neurodeploy.data import Dataset
from neurodeploy.errors import NeurodeployError
from neurodeploy.interchange.nir.file import write_own_nir
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.ir.quantized import QuantizationPlan
from neurodeploy.mapping import map_network
from neurodeploy.mapping.mapping import Violation, check_fits
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.quantization.aware import IntegerNetwork
from neurodeploy.quantization.planned import quantize_as_planned
from neurodeploy.quantization.post_training import quantize
from neurodeploy.recipe import Recipe
from neurodeploy.support.partial import temporary_folder
from neurodeploy.target import Target, load_target
from neurodeploy.training.assembly import graph_of

BY_WEIGHTS = frozenset({"never_spiking", "weight_exponents", "thresholds", "biases"})
"""Rules on what follows from the values of weights: scales, and what they can add up to."""


def check_deployable(model: SpikingNetwork, recipe: Recipe, dataset: Dataset) -> None:
    """Refuse to train on the integers of a chip that can never hold the network.

    Args:
        model: of a recipe that trains on integers, before it begins; left as it is.

    Raises:
        CheckFailedError: every limit that is broken whatever the weights, as an export lists them.
        UnsupportedError: the network cannot be written or quantised.
    """
    if not isinstance(model, IntegerNetwork):
        return
    trial = copy.deepcopy(model)
    trial.begin()
    with temporary_folder() as folder:
        file = folder / NIR_FILE
        write_own_nir(file, graph_of(trial, recipe, dataset))
        found = violations(file, model.target)
    lasting = [violation for violation in found if violation.rule not in BY_WEIGHTS]
    check_fits(lasting, f"recipe {recipe.name}", model.target.name)


def violations(file: Path, target: Target) -> tuple[Violation, ...]:
    """What keeps the network of a NIR file of ours off a target.

    Integers are those that it was trained on, else weights scaled to their largest: an export may
    choose scales more finely, which changes neither structure nor room.

    Raises:
        InputError, UnsupportedError: the file cannot be read, or the network not quantised.
    """
    imported = import_nir(file)
    plan = QuantizationPlan.within(imported.graph.metadata, f"{file} metadata")
    if plan is None:
        network = quantize(imported.network, target, scale="max")
    else:
        network = quantize_as_planned(imported.network, target, plan)
    return map_network(network, target, strategy="first-fit").violations


def obstacles(run: Path, target: str) -> tuple[str, ...]:
    """What keeps a finished run off a target, in words; nothing where it can be deployed.

    Args:
        target: a built-in name, or the path of a TOML.
    """
    try:
        found = violations(run / NIR_FILE, load_target(target))
    except NeurodeployError as error:
        return (error.text,)
    return tuple(violation.text for violation in found)
