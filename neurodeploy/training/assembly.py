"""What a recipe describes, built: network, rule, integers, and the NIR graph that comes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nir
import numpy as np

from neurodeploy.data import Dataset, check_encoder, load_dataset
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.ir.contract import METADATA_KEY, Contract, InputCode
from neurodeploy.nn.device import LOW
from neurodeploy.nn.families import SpikingNetwork, build_network
from neurodeploy.nn.loss import InstantaneousLoss, ValueLoss
from neurodeploy.quantization.aware import IntegerNetwork, trained_to_nir
from neurodeploy.recipe import ClassWeights, Recipe
from neurodeploy.rules import RULES, Rate, Rule, build_rule
from neurodeploy.sparsity import Regulariser, build_regularisers, hidden_layers
from neurodeploy.sparsity.pruning import prunable
from neurodeploy.support.processes import Processes
from neurodeploy.target import load_target
from neurodeploy.training.batches import Split, check_batches, split_training
from neurodeploy.training.imported import imported_network, is_file


def load_data(recipe: Recipe) -> Dataset:
    """The recipe's data set, which must suit its encoder.

    Raises:
        InputError: it cannot be read, or does not.
    """
    data, encoder = recipe.data, recipe.encoder.name
    steps = recipe.training.steps
    dataset = load_dataset(
        *(data.name, data.source, steps, data.levels, data.classes, encoder),
        *(recipe.augmentation.sound, recipe.seed),
    )
    check_encoder(dataset, encoder)
    return dataset


def network_of(recipe: Recipe, dataset: Dataset, run: Path | None = None) -> SpikingNetwork:
    """The recipe's network for the data set, with weights from torch's global generator.

    Args:
        run: the folder of a run of this recipe, where a network from a file is kept.

    Raises:
        InputError: unknown family or option, or options that do not suit the samples.
    """
    if is_file(recipe):
        return imported_network(recipe, dataset, run)
    where = f"recipe {recipe.name}: [network]"
    shape, classes = dataset.sample_shape, dataset.classes
    return build_network(recipe.network, shape, classes, recipe.neuron, where)


def rule_of(recipe: Recipe) -> Rule:
    """The recipe's rule with its options.

    Raises:
        InputError: unknown rule or option, or options that do not suit the recipe's steps.
        UnsupportedError: the rule needs a loss at each step, and the recipe has but one.
    """
    rule = build_rule(recipe.rule, recipe.training.steps, f"recipe {recipe.name}: [rule]")
    if recipe.training.loss_over == "mean" and not rule.waits_for_all_steps:
        able = (name for name, kind in RULES.items() if kind.waits_for_all_steps)
        raise UnsupportedError(
            f'recipe {recipe.name}: [training] loss_over = "mean": rule {recipe.rule["name"]} goes '
            "backward step by step, and before the last step the error of the mean output is "
            f'not known; use {" or ".join(able)}, or loss_over = "steps"'
        )
    return rule


def regularisers_of(recipe: Recipe, model: SpikingNetwork) -> tuple[Regulariser, ...]:
    """The recipe's prices on spikes.

    Raises:
        InputError: unknown regulariser or option, or a network without hidden neurons.
    """
    where = f"recipe {recipe.name}: [regularisers]"
    found = build_regularisers(recipe.regularisers, where)
    if found and not hidden_layers(model):
        raise InputError(f"{where}: the network has no hidden layer of neurons to put a price on")
    return found


def check_pruning(recipe: Recipe, model: SpikingNetwork) -> None:
    """Refuse to take weights out of a network that has none to lose.

    Raises:
        InputError: it has none, or not the layers that the recipe spares.
        UnsupportedError: a layer whose weights would not stay zero.
    """
    if recipe.prune.share:
        prunable(model, recipe.prune.spare, f"recipe {recipe.name}: [prune]")


def loss_of(recipe: Recipe, labels: np.ndarray, classes: int) -> InstantaneousLoss:
    """The loss of one step that the recipe asks for.

    Args:
        labels: (N,) classes of the training samples, or (N, K) values.
        classes: how many the network tells apart.

    Raises:
        InputError: class weights for another number of classes, or what is said of classes where
            there are values.
    """
    training = recipe.training
    if labels.ndim > 1:
        return _value_loss(recipe, labels)
    weights = class_weights(training.class_weights, labels, classes, f"recipe {recipe.name}: ")
    return InstantaneousLoss(
        training.mse_weight, training.mse_target, weights, over=training.loss_over
    )


def _value_loss(recipe: Recipe, values: np.ndarray) -> ValueLoss:
    """The squared error of values that have mean 0 and deviation 1 on the training samples.

    Raises:
        InputError: the recipe says of the loss what is for classes.
    """
    training = recipe.training
    said = [name for name in ("mse_weight", "class_weights") if getattr(training, name)]
    if said:
        raise InputError(
            f"recipe {recipe.name}: [training] {' and '.join(said)} weigh the loss of classes, but "
            f"the data set {recipe.data.name!r} has values, whose loss is their squared error"
        )
    deviation = float(values.std())
    return ValueLoss(over=training.loss_over, mean=float(values.mean()), deviation=deviation or 1.0)


def class_weights(
    chosen: ClassWeights, labels: np.ndarray, classes: int, where: str = ""
) -> tuple[float, ...]:
    """A factor per class, or none.

    ``balanced`` is N / (K n) for a class with n of the N samples, where K classes have any: all K
    then weigh the same together, and the mean over the samples is 1. The other classes get 0.

    Raises:
        InputError: not one weight per class.
    """
    if not chosen:
        return ()
    if isinstance(chosen, str):
        counts = np.bincount(labels, minlength=classes)
        present = np.count_nonzero(counts)
        return tuple(float(len(labels) / (present * n)) if n else 0.0 for n in counts)
    if len(chosen) != classes:
        raise InputError(
            f"{where}[training] class_weights has {len(chosen)} numbers for {classes} classes; "
            'give one per class, or "balanced"'
        )
    return chosen


def split_of(recipe: Recipe, dataset: Dataset) -> Split:
    """The training samples, split by the recipe's share and seed, without excluded classes.

    Raises:
        InputError: the share leaves a class without a sample in one of the parts, or an excluded
            class does not exist, or fewer samples than ``data.limit`` are there.
    """
    chosen, where = recipe.data, f"recipe {recipe.name}: "
    return split_training(
        dataset, chosen.validation, recipe.seed, chosen.exclude, where, chosen.limit
    )


def check_batches_of(
    recipe: Recipe, model: SpikingNetwork, samples: int, processes: Processes
) -> None:
    """Refuse batches that cannot be cut into pieces as the recipe and the processes ask.

    Raises:
        InputError: as ``check_batches``.
    """
    training, where = recipe.training, f"recipe {recipe.name}: "
    check_batches(model, samples, training.batch_size, training.accumulate, processes, where)


def input_code(recipe: Recipe, dataset: Dataset) -> InputCode:
    """How samples of the data set enter this recipe's network."""
    return InputCode(recipe.encoder.name, dataset.levels)


def quantization_aware(
    model: SpikingNetwork, recipe: Recipe, payload: int, rule: Rule
) -> SpikingNetwork:
    """The network as the recipe's ``[quantize]`` asks for: itself, or on a target's integers.

    Args:
        payload: largest integer that the input carries.

    Raises:
        UnsupportedError: the network or the rule cannot be trained on integers.
    """
    if not recipe.quantize.bits:
        return model
    if isinstance(rule, Rate):
        raise UnsupportedError(
            "rule rate goes backward through mean rates, which are not the integers that each "
            "step computes with; with [quantize], use sltt, sltt-k, bptt or ottt"
        )
    if recipe.training.average:
        raise UnsupportedError(
            f"[training] average = {recipe.training.average:g}: a mean of weights that [quantize] "
            "has put on integers is not on them; leave one of the two out"
        )
    if recipe.training.precision in LOW:
        raise UnsupportedError(
            f"[training] precision = {recipe.training.precision}: too few digits for the integers "
            "that [quantize] trains on; use fp32 or fp64"
        )
    target = load_target(recipe.quantize.target)
    device = next(model.parameters()).device
    bits, steps = recipe.quantize.bits, recipe.training.steps
    return IntegerNetwork(model, target, bits, payload, steps).to(device)


def begin_when_due(model: SpikingNetwork, recipe: Recipe, epoch: int) -> None:
    """Begin to quantise in the recipe's epoch, unless that has happened.

    Args:
        epoch: the one about to be trained, counted from 1.
    """
    if not isinstance(model, IntegerNetwork) or model.is_active:
        return
    if epoch >= recipe.first_integer_epoch:
        model.begin()


def graph_of(
    model: SpikingNetwork,
    recipe: Recipe,
    dataset: Dataset,
    loss: InstantaneousLoss | None = None,
) -> nir.NIRGraph:
    """The trained network as NIR, with the recipe's steps and input and the place of the data.

    Args:
        loss: that it was trained by, which knows what outputs mean as values.

    Raises:
        UnsupportedError: a layer that cannot be written.
    """
    code = input_code(recipe, dataset)
    graph = trained_to_nir(model, code, recipe.training.steps, dataset.name, dataset.source)
    if isinstance(loss, ValueLoss):
        contract = Contract.from_metadata(graph.metadata[METADATA_KEY], recipe.name)
        graph.metadata[METADATA_KEY] = replace(
            contract, task="regression", value_scale=loss.deviation, value_offset=loss.mean
        ).to_metadata()
    return graph
